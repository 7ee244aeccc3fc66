"""Values that YAML knows and JSON or ``==`` does not: a run has them, keeps them, and resumes."""

import datetime
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gym_loop.config.run_file import flatten, load_config, value_at
from gym_loop.errors import ConfigError
from gym_loop.runs.manifest import read_manifest
from gym_loop.schema.yaml_file import as_json, canonical, from_json, read_yaml, write_yaml
from gym_loop.sweeps.records import SweepDirectory
from gym_loop.sweeps.space import Parameter, Space, make_cell
from gym_loop.sweeps.sweep_file import load_sweep

TEXTS = [
    "!!binary aGVsbG8=",
    "2024-01-01",
    "2024-01-01 10:00:00.5",
    "2024-01-01 10:00:00+02:00",
    "!!set {b, a, 1, 2024-01-01}",
    "!!set {}",
    "!!omap [a: 1, b: [1]]",
    "!!pairs [a: 1, a: 2]",
    "{1: a, '1': b, null: c, 1.5: d, 2024-01-01: f, !!binary aGVsbG8=: g}",
    ".nan",
    "[.inf, -.inf, -0.0, 0.0, 1, true, 1.0]",
    "0xffffffffffffffffffffffff",
    "{'!yaml': 3}",
    "{a: {b: [2024-01-01, !!binary aGVsbG8=, !!set {x}]}}",
    "{" + "k" * 500 + ": {a: 1}}",
]


@pytest.mark.parametrize("text", TEXTS)
def test_there_and_back(text: str) -> None:
    value = read_yaml(f"a: {text}").data["a"]
    again = read_yaml(write_yaml({"a": value})).data["a"]
    assert type(again) is type(value)
    assert canonical(again) == canonical(value)
    from_text = from_json(json.loads(json.dumps(as_json(value), allow_nan=False)))
    assert canonical(from_text) == canonical(value)


def test_bytes_stay_on_one_line_and_come_back() -> None:
    data = {"a": bytes(range(256)), "b": [b"hello"]}
    assert len(write_yaml(data).splitlines()) == 2
    assert read_yaml(write_yaml(data)).data == data


def test_a_set_is_written_in_one_order() -> None:
    assert write_yaml({"a": {"b", "a", "c"}}) == "a: !!set {a: null, b: null, c: null}\n"


