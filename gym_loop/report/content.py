"""Everything that a report says, computed once: the page, the files and the tests read it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gym_loop.errors import RunError
from gym_loop.report.figures import Chart, Figure, curve_charts, score_figures, time_parts
from gym_loop.report.grouping import (
    Group,
    differences,
    differing_keys,
    environments,
    group_runs,
    shown,
)
from gym_loop.report.reading import RunData, read_runs
from gym_loop.report.scores import Scores, Summary, compare_groups, score_of, summaries
from gym_loop.report.statistics import few_seeds

SHOWN_AT_FIRST = 12  # groups
SAME_BUDGET = 0.9  # of the steps of the longest: less is said
_NAMED = 8  # runs in a remark
_STATUSES = {
    "running": "still training; its last values are not its final ones",
    "failed": "failed with an error",
    "killed": "killed before the end",
    "stopped": "stopped before the end",
}


@dataclass
class Content:
    """What a report says."""

    runs: list[RunData]  # all of them
    groups: list[Group]  # the same, put together
    hidden: list[int]  # indices of groups that are switched off at first, for there are too many
    score: str  # what a run's score is, in words
    summaries: list[Summary]  # a row a group and environment
    threshold: float | None  # the score that the time to is measured, if one was asked for
    charts: list[Chart]  # curves over steps
    scores: Scores  # of groups that were trained in the same environments
    score_figures: list[Figure]  # their figures
    # keys with the values of each group, and how many more there are
    differing: tuple[list[tuple[str, list[str]]], int]
    time: list[tuple[str, dict[str, float]]]  # seconds by part, of each group that measured it
    remarks: list[str]  # what a reader must know first


def make_content(
    paths: Sequence[Path],
    by: Sequence[str] = (),
    threshold: float | None = None,
    groups: Sequence[tuple[str, Sequence[Path]]] = (),
) -> Content:
    """Read runs and compute their report.

    Args:
        paths: directories of logs.
        by: what tells groups apart, see `group_runs`.
        threshold: a score to measure the time to.
        groups: name and directories of each group, in place of ``by``.

    Raises:
        RunError: none of them has metrics.
        UsageError: ``by`` is unknown.
    """
    runs, ends = read_runs(paths)
    if not any(run.curves for run in runs):
        names = ", ".join(run.run for run in runs[:_NAMED])
        raise RunError(f"there are no metrics yet in {names}: nothing can be drawn")
    if groups:
        by_path = {run.logs: run for run in runs}
        made = [Group(name, [by_path[path] for path in members]) for name, members in groups]
    else:
        made = group_runs(runs, by)
    scores = compare_groups(made)
    rows = summaries(made, ends, threshold)
    return Content(
        runs,
        made,
        _hidden(made, rows),
        score_of(runs).name,
        rows,
        threshold,
        curve_charts(made, ends, envs_together="env" in by),
        scores,
        score_figures(made, scores),
        differences(made),
        time_parts(made),
        _remarks(made, scores),
    )


def _hidden(groups: Sequence[Group], rows: Sequence[Summary]) -> list[int]:
    """All but the groups with the best means, those of a single environment compared."""
    if len(groups) <= SHOWN_AT_FIRST:
        return []
    means: dict[str, float] = {}
    for row in rows:
        means.setdefault(row.group, -1e308 if math.isnan(row.mean.value) else row.mean.value)
    best = sorted(means, key=lambda name: -means[name])[:SHOWN_AT_FIRST]
    return [index for index, group in enumerate(groups) if group.name not in best]


def _remarks(groups: Sequence[Group], scores: Scores) -> list[str]:
    runs = [run for group in groups for run in group.runs]
    envs = environments(runs)
    counts = [len(group.of(env)) for group in groups for env in envs if group.of(env)]
    concerned = {
        what: [run.run for run in runs if run.status == status]
        for status, what in _STATUSES.items()
    }
    for problem in dict.fromkeys(problem for run in runs for problem in run.problems):
        concerned[problem] = [run.run for run in runs if problem in run.problems]
    concerned["repetitions of a run with the same seed, so fewer runs than it seems"] = [
        run.run for group in groups for env in envs for run in _repeated(group.of(env))
    ]
    remarks = [f"{what}: {_listed(names)}" for what, names in concerned.items() if names]
    remarks += [_budgets(groups, env) for env in envs]
    left_out = [group.name for group in groups if group.name not in scores.of]
    if scores.of and left_out:
        remarks.append(
            f"not in the comparison over all environments, for want of one: {_listed(left_out)}"
        )
    return [remark for remark in (few_seeds(counts), *remarks) if remark]


def _budgets(groups: Sequence[Group], env: str) -> str:
    """What to say where an environment's groups were trained for different numbers of steps."""
    steps = {
        group.name: max(run.steps for run in group.of(env)) for group in groups if group.of(env)
    }
    shortest, longest = min(steps, key=steps.__getitem__), max(steps, key=steps.__getitem__)
    if steps[shortest] >= SAME_BUDGET * steps[longest]:
        return ""
    return (
        f"unequal training in {env}: {steps[shortest]:,} steps of {shortest}, {steps[longest]:,} of"
        f" {longest}; each score is that of its own end"
    )


def _repeated(runs: Sequence[RunData]) -> list[RunData]:
    """Runs with seed and values of an earlier one: they computed the same once more."""
    keys, seen, repeated = differing_keys(runs), set(), []
    for run in runs:
        identity = (run.seed, *(shown(run.config.get(key)) for key in keys))
        if run.seed is not None and identity in seen:
            repeated.append(run)
        seen.add(identity)
    return repeated


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
