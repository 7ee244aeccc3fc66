"""One score a run, the same kind for all, and what groups of runs come to by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gym_loop.bootstrap import Floats
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


@dataclass
class GroupScores:
    """What a group came to.

    Args:
        strata: scores by environment, in the order of the environments.
        mean: over environments of the mean over runs.
        iqm: interquartile mean of all scores.
    """

    strata: list[Floats]
    mean: Estimate
    iqm: Estimate


@dataclass
class Scores:
    """Scores of groups that were trained in the same environments.

    Args:
        what: what a score is, in words.
        envs: the environments.
        of: by name of the group; one that lacks an environment is left out.
    """

    what: str
    envs: list[str]
    of: dict[str, GroupScores]


def uses_evaluation(runs: Sequence[RunData]) -> bool:
    """Whether every run with metrics was evaluated: then that is its score."""
    with_metrics = [run for run in runs if run.curves]
    return bool(with_metrics) and all(math.isfinite(run.evaluation) for run in with_metrics)


def score_name(runs: Sequence[RunData]) -> str:
    """What the score of these runs is, in words."""
    if uses_evaluation(runs):
        return "last evaluation"
    return "return of the last 100 episodes"


def run_scores(runs: Sequence[RunData], *, evaluation: bool) -> Floats:
    """The scores of those runs that have one."""
    values = [run.evaluation if evaluation else run.final_return for run in runs]
    return np.array([value for value in values if math.isfinite(value)])


def compare_groups(groups: Sequence[Group]) -> Scores:
    """Scores of all groups; those of several environments are brought to one scale, 0 to 1."""
    runs = [run for group in groups for run in group.runs]
    evaluation, envs = uses_evaluation(runs), environments(runs)
    what = score_name(runs)
    raw = {
        group.name: [run_scores(group.of(env), evaluation=evaluation) for env in envs]
        for group in groups
    }
    raw = {name: strata for name, strata in raw.items() if all(map(len, strata))}
    if len(envs) > 1 and raw:
        what = f"{what}, normalized"
        for place in range(len(envs)):
            everything = np.concatenate([strata[place] for strata in raw.values()])
            for strata in raw.values():
                strata[place] = normalized(strata[place], everything.min(), everything.max())
    return Scores(
        what,
        envs,
        {
            name: GroupScores(strata, aggregate(strata), aggregate(strata, interquartile_mean))
            for name, strata in raw.items()
        },
    )


@dataclass
class Summary:
    """A group in one environment, as a row of the table.

    Args:
        group: its name.
        env: the environment.
        runs: how many, and how many of them have a score.
        steps: of the longest run.
        mean: of the scores.
        iqm: of the scores.
        area: mean height of the learning curves, over the runs.
        reached: time to the threshold, if one was asked for.
    """

    group: str
    env: str
    runs: tuple[int, int]
    steps: int
    mean: Estimate
    iqm: Estimate
    area: Estimate
    reached: Survival | None


def summaries(
    groups: Sequence[Group], ends: dict[str, float], threshold: float | None = None
) -> list[Summary]:
    """One row a group and environment."""
    everyone = [run for group in groups for run in group.runs]
    evaluation = uses_evaluation(everyone)
    metric = EVALUATION if evaluation else RETURN
    rows = []
    for env in environments(everyone):
        for group in groups:
            runs = group.of(env)
            if not runs:
                continue
            scores = run_scores(runs, evaluation=evaluation)
            curves = [_known(run, metric, ends[env]) for run in runs if metric in run.curves]
            areas = [area_under_curve(*curve) for curve in curves]
            rows.append(
                Summary(
                    group.name,
                    env,
                    (len(runs), len(scores)),
                    max(run.steps for run in runs),
                    aggregate([scores]) if len(scores) else Estimate(math.nan),
                    aggregate([scores], interquartile_mean) if len(scores) else Estimate(math.nan),
                    aggregate([areas]) if areas else Estimate(math.nan),
                    _time_to(curves, threshold) if threshold is not None and curves else None,
                )
            )
    return rows


def _known(run: RunData, metric: str, end: float) -> tuple[Floats, Floats]:
    mean = run.curves[metric].mean
    known = np.isfinite(mean)
    return centres(end)[known], mean[known]


def _time_to(curves: Sequence[tuple[Floats, Floats]], threshold: float) -> Survival:
    found = [steps_to_threshold(*curve, threshold) for curve in curves]
    return survival([one[0] for one in found], [one[1] for one in found])
