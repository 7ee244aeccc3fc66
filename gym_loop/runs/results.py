"""What training and evaluation give back, as data."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gym_loop.runs.bootstrap import bootstrap_interval


def to_json(value: Any, indent: int | None = None) -> str:
    """Write data as strict JSON, in which NaN and infinities are null: JSON has neither."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def is_better(value: float, best: float | None) -> bool:
    """Whether a mean return is the highest so far; NaN never is, and any number beats it."""
    if math.isnan(value):
        return False
    return best is None or math.isnan(best) or value > best


class EpisodeResult(NamedTuple):
    """One finished episode of an evaluation.

    Args:
        seed: what the environment was reset with; the same seed replays the episode.
        episode_return: sum of the rewards.
        length: steps.
    """

    seed: int
    episode_return: float
    length: int


class Statistics(NamedTuple):
    """Mean, spread and range of some values, with a 95 % bootstrap interval of the mean."""

    mean: float
    std: float
    median: float
    min: float
    max: float
    ci95: tuple[float, float]

    @classmethod
    def of(cls, values: Sequence[float]) -> Statistics:
        """Summarise at least one value; ``std`` is that of the population."""
        array = np.asarray(values, np.float64)
        low, high = bootstrap_interval([array], lambda resampled: resampled[0].mean(1))
        functions = (np.mean, np.std, np.median, np.min, np.max)
        mean, std, median, least, most = (float(function(array)) for function in functions)
        return cls(mean, std, median, least, most, (float(low), float(high)))

    def as_dict(self) -> dict[str, Any]:
        """The numbers by name, ready for JSON."""
        return {**self._asdict(), "ci95": list(self.ci95)}


@dataclass(frozen=True)
class EvaluationResult:
    """The episodes of one evaluation, in the order of their seeds.

    Args:
        episodes: at least one, unless a signal stopped it before.
        run: id of the run that was evaluated, or None for an untrained agent.
        checkpoint: its checkpoint, or None for an untrained agent.
        complete: False if its file or a video could not be written, which was warned about.
        signal: number of the signal that stopped it; ``episodes`` are those that were over by then.
    """

    episodes: Sequence[EpisodeResult]
    run: str | None = None
    checkpoint: str | None = None
    complete: bool = True
    signal: int | None = None

    @property
    def returns(self) -> Statistics:
        """Statistics of the episodes' returns."""
        return Statistics.of([episode.episode_return for episode in self.episodes])

    @property
    def lengths(self) -> Statistics:
        """Statistics of the episodes' lengths, in steps."""
        return Statistics.of([episode.length for episode in self.episodes])

    def as_dict(self) -> dict[str, Any]:
        """The object that ``gym-loop evaluate --json`` prints."""
        return {
            "run": self.run,
            "checkpoint": self.checkpoint,
            "episodes": len(self.episodes),
            "return": self.returns.as_dict() if self.episodes else None,
            "length": self.lengths.as_dict() if self.episodes else None,
            "per_episode": [
                {"seed": one.seed, "return": one.episode_return, "length": one.length}
                for one in self.episodes
            ],
        }


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to.

    Args:
        run: id of the run.
        exit_reason: ``"finished"``, or ``"stopped"`` by a signal.
        episodes: finished episodes, those before a resume counted in.
        steps: environment steps, likewise.
        seconds: time spent training, likewise.
        mean_return: mean return of the last 100 episodes, None if none was finished.
        best_evaluation: best mean return of a periodic evaluation, None without one.
        directories: where the run's files are, by parameter name.
        checkpoint: the last checkpoint.
        signal: number of the signal that stopped it.
        complete: False if the last checkpoint could not be written, which was warned about.
        limit: what ended it, such as ``max_steps=20000``; None if that is not known.
    """

    run: str
    exit_reason: str
    episodes: int
    steps: int
    seconds: float
    mean_return: float | None
    best_evaluation: float | None
    directories: dict[str, Path] = field(default_factory=dict)
    checkpoint: Path | None = None
    signal: int | None = None
    complete: bool = True
    limit: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The object that ``gym-loop train --json`` prints."""
        names = ("run", "exit_reason", "limit", "episodes", "steps", "seconds", "mean_return")
        return {
            **{name: getattr(self, name) for name in (*names, "best_evaluation")},
            "directories": {name: str(path) for name, path in self.directories.items()},
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
        }


def evaluation_scalars(result: EvaluationResult) -> dict[str, float]:
    """The metrics of an evaluation, by name."""
    returns, lengths = result.returns, result.lengths
    return {
        "eval/return_mean": returns.mean,
        "eval/return_std": returns.std,
        "eval/return_median": returns.median,
        "eval/return_min": returns.min,
        "eval/return_max": returns.max,
        "eval/length_mean": lengths.mean,
    }


def write_evaluation(path: Path, result: EvaluationResult, warn: Any) -> bool:
    """Write an evaluation as JSON; a full disk is warned about, stops nothing, and gives False."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(result.as_dict(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        reason = f"{error.strerror}; make room, or choose another loop.parameters.eval_logdir"
        warn(f"the evaluation could not be written to {path}: {reason}")
        return False
    return True
