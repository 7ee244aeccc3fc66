"""What ``--dry-run`` prints: the trials, or what they will be drawn from."""

from __future__ import annotations

from gym_loop.config.run_file import RunConfig
from gym_loop.schema.printable import aligned
from gym_loop.sweeps.result import short_names, shown
from gym_loop.sweeps.search import planned_cells
from gym_loop.sweeps.space import Parameter
from gym_loop.sweeps.sweep_file import Sweep


def plan(config: RunConfig, sweep: Sweep) -> str:
    """A table of the trials; of a search that results lead, what it chooses from."""
    count = len(sweep.seeds)
    runs = f"{count} seeds" if count > 1 else "1 seed"
    lines = [
        f"{sweep.trials:,} trials of {runs}, searcher {sweep.searcher},"
        f" scheduler {sweep.scheduler.name}, judged by {sweep.metric} ({sweep.mode})"
    ]
    if sweep.searcher in ("grid", "random"):
        return "\n".join([*lines, *_table(config, sweep)])
    lines += [f"  {one.path}: {_described(one)}" for one in sweep.space.parameters]
    lines.append(f"which values, {sweep.searcher} decides by the results of the trials before")
    return "\n".join(lines)


def _table(config: RunConfig, sweep: Sweep) -> list[str]:
    paths = [one.path for one in sweep.space.parameters]
    rows = [["cell", *short_names(paths).values()]]
    problems = []
    for values, cell, problem in planned_cells(config, sweep):
        name = cell.name if cell else "impossible"
        rows.append([name, *(shown(values[path]) if path in values else "" for path in paths)])
        if problem and problem not in problems:
            problems.append(problem)
    return [*aligned(rows, left=1), *problems]


def _described(one: Parameter) -> str:
    values = ", ".join(map(shown, one.values))
    when = "".join(f", when {path} is {list(wanted)}" for path, wanted in one.when.items())
    return f"{one.kind} [{values}]{when}"
