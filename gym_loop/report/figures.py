"""What is drawn, as data: curves over steps, intervals, and shares of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gym_loop.report.grouping import Group, environments
from gym_loop.report.reading import BINS, EVALUATION, JUDGED, RETURN, Curve, RunData, centres
from gym_loop.report.scores import Scores
from gym_loop.report.statistics import Estimate, performance_profile
from gym_loop.runs.bootstrap import Floats

RESAMPLES = 1_000
_TITLES = {
    RETURN: "Return of training episodes",
    EVALUATION: "Return of evaluations",
    "train/episode_length": "Length of training episodes, in steps",
    "train/steps_per_second": "Steps per second",
    "train/updates_per_second": "Updates per second",
    "eval/length_mean": "Length of evaluation episodes, in steps",
}
_HIDDEN = ("eval/return_std", "eval/return_min", "eval/return_max", "eval/return_median")
_ALWAYS = ("curves", "evaluation", "speed")
_SECTIONS = {"train": "curves", "eval": "evaluation", "agent": "agent"}
_ORDER = ("curves", "evaluation", "agent", "speed", "other")
_PARTS = ("environment", "act", "observe", "update", "logging", "evaluation", "checkpoints")
LEVELS = 101


@dataclass
class Line:
    """One group in a figure."""

    group: str  # its name
    index: int  # of the group, which decides colour and dashes
    x: Floats  # ``[K]``
    y: Floats  # ``[K]``
    low: Floats  # ``[K]``, lower end of its band
    high: Floats  # ``[K]``
    count: Floats  # ``[K]``, runs that a point rests on
    runs: dict[str, Floats] = field(default_factory=dict)  # the curve ``[K]`` of each run by id


@dataclass
class Chart:
    """Curves with bands."""

    key: str  # names its files, and its place in the page
    title: str  # what is drawn
    section: str  # of the page
    x_label: str  # of the horizontal axis
    lines: list[Line]  # one a group

    @property
    def start(self) -> float:
        """Where the horizontal axis begins: steps at 0, scores at the lowest."""
        lowest = min(float(line.x[0]) for line in self.lines)
        return lowest if self.section == "scores" else min(0.0, lowest)


@dataclass
class Rows:
    """Values with intervals, one row a group."""

    key: str  # names its files, and its place in the page
    title: str  # what is drawn
    rows: list[tuple[str, int, Estimate]]  # group, its index, and the estimate


Figure = Chart | Rows


def curve_charts(
    groups: Sequence[Group], ends: dict[str, float], *, envs_together: bool = False
) -> list[Chart]:
    """A chart for every metric, and every environment unless groups are told apart by it."""
    runs = [run for group in groups for run in group.runs]
    envs = environments(runs)
    places = [("", envs)] if envs_together or len(envs) == 1 else [(env, [env]) for env in envs]
    charts = []
    for metric in _metrics(runs):
        for place, among in places:
            key, title = metric, _TITLES.get(metric, metric)
            if place:
                key, title = f"{metric}/{place}", f"{title}: {place}"
            lines = [
                line
                for index, group in enumerate(groups)
                for env in among
                if (line := _line(group, index, metric, env, ends[env])) is not None
            ]
            if lines:
                charts.append(Chart(key, title, _section(metric), "environment steps", lines))
    return charts


def _metrics(runs: Sequence[RunData]) -> list[str]:
    """Every metric: returns first, what is in the agents last."""
    names = dict.fromkeys(
        name
        for run in runs
        for name, curve in run.curves.items()
        if name not in _HIDDEN and (_section(name) in _ALWAYS or not _is_constant(curve))
    )
    first = [name for name in JUDGED if name in names]
    others = names.keys() - first
    return first + sorted(others, key=lambda name: (_ORDER.index(_section(name)), name))


def _is_constant(curve: Curve) -> bool:
    """Whether a metric never changes: the run's configuration, as a rule."""
    return not np.nanmax(curve.high) > np.nanmin(curve.low)


def _section(metric: str) -> str:
    if metric.endswith("_per_second"):
        return "speed"
    return _SECTIONS.get(metric.partition("/")[0], "other")


