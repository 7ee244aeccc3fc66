"""Population-based training as Ray Tune carries it out: who its members are, when they go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from gym_loop.sweeps.cells import Cell
from gym_loop.sweeps.records import TrialRecord
from gym_loop.sweeps.search import Search
from gym_loop.sweeps.sweep_file import Sweep
from gym_loop.sweeps.trial import Order

MakeOrder = Callable[[TrialRecord, Cell], Order]


def population(sweep: Sweep, search: Search, make_order: MakeOrder) -> tuple[Any, Any, Any]:
    """Options of Tune for population-based training, its callbacks, and the members.

    Args:
        sweep: the sweep file.
        search: says who the members are, hears what becomes of them.
        make_order: what a member is told.
    """
    from ray import tune

    members: list[tuple[dict[str, Any], dict[str, Any]]] = []
    while (found := search.next(f"member {len(members)}")) is not None:
        members.append((asdict(make_order(*found)), found[0].values))
    orders = [order for order, _ in members]
    starts = [
        {"orders": orders, "config": order["config"], "chosen": values} for order, values in members
    ]
    asked = {"search_alg": _members(search), "scheduler": _scheduler(sweep, search)}
    return asked, [_listener(search)], tune.grid_search(starts)


def _members(search: Search) -> Any:
    from ray.tune.search import BasicVariantGenerator

    class Members(BasicVariantGenerator):  # type: ignore[misc]
        """Not finished before they are: Tune would end the actor of every member that waits."""

        def __init__(self, search: Search) -> None:
            super().__init__()
            self.search = search

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def is_finished(self) -> bool:
            return super().is_finished() and not self.search.under_way

        def save_to_dir(self, dirpath: str, session_str: str) -> None:
            """Nothing: what there is to keep is in the sweep's own directory."""

    return Members(search)


def _scheduler(sweep: Sweep, search: Search) -> Any:
    from ray.tune.schedulers import PopulationBasedTraining

    class Population(PopulationBasedTraining):  # type: ignore[misc]
        """Goes on when all members wait: for one that has ended, or since they began unequal.

        Tune's own looks again only when another result comes in, and then none ever would.
        """

        def choose_trial_to_run(self, tune_controller: Any) -> Any:
            living = tune_controller.get_live_trials()
            found = super().choose_trial_to_run(tune_controller)
            if found is None and living and all(one.status == "PAUSED" for one in living):
                self._next_perturbation_sync += self._perturbation_interval
                found = super().choose_trial_to_run(tune_controller)
            return found

        def _checkpoint_or_exploit(
            self, trial: Any, tune_controller: Any, upper_quantile: Any, lower_quantile: Any
        ) -> None:
            # Tune's own draws the member to copy from Python's global stream, which nobody seeds.
            if trial in lower_quantile:
                upper_quantile = [self._custom_explore_fn.search.drawn(upper_quantile)]
            super()._checkpoint_or_exploit(trial, tune_controller, upper_quantile, lower_quantile)

    class Explore:
        """Puts values near its own into a copy of a good member's config."""

        def __init__(self, search: Search) -> None:
            self.search = search

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
            return self.search.explore(config)

    options = sweep.scheduler.options
    return Population(
        time_attr="evaluation",
        perturbation_interval=options["interval"],
        quantile_fraction=options["quantile"],
        custom_explore_fn=Explore(search),
        log_config=False,
        synch=True,  # a member that ran ahead of the others would have nobody to learn from
    )


def _listener(search: Search) -> Any:
    from ray import tune

    class Listener(tune.Callback):  # type: ignore[misc]
        """Tells our `Search` what became of the members."""

        def __init__(self, search: Search) -> None:
            self.search = search

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            if not result["done"]:
                self.search.reported(_member(trial), result)

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            self.search.ended(_member(trial), trial.last_result, lost=False)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            self.search.ended(_member(trial), None, lost=True)

    return Listener(search)


def _member(trial: Any) -> str:
    return f"member {int(trial.trial_id.rpartition('_')[2])}"
