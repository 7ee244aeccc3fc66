"""Statistics of few runs: aggregates with intervals, profiles, comparisons, times to a threshold.

Scores come as strata: one array of scores a task (an environment), one score a run; tasks may
differ in their number of runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gym_loop.runs.bootstrap import RESAMPLES, Floats, Statistic, bootstrap_interval

Strata = Sequence[npt.ArrayLike]
FEW_SEEDS = 5
Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution
PI_ROOT = math.sqrt(math.pi)


class Estimate(NamedTuple):
    """A value with its 95 % interval; without one both ends are NaN."""

    value: float
    low: float = math.nan
    high: float = math.nan


def few_seeds(counts: Sequence[int]) -> str | None:
    """What to say of groups with so many runs each; None if each has enough."""
    least = min(counts, default=FEW_SEEDS)
    if least >= FEW_SEEDS:
        return None
    return (
        f"{count_of(least)} where at least {FEW_SEEDS} seeds are wanted: intervals over so few are"
        " too narrow, and what they show may not happen again"
    )


def count_of(runs: int) -> str:
    """``1 run``, ``2 runs``."""
    return "1 run" if runs == 1 else f"{runs} runs"


# -- aggregates ------------------------------------------------------------------------------


def mean(strata: Sequence[Floats]) -> Floats:
    """Mean over the tasks of the mean over their runs, along the last axis."""
    return np.asarray(np.mean([one.mean(-1) for one in strata], axis=0))


def interquartile_mean(strata: Sequence[Floats]) -> Floats:
    """Mean of the middle half of all scores together, along the last axis.

    Source: Agarwal et al., "Deep RL at the Edge of the Statistical Precipice" (2021).
    """
    pooled = np.concatenate(list(strata), axis=-1)
    count = pooled.shape[-1]
    cut = count // 4
    if cut:
        pooled = np.partition(pooled, (cut, count - cut - 1), axis=-1)[..., cut : count - cut]
    return np.asarray(pooled.mean(-1))


def aggregate(strata: Strata, statistic: Statistic = mean, resamples: int = RESAMPLES) -> Estimate:
    """A statistic of all scores with its stratified bootstrap interval; NaN of no scores.

    Args:
        strata: scores of the runs in each task.
        statistic: `mean`, `interquartile_mean`, or one of your own.
        resamples: of the bootstrap.
    """
    arrays = [np.asarray(one, np.float64) for one in strata]
    if not any(map(len, arrays)):
        return Estimate(math.nan)
    value = float(statistic([one[None] for one in arrays])[0])
    if max(map(len, arrays)) < 2:
        return Estimate(value)
    low, high = bootstrap_interval(arrays, statistic, resamples=resamples)
    return Estimate(value, float(low), float(high))


def normalized(scores: npt.ArrayLike, low: float, high: float) -> Floats:
    """Scores on the scale on which ``low`` is 0 and ``high`` is 1; all 0 if the two are equal."""
    values = np.asarray(scores, np.float64) - low
    return values / (high - low) if high != low else 0.0 * values


def performance_profile(
    strata: Strata, thresholds: npt.ArrayLike, resamples: int = 2_000
) -> tuple[Floats, Floats, Floats]:
    """Share of the runs with a score above each threshold, and its pointwise 95 % interval.

    Args:
        strata: scores of the runs in each task.
        thresholds: ``[K]``.
        resamples: of the stratified bootstrap.

    Returns:
        Shares, lower and upper ends, each ``[K]``.
    """
    levels = np.asarray(thresholds, np.float64)
    arrays = [np.asarray(one, np.float64) for one in strata]

    def shares(resampled: Sequence[Floats]) -> Floats:
        pooled = np.sort(np.concatenate(list(resampled), axis=-1), axis=-1)
        at_most = [np.searchsorted(row, levels, side="right") for row in pooled]
        return np.asarray(1.0 - np.asarray(at_most) / pooled.shape[-1])

    low, high = bootstrap_interval(arrays, shares, resamples=resamples)
    return shares([one[None] for one in arrays])[0], low, high


# -- comparisons -----------------------------------------------------------------------------


def probability_of_improvement(ours: Strata, theirs: Strata) -> Estimate:
    """How likely a run of ours scores higher than one of theirs, ties counted half.

    The mean over the tasks of the Mann-Whitney statistic. Its interval does not collapse when all
    of our few runs are better, as that of a bootstrap does.

    Args:
        ours: scores in each task.
        theirs: scores in the same tasks.

    Source: Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney
        statistic", part 2, method 5 (2006); tasks are combined as by Zou and Donner (2008).
    """
    found = [
        _improvement(np.asarray(one, np.float64), np.asarray(other, np.float64))
        for one, other in zip(ours, theirs, strict=True)
    ]
    value = sum(one.value for one in found) / len(found)
    below = math.sqrt(sum((one.value - one.low) ** 2 for one in found)) / len(found)
    above = math.sqrt(sum((one.high - one.value) ** 2 for one in found)) / len(found)
    return Estimate(value, max(0.0, value - below), min(1.0, value + above))


def _improvement(ours: Floats, theirs: Floats) -> Estimate:
    pairs = ours[:, None] - theirs[None, :]
    value = float(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
    spare = (len(ours) + len(theirs)) / 2 - 1

    def is_plausible(true: float) -> bool:
        factor = 1 + spare * (1 - true) / (2 - true) + spare * true / (1 + true)
        deviation = math.sqrt(true * (1 - true) * factor / pairs.size)
        return abs(value - true) <= Z95 * deviation

    return Estimate(value, _edge(is_plausible, value, 0.0), _edge(is_plausible, value, 1.0))


def _edge(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where a condition ends that holds inside, and not outside; by bisection."""
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return (inside + outside) / 2


