"""One trial: the runs of a cell, one a seed, watched until they end; nothing of Ray in here."""

from __future__ import annotations

import json
import math
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gym_loop.errors import SweepError
from gym_loop.schema.text import how_ended
from gym_loop.training.many_seeds import THREAD_VARIABLES

# Not -m: that would look for modules in the working directory first, and gym-loop does not.
START = (
    "import sys; sys.path[:] = sys.argv[1].split('\\n');"
    " from gym_loop.sweeps.nursery import main; main()"
)
WORST = 1e30  # stands for an evaluation that is no number: schedulers compare it with others
LOOK = 0.2  # seconds between two looks at the order to stop
PATIENCE = 120.0  # seconds that the runs have to save when they are to stop


@dataclass
class Order:
    """What a trial has to do; plain data, for it goes to another process.

    Args:
        cell: name of the cell.
        config: the run file, with the cell's values.
        path: of the run file that the user wrote.
        overridden: keys of the config that were set beside it.
        classes: class strings that it names.
        runs: the id of the run of each seed.
        metric: what judges it.
        sign: -1 if less is better.
        directory: that file names are relative to.
        output: directory for what the runs print.
        stop: when this file is there, the runs are to save and end.
        argv: what the user typed.
        together: so many runs at once.
        reports: whether evaluations in between are asked for.
        in_step: whether the runs wait after each evaluation, with a checkpoint.
        retries: how often a run that fails is begun again.
        resumes: how often the sweep was resumed.
        code: the run whose copies of the user's files are in use, by its directory of logs.
    """

    cell: str
    config: str
    path: str | None
    overridden: list[str]
    classes: list[str]
    runs: dict[int, str]
    metric: str
    sign: float
    directory: str
    output: str
    stop: str
    argv: list[str]
    together: int
    reports: bool = False
    in_step: bool = False
    retries: int = 0
    resumes: int = 0
    code: str | None = None


@dataclass
class Run:
    """One run of a trial, as far as it is known."""

    seed: int
    run: str
    line: socket.socket | None = None
    text: bytes = b""
    pid: int | None = None
    before: int = 0  # evaluations that were made before this process
    ended: bool = False
    failures: int = 0
    steps: int = 0
    seconds: float = 0.0
    evaluations: list[dict[str, float]] = field(default_factory=list)
    waiting: bool = False
    final: dict[str, float] | None = None
    error: str | None = None


