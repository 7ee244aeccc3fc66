"""Random streams and torch agents continue where they were."""

from __future__ import annotations

import random
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.errors import StateError
from tests.checkpoints.state_things import Thing, plain, round_trip


@pytest.mark.parametrize(
    "make",
    [
        np.random.default_rng,
        lambda seed=None: np.random.Generator(np.random.MT19937(seed)),
        lambda seed=None: np.random.Generator(np.random.Philox(seed)),
        np.random.RandomState,
    ],
)
def test_numpy_streams_continue(make: Any) -> None:
    saved, live = Thing(rng=make(1)), Thing(rng=make(2))
    saved.rng.normal(size=3)
    tree, rng = capture(saved), live.rng
    plain(tree)
    restore(live, tree)
    assert live.rng is rng
    expected = saved.rng.normal(size=4).tolist()
    assert rng.normal(size=4).tolist() == expected
    assert restore(None, tree["attributes"]["rng"]).normal(size=4).tolist() == expected


def test_children_of_a_stream_continue() -> None:
    saved, live = np.random.default_rng(1), np.random.default_rng(1)
    saved.spawn(2)
    tree = capture(saved)
    expected = saved.spawn(1)[0].random()
    assert restore(live, tree).spawn(1)[0].random() == expected
    assert restore(np.random.default_rng(9), tree).spawn(1)[0].random() == expected
    sequence = np.random.SeedSequence(5)
    sequence.spawn(3)
    again = restore(np.random.SeedSequence(5), capture(sequence))
    assert again.spawn(1)[0].spawn_key == (3,)


def test_pythons_stream_continues() -> None:
    saved, live = random.Random(1), random.Random(2)
    saved.gauss(0, 1)
    restore(live, capture(saved))
    assert [live.gauss(0, 1) for _ in range(3)] == [saved.gauss(0, 1) for _ in range(3)]


def test_streams_of_nested_spaces_continue() -> None:
    def make() -> Any:
        return gymnasium.spaces.Dict(
            a=gymnasium.spaces.Discrete(100),
            b=gymnasium.spaces.Tuple([gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.Text(9)]),
        )

    saved, live = make(), make()
    saved.seed(3)
    saved.sample()
    restore(live, capture(saved))
    assert repr(live.sample()) == repr(saved.sample())
    with pytest.raises(StateError, match="a space of 5 parts was saved"):
        restore(gymnasium.spaces.Discrete(3), capture(saved))


class TorchAgent:
    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(3, 4), torch.nn.Dropout(), torch.nn.Linear(4, 1)
        )
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=0.01)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimiser, 2)
        self.generator = torch.Generator()
        self.scale = torch.nn.Parameter(torch.ones(2))
        self.half = torch.zeros(2, dtype=torch.bfloat16)
        self.kind, self.device = torch.float32, torch.device("cpu")

    def learn(self, step: bool = True) -> float:
        x = torch.rand(8, 3, generator=self.generator)
        loss = (self.net(x) ** 2).mean() * self.scale.sum()
        loss.backward()
        if step:
            self.optimiser.step()
            self.optimiser.zero_grad()
            self.schedule.step()
        self.half += 1.5
        return loss.item()


def test_a_torch_agent_continues_bit_for_bit() -> None:
    saved, live = TorchAgent(), TorchAgent()
    saved.net.eval()
    for step in (True, True, False):  # the last gradients are still waiting
        saved.learn(step)
    tree = capture(saved)
    plain(tree)
    weights, half = live.net[0].weight, live.half
    restore(live, tree)
    assert live.net[0].weight is weights
    assert live.half is half
    assert not live.net.training
    assert [live.learn() for _ in range(5)] == [saved.learn() for _ in range(5)]
    assert list(live.optimiser.state_dict()["state"]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float8_e4m3fn", "bool", "complex64", "int8"]
)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_tensors_keep_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    tensor = torch.ones(shape).to(getattr(torch, dtype))
    result = round_trip(tensor)
    assert result.dtype == tensor.dtype
    assert torch.equal(result.to(torch.complex64), tensor.to(torch.complex64))
    assert not round_trip(torch.nn.Parameter(torch.ones(2), requires_grad=False)).requires_grad


def test_a_tensor_with_a_history_is_refused() -> None:
    weights = torch.ones(2, requires_grad=True)
    with pytest.raises(
        StateError, match=r"agent\.log_probs\[0\]: a tensor that carries a gradient"
    ):
        capture(Thing(log_probs=[weights * 2]), path="agent")


def test_a_tensor_of_a_device_that_is_not_here_comes_to_the_cpu() -> None:
    tree = capture({"moment": torch.arange(3.0)})
    node = tree["moment"]
    assert node["device"] == "cpu"
    node["device"] = "cuda:7"
    restored = restore(None, tree)["moment"]
    assert restored.device.type == "cpu"
    assert restored.tolist() == [0.0, 1.0, 2.0]
