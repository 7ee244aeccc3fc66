"""One score a run, the same kind for all, and what groups of runs come to by it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gym_loop.report.grouping import Group, environments
from gym_loop.report.reading import EVALUATION, RETURN, RunData, centres
from gym_loop.report.statistics import (
    Estimate,
    Survival,
    aggregate,
    area_under_curve,
    interquartile_mean,
    normalized,
    steps_to_threshold,
    survival,
)
from gym_loop.runs.bootstrap import Floats


@dataclass
class GroupScores:
    """What a group came to."""

    strata: list[Floats]  # scores by environment, in the order of the environments
    mean: Estimate  # over environments of the mean over runs
    iqm: Estimate  # interquartile mean of all scores


@dataclass
class Scores:
    """Scores of groups that were trained in the same environments."""

    what: str  # what a score is, in words
    envs: list[str]  # the environments
    of: dict[str, GroupScores]  # by name of the group; one that lacks an environment is left out


class Score(NamedTuple):
    """What a run is judged by: its name, and how to get it from a run; NaN if it has none."""

    name: str
    of: Callable[[RunData], float]

    def of_all(self, runs: Sequence[RunData]) -> Floats:
        """The scores of those runs that have one."""
        values = [self.of(run) for run in runs]
        return np.array([value for value in values if math.isfinite(value)])


FINAL_EVALUATION = Score("evaluation of the final agent", lambda run: run.final_evaluation)
LAST_EVALUATION = Score("last evaluation", lambda run: run.evaluation)
LAST_RETURNS = Score("return of the last 100 episodes", lambda run: run.final_return)


def score_of(runs: Sequence[RunData]) -> Score:
    """The first of the three that every run with metrics has; else the last."""
    have_all = (one for one in (FINAL_EVALUATION, LAST_EVALUATION) if _has_every(runs, one))
    return next(have_all, LAST_RETURNS)


def curve_metric(runs: Sequence[RunData]) -> str:
    """The metric whose curves show how these runs learned."""
    return EVALUATION if _has_every(runs, LAST_EVALUATION) else RETURN


def _has_every(runs: Sequence[RunData], score: Score) -> bool:
    with_metrics = [run for run in runs if run.curves]
    return bool(with_metrics) and len(score.of_all(with_metrics)) == len(with_metrics)


def compare_groups(groups: Sequence[Group]) -> Scores:
    """Scores of all groups; those of several environments are brought to one scale, 0 to 1."""
    runs = [run for group in groups for run in group.runs]
    score, envs = score_of(runs), environments(runs)
    what = score.name
    raw = {group.name: [score.of_all(group.of(env)) for env in envs] for group in groups}
    raw = {name: strata for name, strata in raw.items() if all(map(len, strata))}
    if len(envs) > 1 and raw:
        what = f"{what}, normalized"
        for place in range(len(envs)):
            everything = np.concatenate([strata[place] for strata in raw.values()])
            for strata in raw.values():
                strata[place] = normalized(strata[place], everything.min(), everything.max())
    of = {
        name: GroupScores(strata, aggregate(strata), aggregate(strata, interquartile_mean))
        for name, strata in raw.items()
    }
    return Scores(what, envs, of)


@dataclass
class Summary:
    """A group in one environment, as a row of the table."""

    group: str  # its name
    env: str  # the environment
    runs: tuple[int, int]  # how many, and how many of them have a score
    steps: int  # of the longest run
    mean: Estimate  # of the scores
    iqm: Estimate  # of the scores
    area: Estimate  # mean height of the learning curves, over the runs
    reached: Survival | None  # time to the threshold, if one was asked for


def summaries(
    groups: Sequence[Group], ends: dict[str, float], threshold: float | None = None
) -> list[Summary]:
    """One row a group and environment."""
    everyone = [run for group in groups for run in group.runs]
    score = score_of(everyone)
    metric = curve_metric(everyone)
    rows = []
    for env in environments(everyone):
        for group in groups:
            runs = group.of(env)
            if not runs:
                continue
            scores, steps = score.of_all(runs), centres(ends[env])
            means = [run.curves[metric].mean for run in runs if metric in run.curves]
            curves = [(steps[np.isfinite(mean)], mean[np.isfinite(mean)]) for mean in means]
            reached = None
            if threshold is not None and curves:
                found = [steps_to_threshold(*curve, threshold) for curve in curves]
                reached = survival([step for step, _ in found], [hit for _, hit in found])
            rows.append(
                Summary(
                    group.name,
                    env,
                    (len(runs), len(scores)),
                    max(run.steps for run in runs),
                    aggregate([scores]),
                    aggregate([scores], interquartile_mean),
                    aggregate([[area_under_curve(*curve) for curve in curves]]),
                    reached,
                )
            )
    return rows
