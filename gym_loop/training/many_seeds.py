"""One config, many seeds: each is a run of its own, in a process of its own, some at a time."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gym_loop.checkpoints.seeding import check_seed
from gym_loop.config.run_file import RunConfig
from gym_loop.errors import UsageError
from gym_loop.runs.console import Console
from gym_loop.runs.directory import directories, refuse_obstacles
from gym_loop.runs.results import Statistics, TrainingResult
from gym_loop.runs.signals import stop_signals
from gym_loop.training.pool import Event, Pool, PooledRun, describe, open_engine

MOST_SEEDS = 10_000
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
        if self.result is not None:
            return self.result.exit_reason
        return "not begun" if self.run is None else "stopped"


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
    """The seeds as a list, if there are any, each is one, and none is given twice.

    Raises:
        UsageError: they are not.
        ConfigError: one is no integer from 0 to 2**32 - 1.
    """
    checked = [check_seed(seed, place) for seed in seeds]
    if not 0 < len(checked) <= MOST_SEEDS:
        raise UsageError(f"{place}: {len(checked):,} seeds; give from 1 to {MOST_SEEDS:,}")
    twice = next((seed for index, seed in enumerate(checked) if seed in checked[:index]), None)
    if twice is not None:
        raise UsageError(f"{place}: the seed {twice} is given twice; each seed is one run")
    return checked


def train_seeds(
    config: RunConfig,
    seeds: Sequence[int],
    *,
    jobs: int | None = None,
    resume: bool = False,
    ray: str | None = None,
    quiet: bool = True,
) -> SeedsResult:
    """Train one run a seed, each exactly as it would be trained alone, ``jobs`` at a time.

    A run that fails, or whose process dies, stops no other. Ctrl-C and SIGTERM let every run
    finish its step and save; no other is begun then.

    Args:
        config: whose seed is replaced.
        seeds: from `parse_seeds` or `check_seeds`.
        jobs: runs at once; by default as many as there are cores.
        resume: continue the newest run of this file that has the seed, where there is one.
        ray: address of a Ray cluster; by default that of RAY_ADDRESS, else this machine.
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
    with open_engine(config, ray) as engine:
        size = min(jobs or max(1, engine.room()), len(seeds))
        with Pool(engine, size, len(seeds)) as pool, stop_signals(pool.stop_all):
            job = {**describe(config), "resume": resume, "quiet": quiet}
            runs = [pool.submit({**job, "seed": seed}) for seed in seeds]
            report = _Report(config, len(seeds), quiet=quiet)
            while pool.running:
                for event in pool.events():
                    report.tell(event)
    return SeedsResult([_outcome(run) for run in runs], pool.stopped_by)


def _outcome(run: PooledRun) -> SeedOutcome:
    """What became of a run of the pool."""
    seed, result = run.job["seed"], run.result
    if result is None:
        return SeedOutcome(seed, run.run, error=run.error)
    directories = {name: Path(path) for name, path in result["directories"].items()}
    checkpoint = Path(result["checkpoint"]) if result["checkpoint"] else None
    trained = TrainingResult(**{**result, "directories": directories, "checkpoint": checkpoint})
    evaluation = run.evaluations[-1]["eval/return_mean"] if run.evaluations else None
    return SeedOutcome(seed, run.run, trained, evaluation)


class _Report:
    """What is shown while they train.

    Args:
        config: what is trained.
        total: number of seeds.
        quiet: show only what the runs print, and failures.
    """

    def __init__(self, config: RunConfig, total: int, *, quiet: bool) -> None:
        self.config, self.total, self.quiet = config, total, quiet
        self.console = Console()
        self.ended = 0

    def tell(self, event: Event) -> None:
        """Show an event: what a run prints with its id before each line, and how it ended."""
        if event.kind == "output":
            who = event.run.run or f"seed {event.run.job['seed']}"
            has_name = event.text.startswith(f"{who}: ")
            self.console.message(event.text if has_name else f"{who}: {event.text}")
        elif event.kind == "ended" and (event.run.run or event.run.error):
            self.ended += 1
            self._say_how_it_ended(_outcome(event.run))

    def _say_how_it_ended(self, outcome: SeedOutcome) -> None:
        seed = f"seed {outcome.seed}"
        who, which = (outcome.run, f"{seed} ") if outcome.run else (seed, "")
        if outcome.status == "failed":
            self.console.message(f"{who}: {which}failed: {outcome.error}")
        elif not self.quiet:
            self.console.message(f"{who}: {which}{outcome.status}, {self.ended} of {self.total}")
        if outcome.run and outcome.status != "finished":
            path = shlex.quote(str(self.config.path)) if self.config.path else "its own run.yaml"
            run = shlex.quote(outcome.run)
            self.console.message(f"{who}: resume with gym-loop train -c {path} --resume {run}")
