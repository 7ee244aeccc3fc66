"""Twenty kills a run, for every agent and environment that comes with gym-loop."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.killing import differences, train_killed, train_straight
from tests.training.test_resume_kill import ENVIRONMENTS, WORKBENCH, random_config, workbench_config

pytestmark = pytest.mark.learning
KILLS = 20


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_random_agent(tmp_path: Path, env: str) -> None:
    config = random_config(env)
    config["loop"]["parameters"]["max_steps"] *= 5
    seconds = train_straight(tmp_path / "straight", config)
    train_killed(tmp_path / "killed", config, seconds, KILLS, random.Random(env))
    assert differences(tmp_path / "straight", tmp_path / "killed") == []


@pytest.mark.parametrize("name", WORKBENCH)
def test_workbench(tmp_path: Path, name: str) -> None:
    config = workbench_config(name)
    config["loop"]["parameters"]["max_steps"] *= 5
    seconds = train_straight(tmp_path / "straight", config)
    train_killed(tmp_path / "killed", config, seconds, KILLS, random.Random(name))
    assert differences(tmp_path / "straight", tmp_path / "killed") == []
