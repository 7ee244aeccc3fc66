"""What the commands print at their end."""

from __future__ import annotations

import os
import shlex
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import gym_loop
from gym_loop.runs.console import format_count, format_duration, sparkline
from gym_loop.schema.printable import aligned

if TYPE_CHECKING:
    from gym_loop.runs.listing import RunSummary
    from gym_loop.runs.results import EvaluationResult, TrainingResult
    from gym_loop.training.many_seeds import SeedOutcome, SeedsResult
    from gym_loop.training.verify import Verification


def training_summary(result: TrainingResult, run_config: Path) -> str:
    """What a training came to, and the exact commands that come next."""
    config, run = shlex.quote(str(run_config)), shlex.quote(result.run)
    lines = [
        f"{result.run} {result.exit_reason}: {format_count(result.episodes)} episodes,"
        f" {format_count(result.steps)} steps, {format_duration(result.seconds)}"
    ]
    if result.mean_return is not None:
        shown = min(result.episodes, 100)
        lines[0] += f", mean return of the last {shown}: {result.mean_return:.1f}"
    if result.best_evaluation is not None:
        lines[0] += f", best evaluation: {result.best_evaluation:.1f}"
    if result.limit is not None:
        lines.append(f"  ended by:  loop.parameters.{result.limit}")
    if result.exit_reason == "stopped" and result.checkpoint is not None:
        lines.append(f"  resume:    gym-loop train -c {config} --resume {run}")
    if result.checkpoint is not None:
        lines.append(f"  evaluate:  gym-loop evaluate -c {config} --run {run}")
    if "logdir" in result.directories:
        lines.append(f"  curves:    tensorboard --logdir {_parent(result.directories['logdir'])}")
    if "record_dir" in result.directories:
        lines.append(f"  videos:    {result.directories['record_dir']}")
    return "\n".join(lines)


def not_saved(result: TrainingResult) -> str:
    """The last line of a training whose last state is on no disk; empty if it is."""
    if result.complete:
        return ""
    what = (
        "and it has no checkpoint at all: the trained agent is lost"
        if result.checkpoint is None
        else f"its newest checkpoint is {result.checkpoint}"
    )
    return f"gym-loop: the end of {result.run} was not saved (the warnings say why); {what}"


def seeds_summary(result: SeedsResult, run_config: Path, seeds: str) -> str:
    """One line a seed, and the means over those that finished."""
    heads = ["seed", "run", "status", "steps", "return(100)", "evaluation", "seconds"]
    lines = aligned([heads, *map(_seed_row, result.outcomes)], left=3)
    for title, name in (("return(100)", "return"), ("evaluation", "evaluation")):
        found = result.statistics(name)
        if found is not None:
            low, high = found.ci95
            count = sum(one.status == "finished" for one in result.outcomes)
            interval = f", 95 % interval {low:.1f} to {high:.1f}" if count > 1 else ""
            lines.append(f"{title}, mean of {count} seeds: {found.mean:.1f}{interval}")
    lines += [f"seed {one.seed} failed: {one.error}" for one in result.outcomes if one.error]
    if any(one.status != "finished" for one in result.outcomes):
        config = shlex.quote(str(run_config))
        lines.append(
            f"  resume:    gym-loop train -c {config} --seeds {shlex.quote(seeds)} --resume"
        )
    parents = [one.result.directories for one in result.outcomes if one.result]
    if parents and "logdir" in parents[0]:
        lines.append(f"  curves:    tensorboard --logdir {_parent(parents[0]['logdir'])}")
    return "\n".join(lines)


def _seed_row(one: SeedOutcome) -> list[str]:
    row = [str(one.seed), one.run or "", one.status]
    if one.result is None:
        return [*row, "", "", "", ""]
    result = one.result
    returns = (_return(result.mean_return), _return(one.evaluation))
    return [*row, format_count(result.steps), *returns, f"{result.seconds:.1f}"]


def _parent(directory: Path) -> str:
    return shlex.quote(str(directory.parent))


def evaluation_table(result: EvaluationResult) -> str:
    """Return and length of the episodes, in rows of statistics."""
    names = ("mean", "std", "median", "min", "max")
    rows = [["", *names, "95 % interval of the mean"]]
    for name, values in (("return", result.returns), ("length", result.lengths)):
        *numbers, (low, high) = values
        cells = [f"{number:.2f}" for number in numbers]
        rows.append([name, *cells, f"{low:.2f} to {high:.2f}"])
    who = ", ".join(filter(None, (result.run, result.checkpoint))) or "the untrained agent"
    count = len(result.episodes)
    lines = [f"{count} episode{'s' if count != 1 else ''} of {who}", *aligned(rows, left=1)]
    return "\n".join(lines)


def runs_table(runs: Sequence[RunSummary], curves: Sequence[Sequence[float]] = ()) -> str:
    """One line a run: what it was, how it stands, when it began; its curve as a sparkline."""
    rows = [["run", "status", "agent", "environment", "seed", "steps", "last", "best", "age"]]
    for one in runs:
        seed = "" if one.seed is None else str(one.seed)
        age = "" if one.age is None else format_duration(one.age)
        row = [one.run, one.status, one.agent.rpartition(":")[2], one.env, seed]
        row += [format_count(one.steps), _return(one.last_return), _return(one.best_return), age]
        rows.append(row)
    lines = aligned(rows, left=4)
    if curves:
        width, plots = max(map(len, lines)), ["return", *map(sparkline, curves)]
        both = zip(lines, plots, strict=True)
        lines = [f"{line.ljust(width)}  {plot}".rstrip() for line, plot in both]
    return "\n".join(lines)


def _return(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def verification_report(result: Verification) -> str:
    """The verdict of a comparison, and what differs first."""
    notes = [f"  note: {note}" for note in result.notes]
    lines = [
        f"identical: {format_count(result.steps)} steps with a kill in the middle gave the same"
        " state, random streams and logged values as without"
    ]
    if not result.identical:
        lines = ["not identical; what differs, in the order to look at it:"]
        lines += [f"  {difference}" for difference in result.differences]
        if result.verdict == "approximate":
            lines.append(f"  (expected, as the run itself says: {result.reason})")
    return "\n".join([*lines, *notes])


def output_problem(error: Exception) -> str | None:
    """One line about an output that can't be written, a full disk say; None for any other error."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, OSError) and frames and frames[-1].name == "echo":
        return f"the output cannot be written: {error.strerror}"
    return None


def place_problem(error: Exception) -> str | None:
    """One line about a file that gym-loop itself may not look at; None for any other error.

    Even asking whether a path exists fails below a directory of somebody else's, or where a name
    is too long.
    """
    if not isinstance(error, OSError) or error.filename is None:
        return None
    library, package = os.path.dirname(os.__file__), os.path.dirname(gym_loop.__file__)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(package):
            return f"{error.filename} cannot be used: {error.strerror}; name another path"
        # What is installed stands in Python's own directory too, but is not part of Python.
        installed = "-packages" in frame.filename
        if installed or not frame.filename.startswith((library, "<frozen")):
            break
    return None


def their_traceback(error: Exception) -> str:
    """The traceback from the loop on: what lies above is the command line's own."""
    start = here = error.__traceback__
    while here is not None:
        if here.tb_frame.f_code.co_filename.endswith(os.path.join("training", "run_files.py")):
            start = here.tb_next or here
        here = here.tb_next
    return "".join(traceback.format_exception(type(error), error, start)).rstrip()
