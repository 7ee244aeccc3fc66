"""One config, many seeds: each is a run of its own, in a process of its own, some at a time."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from gym_loop.checkpoints.seeding import check_seed
from gym_loop.config.run_file import RunConfig
from gym_loop.errors import UsageError
from gym_loop.runs.console import Console
from gym_loop.runs.directory import directories, refuse_obstacles
from gym_loop.runs.results import Statistics, TrainingResult
from gym_loop.runs.signals import stop_signals
from gym_loop.schema.text import how_ended

MOST_SEEDS = 10_000
# Each run has a core of its own, so a matrix product that is shared out would only get slower.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PATIENCE = 10.0  # seconds that a run has after the second Ctrl-C
LAST_LINES = 1.0  # seconds to wait for them; something that the run started may hold the pipe open
# Not -m: that would look for modules in the working directory first, and gym-loop does not.
START = (
    "import sys; sys.path[:] = sys.argv[1].split('\\n');"
    " from gym_loop.training.seed_worker import main; main()"
)
_PART = re.compile(r"\s*(\d+)\s*(?:\.\.\s*(\d+)\s*)?")


@dataclass(frozen=True)
class SeedOutcome:
    """What became of one seed.

    Args:
        seed: the seed.
        run: id of its run; None if it has not begun.
        result: what its training came to; None if it failed or has not begun.
        evaluation: mean return of its last periodic evaluation, None without one.
        error: why it failed, in one line.
    """

    seed: int
    run: str | None = None
    result: TrainingResult | None = None
    evaluation: float | None = None
    error: str | None = None

    @property
    def status(self) -> str:
        """``finished``, ``stopped``, ``failed`` or ``not begun``."""
        if self.error is not None:
            return "failed"
        return self.result.exit_reason if self.result else "not begun"


class SeedsResult(NamedTuple):
    """What the training of many seeds came to.

    Args:
        outcomes: one a seed, in the order of the seeds.
        signal: what stopped them, if anything did.
    """

    outcomes: list[SeedOutcome]
    signal: int | None = None

    def statistics(self, name: str) -> Statistics | None:
        """Over all seeds that finished: of ``"return"`` (last 100 episodes) or ``"evaluation"``."""
        values = [
            one.evaluation if name == "evaluation" else one.result.mean_return
            for one in self.outcomes
            if one.result and one.status == "finished"
        ]
        known = [value for value in values if value is not None]
        return Statistics.of(known) if known and len(known) == len(values) else None

    def as_dict(self) -> dict[str, Any]:
        """The object that ``gym-loop train --seeds ... --json`` prints."""
        seeds = [
            {
                "seed": one.seed,
                "status": one.status,
                "evaluation": one.evaluation,
                "error": one.error,
                **(one.result.as_dict() if one.result else {"run": one.run}),
            }
            for one in self.outcomes
        ]
        over_seeds = {name: self.statistics(name) for name in ("return", "evaluation")}
        return {"seeds": seeds, **{key: one and one.as_dict() for key, one in over_seeds.items()}}


def parse_seeds(text: str) -> list[int]:
    """Read ``0..9`` (both ends count), ``0,3,7`` or ``1..3,8``.

    Raises:
        UsageError: it is none of these, or holds a seed twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            raise UsageError(
                f"--seeds {text}: {part.strip()!r} is neither a seed nor a range of seeds;"
                " write 0..9, or 0,3,7, or 1..3,8"
            )
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise UsageError(f"--seeds {text}: {part.strip()} runs down; write {last}..{first}")
        if last - first >= MOST_SEEDS:
            raise UsageError(f"--seeds {text}: {part.strip()} is more than {MOST_SEEDS:,} seeds")
        seeds += range(first, last + 1)
    return check_seeds(seeds, f"--seeds {text}")


def check_seeds(seeds: Iterable[int], place: str = "seeds") -> list[int]:
    """The seeds as a list, if there are any, each is one, and none stands twice.

    Raises:
        UsageError: they are not.
        ConfigError: one is no integer from 0 to 2**32 - 1.
    """
    checked = [check_seed(seed, place) for seed in seeds]
    if not 0 < len(checked) <= MOST_SEEDS:
        raise UsageError(f"{place}: {len(checked):,} seeds; give from 1 to {MOST_SEEDS:,}")
    twice = next((seed for index, seed in enumerate(checked) if seed in checked[:index]), None)
    if twice is not None:
        raise UsageError(f"{place}: the seed {twice} stands twice; each seed is one run")
    return checked


