"""Copies in Ray's actors: the same training as copies in this process; one Ray for all tests."""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.vector import AutoresetMode

import gym_loop
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.checkpoints.tree import first_difference
from gym_loop.envs.ray_workers import ShardsEnv, start_ray
from gym_loop.errors import ConfigError, EnvWorkerError, UsageError


@pytest.fixture(scope="module", autouse=True)
def _no_ray_is_left() -> Iterator[None]:
    yield
    import ray

    ray.shutdown()


def test_copies_are_made_from_the_run_s_streams_and_ray_draws_from_none() -> None:
    class Drawn(gymnasium.Env):
        observation_space = gymnasium.spaces.Discrete(2)
        action_space = gymnasium.spaces.Discrete(2)

        def __init__(self) -> None:
            self.drawn = random.random()

    random.seed(1)
    env = ShardsEnv(Drawn, 3, "Drawn-v0", AutoresetMode.SAME_STEP, shards=2)
    after = random.random()
    first = env.call("drawn")
    env.call("make_again")
    again = env.call("drawn")
    env.close()
    random.seed(1)
    assert after == random.random()
    assert first == again == 3 * (after,)


def run_file(vectorization: str) -> dict[str, Any]:
    return {
        "agent": {
            "class": "gym_loop.agents.ppo:PPO",
            "parameters": {"n_steps": 16, "batch_size": 32, "n_epochs": 2},
        },
        "env": {"name": "CartPole-v1"},
        "loop": {
            "class": "gym_loop.loops.vector_loop:VectorLoop",
            "parameters": {
                "n_envs": 2,
                "max_steps": 300,
                "vectorization": vectorization,
                "episodes_per_eval": 10,
                "eval_episodes": 2,
            },
        },
    }


def state(run: str) -> Any:
    tree = CheckpointStore(Path("checkpoints", run)).newest().tree
    return {"agent": tree["agent"], "loop": tree["loop"]["returns"]}


def test_a_training_is_the_same_as_with_copies_here_and_resumes_exactly(workdir: Path) -> None:
    here = gym_loop.train(run_file("sync"), seed=1)
    first = gym_loop.train(run_file("ray"), {"loop.parameters.max_steps": 150}, seed=1)
    there = gym_loop.train(run_file("ray"), {"loop.parameters.max_steps": 300}, resume=first.run)
    assert (there.steps, there.episodes) == (here.steps, here.episodes)
    assert there.best_evaluation == here.best_evaluation
    assert first_difference(state(here.run), state(there.run)) == ""
    facts = json.loads(Path("logs", there.run, "manifest.json").read_text())
    assert facts["resume"]["verdict"] == "exact"


def test_a_copy_that_raises_is_named_with_its_error() -> None:
    class Broken(gymnasium.Env):  # in here: an actor cannot import this file
        observation_space = gymnasium.spaces.Discrete(2)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return 0, {}

        def step(self, action: int) -> Any:
            raise ValueError("boom")

    env = ShardsEnv(Broken, 2, "Broken-v0", AutoresetMode.SAME_STEP, shards=1)
    env.reset(seed=0)
    with pytest.raises(EnvWorkerError, match="a copy of Broken-v0 raised ValueError: boom"):
        env.step([0, 1])
    env.close()


def test_copies_elsewhere_cannot_be_shown() -> None:
    file = run_file("ray")
    with pytest.raises(ConfigError, match="needs copies in this process"):
        gym_loop.train(file, {"loop.parameters.record": True})


def test_a_python_that_ray_cannot_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/my projects/.venv/bin/python")
    with pytest.raises(UsageError, match="whose path has a space"):
        start_ray(None, 1)
