"""Nothing in a gradient update may wait for the device: no tensor is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from gym_loop.agents.dqn import DQN
from gym_loop.agents.ppo import PPO
from gym_loop.agents.sac import SAC
from gym_loop.agents.td3 import TD3
from gym_loop.nn.torch_network import TorchNetwork
from tests.agents.batch_games import Identity, make, play

NATURE = {
    "network": "gym_loop.nn.torch_network:NatureCNN",
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
        {"max_grad_norm": None, "tau": 0.5},
    ],
    ids=str,
)
def test_dqn(options: dict[str, Any]) -> None:
    game = pictures()
    later = {"batch_size": 8, "learning_starts": 20, "train_freq": 10**6}
    agent = make(DQN, game, **later, **NATURE, **options)
    play(agent, game, 10)
    with reading_refused():
        agent._learn(3)
    assert agent.optimizer.updates == 3
    assert agent.metrics(0)["loss"] > 0.0


NETS = """
import torch
from torch import nn

class Actor(nn.Sequential):
    def __init__(self, input_shape, outputs):
        super().__init__(nn.Linear(*input_shape, *outputs))

class Critic(nn.Module):
    def __init__(self, input_shape, outputs):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(2, size) for size in outputs)

    def forward(self, x):
        joined = torch.cat([x["observation"], x["action"]], dim=1)
        return tuple(head(joined) for head in self.heads)
"""


@pytest.mark.parametrize(
    ("agent_class", "options"),
    [
        (SAC, {}),
        (SAC, {"ent_coef": 0.1, "n_steps": 3}),
        (SAC, {"use_sde": True, "sde_sample_freq": 8}),
        (TD3, {}),
    ],
    ids=str,
)
def test_continuous_actions(agent_class: Any, options: dict[str, Any], workdir: Path) -> None:
    (workdir / "nets.py").write_text(NETS)
    game = Identity(spaces.Box(-1, 1, (1,)), 4)
    nets = {"network": "nets.py:Actor", "critic_network": "nets.py:Critic"}
    later = {"batch_size": 8, "learning_starts": 20, "train_freq": 10**6}
    agent = make(agent_class, game, **later, **nets, **options)
    play(agent, game, 10)
    with reading_refused():
        agent._learn(4)
    assert agent.critics.optimizer.updates == 4
    assert agent.metrics(0)["critic_loss"] > 0.0


@pytest.mark.parametrize("options", [{}, {"ent_coef": 0.01, "clip_range_vf": 0.2}], ids=str)
def test_ppo(options: dict[str, Any]) -> None:
    game = pictures()
    agent = make(PPO, game, n_steps=8, batch_size=8, n_epochs=1, **NATURE, **options)
    play(agent, game, 7)
    agent.update = lambda episode: None
    play(agent, game, 1)
    rollout = agent._rollout_batch(8)
    with reading_refused():
        agent._epoch(rollout, 8, 0, measure=False)
    assert agent.optimizer.updates == 4
