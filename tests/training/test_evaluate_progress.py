"""An evaluation is seen while it is played, and Ctrl-C ends it with what it came to."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.loops import progress as progress_module
from gym_loop.loops.progress import EndlessEpisodes, EvaluationProgress
from gym_loop.runs.console import Console
from tests.signalling import usual_signals

FILES = """
import signal
import gymnasium, numpy
from gym_loop.agents import BaseAgent
class Stopping(BaseAgent):
    supports_batch = True
    @staticmethod
    def get_default_parameters():
        return {"after": 25, "signal": int(signal.SIGINT)}
    def __init__(self, **params):
        super().__init__(**params)
        self.acts = 0
    def act(self, state, episode_num):
        self.acts += 1
        if self.acts == self.parameters["after"]:
            signal.raise_signal(self.parameters["signal"])
        return numpy.zeros(len(state), int) if state.ndim == 2 else 0
class Endless(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9, 9, (1,), numpy.float32)
    action_space = gymnasium.spaces.Discrete(2)
    def __init__(self, length=None):
        self.length = length
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return numpy.zeros(1, numpy.float32), {}
    def step(self, action):
        self.steps += 1
        return numpy.zeros(1, numpy.float32), 1.0, self.steps == self.length, False, {}
gymnasium.register("Endless-v0", Endless)
"""
RUN = """\
agent: {class: "own.py:Stopping"}
env: {name: Endless-v0, imports: [own.py], parameters: {length: 10}}
loop: {class: "gym_loop.loops.LOOP", parameters: {eval_episodes: 5, MORE}}
seed: 3
"""
LOOPS = [("default_loop:DefaultLoop", ""), ("vector_loop:VectorLoop", "n_envs: 1")]


@pytest.fixture(autouse=True)
def usual(workdir: Path) -> Iterator[None]:
    (workdir / "own.py").write_text(FILES)
    with usual_signals():
        yield


def write(loop: str, more: str = "", length: object = 10) -> None:
    text = RUN.replace("LOOP", loop).replace("MORE", more)
    Path("run.yaml").write_text(text.replace("length: 10", f"length: {length}"))


@pytest.mark.parametrize(("loop", "more"), LOOPS)
@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_what_was_played(
    loop: str, more: str, signum: int, status: int, gym_loop_command: Callable[..., Any]
) -> None:
    write(loop, more)
    option = f"agent.parameters.signal={int(signum)}"
    command = ("evaluate", "-c", "run.yaml", "--untrained", "--set", option)
    outcome = gym_loop_command(*command)
    assert outcome.status == status
    assert outcome.out.startswith("2 episodes of the untrained agent")  # the third was cut
    assert "Traceback" not in outcome.err
    assert "stopped after 2 episodes" in outcome.err
    assert not Path("eval_logs").exists()
    told = json.loads(gym_loop_command(*command, "--json").out)
    assert (told["episodes"], told["return"]["mean"]) == (2, 10.0)


@pytest.mark.parametrize(("loop", "more"), LOOPS)
def test_before_the_first_episode_is_over(
    loop: str, more: str, gym_loop_command: Callable[..., Any]
) -> None:
    write(loop, more)
    command = ("evaluate", "-c", "run.yaml", "--untrained", "--set", "agent.parameters.after=4")
    outcome = gym_loop_command(*command)
    assert (outcome.status, outcome.out) == (130, "")
    assert json.loads(gym_loop_command(*command, "--json").out)["return"] is None


@pytest.mark.parametrize(("loop", "more"), LOOPS)
def test_an_environment_without_an_end_is_seen(
    loop: str, more: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In an evaluation and in a training."""
    monkeypatch.setattr(progress_module, "ENDLESS_SECONDS", 0.0)
    monkeypatch.setattr(progress_module, "LOOK_UP_SECONDS", 0.0)
    monkeypatch.setattr(progress_module, "ENDLESS_STEPS", 50)
    write(loop, f"{more}, max_episode_len: null" if more else "max_episode_len: null", "null")
    stop = {"agent.parameters.after": 200}
    result = gym_loop.evaluate("run.yaml", stop, untrained=True)
    assert (result.signal, result.episodes) == (signal.SIGINT, [])
    assert capsys.readouterr().err.count("no episode has ended in") == 1
    budget = {"agent.parameters.after": -1, "loop.parameters.max_steps": 20_000}
    assert gym_loop.train("run.yaml", {**budget, "loop.parameters.max_episodes": None}).steps
    assert capsys.readouterr().err.count("no episode has ended in") == 1


def test_when_a_missing_end_is_worth_a_word() -> None:
    said: list[str] = []
    watch = EndlessEpisodes(said.append, copies=2)
    watch.look(0, 0, 100.0)
    watch.look(0, 9_999, 200.0)  # few steps: slow
    watch.look(1, 20_000, 300.0)
    watch.look(1, 40_000, 309.0)  # little time: fast
    assert said == []
    watch.look(1, 41_000, 311.0)
    watch.look(1, 90_000, 400.0)
    assert len(said) == 1
    assert "21,000 steps" in said[0]
    assert "max_episode_len" in said[0]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_progress_is_shown_now_and_then(stream: io.StringIO, monkeypatch: Any) -> None:
    monkeypatch.setenv("TERM", "xterm")
    clock = iter(range(1_000))
    console = Console(stream, clock=lambda: next(clock))
    monkeypatch.setattr("time.monotonic", iter(range(1_000)).__next__)
    progress = EvaluationProgress(console, 100)
    for _ in range(30):
        progress.stepped(8)
        progress.ended(12.0)
    console.clear()
    shown = stream.getvalue()
    assert "evaluation 29 of 100 episodes  steps 240  return 12.0" in shown or not stream.isatty()
    assert "of 100 episodes" in shown
    assert shown.count("\n") == (0 if stream.isatty() else 2)
    assert shown.endswith("\r\x1b[K") == stream.isatty()


def test_it_is_shown_by_the_command(
    monkeypatch: pytest.MonkeyPatch, gym_loop_command: Callable[..., Any]
) -> None:
    monkeypatch.setattr("gym_loop.runs.console.FIRST_LINE_SECONDS", 0.0)
    monkeypatch.setattr(progress_module, "LOOK_UP_SECONDS", 0.0)
    write(*LOOPS[0])
    options = ("--untrained", "--set", "agent.parameters.after=-1")
    outcome = gym_loop_command("evaluate", "-c", "run.yaml", *options)
    assert "of 5 episodes" in outcome.err
    assert (
        "evaluation" not in gym_loop_command("evaluate", "-c", "run.yaml", *options, "--json").err
    )
