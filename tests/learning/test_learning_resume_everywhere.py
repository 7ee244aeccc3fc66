"""Every option of the learning agents, killed and resumed in every loop."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.killing import differences, train_killed, train_straight
from tests.learning_runs import AGENTS, CONTINUOUS, LOOPS, learning_config

pytestmark = pytest.mark.learning
KILLS = 3
OTHERS = ["PPO with every option", "DQN", "DQN all, categorical", "DQN all, quantile"]


def check(place: Path, agent: str, loop: str, env: str) -> None:
    config = learning_config(agent, loop, env)
    seconds = train_straight(place / "straight", config)
    train_killed(place / "killed", config, seconds, KILLS, random.Random(agent + loop + env))
    assert differences(place / "straight", place / "killed") == []


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("agent", AGENTS)
def test_every_option(tmp_path: Path, agent: str, loop: str) -> None:
    check(tmp_path, agent, loop, "CartPole-v1")


@pytest.mark.parametrize("loop", ["default", "sync", "async"])
@pytest.mark.parametrize("agent", CONTINUOUS)
def test_every_option_of_continuous_actions(tmp_path: Path, agent: str, loop: str) -> None:
    check(tmp_path, agent, loop, "Pendulum-v1")


@pytest.mark.parametrize("env", ["Falling-v0", "Corridor-v0"])
@pytest.mark.parametrize("loop", ["default", "sync", "async"])
@pytest.mark.parametrize("agent", OTHERS)
def test_pictures_and_parts(tmp_path: Path, agent: str, loop: str, env: str) -> None:
    check(tmp_path, agent, loop, env)
