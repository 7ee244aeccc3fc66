"""What ends trials early, and how: names, options and their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gym_loop.schema.class_strings import did_you_mean

# Options by scheduler: default and least value. Times are counted in evaluations.
SCHEDULERS: dict[str, dict[str, tuple[float, float]]] = {
    "none": {},
    "asha": {"grace": (1, 1), "reduction": (3, 2)},
    "median": {"grace": (1, 1), "least_trials": (3, 1)},
    "pbt": {"interval": (2, 1), "quantile": (0.25, 0.0), "resample": (0.25, 0.0)},
}
_SHARES = {"quantile": 0.5, "resample": 1.0}  # not counts: the most they may be


@dataclass(frozen=True)
class SchedulerOptions:
    """A scheduler and its options.

    Args:
        name: one of `SCHEDULERS`.
        options: all of them.
    """

    name: str = "none"
    options: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def named(cls, name: str) -> SchedulerOptions:
        """With the defaults."""
        return cls(name, {key: default for key, (default, _) in SCHEDULERS[name].items()})

    @classmethod
    def read(cls, name: str, given: Any) -> tuple[SchedulerOptions, dict[str, str]]:
        """With what a file says; and the problems, by option (``""`` for all of it)."""
        known, problems = SCHEDULERS[name], {}
        options = dict(cls.named(name).options)
        if given is not None and not isinstance(given, dict):
            return cls.named(name), {"": f"{given!r} must be a mapping of {', '.join(known)}"}
        for key, value in (given or {}).items():
            if key not in known:
                hint = did_you_mean(str(key), known) or f"; known are {', '.join(known)}"
                problems[str(key)] = f"unknown{hint}"
            elif problem := _problem(key, value, known[key][1]):
                problems[key] = problem
            else:
                options[key] = value
        return cls(name, options), problems


def _problem(key: str, value: Any, least: float) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"{value!r} is no number"
    if key in _SHARES:
        most = _SHARES[key]
        return "" if least <= value <= most else f"{value} must be from {least} to {most}"
    if not isinstance(value, int) or value < least:
        return f"{value} must be an integer of at least {least}"
    return ""