def train_seeds(
    config: RunConfig,
    seeds: Sequence[int],
    *,
    jobs: int | None = None,
    resume: bool = False,
    quiet: bool = True,
) -> SeedsResult:
    """Train one run a seed, each exactly as it would be trained alone, ``jobs`` at a time.

    A run that fails, or whose process dies, stops no other. Ctrl-C and SIGTERM let every run
    finish its step and save; no other is begun then.

    Args:
        config: whose seed is replaced.
        seeds: from `parse_seeds` or `check_seeds`.
        jobs: processes at once; by default the cores that this process may use.
        resume: continue the newest run of this file that has the seed, where there is one.
        quiet: show warnings only.

    Raises:
        UsageError: a seed was set beside the file, or ``jobs`` is too small.
        RunError: a directory of the run file cannot be written.
    """
    if "seed" in config.overridden:
        raise UsageError("seed was set beside the file, and --seeds sets it too: leave one out")
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs} is too small; at least one process has to work")
    parents = directories(config.loop.parameters).values()
    refuse_obstacles(parents, "choose another directory in the run file")
    with tempfile.TemporaryDirectory(prefix="gym-loop-") as replies:
        crew = _Crew(config, Path(replies), len(seeds), resume=resume, quiet=quiet)
        return crew.train(seeds, min(jobs or cores(), len(seeds)))


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class _Crew:
    """The processes that train, one a seed.

    Args:
        config: what is trained.
        replies: directory in which each process leaves what it has to say.
        total: number of seeds.
        resume: as in `train_seeds`.
        quiet: as in `train_seeds`.
    """

    def __init__(
        self, config: RunConfig, replies: Path, total: int, *, resume: bool, quiet: bool
    ) -> None:
        self.config, self.replies, self.total = config, replies, total
        self.resume, self.quiet = resume, quiet
        self.console = Console()
        self.stopped_by: int | None = None
        self.ended = 0
        self._processes: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()  # never held by the main thread but in a signal's handler
        self._writing = threading.Lock()

    def train(self, seeds: Sequence[int], jobs: int) -> SeedsResult:
        """Train them all, ``jobs`` at a time."""
        with ThreadPoolExecutor(jobs) as threads, stop_signals(self.stop):
            outcomes = [threads.submit(self._train, seed) for seed in seeds]
            try:
                return SeedsResult([one.result() for one in outcomes], self.stopped_by)
            except BaseException:  # a second Ctrl-C
                self._stop_at_once()
                raise

    def stop(self, signum: int) -> None:
        """Ask every run to save and end; begin no other."""
        with self._lock:
            self.stopped_by = signum
            for process in self._processes:
                _send(process, str(int(signum)))

    def _stop_at_once(self) -> None:
        self.stop(signal.SIGINT)
        for process in list(self._processes):
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()

    # -- one seed; in a thread of its own ----------------------------------------------------

    def _train(self, seed: int) -> SeedOutcome:
        reply = self.replies / f"{seed}.json"
        process = self._begin(seed, reply)
        if process is None:
            return SeedOutcome(seed)
        reader = threading.Thread(target=self._pass_on, args=(process, seed, reply), daemon=True)
        reader.start()
        status = process.wait()
        reader.join(LAST_LINES)
        with self._lock:
            self._processes.discard(process)
            assert process.stdin is not None
            _close(process.stdin)
            self.ended += 1
        outcome = self._outcome(seed, status, _read(reply))
        self._say_how_it_ended(outcome)
        return outcome

    def _begin(self, seed: int, reply: Path) -> subprocess.Popen[str] | None:
        """Start a process, unless the runs are to stop; its input stays open while we live."""
        job = {
            "argv": sys.argv,
            "config": self.config.to_yaml(),  # not the file, which may be edited meanwhile
            "path": str(self.config.path) if self.config.path else None,
            "overridden": list(self.config.overridden),
            "code": str(self.config.copies.logs.resolve()) if self.config.copies else None,
            "seed": seed,
            "resume": self.resume,
            "quiet": self.quiet,
            "reply": str(reply),
        }
        with self._lock:
            if self.stopped_by is not None:
                return None
            process = subprocess.Popen(
                [sys.executable, "-c", START, "\n".join(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**dict.fromkeys(THREAD_VARIABLES, "1"), **os.environ},
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # a Ctrl-C of the terminal comes by us, and only once
            )
            self._processes.add(process)
            _send(process, json.dumps(job))  # in the lock: no signal's line may come before it
        return process

    def _pass_on(self, process: subprocess.Popen[str], seed: int, reply: Path) -> None:
        """Show what a run writes, with its id before each line."""
        assert process.stdout is not None
        run = None
        with process.stdout as lines:
            for line in lines:
                run = run or _read(reply).get("run")
                self._write(run or f"seed {seed}", line.rstrip())

    def _write(self, who: str, text: str) -> None:
        with self._writing:
            self.console.message(text if text.startswith(f"{who}: ") else f"{who}: {text}")

    def _outcome(self, seed: int, status: int, reply: dict[str, Any]) -> SeedOutcome:
        run, error = reply.get("run"), reply.get("error")
        if (result := reply.get("result")) is not None:
            return SeedOutcome(seed, run, _training_result(result), reply["evaluation"])
        if error is None and self.stopped_by is not None and run is None:
            return SeedOutcome(seed)
        if error is None:
            error = f"its process {how_ended(status)}"
        return SeedOutcome(seed, run, error=error)

    def _say_how_it_ended(self, outcome: SeedOutcome) -> None:
        seed = f"seed {outcome.seed}"
        who, which = (outcome.run, f"{seed} ") if outcome.run else (seed, "")
        if outcome.status == "failed":
            self._write(who, f"{which}failed: {outcome.error}")
        elif not self.quiet:
            self._write(who, f"{which}{outcome.status}, {self.ended} of {self.total}")
        if outcome.run and outcome.status != "finished":
            path = shlex.quote(str(self.config.path)) if self.config.path else "its own run.yaml"
            run = shlex.quote(outcome.run)
            self._write(who, f"resume with gym-loop train -c {path} --resume {run}")


def _training_result(reply: dict[str, Any]) -> TrainingResult:
    directories = {name: Path(path) for name, path in reply["directories"].items()}
    checkpoint = Path(reply["checkpoint"]) if reply["checkpoint"] else None
    return TrainingResult(**{**reply, "directories": directories, "checkpoint": checkpoint})


def _read(reply: Path) -> dict[str, Any]:
    """What a process has left; replaced in one step, so it is whole or not there."""
    try:
        return dict(json.loads(reply.read_text("utf-8")))
    except FileNotFoundError:
        return {}


def _send(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    except (OSError, ValueError):  # it has ended
        pass


def _close(stream: IO[str]) -> None:
    try:
        stream.close()
    except OSError:  # what was still to be written: it has ended
        pass
