"""Runs that belong together, and what differs between them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gym_loop.errors import UsageError
from gym_loop.report.reading import RunData
from gym_loop.report.selection import stem_of
from gym_loop.schema.suggestions import did_you_mean

MISSING = "-"
# What may differ without changing what a run computes, and what is told apart anyway.
_COSMETIC = {
    "seed", "loop.parameters.loggers", "loop.parameters.record", "loop.parameters.render",
    "loop.parameters.eval_record", "loop.parameters.eval_render", "loop.parameters.profile",
    "loop.parameters.keep_checkpoints", "loop.parameters.episodes_per_checkpoint",
    "loop.parameters.steps_per_checkpoint", "loop.parameters.time_per_checkpoint",
}  # fmt: skip
_LONGEST_NAME = 60
_PLAIN = ("agent", "env", "file")  # what runs are grouped by beside keys


@dataclass
class Group:
    """Runs that differ in their seeds, and are drawn as one line."""

    name: str  # what a legend calls it
    runs: list[RunData]  # at least one

    def of(self, env: str) -> list[RunData]:
        """Its runs in one environment."""
        return [run for run in self.runs if run.env == env]


def environments(runs: Iterable[RunData]) -> list[str]:
    """The environments, in the order in which they first occur."""
    return list(dict.fromkeys(run.env for run in runs))


def differing_keys(runs: Sequence[RunData]) -> list[str]:
    """Keys of the run files whose values differ; seeds, directories and what is shown apart."""
    configs = [run.config for run in runs if run.config]
    keys = sorted({key for config in configs for key in config})
    return [
        key
        for key in keys
        if key not in _COSMETIC
        and not key.endswith(("dir", ".parameters"))
        and len({shown(config.get(key, MISSING)) for config in configs}) > 1
    ]


def shown(value: Any) -> str:
    """A config's value in a table: numbers short, classes without their module."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def short_class(name: str) -> str:
    """The class of a class string."""
    return name.rpartition(":")[2]


def group_runs(runs: Sequence[RunData], by: Sequence[str] = ()) -> list[Group]:
    """Put runs together.

    Args:
        runs: at least one.
        by: what tells groups apart: ``agent``, ``env``, ``file`` (the stem of the id), or a key of
            the run file (its last part will do). By default the agent, and every key but the seed
            that differs between runs of the same agent in the same environment.

    Raises:
        UsageError: no run has such a key; the message names the nearest.
    """
    if by:
        keys = [_resolved(key, runs) for key in by]
    else:
        keys = ["agent"] if len({run.agent for run in runs}) > 1 else []
        keys += _keys_within(runs)
    found: dict[tuple[str, ...], list[RunData]] = {}
    for run in runs:
        found.setdefault(tuple(_value(run, key) for key in keys), []).append(run)
    names = _names(keys, list(found), runs)
    return [Group(name, members) for name, members in zip(names, found.values(), strict=True)]


def _keys_within(runs: Sequence[RunData]) -> list[str]:
    """Keys that differ between runs of one agent in one environment.

    What differs between agents is told by the agent, and values tuned for an environment by it.
    """
    parts: dict[tuple[str, str], list[RunData]] = {}
    for run in runs:
        parts.setdefault((run.agent, run.env), []).append(run)
    return sorted({key for part in parts.values() for key in differing_keys(part)})


def _resolved(key: str, runs: Sequence[RunData]) -> str:
    if key in _PLAIN:
        return key
    known = sorted({one for run in runs for one in run.config})
    matching = [key] if key in known else [one for one in known if one.endswith(f".{key}")]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError(f"--by {key} may be {' or '.join(matching)}; write the one that is meant")
    lasts = [one.rpartition(".")[2] for one in known]
    hint = did_you_mean(key, [*known, *lasts, *_PLAIN])
    raise UsageError(f"--by {key}: no run has such a key{hint or '; try agent, env or file'}")


def _value(run: RunData, key: str) -> str:
    if key == "agent":
        return short_class(run.agent)
    if key == "env":
        return run.env
    if key == "file":
        return stem_of(run.run)
    return shown(run.config.get(key, MISSING))


def _names(
    keys: Sequence[str], values: Sequence[tuple[str, ...]], runs: Sequence[RunData]
) -> list[str]:
    """A name for each combination of values; numbered where two would have the same."""
    if not keys:
        return [short_class(runs[0].agent)] * len(values)
    names = []
    for row in values:
        parts = [
            value if key in _PLAIN else f"{key.rpartition('.')[2]}={short_class(value)}"
            for key, value in zip(keys, row, strict=True)
            if value != MISSING
        ]
        names.append(textwrap.shorten(", ".join(parts), _LONGEST_NAME, placeholder=" ..."))
    taken = {name for name in names if names.count(name) > 1}
    return [
        f"{name or 'group'} #{number}" if name in taken or not name else name
        for number, name in enumerate(names, 1)
    ]


def differences(groups: Sequence[Group]) -> tuple[list[tuple[str, list[str]]], int]:
    """Each key that differs, with the values that each group has.

    Returns:
        The keys with their values, and how many more there are that only some agents, loops or
        environments have at all.
    """
    keys = differing_keys([run for group in groups for run in group.runs])
    rows = [(key, [_values(group.runs, key) for group in groups]) for key in keys]
    told = [row for row in rows if len({*row[1]} - {MISSING}) > 1 or ", " in "".join(row[1])]
    return told, len(rows) - len(told)


def _values(runs: Sequence[RunData], key: str) -> str:
    values = dict.fromkeys(shown(run.config.get(key, MISSING)) for run in runs if run.config)
    return ", ".join(values) or MISSING
