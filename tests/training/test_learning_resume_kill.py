"""SIGKILL while an agent learns, resume, and the weights of a training that never stopped.

``make learning`` repeats this with every option in every loop.
"""

import random
from pathlib import Path

import pytest

from tests.killing import differences, train_killed, train_straight
from tests.learning_runs import learning_config


@pytest.mark.parametrize(
    ("agent", "loop", "env"),
    [
        ("PPO with every option", "default", "CartPole-v1"),
        ("PPO with every option", "async", "Corridor-v0"),
        ("DQN all, categorical", "native", "CartPole-v1"),
        ("DQN all, quantile", "default", "Corridor-v0"),
        ("DQN prioritized", "sync", "Falling-v0"),
        ("SAC with every option", "default", "Pendulum-v1"),
        ("TD3 with every option", "sync", "Pendulum-v1"),
    ],
)
def test_a_killed_run_learns_on_to_the_same_end(
    tmp_path: Path, agent: str, loop: str, env: str
) -> None:
    config = learning_config(agent, loop, env)
    seconds = train_straight(tmp_path / "straight", config)
    rng = random.Random(agent + loop + env)
    train_killed(tmp_path / "killed", config, seconds / 2, kills=1, rng=rng)
    assert differences(tmp_path / "straight", tmp_path / "killed") == []
