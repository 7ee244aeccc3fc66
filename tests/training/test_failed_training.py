"""A training that fails is saved, marked, and raised again."""

from collections.abc import Callable
from pathlib import Path

import pytest

import gym_loop
from gym_loop.runs.directory import is_running
from tests.small_runs import checkpoints, manifest, write_files


@pytest.fixture(autouse=True)
def files(workdir: Path) -> None:
    write_files(workdir)


class TestFailedTraining:
    def test_is_marked_saved_and_raised(self) -> None:
        with pytest.raises(KeyError, match="on purpose"):
            gym_loop.train("run.yaml", {"agent.class": "agents.py:Failing"})
        found = manifest("run-1")
        assert found["status"] == found["exit_reason"] == "failed"
        assert found["traceback"].splitlines()[-1] == "KeyError: 'on purpose'"
        assert 'raise KeyError("on purpose")' in found["traceback"]
        assert found["steps"] == 29  # whole steps
        assert checkpoints("run-1")[-1] == "step-000000029"
        assert not is_running(Path("logs/run-1"))

    def test_of_an_environment(self) -> None:
        Path("envs.py").write_text(
            "import gymnasium\n"
            "class Breaks(gymnasium.Wrapper):\n"
            "    def step(self, action):\n"
            "        self.count = getattr(self, 'count', 0) + 1\n"
            "        if self.count == 40: raise OSError('the simulator is gone')\n"
            "        return self.env.step(action)\n"
        )
        with pytest.raises(OSError, match="the simulator is gone"):
            gym_loop.train("run.yaml", {"env.wrappers": ["envs.py:Breaks"]})
        assert manifest("run-1")["status"] == "failed"
        assert checkpoints("run-1")[-1] == "step-000000039"

    def test_exit_status(self, gym_loop_command: Callable) -> None:
        outcome = gym_loop_command(
            "train", "-c", "run.yaml", "--set", "agent.class=agents.py:Failing"
        )
        assert outcome.status == 1
        assert "training failed at step 29: KeyError: 'on purpose'" in outcome.err
        assert "Traceback (most recent call last)" in outcome.err

    def test_by_an_error_of_ours_is_no_bad_input(self, gym_loop_command: Callable) -> None:
        options = ("--set", "agent.class=agents.py:Refusing")
        outcome = gym_loop_command("train", "-c", "run.yaml", *options)
        assert outcome.status == 1
        assert "this observation is beyond me" in outcome.err
        assert manifest("run-1")["status"] == "failed"

    def test_does_not_stand_in_the_way_of_the_next(self) -> None:
        with pytest.raises(KeyError):
            gym_loop.train("run.yaml", {"agent.class": "agents.py:Failing"})
        assert gym_loop.train("run.yaml").run == "run-2"
