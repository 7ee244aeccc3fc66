"""Many runs, each in a process of its own, so many at a time; on this machine or on Ray."""

from __future__ import annotations

import os
import queue
import signal
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from gym_loop.config.run_file import RunConfig
from gym_loop.schema.printable import how_ended
from gym_loop.training.run_process import LocalProcesses, Tell, threads_of_a_run

LOOK = 0.2  # seconds that the pool waits for something to happen
MOST_LOSSES = 5  # how often a run may lose its node


class Engine(Protocol):
    """Where runs are: `LocalProcesses`, or `gym_loop.training.ray_runs.RayRuns`."""

    def room(self) -> int:
        """How many runs there is room for at once."""

    def most(self) -> str:
        """What there is, for messages."""

    def prepare(self, count: int) -> None:
        """Get ready for so many more runs."""

    def begin(self, job: Mapping[str, Any], tell: Tell) -> Any:
        """Begin a run; its process is returned, which takes signals: ``signal(signum)``."""

    def end(self, process: Any) -> None:
        """Take back what a process had; it has ended, or is to end at once."""

    def close(self) -> None:
        """End what is left."""


def open_engine(
    config: RunConfig, ray: str | None, cpu: float = 1.0, gpu: float = 0.0
) -> AbstractContextManager[Engine]:
    """What runs of a config are to be trained by.

    Args:
        config: whose files go to a cluster.
        ray: address of a Ray cluster; ``local`` starts Ray on this machine. By default that of the
            environment variable RAY_ADDRESS; without one, processes of this machine.
        cpu: cores that a run takes.
        gpu: GPUs that a run takes; may be a fraction.
    """
    ray = ray or os.environ.get("RAY_ADDRESS")
    if ray is None:
        return closing(LocalProcesses(cpu, gpu))
    from gym_loop.training.ray_runs import RayRuns

    return closing(RayRuns(config, ray, cpu, gpu))


def describe(config: RunConfig) -> dict[str, Any]:
    """What another process needs to know of a config; `run_worker.described` reads it."""
    return {
        "argv": sys.argv,
        "config": config.to_yaml(),  # not the file, which may be edited meanwhile
        "path": str(config.path) if config.path else None,
        "overridden": list(config.overridden),
        "code": str(config.copies.logs.resolve()) if config.copies else None,
        "directory": str(Path.cwd()),
        "threads": threads_of_a_run(),
    }


@dataclass(eq=False)
class PooledRun:
    """A run of a pool, as far as it is known.

    Args:
        job: what its process is told; see `run_worker.train_job`.
        retries: how often it may fail and be begun again.
        run: its id; None before it has begun.
        steps: environment steps so far.
        evaluations: its periodic evaluations: values by name, and ``steps``.
        result: the fields of its `TrainingResult`; None before its training is over.
        final: the evaluation of the final agent, by name, if the job asks for one.
        error: why it failed.
        ended: whether nothing more will come.
        stopping: whether it is to stop.
        asked: whether its process was told so.
        process: that trains it.
        losses: how often its node was lost.
    """

    job: dict[str, Any]
    retries: int = 0
    run: str | None = None
    steps: int = 0
    evaluations: list[dict[str, float]] = field(default_factory=list)
    result: dict[str, Any] | None = None
    final: dict[str, float] | None = None
    error: str | None = None
    ended: bool = False
    stopping: bool = False
    asked: bool = False
    process: Any = None
    losses: int = 0


class Event(NamedTuple):
    """Something that happened.

    Args:
        kind: ``evaluated``, ``ended``, or ``output``: a line that the run has printed.
        run: to which run.
        text: the line.
    """

    kind: str
    run: PooledRun
    text: str = ""


