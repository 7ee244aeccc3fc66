"""Nothing in a gradient update may wait for the device: no tensor is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from batch_games import Identity, make, play
from gymnasium import spaces

from gym_loop.agents.dqn import DQN
from gym_loop.agents.ppo import PPO, Pace
from gym_loop.networks.torch_network import TorchNetwork

NATURE = {
    "network": "gym_loop.networks.torch_network:NatureCNN",
    "network_parameters": {"hidden": 8},
}
READING = ("__bool__", "__float__", "__index__", "__int__", "cpu", "item", "numpy", "tolist")


def pictures() -> Identity:
    game = Identity(spaces.Discrete(3), 4)
    game.observation_space = spaces.Box(0, 255, (36, 36, 4), np.uint8)
    game.seen = np.random.default_rng(0).integers(0, 255, (4, 36, 36, 4), np.uint8)
    game.step = lambda actions: (game.seen, actions * 1.0, *np.zeros((2, 4), bool))
    return game


@contextmanager
def reading_refused() -> Iterator[None]:
    """Whoever reads a tensor in here fails."""

    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("a tensor is read")

    with pytest.MonkeyPatch.context() as patch:
        for name in READING:
            patch.setattr(torch.Tensor, name, refuse)
        patch.setattr(TorchNetwork, "tonumpy", refuse)
        yield


def test_reading_is_noticed() -> None:
    for read in (bool, float, int, lambda one: one.tolist(), lambda one: one.cpu()):
        read(torch.zeros(()))
        with reading_refused(), pytest.raises(AssertionError, match="a tensor is read"):
            read(torch.zeros(()))


@pytest.mark.parametrize(
    "options",
    [
        {"double": False},
        {"dueling": True, "n_steps": 3},
        {"distribution": "categorical"},
        {"distribution": "quantile", "atoms": 5},
        {"max_gradient_norm": None, "target_mix": 0.5},
    ],
    ids=str,
)
def test_dqn(options: dict[str, Any]) -> None:
    game = pictures()
    later = {"batch_size": 8, "learning_starts": 20, "train_every": 10**6}
    agent = make(DQN, game, **later, **NATURE, **options)
    play(agent, game, 10)
    with reading_refused():
        agent._learn(3)
    assert agent.optimizer.updates == 3
    assert agent.metrics(0)["loss"] > 0.0


@pytest.mark.parametrize(
    "options", [{}, {"entropy_coefficient": 0.01, "value_clip_range": 0.2}], ids=str
)
def test_ppo(options: dict[str, Any]) -> None:
    game = pictures()
    agent = make(PPO, game, n_steps=8, batch_size=8, epochs=1, **NATURE, **options)
    play(agent, game, 7)
    agent.update = lambda episode: None
    play(agent, game, 1)
    rollout, pace = agent._rollout_batch(8), Pace(1e-3, 0.2, options.get("value_clip_range"))
    with reading_refused():
        agent._epoch(rollout, 8, pace, watch=False)
    assert agent.optimizer.updates == 4
