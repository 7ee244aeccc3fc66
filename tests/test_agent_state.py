"""What agents learn comes back in a resume, wherever they keep it, or it is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.runs.checkpoint import CheckpointStore
from tests import stateful_agents
from tests.killing import differences, write_run_file


def config(agent: str, parameters: dict[str, Any] | None = None, **loop: Any) -> dict[str, Any]:
    return {
        "agent": {"class": f"tests.stateful_agents:{agent}", "parameters": parameters or {}},
        "env": {"name": "CartPole-v1"},
        "loop": {"parameters": {"max_episodes": 6, "loggers": [], **loop}},
        "seed": 5,
    }


def manifest(directory: Path) -> Any:
    return json.loads((directory / "logdir" / "run-1" / "manifest.json").read_text())


def test_an_optimiser_and_counters_in_the_network_come_back(tmp_path: Path) -> None:
    at_once, broken = tmp_path / "at_once", tmp_path / "broken"
    whole = gym_loop.train(write_run_file(at_once, config("Reinforce", max_episodes=60)))
    path = write_run_file(broken, config("Reinforce", max_episodes=30))
    gym_loop.train(path)
    resumed = gym_loop.train(path, {"loop.parameters.max_episodes": 60}, resume=True)
    assert (resumed.steps, resumed.episodes) == (whole.steps, 60)
    assert differences(at_once, broken) == []
    tree = CheckpointStore(broken / "checkpoint_dir" / "run-1").newest().tree
    net = tree["agent"]["__tree__"]["net"]
    assert net["attributes"][""]["learn_steps"] == whole.steps


def test_parameters_that_training_changes_come_back(tmp_path: Path) -> None:
    at_once, broken = tmp_path / "at_once", tmp_path / "broken"
    gym_loop.train(write_run_file(at_once, config("Decaying", max_episodes=8)))
    path = write_run_file(broken, config("Decaying", max_episodes=4))
    gym_loop.train(path)
    gym_loop.train(path, {"loop.parameters.max_episodes": 8}, resume=True)
    assert differences(at_once, broken) == []
    tree = CheckpointStore(broken / "checkpoint_dir" / "run-1").newest().tree
    saved = tree["agent"]["__tree__"]["parameters"]
    assert list(saved) == ["epsilon"]  # what __init__ derives from others is none of them
    assert saved["epsilon"] < 0.9


def test_what_training_changes_in_a_class_or_a_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stateful_agents.InTheClass.steps = 0
    gym_loop.train(write_run_file(tmp_path, config("InTheClass", max_episodes=2)))
    said = capsys.readouterr().err
    for name in ("InTheClass.steps", "InTheClass.table", "tests.stateful_agents.TRIED"):
        assert name in said
    assert said.count("no checkpoint holds") == 1
    assert manifest(tmp_path)["resume"]["verdict"] == "approximate"


def test_code_that_training_puts_in_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gym_loop.train(write_run_file(tmp_path, config("CodeLater", max_episodes=2)))
    assert "no checkpoint holds agent.rule" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("agent", "place", "remedy"),
    [
        ("Lazy", "agent.net: a torch.nn.modules.linear:Linear", "make it in __init__"),
        ("Growing", "agent.nodes[1]: a tests.stateful_agents:Node", "its class a dataclass"),
    ],
)
def test_what_no_resumed_run_could_load_is_refused_when_it_is_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], agent: str, place: str, remedy: str
) -> None:
    gym_loop.train(write_run_file(tmp_path, config(agent, max_episodes=2)))
    said = capsys.readouterr().err
    assert place in said
    assert remedy in said
    assert not CheckpointStore(tmp_path / "checkpoint_dir" / "run-1").steps()
