"""What ends trials early, and how: names, options and their defaults. Times are in evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge

from gym_loop.schema.parameters import Field, Parameters, PositiveInt

if TYPE_CHECKING:
    import optuna

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

    name: ClassVar[str] = "none"

    def pruner(self) -> optuna.pruners.BasePruner:
        """What says whether a trial ends."""
        from optuna.pruners import NopPruner

        return NopPruner()


class Asha(NoScheduler):
    """Asynchronous successive halving."""

    name = "asha"
    grace: PositiveInt = Field(1, description="Evaluations before a trial may end.")
    reduction: Annotated[int, Ge(2)] = Field(3, description="One trial in so many goes on.")

    def pruner(self) -> optuna.pruners.BasePruner:
        """What says whether a trial ends."""
        from optuna.pruners import SuccessiveHalvingPruner

        return SuccessiveHalvingPruner(min_resource=self.grace, reduction_factor=self.reduction)


class Median(NoScheduler):
    """A trial ends whose best evaluation is worse than the median of the others at its age."""

    name = "median"
    grace: PositiveInt = Field(1, description="Evaluations before a trial may end.")
    least_trials: PositiveInt = Field(3, description="Trials that must have finished before.")

    def pruner(self) -> optuna.pruners.BasePruner:
        """What says whether a trial ends."""
        from optuna.pruners import MedianPruner

        return MedianPruner(n_startup_trials=self.least_trials, n_warmup_steps=self.grace)


class SchedulerSection(Parameters):
    """One scheduler with its options."""

    none: NoScheduler | None = None
    asha: Asha | None = None
    median: Median | None = None

    def problems(self) -> dict[str, str]:
        """One is needed, and one is enough."""
        one = len(self.model_fields_set) == 1
        return {} if one else {"": f"must name one of {', '.join(SCHEDULERS)}"}


def scheduler_of(given: SchedulerName | SchedulerSection) -> NoScheduler:
    """What a file says: a name, or a section of which one key is given."""
    if isinstance(given, str):
        given = SchedulerSection.model_validate({given: {}})
    found = [one for one in (given.asha, given.median) if one is not None]
    return found[0] if found else NoScheduler()