class Nursery:
    """The process that runs are forked from.

    Args:
        classes: class strings to import beforehand.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        self._control = ours
        self._text = b""
        self._parted: list[socket.socket] = []
        self._statuses: dict[int, int] = {}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, "\n".join(sys.path), str(theirs.fileno()), *classes],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")},
                start_new_session=True,  # a Ctrl-C of the terminal comes by us, and only once
            )

    def fork(self, job: Mapping[str, Any]) -> tuple[int, socket.socket]:
        """Begin a process with a job; its id, and the line to it."""
        ours, theirs = socket.socketpair()
        with theirs:
            data = json.dumps(job).encode() + b"\n"
            try:
                sent = socket.send_fds(self._control, [data], [theirs.fileno()])
                self._control.sendall(data[sent:])
                while (pid := self._read()) is None:
                    pass
            except OSError as error:
                raise SweepError(f"the process that begins runs has died: {error}") from None
        return pid, ours

    def status(self, pid: int, patience: float = 5.0) -> int | None:
        """The exit status of a process that has ended; None if it is not known in time."""
        self._control.settimeout(patience)
        try:
            while pid not in self._statuses:
                self._read()
        except OSError:
            return None
        finally:
            self._control.settimeout(None)
        return self._statuses.pop(pid)

    def _read(self) -> int | None:
        """Take one message; return the id of a process that has begun, if it is that."""
        while b"\n" not in self._text:
            data = self._control.recv(1 << 16)
            if not data:
                raise OSError("it closed its line")
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        message = json.loads(line)
        if "ended" in message:
            self._statuses[message["ended"]] = message["status"]
            return None
        return int(message["began"])

    def part_with(self, line: socket.socket) -> None:
        """Keep the line of a process that has nothing left but to end: it ends when it is cut."""
        gone, _, _ = select.select(self._parted, [], [], 0)
        for one in gone:
            one.close()
        self._parted = [line, *(one for one in self._parted if one not in gone)]

    def close(self) -> None:
        """End it; its children have ended."""
        for line in [self._control, *self._parted]:
            line.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Trial:
    """The runs of a cell.

    Args:
        order: what to train.
        nursery: where processes come from.
        files: copies of files that came from another machine, by their path there.
    """

    def __init__(
        self, order: Order, nursery: Nursery, files: Mapping[str, str] | None = None
    ) -> None:
        self.order, self.nursery, self.files = order, nursery, dict(files or {})
        self.runs = [Run(seed, run) for seed, run in order.runs.items()]
        self.origins: dict[int, dict[str, str]] = {}  # runs that the runs begin as copies of
        self.reported = 0
        self.to_stop = False
        self.error: str | None = None
        self.began = time.monotonic()
        self._selector = selectors.DefaultSelector()

    # -- what it has come to --------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """Wait for the next evaluation of all runs, or for the end.

        Returns:
            ``value`` (mean over the seeds, with the sign turned if less is better), ``values``,
            ``evaluation`` (their number), ``steps``, ``done``, ``status``, ``error``.
        """
        self._release()
        while True:
            if Path(self.order.stop).exists():
                self.ask_to_stop()
            self._begin_more()
            if (found := self._next()) is not None:
                return found
            self._listen()

    def _next(self) -> dict[str, Any] | None:
        if all(run.ended for run in self.runs) or (self.to_stop and not self._living()):
            return self._end()
        ready = min(len(run.evaluations) for run in self.runs)
        if self.order.in_step:  # what was before is no news
            self.reported = max(self.reported, min(run.before for run in self.runs))
        if not self.order.reports or self.to_stop or ready <= self.reported:
            return None
        if self.order.in_step and not all(run.waiting or run.ended for run in self.runs):
            return None  # they have evaluated, but not all have saved
        self.reported += 1
        values = [run.evaluations[self.reported - 1][self.order.metric] for run in self.runs]
        steps = [run.evaluations[self.reported - 1]["steps"] for run in self.runs]
        return self._result(values, sum(steps) / len(steps), done=False, status="running")

    def _end(self) -> dict[str, Any]:
        if self.error is not None:
            return self._result([], self._steps(), done=True, status="failed")
        if any(run.final is None for run in self.runs):
            return self._result([], self._steps(), done=True, status="stopped")
        values = [run.final[self.order.metric] for run in self.runs if run.final is not None]
        if not all(map(math.isfinite, values)):
            self.error = f"{self.order.metric} of the final evaluation is no finite number"
            return self._result([], self._steps(), done=True, status="failed")
        return self._result(values, self._steps(), done=True, status="finished")

    def _steps(self) -> float:
        return sum(run.steps for run in self.runs) / len(self.runs)

    def _result(
        self, values: list[float], steps: float, *, done: bool, status: str
    ) -> dict[str, Any]:
        mean = sum(values) / len(values) if values else math.nan
        value = mean * self.order.sign if math.isfinite(mean) else -WORST
        return {
            "value": value,
            "values": values,
            "evaluation": self.reported + (1 if done else 0),
            "steps": steps,
            "seconds": time.monotonic() - self.began,
            "done": done,
            "status": status,
            "error": self.error,
        }

    # -- orders -----------------------------------------------------------------------------

    def ask_to_stop(self) -> None:
        """Let every run save and end; begin no other."""
        if not self.to_stop:
            self.to_stop = True
            for run in self._living():
                _say(run, "stop")

    def stop(self) -> None:
        """The same, and wait for it."""
        self.ask_to_stop()
        until = time.monotonic() + PATIENCE
        while self._living() and time.monotonic() < until:
            self._listen()
        for run in self._living():
            if run.pid is not None:
                os.kill(run.pid, signal.SIGKILL)

    def _release(self) -> None:
        for run in self.runs:
            if run.waiting:
                run.waiting = False
                _say(run, "go")

    # -- processes ---------------------------------------------------------------------------

    def _living(self) -> list[Run]:
        return [run for run in self.runs if run.line is not None]

    def _begin_more(self) -> None:
        if self.to_stop or self.error is not None:
            return
        waiting = [run for run in self.runs if run.line is None and not run.ended]
        for run in waiting[: self.order.together - len(self._living())]:
            run.evaluations.clear()
            run.pid, run.line = self.nursery.fork(self.job(run))
            self._selector.register(run.line, selectors.EVENT_READ, run)

    def job(self, run: Run) -> dict[str, Any]:
        """What a process is told."""
        order = self.order
        return {
            "argv": order.argv,
            "config": order.config,
            "path": order.path,
            "overridden": order.overridden,
            "code": order.code,
            "seed": run.seed,
            "run": run.run,
            "directory": order.directory,
            "output": str(Path(order.output) / f"{run.run}.txt"),
            "in_step": order.in_step,
            "origin": self.origins.get(run.seed),
            "files": self.files,
        }

    def _listen(self) -> None:
        for key, _ in self._selector.select(LOOK):
            run = key.data
            data = run.line.recv(1 << 16)
            if not data:
                self._has_died(run)
                continue
            *lines, run.text = (run.text + data).split(b"\n")
            for line in lines:
                self._hear(run, json.loads(line))

    def _hear(self, run: Run, message: dict[str, Any]) -> None:
        run.steps = message.get("steps", run.steps)
        if "history" in message:
            run.evaluations = [
                {**one["scalars"], "steps": one["steps"]} for one in message["history"]
            ]
            run.before = len(run.evaluations)
        if "scalars" in message:
            run.evaluations.append({**message["scalars"], "steps": message["steps"]})
        if "saved" in message:
            run.waiting = True
        if "trained" in message:
            run.seconds = message["seconds"]
        run.error = message.get("error", run.error)
        if "final" in message and run.line is not None:
            run.final, run.ended = message["final"], True
            self._selector.unregister(run.line)
            self.nursery.part_with(run.line)
            run.line = None

    def _has_died(self, run: Run) -> None:
        assert run.line is not None
        assert run.pid is not None
        self._selector.unregister(run.line)
        run.line.close()
        run.line, run.text, run.waiting = None, b"", False
        if self.to_stop and run.error is None:
            return
        if run.error is None:
            run.error = f"its process {_how(self.nursery.status(run.pid))}"
        if run.failures < self.order.retries:
            run.failures += 1
            run.error = None
            return
        run.ended = True
        self.error = f"{run.run}: {run.error}"
        self.ask_to_stop()  # of a trial that has failed the other seeds are of no use


def _say(run: Run, word: str) -> None:
    assert run.line is not None
    try:
        run.line.sendall(json.dumps(word).encode() + b"\n")
    except OSError:  # it has ended
        pass


def _how(status: int | None) -> str:
    return "has gone" if status is None else how_ended(status)
