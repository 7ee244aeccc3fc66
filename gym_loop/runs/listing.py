"""The runs on disk, as ``gym-loop runs`` shows them."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

from gym_loop.errors import RunError
from gym_loop.runs.directory import MANIFEST, run_ids, status_of
from gym_loop.runs.manifest import read_manifest
from gym_loop.runs.results import is_better
from gym_loop.schema.files import open_regular


@dataclass(frozen=True)
class RunSummary:
    """One run on disk."""

    run: str  # its id
    agent: str  # class string of the agent
    env: str  # id of the environment
    seed: int | None  # of the run
    status: str  # ``running``, ``finished``, ``stopped``, ``failed``, or ``killed``
    steps: int  # environment steps that were logged
    last_return: float | None  # return of the last episode, None before the first
    best_return: float | None  # the highest of any episode, None where none is a number
    age: float | None  # seconds since the run was started


def list_runs(logdir: Path) -> list[RunSummary]:
    """Every run below a log directory, oldest first.

    Raises:
        RunError: there is no such directory.
    """
    if not logdir.is_dir():
        raise RunError(f"there is no directory {logdir}; name the logdir of your run files")
    return [_summary(logdir, run_id) for run_id in run_ids(logdir)]


def _summary(logdir: Path, run_id: str) -> RunSummary:
    manifest = read_manifest(logdir / run_id / MANIFEST)
    steps, last, best = _returns(logdir / run_id / "metrics.csv")
    return RunSummary(
        run=run_id,
        agent=manifest.get("agent", "?"),
        env=manifest.get("env", "?"),
        seed=manifest.get("seed"),
        status=status_of(logdir / run_id, manifest) or "killed",
        steps=max(steps, int(manifest.get("steps", 0))),
        last_return=last,
        best_return=best,
        age=_age(manifest.get("started")),
    )


def _returns(metrics: Path) -> tuple[int, float | None, float | None]:
    steps = 0
    last = best = None
    for row in _rows(metrics):
        step = row.get("step") or ""
        steps = max(steps, int(step) if step.isdecimal() and len(step) < 16 else 0)
        if row.get("train/episode_return"):
            last = as_float(row["train/episode_return"])
            best = last if is_better(last, best) else best
    return steps, last, best


def _rows(metrics: Path) -> Iterator[dict[str, str]]:
    """The rows as far as they can be read: a file may be missing, damaged, or half copied."""
    try:
        with open(
            metrics, newline="", encoding="utf-8", errors="replace", opener=open_regular
        ) as file:
            yield from csv.DictReader(file)
    except (OSError, csv.Error):
        return


def return_curve(logs: Path, points: int) -> list[float]:
    """The mean returns of a run's training episodes in at most so many equal parts."""
    cells = [row.get("train/episode_return") for row in _rows(logs / "metrics.csv")]
    numbers = [as_float(cell) for cell in cells if cell]
    returns = [value for value in numbers if math.isfinite(value)]
    points = min(points, len(returns))
    edges = [round(part * len(returns) / points) for part in range(points + 1)] if points else []
    return [sum(returns[start:end]) / (end - start) for start, end in pairwise(edges)]


def as_float(text: str | bytes) -> float:
    """A number; NaN for a damaged cell, or one that is being written."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _age(started: Any) -> float | None:
    try:
        age = (datetime.now(timezone.utc) - datetime.fromisoformat(started)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return age if age >= 0 else None  # the clock was wrong, then or now
