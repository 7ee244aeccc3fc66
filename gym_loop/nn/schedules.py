"""Values that change over training: constant, linear, exponential."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from gym_loop.errors import ConfigError
from gym_loop.schema.suggestions import did_you_mean

KINDS = ("linear", "exponential")
FORMS = (
    "a number, {linear: [first, last], steps: N} or {exponential: [first, last], steps: N}, "
    "N in environment steps"
)


@dataclass(frozen=True)
class Schedule:
    """A value for every environment step; call it with the step.

    Args:
        first: the value at step 0.
        last: the value from step ``steps`` on.
        steps: environment steps from the first to the last.
        kind: ``"constant"``, ``"linear"``, or ``"exponential"`` (the same factor every step).
    """

    first: float
    last: float
    steps: float
    kind: str

    def __call__(self, step: float) -> float:
        """The value at a step, counted from 0."""
        if self.kind == "constant":
            return self.first
        done = min(1.0, max(0.0, step / self.steps))
        if self.kind == "linear":
            return self.first + done * (self.last - self.first)
        return float(self.first * (self.last / self.first) ** done)


def schedule(value: Any, place: str = "schedule") -> Schedule:
    """Read a schedule as a run file writes it.

    Args:
        value: ``0.001``, ``{"linear": [1e-3, 0.0], "steps": 100_000}``, or the same with
            ``exponential``.
        place: name of the value in messages, ``learning_rate`` say.

    Raises:
        ConfigError: it is none of these.
    """
    problem = schedule_problem(value)
    if problem:
        raise ConfigError(f"{place}: {problem}")
    if not isinstance(value, Mapping):
        return Schedule(float(value), float(value), 1.0, "constant")
    kind = next(name for name in KINDS if name in value)
    first, last = value[kind]
    return Schedule(float(first), float(last), float(value["steps"]), kind)


def schedule_problem(value: Any, low: float = -math.inf, high: float = math.inf) -> str:
    """Say what is wrong with a schedule of a run file, or ``""``.

    Args:
        value: see `schedule`.
        low: the smallest value allowed at any step.
        high: the largest.
    """
    if _is_number(value):
        return _range_problem([value], low, high)
    if not isinstance(value, Mapping):
        return f"{value!r} is not a schedule; write {FORMS}"
    unknown = [str(key) for key in value if key not in (*KINDS, "steps")]
    if unknown:
        near = did_you_mean(unknown[0], (*KINDS, "steps"))
        return f"{unknown[0]} is unknown{near or f'; write {FORMS}'}"
    kinds = [kind for kind in KINDS if kind in value]
    if len(kinds) != 1:
        return f"{dict(value)!r} must name either linear or exponential; write {FORMS}"
    return _mapping_problem(kinds[0], value, low, high)


def _mapping_problem(kind: str, value: Mapping[str, Any], low: float, high: float) -> str:
    ends, steps = value[kind], value.get("steps")
    if not isinstance(ends, (list, tuple)) or len(ends) != 2 or not all(map(_is_number, ends)):
        return (
            f"{kind}: {ends!r} must be a list of two numbers, the first and the last value; write"
            f" {{{kind}: [first, last], steps: N}}"
        )
    if steps is None:
        return (
            f"{kind} needs steps, the environment steps from the first to the last value; write"
            f" {{{kind}: [{ends[0]}, {ends[1]}], steps: N}}, for the whole training with the"
            " number of loop.parameters.max_steps"
        )
    if not _is_number(steps) or not steps > 0:
        return f"steps: {steps!r} must be a number of environment steps above 0"
    if kind == "exponential" and not ends[0] * ends[1] > 0:
        return f"exponential: {list(ends)!r} must be two numbers of the same sign, neither 0"
    return _range_problem(ends, low, high)


def _range_problem(values: Any, low: float, high: float) -> str:
    for value in values:
        if not low <= value <= high:
            if high == math.inf:
                return f"{value} is too small; it must be at least {low}"
            return f"{value} must be from {low} to {high}"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _within(low: float, high: float) -> AfterValidator:
    def check(value: Any) -> Any:
        if problem := schedule_problem(value, low, high):
            raise ValueError(problem)
        return value

    return AfterValidator(check)


# The types of parameters: a number or a schedule as a run file writes it.
NonNegativeSchedule = Annotated[float | dict[str, Any], _within(0.0, math.inf)]
FractionSchedule = Annotated[float | dict[str, Any], _within(0.0, 1.0)]
