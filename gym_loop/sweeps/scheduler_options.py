"""What ends trials early, and how: names, options and their defaults. Times are in evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from annotated_types import Ge, Interval

from gym_loop.schema.parameters import Field, Fraction, Parameters, PositiveInt

SchedulerName = Literal["none", "asha", "median", "pbt"]
SCHEDULERS: tuple[str, ...] = get_args(SchedulerName)


class NoScheduler(Parameters):
    """No trial ends early."""


class Asha(Parameters):
    """Asynchronous successive halving."""

    grace: PositiveInt = Field(1, description="Evaluations before a trial may end.")
    reduction: Annotated[int, Ge(2)] = Field(3, description="One trial in so many goes on.")


class Median(Parameters):
    """A trial ends that is worse than the median of the others at its age."""

    grace: PositiveInt = Field(1, description="Evaluations before a trial may end.")
    least_trials: PositiveInt = Field(3, description="Trials that must have come so far before.")


class Pbt(Parameters):
    """Population-based training."""

    interval: PositiveInt = Field(2, description="Evaluations from one exchange to the next.")
    quantile: Annotated[float, Interval(ge=0, le=0.5)] = Field(
        0.25, description="The part of the population that copies the best."
    )
    resample: Fraction = Field(
        0.25, description="How often a value is drawn anew, and not changed a little."
    )


class SchedulerSection(Parameters):
    """One scheduler with its options."""

    none: NoScheduler | None = None
    asha: Asha | None = None
    median: Median | None = None
    pbt: Pbt | None = None

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