class Welch(NamedTuple):
    """Welch's test of two means."""

    difference: Estimate  # the first mean minus the second, with its 95 % interval
    t: float  # its ratio to its standard error
    freedom: float  # degrees of freedom
    p: float  # probability of a difference at least as large, up or down, if the means are equal


def welch(ours: npt.ArrayLike, theirs: npt.ArrayLike) -> Welch:
    """Compare two means without taking the spreads to be equal; at least two values each.

    Source: Welch, "The generalization of Student's problem when several different population
        variances are involved" (1947).
    """
    one, other = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    difference = float(one.mean() - other.mean())
    counts = [len(one), len(other)]
    parts = [float(values.var(ddof=1)) / len(values) for values in (one, other)]
    error = math.sqrt(sum(parts))
    if error == 0.0:  # every seed gave the very same
        equal = difference == 0.0
        t = 0.0 if equal else math.copysign(math.inf, difference)
        return Welch(Estimate(difference, difference, difference), t, math.inf, float(equal))
    squares = [part**2 / (count - 1) for part, count in zip(parts, counts, strict=True)]
    freedom = sum(parts) ** 2 / sum(squares)
    t = difference / error
    half = error * student_quantile(0.975, freedom)
    estimate = Estimate(difference, difference - half, difference + half)
    return Welch(estimate, t, freedom, 2 * student_tail(abs(t), freedom))


def student_tail(t: float, freedom: float) -> float:
    """Probability that Student's t is above ``t >= 0``, at one degree of freedom or more."""
    # The integral of its density, with t = sqrt(freedom) / tan(u^2), is smooth from 0 on.
    nodes, weights = _gauss_legendre()
    end = math.sqrt(math.atan2(math.sqrt(freedom), t))
    u = end * (nodes + 1) / 2
    area = end * float(weights @ (u * np.sin(u * u) ** (freedom - 1)))
    return area * math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / PI_ROOT


def student_quantile(probability: float, freedom: float) -> float:
    """The ``t`` up to 1,000 that Student's t is below with this probability, above one half."""
    return _edge(lambda t: student_tail(t, freedom) > 1 - probability, 0.0, 1e3)


@cache
def _gauss_legendre() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return np.asarray(nodes), np.asarray(weights)


# -- learning curves ---------------------------------------------------------------------------


def area_under_curve(steps: npt.ArrayLike, values: npt.ArrayLike) -> float:
    """Mean height of a learning curve: its area by trapezoids, over the steps it spans."""
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    if len(x) < 2 or x[-1] <= x[0]:
        return float(y.mean()) if len(y) else math.nan
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) / (x[-1] - x[0]))


def steps_to_threshold(
    steps: npt.ArrayLike, values: npt.ArrayLike, threshold: float
) -> tuple[float, bool]:
    """The first step at which a curve reaches a threshold.

    Returns:
        That step and True; or the last step, and False: it was not reached until then.
    """
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    reached = np.flatnonzero(y >= threshold)
    if len(reached):
        return float(x[reached[0]]), True
    return (float(x[-1]) if len(x) else 0.0), False


class Survival(NamedTuple):
    """How long runs stay below a threshold, those that never reach it taken into account."""

    median: float  # steps by which half the runs have reached it; infinite if fewer have
    restricted_mean: Estimate  # mean steps below it within the horizon, and its 95 % interval
    horizon: float  # the last step that the mean looks at
    reached: int  # how many runs reached it
    runs: int  # of how many


def survival(
    times: npt.ArrayLike, reached: npt.ArrayLike, horizon: float | None = None
) -> Survival:
    """Time to a threshold from runs of which some end before they reach it.

    Args:
        times: step at which a run reached the threshold, or ended.
        reached: whether it reached it.
        horizon: for the restricted mean; by default the longest time.

    Source: Kaplan and Meier, "Nonparametric estimation from incomplete observations" (1958); the
        interval is Greenwood's.
    """
    ends = np.asarray(times, np.float64)
    events = np.asarray(reached, bool)
    until = float(ends.max()) if horizon is None else horizon
    moments = np.unique(ends[events & (ends <= until)])
    at_risk = np.array([np.sum(ends >= moment) for moment in moments], np.float64)
    fell = np.array([np.sum(events & (ends == moment)) for moment in moments], np.float64)
    remaining = np.cumprod(1 - fell / at_risk) if len(moments) else np.ones(0)
    below_half = np.flatnonzero(remaining <= 0.5)
    median = float(moments[below_half[0]]) if len(below_half) else math.inf
    # The curve is 1 before the first moment, then constant between moments.
    edges = np.concatenate([[0.0], moments, [until]])
    areas = np.diff(edges) * np.concatenate([[1.0], remaining])
    expected = float(areas.sum())
    after = areas[::-1].cumsum()[::-1][1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = after**2 * fell / (at_risk * (at_risk - fell))
    half = Z95 * math.sqrt(float(parts[np.isfinite(parts)].sum()))
    estimate = Estimate(expected, max(0.0, expected - half), min(until, expected + half))
    return Survival(median, estimate, until, int(events.sum()), len(ends))
