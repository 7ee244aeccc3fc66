"""The tables of a report, as HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from gym_loop.report.content import Content
from gym_loop.report.grouping import Group, short_class
from gym_loop.report.reading import RunData
from gym_loop.report.statistics import Estimate, Survival, probability_of_improvement
from gym_loop.runs.console import format_count, format_duration

MOST_COMPARED = 10  # groups in the table of pairs


def number(value: float) -> str:
    """A score with four digits; nothing for none."""
    if not math.isfinite(value):
        return ""
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def estimate(one: Estimate) -> str:
    """A value with its interval."""
    between = f" ({number(one.low)} to {number(one.high)})" if math.isfinite(one.low) else ""
    return number(one.value) + between


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> str:
    """Cells are text; the first ``words`` columns hold words, the others numbers."""
    kinds = ["" if place < words else ' class="number"' for place in range(len(heads))]
    head = "".join(
        f'<th scope="col"{kind}>{escape(text)}</th>'
        for text, kind in zip(heads, kinds, strict=True)
    )
    body = ""
    for first, *others in rows:
        body += f'<tr><th scope="row">{escape(first)}</th>'
        for cell, kind in zip(others, kinds[1:], strict=True):
            kind = kind or (' class="wrap"' if len(cell) > 40 else "")
            body += f"<td{kind}>{escape(cell)}</td>"
        body += "</tr>"
    return (
        f'<p class="quiet says">{escape(caption)}</p>'
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def summary_table(content: Content) -> str:
    """One row a group and environment."""
    heads = ["Group", "Environment", "Runs", "Steps", "Mean", "Interquartile mean", "Mean of curve"]
    if content.threshold is not None:
        at = number(content.threshold)
        heads += [f"Reached {at}", "Median steps to it", "Mean steps to it"]
    rows = []
    for one in content.summaries:
        runs = str(one.runs[0]) if one.runs[0] == one.runs[1] else f"{one.runs[1]} of {one.runs[0]}"
        row = [one.group, one.env, runs, format_count(one.steps)]
        row += [estimate(part) for part in (one.mean, one.iqm, one.area)]
        rows.append([*row, *(_time_to(one.reached) if content.threshold is not None else [])])
    return _table(f"Score: {content.score}, with 95 % intervals over the runs", heads, rows, 2)


def _time_to(reached: Survival | None) -> list[str]:
    if reached is None:
        return ["", "", ""]
    median = format_count(reached.median) if math.isfinite(reached.median) else "not reached"
    mean = estimate(Estimate(*(round(part) for part in reached.restricted_mean)))
    until = f" of at most {format_count(round(reached.horizon))}"
    return [f"{reached.reached} of {reached.runs}", median, mean + until]


def improvement_table(content: Content) -> str:
    """How likely a run of the row is better than one of the column."""
    names = list(content.scores.of)
    if len(names) < 2:
        return ""
    note = ""
    if len(names) > MOST_COMPARED:
        names = sorted(names, key=lambda name: -content.scores.of[name].mean.value)[:MOST_COMPARED]
        note = f", the {MOST_COMPARED} groups with the best means"
    strata = {name: content.scores.of[name].strata for name in names}
    rows = [[name] for name in names]
    for row in rows:
        for name in names:
            one = probability_of_improvement(strata[row[0]], strata[name])
            text = f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
            row.append("" if name == row[0] else text)
    caption = f"Probability that a run of the row scores higher than one of the column{note}"
    return _table(caption, ["", *names], rows, 1)


def difference_table(content: Content) -> str:
    """Keys of the run files, a column a group."""
    rows, more = content.differing
    note = ""
    if more:
        note = f"And {more} more that only some agents, loops or environments have."
        note = f'<p class="quiet">{note}</p>'
    if not rows:
        return f"<p>Nothing but seeds and directories.</p>{note}"
    names = [group.name for group in content.groups]
    shown = [
        [key, *(", ".join(map(short_class, value.split(", "))) for value in values)]
        for key, values in rows
    ]
    return _table("Values of the run files", ["Key", *names], shown, 1 + len(names)) + note


def run_table(content: Content) -> str:
    """One row a run."""
    heads = [
        "Run", "Status", "Group", "Environment", "Seed", "Steps", "Episodes", "Return (100)",
        "Last evaluation", "Best evaluation", "Evaluated", "Time", "Steps/s", "Started",
    ]  # fmt: skip
    rows = [_run(run, group) for group in content.groups for run in group.runs]
    caption = (
        "Return (100) is the mean return of the last 100 episodes, Evaluated that of the newest"
        " gym-loop evaluate"
    )
    return _table(caption, heads, rows, 4)


def _run(run: RunData, group: Group) -> list[str]:
    return [
        run.run,
        run.status,
        group.name,
        run.env,
        "" if run.seed is None else str(run.seed),
        format_count(run.steps),
        format_count(run.episodes),
        number(run.final_return),
        number(run.evaluation),
        number(run.best_evaluation),
        f"{number(run.evaluated[0])} ({run.evaluated[1]} episodes)" if run.evaluated[1] else "",
        format_duration(run.seconds),
        number(run.steps_per_second),
        run.started[:16].replace("T", " "),
    ]


def time_table(content: Content) -> str:
    """Where the time went, in per cent of each group's."""
    parts = list(dict.fromkeys(name for _, seconds in content.time for name in seconds))
    rows = []
    for name, seconds in content.time:
        total = sum(seconds.values()) or 1.0
        shares = [f"{seconds.get(part, 0.0) / total:.1%}" for part in parts]
        rows.append([name, format_duration(total), *shares])
    return _table("Share of the training's time", ["Group", "In all", *parts], rows, 1)
