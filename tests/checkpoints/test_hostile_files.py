"""Checkpoints and manifests from strangers: loaded, or refused in one sentence; never more."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.checkpoints.seeding import Seeds
from gym_loop.checkpoints.store import read_checkpoint
from gym_loop.cli.output import runs_table
from gym_loop.config.run_file import load_config
from gym_loop.envs.making import close_quietly
from gym_loop.envs.state.keeper import keep_state
from gym_loop.errors import GymLoopError
from gym_loop.report.writing import report
from gym_loop.runs.listing import list_runs
from gym_loop.runs.training_run import TrainingRun
from gym_loop.training.building import Experiment
from tests import forging
from tests.conftest import Outcome
from tests.forging import forge

Command = Callable[..., Outcome]
ESCAPE = "\x1b]0;owned\x07\x1b[2J"
OTHERS: list[Any] = [
    None, True, -1, 10**30, 1.5, float("inf"), "text", "", [], [[]], {}, {"x": 1},
    {"$t": [1]}, {"$objects": {"items": [], "shape": [60_000_000]}},
]  # fmt: skip
MORE = ("--set", "loop.parameters.max_steps=80")
RUNS: dict[str, dict[str, Any]] = {
    "ppo": {
        "class": "gym_loop.agents.ppo:PPO",
        "parameters": {"n_steps": 16, "batch_size": 8, "network_parameters": {"hidden": [4]}},
    },
    "dqn": {
        "class": "gym_loop.agents.dqn:DQN",
        "parameters": {
            "buffer_size": 50,
            "learning_starts": 8,
            "batch_size": 4,
            "network_parameters": {"hidden": [4]},
        },
    },
}


def config(agent: str) -> dict[str, Any]:
    return {
        "agent": RUNS[agent],
        "env": {"name": "CartPole-v1"},
        "loop": {"parameters": {"max_steps": 40}},
        "seed": 3,
    }


def trained(agent: str) -> Path:
    """The directory of the only checkpoint of a finished run."""
    result = gym_loop.train(config(agent))
    assert result.checkpoint is not None
    return result.checkpoint


def places(node: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, the outer ones first."""
    if way:
        yield way
    for key, value in node.items() if isinstance(node, dict) else ():
        yield from places(value, (*way, key))
    for index, value in enumerate(node[:3]) if isinstance(node, list) else ():
        yield from places(value, (*way, index))


def put(document: Any, way: tuple[Any, ...], value: Any) -> None:
    for key in way[:-1]:
        document = document[key]
    document[way[-1]] = value


def refused(agent: str, checkpoint: Path) -> bool:
    """Whether loading it is refused; it must not end in any other way but success."""
    run = TrainingRun(Seeds(3))
    experiment = Experiment(load_config(config(agent)), run)
    run.env_state = keep_state(experiment.env, "attributes")
    experiment.loop.env = run.env_state.env
    try:
        run.load(experiment.loop, read_checkpoint(checkpoint))
    except GymLoopError:
        return True
    finally:
        close_quietly(experiment.env)
    return False


@pytest.mark.parametrize("agent", RUNS)
def test_a_checkpoint_of_which_one_value_was_changed(workdir: Path, agent: str) -> None:
    checkpoint = trained(agent)
    original = json.loads((checkpoint / "state.json").read_bytes())
    del original["checksum"]
    ways = list(places(original))
    assert not refused(agent, checkpoint)
    count = 0
    for number, way in enumerate(ways):
        document = json.loads(json.dumps(original))
        put(document, way, OTHERS[number % len(OTHERS)])
        forging.write_document(checkpoint / "state.json", document)
        count += refused(agent, checkpoint)
    assert count > len(ways) / 4


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("tree", "streams"), 5),
        (("tree", "streams"), {}),
        (("tree", "streams", "python", "gauss"), "x"),
        (("tree", "streams", "numpy", "state", "pos"), 10**6),
        (("tree", "streams", "torch_seed"), "x"),
        (("tree", "spaces"), 5),
        (("tree", "spaces"), []),
        (("tree", "run"), {}),
        (("tree", "run", "seconds"), "x"),
        (("tree", "run", "seconds"), -1),
        (("tree", "run", "best_evaluation"), "x"),
        (("tree", "agent"), None),
        (("tree", "agent", "$attributes", "act"), 5),
        (("tree", "agent", "$attributes", "update"), "x"),
        (("tree", "environment", "core", "core", "attributes", "step"), 5),
        (("tree", "loop", "steps"), "x"),
        (("tree", "loop", "episode"), -1),
        (("tree", "loop", "episode_log"), 5),
        (("tree", "environment"), 5),
        (("info", "versions"), 5),
    ],
    ids=lambda one: ".".join(one) if isinstance(one, tuple) else repr(one),
)
def test_what_is_forged_is_refused_in_a_sentence(
    workdir: Path, gym_loop_command: Command, way: tuple[str, ...], value: Any
) -> None:
    checkpoint = trained("ppo")
    forge(checkpoint, lambda document: put(document, way, value))
    Path("run.yaml").write_text(json.dumps(config("ppo")))
    done = gym_loop_command("train", "-c", "run.yaml", "--resume", "run-1", *MORE)
    assert "Traceback" not in done.err
    if way != ("info", "versions"):
        assert done.status == 2, done.err
        assert "damaged" in done.err or "saved" in done.err


