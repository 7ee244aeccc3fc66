"""Two groups of runs beside each other: what differs, how likely one is better, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gym_loop.errors import RunError, UsageError
from gym_loop.report.content import Content, make_content
from gym_loop.report.grouping import environments
from gym_loop.report.scores import curve_metric, score_of
from gym_loop.report.statistics import (
    Estimate,
    Welch,
    aggregate,
    count_of,
    few_seeds,
    probability_of_improvement,
    welch,
)
from gym_loop.runs import code
from gym_loop.runs.bootstrap import Floats
from gym_loop.runs.console import sparkline

SPARK = 40  # blocks
MOST_LINES = 60  # of differing code, on a terminal


@dataclass
class EnvComparison:
    """Two groups in one environment."""

    env: str  # the environment
    ours: Floats  # scores of the second group
    theirs: Floats  # scores of the first
    curves: tuple[Floats, Floats]  # the mean curves of the first and the second, ``[SPARK]`` each
    improvement: Estimate  # probability that a run of the second scores higher
    test: Welch | None  # of the second mean minus the first; None with fewer than two runs in one

    def as_dict(self) -> dict[str, Any]:
        """The numbers by name, ready for JSON."""
        test, sides = self.test, {"a": self.theirs, "b": self.ours}
        return {
            "scores": {side: scores.tolist() for side, scores in sides.items()},
            "mean": {side: aggregate([scores])._asdict() for side, scores in sides.items()},
            "improvement": self.improvement._asdict(),
            "difference": None if test is None else test.difference._asdict(),
            "p": None if test is None else test.p,
        }


@dataclass
class Comparison:
    """What comparing two groups of runs came to.

    Args:
        names: of the first and the second group.
        content: the report of both.
        envs: one an environment that both have runs in.
        improvement: probability that a run of the second group scores higher, over all of them.
        verdict: the same in words.
        code: a unified diff of each of the user's files that differs, by its name.
    """

    names: tuple[str, str]
    content: Content
    envs: list[EnvComparison]
    improvement: Estimate
    verdict: str
    code: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The object that ``gym-loop compare --json`` prints."""
        first, second = self.content.groups
        return {
            "a": {"name": first.name, "runs": [run.run for run in first.runs]},
            "b": {"name": second.name, "runs": [run.run for run in second.runs]},
            "differing": dict(self.content.differing[0]),
            "code": dict(self.code),
            "score": self.content.score,
            "environments": {one.env: one.as_dict() for one in self.envs},
            "improvement": self.improvement._asdict(),
            "verdict": self.verdict,
            "notes": self.content.remarks,
        }


def compare_runs(
    first: Sequence[Path], second: Sequence[Path], names: tuple[str, str]
) -> Comparison:
    """Compare two groups of runs by one score a run.

    Args:
        first: directories of logs.
        second: those that may be better.
        names: what to call the two.

    Raises:
        UsageError: a run is in both groups.
        RunError: they have no environment in common, or no scores.
    """
    twice = {path.resolve() for path in first} & {path.resolve() for path in second}
    if twice:
        raise UsageError(f"{min(twice).name} is on both sides; leave it out of one")
    if names[0] == names[1]:
        names = (f"{names[0]} (first)", f"{names[1]} (second)")
    groups = ((names[0], first), (names[1], second))
    content = make_content([*first, *second], groups=groups)
    envs = _environments(content)
    ours, theirs = [one.ours for one in envs], [one.theirs for one in envs]
    improvement = probability_of_improvement(ours, theirs)
    verdict = _verdict(names, envs, improvement)
    # The comparison cannot count runs whose returns are all NaN, for example.
    score = score_of(content.runs)
    if left_out := [run.run for run in content.runs if not math.isfinite(score.of(run))]:
        content.remarks.append(f"left out, for want of a score: {', '.join(left_out)}")
    return Comparison(names, content, envs, improvement, verdict, _code(content))


def _code(content: Content) -> dict[str, str]:
    """Where the code of the two groups differs; runs of a group that differ are remarked on."""
    sides = []
    for group in content.groups:
        kept = [texts for run in group.runs if (texts := code.texts(run.logs))]
        if any(one != kept[0] for one in kept):
            remark = f"the runs of {group.name} were not all trained with the same code"
            content.remarks.append(f"{remark}; that of {group.runs[0].run} is compared")
        content.remarks += [
            f"{run.run} was trained with other code first: {', '.join(before)} in {run.logs}"
            for run in group.runs
            if (before := code.earlier(run.logs))
        ]
        sides.append(kept[0] if kept else {})
    # A side without any has classes of gym-loop or of a package, which the run files say.
    return code.difference(*sides) if all(sides) else {}


def _environments(content: Content) -> list[EnvComparison]:
    first, second = content.groups
    score = score_of(content.runs)
    found = []
    common = [env for env in environments(first.runs) if second.of(env)]
    for env in common:
        theirs, ours = (score.of_all(group.of(env)) for group in (first, second))
        if not len(ours) or not len(theirs):
            continue
        test = welch(ours, theirs) if min(len(ours), len(theirs)) > 1 else None
        improvement = probability_of_improvement([ours], [theirs])
        curves = _curves(content, env, curve_metric(content.runs))
        found.append(EnvComparison(env, ours, theirs, curves, improvement, test))
    if not found:
        reason = "no run of one of them has a score yet"
        if not common:
            one, other = (", ".join(environments(group.runs)) for group in (first, second))
            reason = f"{first.name} ran in {one}, {second.name} in {other}"
        raise RunError(f"{first.name} and {second.name} cannot be compared: {reason}")
    return found