def _line(group: Group, index: int, metric: str, env: str, end: float) -> Line | None:
    """The line of a group's runs in one environment; None without any that have the metric."""
    curves = {run.run: run.curves[metric] for run in group.of(env) if metric in run.curves}
    if not curves:
        return None
    y, low, high, count = mean_line([curve.mean for curve in curves.values()])
    if len(curves) == 1:
        ((_, low, high),) = curves.values()
    known = np.isfinite(y)
    single = {run: curve.mean[known] for run, curve in curves.items() if metric in JUDGED}
    x, y, low, high, count = (part[known] for part in (centres(end), y, low, high, count))
    return Line(group.name, index, x, y, low, high, count, single)


def mean_line(curves: Sequence[Floats]) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean over runs in each bin, with its interval.

    It begins where all runs have a value, and ends where half of them have ended: whenever a run
    comes or goes the mean jumps. The runs are resampled whole: one resample is one curve.

    Args:
        curves: ``[BINS]`` each, NaN where a run has no value.

    Returns:
        Mean, lower end, upper end, and number of runs, each ``[BINS]``.
    """
    values = np.array(curves)
    known = np.isfinite(values)
    count = known.sum(0).astype(np.float64)
    filled = np.where(known, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(0) / count
        chosen = np.random.default_rng(0).multinomial(
            len(curves), np.full(len(curves), 1 / len(curves)), RESAMPLES
        )
        chosen = chosen.astype(np.float64)  # products of integers are slow
        drawn = (chosen @ filled) / (chosen @ known.astype(np.float64))
    low, high = np.full((2, BINS), np.nan)
    if len(curves) > 1:
        some = count > 1
        # Sorting puts the few resamples without any value, NaN, at the end.
        ordered = np.sort(drawn[:, some], axis=0)
        last = np.isfinite(ordered).sum(0) - 1
        for ends, share in ((low, 0.025), (high, 0.975)):
            places = np.round(share * last).astype(np.int64)
            ends[some] = np.take_along_axis(ordered, places[None], 0)[0]
    outside = (np.arange(BINS) < known.argmax(1).max()) | (count * 2 <= len(curves))
    if not outside[count > 0].all():  # else the runs have no step in common: all there is
        mean[outside] = np.nan
    return mean, low, high, count


def score_figures(groups: Sequence[Group], scores: Scores) -> list[Figure]:
    """Mean and interquartile mean with intervals, and the profile, of groups that compare."""
    of, what = scores.of, scores.what
    among = [(group.name, index) for index, group in enumerate(groups) if group.name in of]
    if not among:
        return []
    found: list[Figure] = [
        Rows("scores/mean", f"Mean of {what}", [(*one, of[one[0]].mean) for one in among]),
        Rows(
            "scores/iqm", f"Interquartile mean of {what}", [(*one, of[one[0]].iqm) for one in among]
        ),
    ]
    pooled = {name: np.concatenate(of[name].strata) for name, _ in among}
    if max(map(len, pooled.values())) > 1:
        everything = np.concatenate(list(pooled.values()))
        levels = np.linspace(everything.min(), everything.max(), LEVELS)
        lines = []
        for name, index in among:
            runs = np.full(LEVELS, len(pooled[name]), np.float64)
            profile = performance_profile(of[name].strata, levels)
            lines.append(Line(name, index, levels, *profile, runs))
        title = f"Share of runs above a score ({what})"
        found.append(Chart("scores/profile", title, "scores", what, lines))
    return found


def time_parts(groups: Sequence[Group]) -> list[tuple[str, dict[str, float]]]:
    """Where the time of each group went, in seconds by part; those that measured it alone.

    All have the same parts in the same order, the loop's own time last.
    """
    measured = {
        group.name: [run.seconds_of for run in group.runs if run.seconds_of] for group in groups
    }
    found = {name for runs in measured.values() for one in runs for name in one}
    parts = [name for name in _PARTS if name in found]
    parts += sorted(found - set(_PARTS) - {"loop"}) + ["loop"] * ("loop" in found)
    return [
        (group, {name: sum(one.get(name, 0.0) for one in runs) for name in parts})
        for group, runs in measured.items()
        if runs
    ]
