"""SIGKILL at random moments, resume, and the result of a run that never stopped.

``make learning`` repeats this with 20 kills a run.
"""

from __future__ import annotations

import random

import pytest

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


def random_config(env: str) -> dict:
    """RandomAgent for about a second, saved in the middle of episodes."""
    return {
        "env": {"name": env},
        "loop": {
            "parameters": {
                "max_episodes": None,
                "max_steps": ENVIRONMENTS[env],
                "steps_per_checkpoint": 97,
                "keep_checkpoints": 2,
            }
        },
        "seed": 3,
    }


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_a_killed_run_resumes_to_the_same_end(tmp_path, env):
    config = random_config(env)
    seconds = train_straight(tmp_path / "straight", config)
    train_killed(tmp_path / "killed", config, seconds, kills=3, rng=random.Random(env))
    assert differences(tmp_path / "straight", tmp_path / "killed") == []