def _curves(content: Content, env: str, metric: str) -> tuple[Floats, Floats]:
    """The mean curves in few points, over the steps of the longer one."""
    found = []
    for group in content.groups:
        curves = [run.curves[metric].mean for run in group.of(env) if metric in run.curves]
        parts = np.ma.masked_invalid(np.array(curves).reshape(len(curves), SPARK, -1))
        found.append(np.asarray(parts.mean((0, 2)).filled(np.nan)))
    return found[0], found[1]


# -- in words ----------------------------------------------------------------------------------


def _verdict(names: tuple[str, str], envs: Sequence[EnvComparison], chance: Estimate) -> str:
    """Which is better, and how sure that is."""
    better, worse, sure = names[1], names[0], chance
    if chance.value < 0.5:
        better, worse = worse, better
        sure = Estimate(1 - chance.value, 1 - chance.high, 1 - chance.low)
    odds = (
        f"a run of {better} scores higher than one of {worse} with probability {sure.value:.2f}"
        f" (95 % interval {sure.low:.2f} to {sure.high:.2f})"
    )
    tests = [one.test for one in envs if one.test is not None]
    if len(tests) < len(envs):
        return f"No verdict: with one run on a side nothing is known of other seeds; {odds}."
    by_rank, by_mean, means = sure.low > 0.5, len(envs) > 1 or tests[0].p < 0.05, ""
    if len(envs) == 1:
        value, low, high = tests[0].difference
        where = "higher" if value >= 0 else "lower"
        means = (
            f"; the mean of {names[1]} is {abs(value):.4g} {where} than that of {names[0]}"
            f" ({low:+.4g} to {high:+.4g}; Welch's p = {tests[0].p:.2g})"
        )
    if by_rank and by_mean:
        return f"{better} is better: {odds}{means}."
    if by_rank or (len(envs) == 1 and by_mean):
        return f"{better} is probably better, but not for sure: {odds}{means}."
    return f"These runs do not tell {names[0]} and {names[1]} apart: {odds}{means}."


def comparison_text(found: Comparison, *, plots: bool = True) -> str:
    """What ``gym-loop compare`` prints."""
    content = found.content
    lines = [
        f"{sign}: {name}, {count_of(len(group.runs))}"
        for sign, name, group in zip("AB", found.names, content.groups, strict=True)
    ]
    lines += ["", *_differences(content), *_code_differences(found.code)]
    for one in found.envs:
        lines += ["", f"{one.env}, {content.score}", *_scores(one, plots)]
        lines.append(f"  B scores higher than A with probability {_chance(one.improvement)}")
        if one.test is not None:
            value, low, high = (f"{part:+.4g}" for part in one.test.difference)
            p = f"Welch's p = {one.test.p:.2g}"
            lines.append(f"  B - A, means: {value} ({low} to {high}), {p}")
    if len(found.envs) > 1:
        count = len(found.envs)
        lines += ["", f"over {count} environments, the same: {_chance(found.improvement)}"]
    lines += ["", found.verdict]
    few = few_seeds([len(part) for one in found.envs for part in (one.ours, one.theirs)])
    remarks = [remark for remark in content.remarks if "seeds are wanted" not in remark]
    lines += [f"note: {remark}" for remark in (few, *remarks) if remark]
    return "\n".join(lines)


def _chance(one: Estimate) -> str:
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"


def _differences(content: Content) -> list[str]:
    rows, more = content.differing
    rest = [f"  and {more} more that only one side has"] if more else []
    if not rows:
        return ["nothing differs in their run files but seeds and directories", *rest]
    width = max(len(key) for key, _ in rows)
    told = [f"  {key.ljust(width)}  {values[0]} -> {values[1]}" for key, values in rows]
    return ["what differs in their run files (A -> B):", *told, *rest]


def _code_differences(differing: Mapping[str, str]) -> list[str]:
    lines = [f"  {line}" for diff in differing.values() for line in diff.splitlines()]
    if len(lines) > MOST_LINES:
        more = len(lines) - MOST_LINES
        lines = [*lines[:MOST_LINES], f"  ... and {more} more lines; -o FILE writes all"]
    return [f"what differs in their code (A -> B): {', '.join(differing)}", *lines] if lines else []


def _scores(one: EnvComparison, plots: bool) -> list[str]:
    everything = np.concatenate(one.curves)
    low, high = (float(end(everything, initial=np.nan)) for end in (np.fmin.reduce, np.fmax.reduce))
    lines = []
    for sign, scores, curve in zip("AB", (one.theirs, one.ours), one.curves, strict=True):
        mean = aggregate([scores])
        between = f" ({mean.low:.4g} to {mean.high:.4g})" if math.isfinite(mean.low) else ""
        plot = f"{sparkline(curve.tolist(), low, high)}  " if plots else ""
        lines.append(f"  {sign}  {plot}mean {mean.value:.4g}{between}, {count_of(len(scores))}")
    return lines
