"""Ctrl-C, SIGTERM, SIGHUP: finish the step, save, say how to resume, exit with 130, 143 or 129."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.runs.directory import is_running
from gym_loop.runs.signals import stop_signals
from tests.signalling import begin, usual_signals
from tests.waiting import wait_for

# An agent that says when it trains, and whose update can be made to hang.
AGENT = """
import pathlib, time
from gym_loop.agents import BaseAgent
class Slow(BaseAgent):
    @staticmethod
    def get_default_parameters():
        return {"hang": 0.0}
    def __init__(self, **params):
        super().__init__(**params)
        self.updates = 0
    def act(self, state, episode_num):
        return self.updates % 2
    def update(self, episode_num):
        self.updates += 1
        if self.updates == 20:
            pathlib.Path("training").touch()
            time.sleep(self.parameters["hang"])
        time.sleep(0.001)
"""
RUN = """\
agent: {class: "agent.py:Slow"}
env: {name: CartPole-v1}
loop: {parameters: {max_episodes: null, max_steps: 100000}}
seed: 1
"""


@pytest.fixture(autouse=True)
def files(workdir: Path) -> None:
    (workdir / "agent.py").write_text(AGENT)
    (workdir / "run.yaml").write_text(RUN)


@pytest.fixture
def training(request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[str]"]:
    """A training in another process that has made its first steps."""
    options = getattr(request, "param", ())
    command = [sys.executable, "-m", "gym_loop", "train", "-c", "run.yaml", *options]
    with begin(command, stderr=subprocess.PIPE) as process:
        wait_for(lambda: Path("training").exists() or process.poll() is not None)
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield process
        process.kill()


def manifest() -> dict[str, Any]:
    return dict(json.loads(Path("logs/run-1/manifest.json").read_text()))


def saved_steps() -> list[int]:
    return sorted(int(path.name[5:]) for path in Path("checkpoints/run-1").glob("step-*"))


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_saves_and_says_how_to_resume(
    signum: signal.Signals, status: int, training: "subprocess.Popen[str]"
) -> None:
    training.send_signal(signum)
    _, err = training.communicate(timeout=30)
    assert training.returncode == status
    assert "Traceback" not in err
    assert "run-1 stopped" in err
    assert "resume:    gym-loop train -c run.yaml --resume run-1" in err
    found = manifest()
    assert (found["status"], found["exit_reason"]) == ("stopped", signum.name)
    assert found["steps"] == saved_steps()[-1] >= 20
    assert not is_running(Path("logs/run-1"))
    result = gym_loop.train(
        "run.yaml", {"loop.parameters.max_steps": found["steps"] + 10}, resume=True
    )
    assert result.exit_reason == "finished"
    assert result.steps == found["steps"] + 10


@pytest.mark.parametrize("training", [("--json",)], indirect=True)
def test_json_of_a_stopped_run(training: "subprocess.Popen[str]") -> None:
    training.send_signal(signal.SIGTERM)
    training.communicate(timeout=30)
    assert training.returncode == 143


@pytest.mark.parametrize(
    "training", [("--set", "agent.parameters.hang=60.0")], indirect=True, ids=["hanging"]
)
@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_the_second_stops_at_once(
    signum: signal.Signals, status: int, training: "subprocess.Popen[str]"
) -> None:
    training.send_signal(signum)
    time.sleep(0.2)
    assert training.poll() is None  # the step under way is finished first
    training.send_signal(signum)
    _, err = training.communicate(timeout=20)
    assert training.returncode == status
    assert "Traceback" not in err
    if signum == signal.SIGINT:
        assert manifest()["status"] == "killed"
        assert "stopped at once" in err
    assert not is_running(Path("logs/run-1"))


def test_what_is_ignored_at_the_start_stays_ignored() -> None:
    """``nohup gym-loop train``, and a job in the background of a script: Ctrl-C is for others."""
    command = [sys.executable, "-m", "gym_loop", "train", "-c", "run.yaml"]
    with usual_signals():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a new process takes over
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with process:
        wait_for(lambda: Path("training").exists() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 143, err
    assert manifest()["exit_reason"] == "SIGTERM"


class TestHandlers:
    @pytest.fixture(autouse=True)
    def usual(self) -> Iterator[None]:
        with usual_signals():
            yield

    def test_first_asks_second_acts(self) -> None:
        asked: list[int] = []
        before = signal.getsignal(signal.SIGINT)

        def twice() -> None:
            with stop_signals(asked.append):
                os.kill(os.getpid(), signal.SIGINT)
                assert asked == [signal.SIGINT]
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            twice()
        assert asked == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is before

    def test_a_closed_terminal_may_send_it_twice(self) -> None:
        asked: list[int] = []
        with stop_signals(asked.append):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)  # while the manifest is written
        assert asked == [signal.SIGHUP]

    def test_handlers_are_put_back(self) -> None:
        before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
        with stop_signals(lambda signum: None):
            assert signal.getsignal(signal.SIGTERM) is not before[1]
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before

    def test_ignored_signals_are_left_alone(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        asked: list[int] = []
        with stop_signals(asked.append):
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN

    def test_outside_the_main_thread(self) -> None:
        import threading

        done = []

        def work() -> None:
            with stop_signals(lambda signum: None):
                done.append(gym_loop.train("run.yaml", {"loop.parameters.max_steps": 3}).steps)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert done == [3]
