"""The random agent samples any space, and continues from its state."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Space, Text, Tuple

from gym_loop.agents.random_agent import RandomAgent
from gym_loop.agents.transition import Transition
from gym_loop.checkpoints.tree import capture, restore
from gym_loop.testing import check_agent

SPACES = [
    Discrete(5),
    Box(-1, 1, (3,), np.float32),
    MultiBinary(4),
    Text(6),
    Tuple((Discrete(3), Dict({"a": Box(0, 1, ()), "b": Discrete(2)}))),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_samples_any_space(space: Space) -> None:
    space.seed(3)
    agent = RandomAgent(observation_space=Discrete(1), action_space=space, n_envs=1, seed=0)
    actions = [agent.act(0, episode) for episode in range(20)]
    assert all(space.contains(action) for action in actions)
    assert len({str(action) for action in actions}) > 1


def test_learns_nothing_and_has_no_parameters() -> None:
    assert RandomAgent.get_default_parameters() == {}
    agent = RandomAgent(action_space=Discrete(2))
    before = capture(agent.state_dict())
    agent.observe(Transition(0, 1, 1.0, False, True, 0, {}))
    agent.update(0)
    assert str(capture(agent.state_dict())) == str(before)
    assert agent.metrics(0) == {}


def test_continues_from_its_state() -> None:
    agent = RandomAgent(action_space=Discrete(10**6, seed=1))
    agent.act(None, 0)
    state = capture(agent.state_dict())
    first = [agent.act(None, 0) for _ in range(5)]
    twin = RandomAgent(action_space=Discrete(10**6, seed=2))
    twin.load_state_dict(restore(None, state))
    assert [twin.act(None, 0) for _ in range(5)] == first


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_keeps_the_contract(env: str) -> None:
    check_agent(RandomAgent, env=env, steps=50)
    check_agent(RandomAgent, env=gymnasium.make(env), steps=50)