def test_what_is_the_same_to_a_run_file() -> None:
    values = [math.nan, 1, 1.0, True, "1", 0.0, -0.0, None, "null", [1], [1.0], {"a": 1}, {1: 1}]
    assert len({canonical(one) for one in values}) == len(values)
    assert canonical(float("nan")) == canonical(math.nan)
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})
    assert canonical((1, 2)) == canonical([1, 2])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: {1: a, 0x1: b}", "is given twice"),
        ("a: !!omap [[1]: 1]", "unhashable"),
        ("a: 0x" + "f" * 9000, "too many digits"),
    ],
)
def test_what_no_value_can_be(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_yaml(text)


ENVS = """
import gymnasium, numpy as np

class Values(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, **values):
        with open("values.txt", "a") as file:
            file.write(repr(values) + "\\n")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(2, np.float32), 1.0, self.left == 0, False, {}

class Wrapper(gymnasium.Wrapper):
    def __init__(self, env, steps=1):
        super().__init__(env)

gymnasium.register("Values-v0", Values)
"""
RUN = """
env:
  imports: [envs.py]
  name: Values-v0
  parameters: {fill: .nan, blob: !!binary aGVsbG8=}
  wrappers:
  - class: envs.py:Wrapper
    parameters: {steps: 2}
  - envs.py:Wrapper
loop:
  parameters: {max_episodes: 2}
"""


@pytest.fixture
def here(workdir: Path) -> Path:
    (workdir / "envs.py").write_text(ENVS)
    (workdir / "run.yaml").write_text(RUN)
    return workdir


def made_with() -> set[str]:
    return set(Path("values.txt").read_text().splitlines())


def test_a_run_keeps_them_and_a_resume_repeats_them(here: Path, gym_loop_command: Callable) -> None:
    overrides = ["start=2024-01-01", "some=!!set {a}", "other={1: .inf}"]
    options = [word for one in overrides for word in ("--set", f"env.parameters.{one}")]
    steps = ["--set", "env.wrappers.0.parameters.steps=3", "--set", "env.wrappers.1.parameters={}"]
    assert gym_loop_command("train", "-c", "run.yaml", *options, *steps).status == 0
    values = {
        "fill": math.nan,
        "blob": b"hello",
        "start": datetime.date(2024, 1, 1),
        "some": {"a"},
        "other": {1: math.inf},
    }
    assert made_with() == {repr(values)}
    json.loads(Path("logs/run-1/manifest.json").read_text(), parse_constant=pytest.fail)
    more = ("--set", "loop.parameters.max_episodes=4")
    resumed = gym_loop_command("train", "-c", "run.yaml", "--resume", *more)
    assert resumed.status == 0, resumed.err
    assert gym_loop_command("evaluate", "-c", "run.yaml").status == 0
    again = gym_loop_command("train", "-c", "logs/run-1/run.yaml")
    assert again.status == 0, again.err
    assert made_with() == {repr(values)}
    assert load_config("logs/run-1/run.yaml").env.wrappers[0].parameters == {"steps": 3}
    # What is not repeated but changed is still seen: 1 is not true, and another item is another.
    Path("run.yaml").write_text(RUN.replace("{steps: 2}", "{steps: 2, more: 1}"))
    refused = gym_loop_command("train", "-c", "run.yaml", "--resume")
    assert refused.status == 2
    assert "env.wrappers.0.parameters.more" in refused.err


@pytest.mark.parametrize(("before", "after"), [("1", "true"), ("1", "1.0"), ("0.0", "-0.0")])
def test_a_value_of_another_kind_is_another_value(
    here: Path, gym_loop_command: Callable, before: str, after: str
) -> None:
    Path("run.yaml").write_text(RUN.replace(".nan", before))
    assert gym_loop_command("train", "-c", "run.yaml").status == 0
    Path("run.yaml").write_text(RUN.replace(".nan", after))
    refused = gym_loop_command("train", "-c", "run.yaml", "--resume")
    assert refused.status == 2
    assert "env.parameters.fill" in refused.err


@pytest.mark.parametrize(
    "key",
    [
        "env.wrappers.7.x",
        "env.wrappers.-1.x",
        "env.wrappers.x.y",
        "loop.parameters.loggers.0.class",
    ],
)
def test_an_item_that_is_not_in_the_list(here: Path, gym_loop_command: Callable, key: str) -> None:
    refused = gym_loop_command("train", "-c", "run.yaml", "--set", f"{key}=3")
    assert refused.status == 2
    assert refused.err.count("\n") == 1
    assert key in refused.err
    assert not Path("logs").exists()


def test_keys_of_other_kinds_in_dotted_keys() -> None:
    config = {"a": {"m": {1: 2, "x": 3}}, "list": [{"b": 1}, {"b": 2}]}
    assert flatten(config) == {"a.m": {1: 2, "x": 3}, "list": [{"b": 1}, {"b": 2}]}
    assert flatten(config, lists=True)["list.1.b"] == 2
    assert value_at(config, "a.m.1") == 2
    assert value_at(config, "list.1.b") == 2
    found = load_config({"env": {"parameters": {"m": {1: 2}}}}, ["env.parameters.m.1=5"])
    assert found.env.parameters == {"m": {1: 5}}


class TestSweeps:
    SWEEP = (
        "parameters:\n"
        "  env.parameters.fill: [.nan, 1, true, 1.0]\n"
        "  env.parameters.start:\n"
        "    {choice: [2024-01-01, 2024-01-02], when: {env.parameters.fill: 1}}\n"
        "searcher: random\ntrials: 9\n"
    )

    def test_every_value_is_its_own_cell(self, here: Path) -> None:
        config = load_config("run.yaml")
        values = [math.nan, 1, True, 1.0, math.inf, datetime.date(2024, 1, 1), "2024-01-01", {"a"}]
        names = {make_cell(config, {"env.parameters.fill": one}, "").name for one in values}
        assert len(names) == len(values)

    def test_a_condition_is_met_by_its_own_value_alone(self, here: Path) -> None:
        Path("sweep.yaml").write_text(self.SWEEP)
        fill, start = load_sweep("sweep.yaml", load_config("run.yaml")).space.parameters
        points = list(Space([fill, start]).grid())
        assert len(points) == 5
        assert [canonical(one["env.parameters.fill"]) for one in points if len(one) == 2] == [
            "1",
            "1",
        ]

    def test_optuna_gets_and_gives_them_back(self) -> None:
        values = (math.nan, 1, True, 1.0, datetime.date(2024, 1, 1), b"x", {1: 2})
        one = Parameter("x", "choice", values)
        assert len(set(one.codes())) == len(values)
        for value in values:
            assert one.decode(one.code(value)) is value
        with_nan = Parameter("x", "choice", (math.nan, 1))
        assert [with_nan.decode(with_nan.code(value)) for value in with_nan.values][1] == 1

    def test_the_same_value_twice(self, here: Path) -> None:
        Path("sweep.yaml").write_text("parameters:\n  env.parameters.fill: [.nan, 1, .nan]\n")
        with pytest.raises(ConfigError, match=r"fill\.2: nan is given twice"):
            load_sweep("sweep.yaml", load_config("run.yaml"))

    def test_records_and_facts(self, here: Path) -> None:
        values = {"env.parameters.fill": math.nan, "env.parameters.start": {1: b"x"}}
        cell = make_cell(load_config("run.yaml"), values, "")
        facts: dict[str, Any] = {
            "config": "c",
            "sweep": "s",
            "resolved_config": as_json(flatten(cell.config.as_dict())),
            "resolved_sweep": as_json({"parameters": values}),
        }
        directory = SweepDirectory.create("s", None, facts)
        directory.write(directory.begin(0, cell, [0]))
        assert repr(next(directory.records()).values) == repr(values)
        directory.close("stopped")
        SweepDirectory.reopen(None, facts).close("stopped")
        assert read_manifest(directory.path / "manifest.json")["status"] == "stopped"
