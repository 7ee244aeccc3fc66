"""What a sweep came to: its trials, best first."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gym_loop.runs.console import format_duration
from gym_loop.schema.printable import aligned
from gym_loop.sweeps.records import WORST, TrialRecord

_ORDER = ("finished", "pruned", "running", "stopped", "failed")


@dataclass(frozen=True)
class SweepResult:
    """The trials of a sweep.

    Args:
        sweep: its id.
        directory: its files.
        metric: what judges a trial.
        mode: ``max`` or ``min``.
        trials: how many were asked for.
        records: those that there are.
        importance: of each parameter, in shares of 1; empty if there are too few trials.
        signal: what stopped it, if anything did.
    """

    sweep: str
    directory: Path
    metric: str
    mode: str
    trials: int
    records: Sequence[TrialRecord]
    importance: Mapping[str, float] = field(default_factory=dict)
    signal: int | None = None

    @property
    def ranked(self) -> list[TrialRecord]:
        """Best first; after the finished trials those that were ended early, then the others."""
        sign = 1.0 if self.mode == "max" else -1.0

        def rank(one: TrialRecord) -> tuple[int, float, int]:
            value = math.inf if one.value is None else -sign * one.value
            return _ORDER.index(one.status), value, one.number

        return sorted(self.records, key=rank)

    @property
    def best(self) -> TrialRecord | None:
        """The best of the finished trials."""
        first = self.ranked[0] if self.records else None
        return first if first is not None and first.status == "finished" else None

    def count(self, status: str) -> int:
        """How many trials have this status."""
        return sum(one.status == status for one in self.records)

    def as_dict(self) -> dict[str, Any]:
        """The object that ``gym-loop sweep --json`` prints."""
        best = self.best
        return {
            "sweep": self.sweep,
            "directory": str(self.directory),
            "metric": self.metric,
            "mode": self.mode,
            "best": str(self.directory / "best.yaml") if best else None,
            "importance": dict(self.importance),
            "trials": [
                {
                    "cell": one.cell,
                    "status": one.status,
                    "value": one.value,
                    "ci95": one.interval,
                    "per_seed": one.per_seed,
                    "values": one.values,
                    "runs": list(one.runs.values()),
                    "steps": one.steps,
                    "seconds": one.seconds,
                    "error": one.error,
                }
                for one in self.ranked
            ],
        }


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The last parts of dotted paths, as many as tell them apart."""
    names = {}
    for path in paths:
        parts = path.split(".")
        for count in range(1, len(parts) + 1):
            names[path] = ".".join(parts[-count:])
            if sum(other.endswith(f".{names[path]}") or other == names[path]
                   for other in paths) == 1:  # fmt: skip
                break
    return names


def shown(value: Any) -> str:
    """A value of a parameter, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def sweep_summary(result: SweepResult, run_config: Path, sweep_file: Path, most: int = 20) -> str:
    """The table, best first, and the exact commands that come next."""
    ranked = result.ranked
    paths = list(dict.fromkeys(path for one in ranked for path in one.values))
    short = short_names(paths)
    heads = ["cell", "status", "seeds", result.metric, "95 % interval", "seconds", *short.values()]
    rows = [_row(one, paths) for one in ranked[:most]]
    lines = aligned([heads, *rows], left=2)
    if len(ranked) > most:
        lines.append(f"... and {len(ranked) - most:,} more, in {result.directory / 'trials'}")
    lines += [f"{one.cell} failed: {one.error}" for one in ranked if one.error]
    counts = [f"{result.count(word)} {word}" for word in _ORDER if result.count(word)]
    lines.append(f"{result.sweep}: {', '.join(counts) or 'no trials'}")
    if result.importance:
        shares = sorted(result.importance.items(), key=lambda one: -one[1])
        text = ", ".join(f"{short.get(path, path)} {share:.0%}" for path, share in shares)
        lines.append(f"importance: {text}")
    place = shlex.quote(str(result.directory / "best.yaml"))
    if result.best is not None:
        lines.append(f"  train the best:  gym-loop train -c {place}")
    lines.append(f"  look at trials:  optuna-dashboard sqlite:///{result.directory / 'study.db'}")
    if result.signal is not None or any(not one.is_over for one in ranked):
        files = f"-c {shlex.quote(str(run_config))} -s {shlex.quote(str(sweep_file))}"
        lines.append(f"  resume:          gym-loop sweep {files} --resume {result.sweep}")
    return "\n".join(lines)


def _row(one: TrialRecord, paths: Sequence[str]) -> list[str]:
    value = "" if one.value is None else f"{one.value:.2f}"
    if one.value is not None and abs(one.value) >= WORST:
        value = "nan"  # an evaluation that was no number
    interval = one.interval
    return [
        one.cell,
        one.status,
        str(len(one.runs)),
        value,
        "" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}",
        format_duration(one.seconds),
        *(shown(one.values[path]) if path in one.values else "" for path in paths),
    ]
