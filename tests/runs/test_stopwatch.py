"""Where a training's time went."""

import csv
from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.runs.stopwatch import Stopwatch


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> float:
        self.now += seconds
        return seconds


def test_time_is_summed_by_part_and_the_rest_is_the_loops() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    act, _, update, step = watch.around(clock.spend, clock.spend, clock.spend, clock.spend)
    assert act(1.0) == 1.0
    act(0.5)
    step(seconds=2.0)
    clock.spend(0.25)
    assert watch.lap() == {"time/act": 1.5, "time/environment": 2.0, "time/loop": 0.25}
    update(3.0)
    assert watch.lap() == {"time/update": 3.0, "time/loop": 0.0}


def test_what_raises_is_counted_too() -> None:
    clock = Clock()
    watch = Stopwatch(clock)

    def fail() -> None:
        clock.spend(1.0)
        raise KeyError

    with pytest.raises(KeyError):
        watch.timed("act", fail)()
    assert watch.lap()["time/act"] == 1.0


LOOPS: dict[str, dict[str, Any]] = {
    "DefaultLoop": {"class": "gym_loop.loops.default_loop:DefaultLoop"},
    "VectorLoop": {"class": "gym_loop.loops.vector_loop:VectorLoop"},
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("profile", [True, False])
def test_a_training_logs_where_its_time_went(loop: str, profile: bool, workdir: Path) -> None:
    parameters = {"max_episodes": 6, "max_steps": None, "episodes_per_eval": 3,
                  "eval_episodes": 1, "profile": profile}  # fmt: skip
    result = gym_loop.train(
        {
            "agent": {"class": "gym_loop.agents.random_agent:RandomAgent"},
            "env": {"name": "CartPole-v1"},
            "loop": {**LOOPS[loop], "parameters": parameters},
        },
        seed=1,
    )
    with open(result.directories["logdir"] / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    parts = {name for name in rows[0] if name.startswith("time/")}
    expected = {"act", "environment", "evaluation", "logging", "loop", "observe", "update"}
    assert {f"time/{name}" for name in expected} <= parts or not profile
    assert bool(parts) is profile
    sums = {name: sum(float(row[name] or 0) for row in rows) for name in parts}
    assert all(0.0 <= seconds <= 60.0 for seconds in sums.values())
