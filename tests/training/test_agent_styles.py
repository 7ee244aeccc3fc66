"""Agents of many styles: what they learn comes back, or is named, or refused at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.cli.output import verification_report
from gym_loop.errors import ContractError, StateError
from gym_loop.loops import checkpoint_schedule
from gym_loop.runs.manifest import read_manifest
from gym_loop.training.verify import verify_resume
from tests.killing import differences, write_run_file

TORCH = pytest.mark.needs("torch")
TREE = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TREE)  # tests.agent_styles is found from here


def config(agent: str, module: str = "agent_styles", **loop: Any) -> dict[str, Any]:
    parameters = {"max_episodes": None, "episodes_per_eval": 3, "eval_episodes": 2, **loop}
    return {
        "agent": {"class": f"tests.{module}:{agent}"},
        "env": {"name": "CartPole-v1"},
        "loop": {"parameters": parameters},
        "seed": 3,
    }


def manifest(directory: Path) -> dict[str, Any]:
    return read_manifest(directory / "logdir" / "run-1" / "manifest.json")


@pytest.mark.parametrize(
    ("module", "agent"),
    [
        ("agent_styles", "Tables"),
        ("agent_styles", "Records"),
        ("agent_styles", "Evolving"),
        ("agent_styles", "Arrays"),
        pytest.param("agent_styles_torch", "InTheModule", marks=TORCH),
        pytest.param("agent_styles_torch", "Replaying", marks=TORCH),
    ],
)
def test_a_run_that_was_stopped_is_one_that_never_was(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    agent: str,
) -> None:
    monkeypatch.setattr(checkpoint_schedule, "SECONDS_ALLOWED", float("inf"))
    wanted = config(agent, module, max_steps=150, steps_per_checkpoint=50)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    file = write_run_file(straight, wanted)
    gym_loop.train(file)
    for steps in (50, 100, 150):  # in the middle of episodes
        last = write_run_file(stopped, wanted)
        gym_loop.train(last, {"loop.parameters.max_steps": steps}, resume=steps > 50)
    assert differences(straight, stopped) == []
    assert (
        manifest(straight)["resume"]["verdict"] == manifest(stopped)["resume"]["verdict"] == "exact"
    )
    assert "warning" not in capsys.readouterr().err
    played = [gym_loop.evaluate(path, episodes=2, seed=1) for path in (file, last)]
    assert played[0].episodes == played[1].episodes


@pytest.mark.parametrize(
    ("agent", "places"),
    [
        ("Closures", ["agent.coin", "agent.noise", "agent.schedule"]),
        ("Defaults", ["tests.agent_styles.remembered"]),
    ],
)
def test_what_functions_keep_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], agent: str, places: list[str]
) -> None:
    file = write_run_file(tmp_path, config(agent, max_steps=20))
    gym_loop.train(file)
    said = capsys.readouterr().err
    assert said.count("no checkpoint holds") == 1
    named = said.partition("no checkpoint holds ")[2].partition(": ")[0].split("), ")
    assert [one.partition(" (")[0] for one in named] == places
    assert manifest(tmp_path)["resume"]["verdict"] == "approximate"
    gym_loop.evaluate(file, episodes=1)
    assert f"no checkpoint holds {places[0]}" in capsys.readouterr().err


def test_verify_resume_says_why_a_difference_was_to_be_expected(tmp_path: Path) -> None:
    found = verify_resume(write_run_file(tmp_path, config("Closures", max_steps=20)), steps=60)
    assert not found.identical
    assert "agent.noise" in verification_report(found).splitlines()[-1]


@pytest.mark.parametrize(
    ("agent", "place"), [("Telling", "agent.plan"), ("Locking", "agent.parts")]
)
def test_what_is_no_data_is_refused_at_the_start(tmp_path: Path, agent: str, place: str) -> None:
    file = write_run_file(tmp_path, config(agent, max_steps=20))
    with pytest.raises(StateError, match=place):
        gym_loop.train(file)
    with pytest.raises(ContractError, match=place) as refused:
        verify_resume(file, steps=60)
    assert "Traceback" not in str(refused.value)


@TORCH
@pytest.mark.parametrize(
    ("agent", "said"), [("Lazy", r"agent\.net.*lazy"), ("Module", r"self\.parameters is a method")]
)
def test_modules_that_cannot_be_saved_are_refused_at_the_start(
    tmp_path: Path, agent: str, said: str
) -> None:
    file = write_run_file(tmp_path, config(agent, "agent_styles_torch", max_steps=20))
    with pytest.raises((StateError, ContractError), match=said):
        gym_loop.train(file)


@TORCH
def test_a_gradient_history_is_named_where_it_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = config("Reinforce", "agent_styles_torch", max_steps=None, max_episodes=4)
    gym_loop.train(write_run_file(tmp_path / "whole", agent))
    assert "gradient" not in capsys.readouterr().err
    monkeypatch.setattr(checkpoint_schedule, "SECONDS_ALLOWED", float("inf"))
    agent["loop"]["parameters"]["steps_per_checkpoint"] = 5
    gym_loop.train(write_run_file(tmp_path / "within", agent))
    said = capsys.readouterr().err
    assert said.count("gradient history") == 1
    assert "agent.net.log_probs without its gradient history" in said
