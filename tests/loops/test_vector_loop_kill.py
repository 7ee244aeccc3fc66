"""SIGKILL at random moments with episodes in flight in every copy, resume, and the same end."""

import random
from pathlib import Path

import pytest

from tests.killing import differences, train_killed, train_straight


@pytest.mark.parametrize("vectorization", ["native", "sync", "async"])
def test_a_killed_run_resumes_to_the_same_end(tmp_path: Path, vectorization: str) -> None:
    config = {
        "env": {"name": "CartPole-v1"},
        "loop": {
            "class": "gym_loop.loops.vector_loop:VectorLoop",
            "parameters": {
                "episodes_per_eval": 500,
                "keep_checkpoints": 2,
                "max_steps": {"native": 60_000, "sync": 30_000, "async": 6_000}[vectorization],
                "n_envs": 3,
                "steps_per_checkpoint": 97,
                "vectorization": vectorization,
            },
        },
        "seed": 3,
    }
    seconds = train_straight(tmp_path / "straight", config)
    rng = random.Random(vectorization)
    train_killed(tmp_path / "killed", config, seconds, kills=2, rng=rng)
    assert differences(tmp_path / "straight", tmp_path / "killed") == []
