"""Trainings of several libraries, compared: their best thread counts, and the tables."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from _measure import table, verdict
from _training import CARTPOLE, Outcome, Task

THREADS = (1, 2)
TRIALS = 1  # seeds that are trained with every thread count, before the better one goes on
# Libraries without a switch of their own listen to these.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Comparison:
    """Trains the same task with several libraries, each training in a process of its own.

    Args:
        script: of the benchmark, which is run again for each training, see `run_side`.
        sides: names of functions, see `run_side`, by the names that tables show; ours is first.
        steps: of a training.
        watch_every: steps between two evaluations where the time to the threshold is measured.
        thread_counts: to try on every side.
        task: what is learnt.
    """

    def __init__(
        self,
        script: str,
        sides: Mapping[str, str],
        steps: int,
        watch_every: int,
        thread_counts: Sequence[int] = THREADS,
        task: Task = CARTPOLE,
    ) -> None:
        self.script, self.sides, self.steps, self.task = script, sides, steps, task
        self.watch_every = watch_every
        self.thread_counts = tuple(thread_counts)
        self.outcomes: dict[tuple[str, int], list[Outcome]] = {
            (side, threads): [] for side in sides for threads in self.thread_counts
        }

    def speed(self, turns: int, wanted: Mapping[str, float]) -> str:
        """Train so many seeds; a table of the speeds, and of the final policies.

        Args:
            turns: number of seeds; the first ones are trained with every thread count.
            wanted: how many times as fast as each side we want to be.
        """
        for turn in range(turns):
            for side in self.sides:
                for threads in self.thread_counts if turn < TRIALS else [self.best_threads(side)]:
                    outcomes = self.outcomes[side, threads]
                    if not any(one.problem for one in outcomes):
                        outcomes.append(self.train(side, turn, threads))
        ours = self._best_rate(next(iter(self.sides)))
        rows = [self._speed_row(side, ours, wanted.get(side)) for side in self.sides]
        header = ["library", "threads", "steps/s", "with other", "ours is faster"]
        return table([*header, "solved", "mean return", "worst", "each seed"], rows)

    def _speed_row(self, side: str, ours: float, wanted: float | None) -> list[str]:
        threads = self.best_threads(side)
        outcomes = self.outcomes[side, threads]
        if problem := outcomes[0].problem:
            return [side, "-", problem, *["-"] * 6]
        rate = self._best_rate(side)
        others = [_rate(self.outcomes[side, n]) for n in self.thread_counts if n != threads]
        ratio = "-"
        if side != next(iter(self.sides)):
            ratio = verdict(ours / rate, at_least=wanted) if wanted else f"{ours / rate:.2f}"
        returns = [one.mean_return for one in outcomes]
        return [
            side,
            str(threads),
            f"{rate:,.0f}",
            " ".join(f"{other:,.0f}" for other in others) or "-",
            ratio,
            f"{sum(one >= self.task.solved for one in returns)} of {len(returns)}",
            f"{statistics.mean(returns):.1f}",
            f"{min(returns):.0f}",
            " ".join(f"{one:.0f}" for one in returns),
        ]

    def threshold(self, sides: Sequence[str], turns: int, wanted: Mapping[str, float]) -> str:
        """Train so many seeds under a watch; a table of the times to the threshold.

        Args:
            sides: who can be watched.
            turns: number of seeds.
            wanted: how many times as soon as each side we want to be.
        """
        for side in sides:
            for threads in self.thread_counts:
                if not self.outcomes[side, threads]:
                    self.outcomes[side, threads].append(self.train(side, 0, threads))
        found: dict[str, list[Outcome]] = {side: [] for side in sides}
        for turn in range(turns):
            for side in sides:
                if not any(one.problem for one in found[side]):
                    threads = self.best_threads(side)
                    found[side].append(self.train(side, turn, threads, watch=True))
        ours = _median(found[sides[0]], "solved_seconds")
        rows = []
        for side, outcomes in found.items():
            if problem := outcomes[0].problem:
                rows.append([side, problem, *["-"] * 4])
                continue
            seconds = _median(outcomes, "solved_seconds")
            ratio = "-"
            if side in wanted:
                ratio = verdict(ours / seconds, at_most=round(1 / wanted[side], 3))
            elif side != sides[0]:
                ratio = f"{ours / seconds:.2f}"
            reached = sum(one.solved_steps is not None for one in outcomes)
            slowest = max(_values(outcomes, "solved_seconds"))
            rows.append(
                [
                    side,
                    _shown(seconds, ".2f"),
                    _shown(slowest, ".2f"),
                    _shown(_median(outcomes, "solved_steps"), ",.0f"),
                    f"{reached} of {len(outcomes)}",
                    ratio,
                ]
            )
        header = ["library", "s, median", "slowest", "steps, median", "reached", "ours of theirs"]
        return table(header, rows)

    def best_threads(self, side: str) -> int:
        """The thread count with the higher rate so far."""
        return max(self.thread_counts, key=lambda threads: _rate(self.outcomes[side, threads]))

    def _best_rate(self, side: str) -> float:
        return _rate(self.outcomes[side, self.best_threads(side)])

    def train(self, side: str, seed: int, threads: int, *, watch: bool = False) -> Outcome:
        """One training in a process of its own."""
        command = [sys.executable, self.script, "--side", self.sides[side]]
        command += ["--seed", str(seed), "--threads", str(threads), "--steps", str(self.steps)]
        command += ["--env", self.task.env]
        if watch:
            command += ["--watch-every", str(self.watch_every)]
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        ended = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True
        )
        if ended.returncode:
            outcome = Outcome(problem=f"failed: {(ended.stderr.splitlines() or ['?'])[-1]}")
        else:
            outcome = Outcome(**json.loads(ended.stdout.splitlines()[-1]))
        said = ", ".join(f"{key} {value}" for key, value in outcome._asdict().items() if value)
        print(f"{side}, {threads} threads, seed {seed}: {said}", file=sys.stderr, flush=True)
        return outcome


def _rate(outcomes: Sequence[Outcome]) -> float:
    """Median of the steps per second; 0 where there is nothing."""
    rates = [one.steps / one.seconds for one in outcomes if not one.problem]
    return statistics.median(rates) if rates else 0.0


def _values(outcomes: Sequence[Outcome], name: str) -> list[float]:
    """A column; what was never reached counts as infinitely late."""
    values: list[Any] = [getattr(one, name) for one in outcomes]
    return [float("inf") if value is None else value for value in values]


def _shown(value: float, form: str) -> str:
    return "never" if value == float("inf") else f"{value:{form}}"


def _median(outcomes: Sequence[Outcome], name: str) -> float:
    return statistics.median(_values(outcomes, name))


def parser_of(text: str | None, parts: Sequence[str]) -> argparse.ArgumentParser:
    """A parser with the options of these benchmarks, and those of the processes of their sides.

    Args:
        text: the script's description.
        parts: what `--only` chooses from.
    """
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--seed", "--threads", "--steps", "--watch-every"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--env", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="one seed, short trainings")
    parser.add_argument("--turns", type=int, default=10, help="seeds of each side (10)")
    parser.add_argument("--only", choices=parts, help="one comparison")
    counts = "thread counts to try (1 2); name the best one where it is known, to save time"
    parser.add_argument("--try-threads", type=int, nargs="+", default=THREADS, help=counts)
    return parser