def test_a_missing_agent_is_refused_by_train_and_evaluate(
    workdir: Path, gym_loop_command: Command
) -> None:
    checkpoint = trained("ppo")
    forge(checkpoint, lambda document: document["tree"].pop("agent"))
    Path("run.yaml").write_text(json.dumps(config("ppo")))
    for command in (("train", "--resume", "run-1", *MORE), ("evaluate", "--run", "run-1")):
        done = gym_loop_command(command[0], "-c", "run.yaml", *command[1:])
        assert done.status == 2
        assert "Traceback" not in done.err


def test_a_checkpoint_cuts_no_file_outside_its_run(workdir: Path) -> None:
    checkpoint = trained("ppo")
    (workdir / "precious").write_text("not to be cut")
    position = {"file": str(workdir / "precious"), "bytes": 0, "started_at": 1.0}
    forge(checkpoint, lambda document: document["tree"]["logs"].update(TensorBoardLogger=position))
    gym_loop.train(config("ppo"), ["loop.parameters.max_steps=60"], resume=True)
    assert (workdir / "precious").read_text() == "not to be cut"


MANIFESTS: list[Any] = [
    {"started": 5}, {"steps": "abc"}, {"steps": 10**400}, {"seed": [1]}, {"agent": None},
    {"env": {}}, {"status": 5}, {"resume": 5}, {"hardware": []}, {"resumes": "x"},
    {"config": 5, "config_from_logs": 7}, {"overrides": [1]}, {"episodes": -1}, {"order": "9"},
    {"run": ESCAPE, "agent": f"x:{ESCAPE}", "env": ESCAPE, "status": ESCAPE}, [], None, 5, "text",
]  # fmt: skip


@pytest.mark.parametrize("content", [*map(json.dumps, MANIFESTS),
    '{"steps": 1e999}', '{"seconds": NaN}', "[" * 100_000, "{", "\0", ""])  # fmt: skip
def test_one_bad_manifest_spoils_no_other_run(
    workdir: Path, gym_loop_command: Command, content: str
) -> None:
    for _ in range(2):
        gym_loop.train(config("ppo"))
    bad = Path("logs/run-1/manifest.json")
    facts = json.loads(bad.read_text())
    try:
        content = json.dumps({**facts, **json.loads(content)})
    except (TypeError, ValueError, RecursionError):
        pass
    bad.write_text(content)
    found = list_runs(Path("logs"))
    assert sorted(one.run for one in found) == ["run-1", "run-2"]
    assert "\x1b" not in runs_table(found)
    for command in (["runs"], ["report", "--force"], ["compare", "run-1", "run-2"]):
        done = gym_loop_command(*command)
        assert done.status == 0 or "cannot be compared" in done.err
        assert "\x1b" not in done.out + done.err
    gym_loop.train(config("ppo"), ["loop.parameters.max_steps=50"], resume=True)


@pytest.mark.parametrize("name", ["metrics.csv", "manifest.json", "run.yaml", "lock"])
def test_a_fifo_among_the_files_of_a_run_is_not_waited_for(
    workdir: Path, gym_loop_command: Command, name: str
) -> None:
    for _ in range(2):
        gym_loop.train(config("ppo"))
    path = Path("logs/run-1") / name
    path.unlink()
    os.mkfifo(path)
    for command in (["runs", "--plot"], ["report", "--force"], ["compare", "run-1", "run-2"]):
        assert "Traceback" not in gym_loop_command(*command).err
    with pytest.raises(GymLoopError) if name in ("lock", "run.yaml") else _nothing():
        gym_loop.train(config("ppo"), ["loop.parameters.max_steps=50"], resume="run-1")


class _nothing:  # noqa: N801 - a context that expects nothing
    def __enter__(self) -> None: ...
    def __exit__(self, *_: Any) -> None: ...


def test_a_csv_file_of_a_report_computes_nothing(workdir: Path) -> None:
    gym_loop.train({**config("ppo"), "env": {"name": "CartPole-v1"}})
    manifest = Path("logs/run-1/manifest.json")
    facts = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**facts, "env": "=cmd|' /C calc'!A0", "agent": "@x:+y"}))
    report((), csv=Path("numbers"), force=True)
    text = Path("numbers/runs.csv").read_text() + Path("numbers/groups.csv").read_text()
    assert "'=cmd|" in text
    assert ",=cmd" not in text
    assert ",@x" not in text
