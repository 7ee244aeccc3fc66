"""Runs are grouped by what differs in their configs, or by what is asked for."""

from pathlib import Path
from typing import Any

import pytest

from gym_loop.errors import UsageError
from gym_loop.report.grouping import differences, group_runs
from gym_loop.report.reading import RunData


def run(name: str, agent: str = "m:PPO", env: str = "A-v0", **parameters: Any) -> RunData:
    config = {f"agent.parameters.{key}": value for key, value in parameters.items()}
    config |= {"agent.class": agent, "env.name": env, "seed": hash(name), "loop.x.logdir": name}
    return RunData(name, Path(name), config, agent, env)


def names(runs: list[RunData], *by: str) -> dict[str, int]:
    return {group.name: len(group.runs) for group in group_runs(runs, by)}


def test_seeds_and_directories_make_no_groups() -> None:
    assert names([run("a-1", rate=1), run("a-2", rate=1)]) == {"PPO": 2}


def test_what_differs_makes_groups() -> None:
    runs = [run("a-1", rate=1e-3), run("a-2", rate=1e-4), run("a-3", rate=1e-3)]
    assert names(runs) == {"rate=0.001": 2, "rate=0.0001": 1}


def test_agents_are_told_apart_by_name_alone() -> None:
    runs = [run("a-1", rate=1), run("b-1", "m:DQN", buffer=7), run("b-2", "m:DQN", buffer=7)]
    assert names(runs) == {"PPO": 1, "DQN": 2}


def test_values_tuned_for_an_environment_make_no_groups() -> None:
    runs = [run("a-1", rate=1), run("b-1", env="B-v0", rate=2)]
    assert names(runs) == {"PPO": 2}


def test_by_what_is_asked_for() -> None:
    runs = [run("a-1", rate=1), run("a-2", rate=2), run("b-1", "m:DQN", env="B-v0", rate=2)]
    assert names(runs, "agent") == {"PPO": 2, "DQN": 1}
    assert names(runs, "env") == {"A-v0": 2, "B-v0": 1}
    assert names(runs, "file") == {"a": 2, "b": 1}
    assert names(runs, "rate") == {"rate=1": 1, "rate=2": 2}
    assert names(runs, "agent.parameters.rate", "env") == {
        "rate=1, A-v0": 1, "rate=2, A-v0": 1, "rate=2, B-v0": 1,
    }  # fmt: skip


def test_long_names_stay_apart() -> None:
    runs = [run("a-1", text="x" * 200 + "a"), run("a-2", text="x" * 200 + "b")]
    found = names(runs)
    assert len(found) == 2
    assert max(map(len, found)) < 70


@pytest.mark.parametrize(
    ("key", "said"), [("rat", "did you mean rate"), ("zzz", "try agent, env or file")]
)
def test_an_unknown_key(key: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        names([run("a-1", rate=1)], key)


def test_a_key_that_may_be_several() -> None:
    one = run("a-1", rate=1)
    one.config = {**one.config, "loop.parameters.rate": 2}
    with pytest.raises(UsageError, match=r"agent\.parameters\.rate or loop\.parameters\.rate"):
        names([one], "rate")


def test_runs_without_a_config() -> None:
    bare = RunData("a-1", Path("a-1"), agent="m:PPO", env="A-v0")
    assert names([bare, run("a-2", rate=1)]) == {"PPO": 2}


def test_differences() -> None:
    runs = [run("a-1", rate=1), run("a-2", rate=2), run("b-1", "m:DQN", buffer=3)]
    rows, more = differences(group_runs(runs))
    assert rows == [
        ("agent.class", ["m:PPO", "m:PPO", "m:DQN"]),
        ("agent.parameters.rate", ["1", "2", "-"]),
    ]
    assert more == 1
