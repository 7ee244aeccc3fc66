"""SIGKILL at random moments, resume, and the result of a run that never stopped.

``make learning`` repeats this with 20 kills a run.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gym_loop.config.run_file import load_config
from tests.killing import differences, train_killed, train_straight

ENVIRONMENTS = {
    "CartPole-v1": 60_000,
    "Pendulum-v1": 15_000,
    "FrozenLake-v1": 60_000,
    "Taxi-v4": 60_000,
    "LunarLander-v3": 6_000,
    "BipedalWalker-v3": 4_000,
    "Hopper-v5": 6_000,
    "ALE/Pong-v5": 2_000,
}

ROOT = Path(__file__).parents[2]
WORKBENCH = {
    "agents/q_learning_frozen_lake": 40_000,
    "agents/q_learning_taxi": 20_000,
    "agents/cross_entropy": 30_000,
    "agents/torch_reinforce": 5_000,
    "loops/curriculum_loop": 30_000,
}
SAVING = {"max_episodes": None, "steps_per_checkpoint": 97, "keep_checkpoints": 2}


def random_config(env: str) -> dict:
    """RandomAgent for about a second, saved in the middle of episodes."""
    return {
        "env": {"name": env},
        "loop": {"parameters": {**SAVING, "max_steps": ENVIRONMENTS[env]}},
        "seed": 3,
    }


def workbench_config(name: str) -> dict:
    """A run file of the workbench, for about a second."""
    config = load_config(ROOT / f"{name}.yaml").portable().as_dict()
    config["loop"]["parameters"].update({**SAVING, "max_steps": WORKBENCH[name]})
    return {**config, "seed": 3}


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_a_killed_run_resumes_to_the_same_end(tmp_path, env):
    config = random_config(env)
    seconds = train_straight(tmp_path / "straight", config)
    train_killed(tmp_path / "killed", config, seconds, kills=3, rng=random.Random(env))
    assert differences(tmp_path / "straight", tmp_path / "killed") == []


TORCH = pytest.param("agents/torch_reinforce", marks=pytest.mark.needs("torch"))


@pytest.mark.parametrize("name", [TORCH if name in TORCH.values else name for name in WORKBENCH])
def test_the_workbench_too(tmp_path, name):
    config = workbench_config(name)
    seconds = train_straight(tmp_path / "straight", config)
    train_killed(tmp_path / "killed", config, seconds, kills=3, rng=random.Random(name))
    assert differences(tmp_path / "straight", tmp_path / "killed") == []
