"""The JSON Schema says of run files what the reader says, as far as it can."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gym_loop.config.json_schema import SCHEMA_LINE, run_schema
from gym_loop.config.presets import list_presets, preset_text
from gym_loop.config.run_file import default_config
from gym_loop.schema.yaml_file import read_yaml

SCHEMA = run_schema()


def problems(data: Any) -> list[str]:
    validator = jsonschema.Draft7Validator(SCHEMA)
    return [error.message for error in validator.iter_errors(data)]


@pytest.mark.parametrize("name", list_presets())
def test_presets_fit(name: str) -> None:
    assert problems(read_yaml(preset_text(name)).data) == []


def test_what_create_default_writes_fits() -> None:
    for loop in ("default_loop:DefaultLoop", "vector_loop:VectorLoop"):
        config = default_config("gym_loop.agents.ppo:PPO", f"gym_loop.loops.{loop}", "CartPole-v1")
        assert problems(json.loads(json.dumps(config.as_dict()))) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"agnet": {}}, "'agnet' was unexpected"),
        ({"loop": {"parameters": {"max_episods": 1}}}, "'max_episods' was unexpected"),
        ({"loop": {"parameters": {"max_episodes": 0}}}, "0 is not valid"),
        ({"agent": {"parameters": {"anything": 1}}}, "'anything' was unexpected"),
        ({"agent": {"class": "gym_loop.agents.ppo:PPO", "parameters": {"n_stesp": 1}}}, "n_stesp"),
        ({"agent": {"class": "mine.py:Mine", "parameters": {"anything": 1}}}, None),
        ({"env": {"wrappers": ["a:B", {"class": "a:B", "parameters": {"x": 1}}]}}, None),
        ({"env": {"wrappers": [{"clas": "a:B"}]}}, "not valid"),
        ({"seed": -1}, "-1 is not valid"),
    ],
)
def test_what_it_refuses(data: dict[str, Any], said: str | None) -> None:
    found = problems(data)
    assert len(found) == (said is not None)
    assert (said or "") in "".join(found)


def test_the_command_prints_it(gym_loop_command: Callable) -> None:
    outcome = gym_loop_command("schema")
    assert json.loads(outcome.out) == json.loads(json.dumps(SCHEMA))
    assert "did you mean sweep?" in gym_loop_command("schema", "swep").err


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("sweep", {"parameters": {"a.b": [1]}, "scheduler": "asha"}, {"mode": "most"}),
        ("serve", {"port": 5000, "env": ["A-*"], "make": "a:b"}, {"idle_lease": 0}),
    ],
)
def test_other_files(
    kind: str, good: dict[str, Any], bad: dict[str, Any], gym_loop_command: Callable
) -> None:
    validator = jsonschema.Draft7Validator(json.loads(gym_loop_command("schema", kind).out))
    assert list(validator.iter_errors(good)) == []
    assert len(list(validator.iter_errors(bad))) == 1


@pytest.mark.parametrize(
    "command", [("create-default", "-c", "run.yaml"), ("new", "agent", "run.py")]
)
def test_it_is_written_beside_a_run_file(
    command: tuple[str, ...], workdir: Path, gym_loop_command: Callable
) -> None:
    assert gym_loop_command(*command).status == 0
    assert Path("run.yaml").read_text().startswith(SCHEMA_LINE)
    assert "run.schema.json" in SCHEMA_LINE
    written = Path("run.schema.json")
    assert json.loads(written.read_text()) == json.loads(json.dumps(SCHEMA))
    written.write_text('{"title": "A run file of gym-loop", "of": "another version"}')
    assert gym_loop_command(*command, "-f").status == 0
    assert "another version" not in written.read_text()
    written.write_text("mine")
    assert gym_loop_command(*command, "-f").status == 0
    assert written.read_text() == "mine"
