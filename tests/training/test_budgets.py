"""One budget set beside a default that nobody set; and which limit ended a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import gym_loop
from gym_loop.config.run_file import default_config, load_config
from gym_loop.training.run_worker import run_of_seed
from tests.small_runs import manifest

RANDOM = "gym_loop.agents.random_agent:RandomAgent"
STEPS, EPISODES = "loop.parameters.max_steps", "loop.parameters.max_episodes"


@pytest.fixture(autouse=True)
def files(workdir: Path) -> None:
    write({})


def write(parameters: dict[str, Any], loop: str = "default_loop:DefaultLoop") -> None:
    content = {
        "agent": {"class": RANDOM},
        "env": {"name": "CartPole-v1"},
        "loop": {"class": f"gym_loop.loops.{loop}", "parameters": parameters},
        "seed": 3,
    }
    Path("run.yaml").write_text(yaml.safe_dump(content))


def test_steps_lift_the_default_of_episodes(gym_loop_command: Callable[..., Any]) -> None:
    outcome = gym_loop_command("train", "-c", "run.yaml", "--set", f"{STEPS}=400")
    assert outcome.err.count("the default max_episodes 5 is lifted") == 1
    assert "ended by:  loop.parameters.max_steps=400" in outcome.err
    found = manifest("run-1")
    assert (found["steps"], found["exit_reason"]) == (400, "max_steps=400")
    assert found["episodes"] > 5
    # A resume needs not be told again.
    more = gym_loop.train("run.yaml", [f"{STEPS}=500"], resume=True)
    assert (more.steps, more.limit) == (500, "max_steps=500")
    assert gym_loop.train("run.yaml", resume=True).steps == 500


def test_written_out_by_create_default(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_text(default_config(RANDOM, env="CartPole-v1").to_yaml(comments=True))
    assert gym_loop.train("run.yaml", {STEPS: 300}, quiet=False).steps == 300
    assert "lifted" in capsys.readouterr().err


def test_episodes_lift_the_default_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    from gym_loop.loops.vector_loop import VectorLoop

    defaults = {**VectorLoop.get_default_parameters(), "max_steps": 40, "n_envs": 2}
    monkeypatch.setattr(VectorLoop, "get_default_parameters", staticmethod(lambda: defaults))
    write({}, "vector_loop:VectorLoop")
    assert gym_loop.train("run.yaml").limit == "max_steps=40"
    result = gym_loop.train("run.yaml", {EPISODES: 8})
    assert result.limit == "max_episodes=8"
    assert result.steps > 40


@pytest.mark.parametrize(
    ("parameters", "overrides", "limit"),
    [
        ({}, {}, "max_episodes=5"),
        ({"max_episodes": 4}, {STEPS: 2000}, "max_episodes=4"),  # the file says so
        ({}, {STEPS: 2000, EPISODES: 5}, "max_episodes=5"),
        ({}, {STEPS: None}, "max_episodes=5"),
        ({"max_steps": 2000}, {}, "max_episodes=5"),  # two limits of the file's own
        ({"max_steps": 30}, {EPISODES: 6}, "max_steps=30"),
    ],
)
def test_what_somebody_set_stays(
    parameters: dict[str, Any], overrides: dict[str, Any], limit: str
) -> None:
    write(parameters)
    assert gym_loop.train("run.yaml", overrides).limit == limit


def test_at_a_resume(capsys: pytest.CaptureFixture[str]) -> None:
    first = gym_loop.train("run.yaml")
    assert first.limit == "max_episodes=5"
    again = gym_loop.train("run.yaml", resume=True, quiet=False)
    assert again.steps == first.steps
    assert "nothing is left to train, max_episodes=5 is reached" in capsys.readouterr().err
    more = gym_loop.train("run.yaml", {STEPS: first.steps + 200}, resume=True, quiet=False)
    assert more.steps == first.steps + 200
    assert "max_episodes 5 is lifted" in capsys.readouterr().err


def test_what_a_run_was_started_with_is_no_default() -> None:
    gym_loop.train("run.yaml", {EPISODES: 7})
    more = gym_loop.train("run.yaml", {STEPS: 90_000}, resume=True)
    assert (more.episodes, more.limit) == (7, "max_episodes=7")


def test_many_seeds() -> None:
    many = gym_loop.train("run.yaml", {STEPS: 200}, seeds=[1, 2], jobs=1)
    assert [(one.steps, one.limit) for one in many] == [(200, "max_steps=200")] * 2
    assert run_of_seed(load_config("run.yaml", {"seed": 2})) == many[1].run


def test_a_loop_that_needs_both() -> None:
    Path("loops.py").write_text(
        "from gym_loop.loops.default_loop import DefaultLoop\n"
        "class Both(DefaultLoop):\n"
        "    @staticmethod\n"
        "    def check_parameters(parameters):\n"
        "        none = [one for one in ('max_steps', 'max_episodes') if parameters[one] is None]\n"
        "        return dict.fromkeys(none, 'must be a number')\n"
        "    @staticmethod\n"
        "    def get_default_parameters():\n"
        "        return {**DefaultLoop.get_default_parameters(), 'max_steps': 1000}\n"
    )
    overrides = {STEPS: 2000, "loop.class": "loops.py:Both"}
    assert gym_loop.train("run.yaml", overrides).limit == "max_episodes=5"
