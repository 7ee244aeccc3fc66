"""Dropout and batch norms in the networks of agents: who runs in which mode, and the targets."""

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
from gym_loop.agents.transition import Transition
from tests.agents.batch_games import Salary, make, play

# Takes an observation, or observation and action; a buffer of integers and one that is not saved.
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, input_shape, outputs, dropout=0.0, norm=True):
        super().__init__()
        parts = input_shape.values() if isinstance(input_shape, dict) else [input_shape]
        size = sum(part[0] for part in parts)
        self.norm = nn.BatchNorm1d(size) if norm else nn.Identity()
        self.trunk = nn.Sequential(nn.Linear(size, 32), nn.Tanh(), nn.Dropout(dropout))
        self.heads = nn.ModuleList(nn.Linear(32, out) for out in outputs)
        self.register_buffer("passes", torch.zeros(1), persistent=False)

    def forward(self, x):
        if isinstance(x, dict):
            x = torch.cat([x["observation"], x["action"]], dim=1)
        if self.training:
            self.passes = self.passes + 1
        features = self.trunk(self.norm(x))
        return tuple(head(features) for head in self.heads)
"""


class AroundFive(Salary):
    """Observations around 5, drawn anew at each step."""

    observation_space = spaces.Box(-100, 100, (3,))

    def __init__(self, n_envs: int, action_space: spaces.Space) -> None:
        super().__init__(n_envs, 10, terminates=False)
        self.action_space = action_space
        self.rng = np.random.default_rng(0)
        self.seen = self.draw()

    def draw(self) -> np.ndarray:
        return self.rng.normal(5.0, 1.0, (self.n_envs, 3)).astype(np.float32)

    def step(self, actions: Any) -> tuple[Any, ...]:
        answer = super().step(actions)
        self.seen = self.draw()
        return (self.seen, *answer[1:])


FEW, BOX = spaces.Discrete(4), spaces.Box(-1, 1, (2,))
OFF_POLICY: dict[str, tuple[Any, spaces.Space, dict[str, Any]]] = {
    "DQN mixes": (DQN, FEW, {"tau": 0.5, "target_update_interval": 1, "train_freq": 1}),
    "DQN copies": (DQN, FEW, {"target_update_interval": 10, "train_freq": 1}),
    "SAC": (SAC, BOX, {}),
    "TD3": (TD3, BOX, {}),
}


def off_policy(agent_class: Any, space: spaces.Space, options: dict[str, Any]) -> tuple[Any, Any]:
    game = AroundFive(2, space)
    learn = {"learning_starts": 20, "batch_size": 32, "buffer_size": 500, "network": "net.py:Net"}
    return make(agent_class, game, **learn | options), game


@pytest.mark.parametrize(("agent_class", "space", "options"), OFF_POLICY.values(), ids=OFF_POLICY)
def test_targets_have_the_buffers_of_what_learns(
    workdir: Path, agent_class: Any, space: spaces.Space, options: dict[str, Any]
) -> None:
    (workdir / "net.py").write_text(NET)
    torch.manual_seed(0)
    agent, game = off_policy(agent_class, space, options)
    play(agent, game, 120)
    agent.steps = agent.steps // 10 * 10 + 10
    if agent_class is DQN:
        agent._move_target()
        pairs = [(agent.target, agent.network)]
    else:
        agent.critics.move_target(0.5)
        pairs = [(agent.critics.target, agent.critics.network)]
    if agent_class is TD3:
        pairs.append((agent.actor_target, agent.actor))
    for target, network in pairs:
        assert (target.module.norm.running_mean[:3] > 4.0).all()
        assert target.module.norm.num_batches_tracked > 10
        assert target.module.norm.num_batches_tracked.dtype == torch.int64
        assert target.module.passes > 10
        # Each of its own: the target keeps still while the network learns.
        assert target.module.passes.data_ptr() != network.module.passes.data_ptr()
        assert not target.module.training


@pytest.mark.parametrize(("agent_class", "space", "options"), OFF_POLICY.values(), ids=OFF_POLICY)
def test_acting_and_evaluation_leave_statistics_alone(
    workdir: Path, agent_class: Any, space: spaces.Space, options: dict[str, Any]
) -> None:
    (workdir / "net.py").write_text(NET)
    agent, game = off_policy(agent_class, space, options)
    play(agent, game, 60)
    network = agent.network if agent_class is DQN else agent.actor
    before = network.module.norm.running_mean.clone()
    assert before.any()
    for _ in range(10):
        agent.act(game.seen, 0)
    with agent.evaluating():
        for _ in range(10):
            agent.act(game.seen, 0)
    assert torch.equal(network.module.norm.running_mean, before)


@pytest.mark.parametrize("network", [{"dropout": 0.5, "norm": False}, {"norm": True}], ids=str)
@pytest.mark.parametrize("space", [FEW, BOX], ids=str)
def test_ppo_judges_as_the_policy_that_acted(
    workdir: Path, network: dict[str, Any], space: spaces.Space
) -> None:
    """In training mode, log-probabilities differed by up to 0.40 and values by 0.50."""
    (workdir / "net.py").write_text(NET)
    torch.manual_seed(0)
    game = AroundFive(4, space)
    options = {"n_steps": 16, "batch_size": 16, "network": "net.py:Net"}
    agent = make(PPO, game, **options, network_parameters=network)
    play(agent, game, 32)  # two rollouts learnt from
    acted: list[Any] = []
    distribution, module = agent.actions.distribution, agent.network.module
    for _ in range(16):
        before = game.seen
        action = agent.act(before, 0)
        drawn = agent.rollout.actions[agent.rollout.step].copy()
        with torch.no_grad():
            outputs, values = module.eval()(torch.as_tensor(before))
        judged = distribution.evaluate(outputs, agent.network.extra, torch.as_tensor(drawn))
        acted.append((judged.log_probs.numpy(), values.numpy()[:, 0]))
        statistics = [one.clone() for one in module.buffers()]
        play_on(agent, game, before, action)
        assert all(map(torch.equal, statistics, module.buffers()))
    judged_later = agent._rollout_batch(16)
    assert all(map(torch.equal, statistics, module.buffers()))
    for column, found in enumerate((judged_later.log_probs, judged_later.values)):
        wanted = np.concatenate([one[column] for one in acted])
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)
    agent.update(0)
    assert module.training  # dropout and batch statistics are for learning
    assert any(not torch.equal(*pair) for pair in zip(statistics, module.buffers(), strict=True))


def play_on(agent: PPO, game: AroundFive, before: Any, action: Any) -> None:
    ob, reward, terminated, truncated = game.step(action)
    agent.observe(Transition(before, action, reward, terminated, truncated, ob, {}))
