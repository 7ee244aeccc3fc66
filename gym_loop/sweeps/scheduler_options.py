"""What ends trials early, and how: names, options and their defaults. Times are in evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge

from gym_loop.schema.parameters import Field, Parameters, PositiveInt

SchedulerName = Literal["none", "asha", "median"]
SCHEDULERS: tuple[str, ...] = get_args(SchedulerName)
NO_POPULATION = (
    "population-based training is no longer offered: write asha or median, which end bad trials"
    " early, or leave it out and choose the searcher tpe"
)


def no_population(given: Any) -> Any:
    """Refuse what an older sweep file may ask for, with what to write instead."""
    if given == "pbt" or (isinstance(given, dict) and "pbt" in given):
        raise ValueError(NO_POPULATION)
    return given


class NoScheduler(Parameters):
    """No trial ends early."""


class Asha(Parameters):
    """Asynchronous successive halving."""

    grace: PositiveInt = Field(1, description="Evaluations before a trial may end.")
    reduction: Annotated[int, Ge(2)] = Field(3, description="One trial in so many goes on.")


class Median(Parameters):
    """A trial ends whose best evaluation is worse than the median of the others at its age."""

    grace: PositiveInt = Field(1, description="Evaluations before a trial may end.")
    least_trials: PositiveInt = Field(3, description="Trials that must have finished before.")


class SchedulerSection(Parameters):
    """One scheduler with its options."""

    none: NoScheduler | None = None
    asha: Asha | None = None
    median: Median | None = None

    def problems(self) -> dict[str, str]:
        """One is needed, and one is enough."""
        one = len(self.model_fields_set) == 1
        return {} if one else {"": f"must name one of {', '.join(SCHEDULERS)}"}


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
    def of(cls, given: SchedulerName | SchedulerSection) -> SchedulerOptions:
        """What a file says: a name, or a section of which one key is given."""
        if isinstance(given, str):
            given = SchedulerSection.model_validate({given: {}})
        name = next(iter(given.model_fields_set), "none")
        chosen = getattr(given, name)
        return cls(name, {} if chosen is None else chosen.model_dump())