class Pool:
    """Runs that are trained so many at a time, in the order in which they were submitted.

    Used as a context: when it is left by an exception, the runs are ended at once. All methods
    are for one thread.

    Args:
        engine: where the runs are.
        size: so many at once.
        expected: how many runs there will be; for those to come processes are started early.
    """

    def __init__(self, engine: Engine, size: int, expected: int) -> None:
        self.engine, self.size, self.expected = engine, size, expected
        self.stopped_by: int | None = None
        self._waiting: deque[PooledRun] = deque()
        self._begun: list[PooledRun] = []
        self._messages: queue.SimpleQueue[tuple[PooledRun, dict[str, Any]]] = queue.SimpleQueue()

    @property
    def running(self) -> bool:
        """Whether there are runs that have not ended."""
        return bool(self._begun or self._waiting)

    def has_room(self, count: int = 1) -> bool:
        """Whether so many runs that are submitted now would begin at once, or all there are."""
        free = self.size - len(self._begun) - len(self._waiting)
        return free >= min(count, self.size) and self.stopped_by is None

    def submit(self, job: Mapping[str, Any], retries: int = 0) -> PooledRun:
        """Train a run as soon as there is room."""
        run = PooledRun(dict(job), retries)
        self._waiting.append(run)
        self.expected -= 1
        return run

    def stop(self, run: PooledRun, signum: int = signal.SIGTERM) -> None:
        """Let a run save and end. It is asked once: a second signal would cut it off."""
        if not run.stopping:
            run.stopping = True
            self._ask_to_stop(run, signum)

    def stop_all(self, signum: int) -> None:
        """Let every run save and end, and begin no other; may be called in a signal's handler."""
        self.stopped_by = signum
        for run in list(self._begun):
            self.stop(run, signum)

    def events(self) -> Iterator[Event]:
        """What has happened since; waits a moment if that is nothing."""
        for run in list(self._waiting):
            if run.stopping or self.stopped_by is not None:
                self._waiting.remove(run)
                run.ended = True
                yield Event("ended", run)
        while self._waiting and len(self._begun) < self.size and self.stopped_by is None:
            self._begin(self._waiting.popleft())
        if not self._begun:
            return
        try:
            found = self._messages.get(timeout=LOOK)
            while True:
                yield from self._hear(*found)
                found = self._messages.get_nowait()
        except queue.Empty:
            pass

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        for run in self._begun if kind is not None else ():
            if run.process is not None:
                run.process.signal(signal.SIGINT)
        for run in self._begun:
            self.engine.end(run.process)

    def _begin(self, run: PooledRun) -> None:
        self._begun.append(run)
        run.process = self.engine.begin(run.job, lambda told: self._messages.put((run, told)))
        if run.stopping:  # a signal came while it was begun
            self._ask_to_stop(run, self.stopped_by or signal.SIGTERM)

    def _ask_to_stop(self, run: PooledRun, signum: int) -> None:
        if run.process is not None and not run.asked:
            run.asked = True
            run.process.signal(signum)

    def _hear(self, run: PooledRun, told: dict[str, Any]) -> Iterator[Event]:
        run.steps = told.get("steps", run.steps)
        run.result = told.get("result", run.result)
        run.final = told.get("final", run.final)
        run.error = told.get("error", run.error)
        if "run" in told:
            run.run = told["run"]
            if self.stopped_by is None:
                self.engine.prepare(min(self.size, self.expected + len(self._waiting)))
        if "evaluations" in told:
            run.evaluations += told["evaluations"]
            yield Event("evaluated", run)
        if "output" in told:
            yield Event("output", run, told["output"])
        if "ended" in told or "lost" in told:
            yield from self._has_ended(run, told.get("ended"))

    def _has_ended(self, run: PooledRun, status: int | None) -> Iterator[Event]:
        self._begun.remove(run)
        self.engine.end(run.process)
        run.process = None
        if status is None:
            run.losses += 1
            again = run.losses < MOST_LOSSES
            if not again and not run.stopping:
                run.error = "the processes that Ray gave it died again and again"
        else:
            killed = run.stopping and status == -(self.stopped_by or signal.SIGTERM)
            begun = run.run is not None or not run.stopping
            if run.result is None and run.error is None and begun and not killed:
                run.error = f"its process {how_ended(status)}"
            again = run.error is not None and run.retries > 0
            run.retries -= again
        if again and not run.stopping:
            run.error, run.result = None, None
            run.evaluations.clear()  # the next process tells them again
            self._waiting.appendleft(run)
        else:
            run.ended = True
            yield Event("ended", run)
