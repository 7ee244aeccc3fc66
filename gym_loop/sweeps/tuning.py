"""Ray: started, told what to run, and stopped again, without a word of its own."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gym_loop.envs.shards import QUIET_RAY, environment, start_ray
from gym_loop.errors import SweepError
from gym_loop.many_seeds import cores
from gym_loop.sweeps.cells import Cell
from gym_loop.sweeps.parcel import pack
from gym_loop.sweeps.records import TrialRecord
from gym_loop.sweeps.scheduler_options import SchedulerOptions
from gym_loop.sweeps.search import Search
from gym_loop.sweeps.sweep_file import Sweep
from gym_loop.sweeps.trainable import member_class, trainable_class
from gym_loop.sweeps.trial import Order

QUIET = {
    **QUIET_RAY,
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_V2_ENABLED": "0",
    "RAY_worker_niceness": "0",  # else 15: any other program would go before the runs
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # what a sweep goes on from is our own
    "TUNE_WARN_THRESHOLD_S": "60",
}
KEPT = 4  # of a member's checkpoints: others may be about to copy them
NODE_LOSSES = 5  # how often a trial may lose its node

MakeOrder = Callable[[TrialRecord, Cell], Order]


def require_ray() -> None:
    """Import what sweeps need.

    Raises:
        SweepError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna  # noqa: F401
            import ray.tune  # noqa: F401
    except ImportError as error:
        raise SweepError(f'{error.name} is missing: pip install "gym-loop[ray]"') from None


@contextmanager
def ray_running(address: str | None, files: Sequence[Path]) -> Iterator[None]:
    """Ray on this machine, or the cluster at an address; one that runs already is used.

    Args:
        address: such as ``192.168.0.1:6379`` or ``auto``; None starts Ray here.
        files: of the user, taken to the workers of a cluster.
    """
    with environment(QUIET), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own: deprecations inside it, open sockets
        import ray

        if ray.is_initialized():
            yield
            return
        with tempfile.TemporaryDirectory(prefix="gym-loop-") as place:
            options: dict[str, Any] = {}
            if address is not None:
                parcel = pack(files, Path(place))
                options["runtime_env"] = {"py_modules": [str(parcel)]}
            try:
                start_ray(address, cores(), **options)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                where = f"the cluster at {address}" if address else "Ray"
                raise SweepError(
                    f"{where} could not be reached: {str(error).partition(chr(10))[0]}"
                ) from error
            try:
                yield
            finally:
                ray.shutdown()


def slots(sweep: Sweep) -> int:
    """How many trials the nodes have room for at once.

    Raises:
        SweepError: no node has what a single trial asks for.
    """
    import ray

    room = 0
    most: dict[str, float] = {}
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            most = {key: max(most.get(key, 0.0), has.get(key, 0.0)) for key in ("CPU", "GPU")}
            by_gpu = has.get("GPU", 0.0) / sweep.gpu if sweep.gpu else math.inf
            room += int(min(has.get("CPU", 0.0) / sweep.cpu, by_gpu))
    if room == 0:
        raise SweepError(
            f"{sweep.path}: resources: a trial asks for {sweep.cpu:g} cpu and {sweep.gpu:g} gpu,"
            f" but the largest node has {most.get('CPU', 0):g} and {most.get('GPU', 0):g}"
        )
    return room


def tune(sweep: Sweep, search: Search, make_order: MakeOrder, storage: Path, name: str) -> None:
    """Run all trials of a search on Ray Tune.

    Args:
        sweep: the sweep file.
        search: says what comes next, hears what became of it.
        make_order: what a trial is told.
        storage: directory for what Tune itself writes down.
        name: of the sweep.
    """
    from ray import tune as ray_tune

    room = slots(sweep)
    options: dict[str, Any] = {"storage_path": str(storage.resolve()), "name": name, "verbose": 0}
    options["failure_config"] = ray_tune.FailureConfig(max_failures=NODE_LOSSES)
    if sweep.scheduler.name == "pbt":
        trainable = member_class()
        asked, options["callbacks"], space = _population(sweep, search, make_order)
        options["checkpoint_config"] = ray_tune.CheckpointConfig(num_to_keep=KEPT)
    else:
        trainable, space = trainable_class(), None
        asked = {
            "search_alg": _searcher(search, make_order, min(room, search.left())),
            "scheduler": _scheduler(sweep.scheduler),
            "num_samples": -1,
        }
    # By default a search gives Tune one trial at a time, and short trials then all go to one actor.
    with environment({"TUNE_MAX_PENDING_TRIALS_PG": str(room)}):
        ray_tune.Tuner(
            ray_tune.with_resources(trainable, {"cpu": sweep.cpu, "gpu": sweep.gpu}),
            param_space=space,
            # The sign is turned where less is better.
            tune_config=ray_tune.TuneConfig(metric="value", mode="max", reuse_actors=True, **asked),
            run_config=ray_tune.RunConfig(**options),
        ).fit()


def _population(sweep: Sweep, search: Search, make_order: MakeOrder) -> tuple[Any, Any, Any]:
    """Options of Tune for population-based training, its callbacks, and the members."""
    from ray import tune as ray_tune
    from ray.tune.schedulers import PopulationBasedTraining
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

    class Listener(ray_tune.Callback):  # type: ignore[misc]
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

    class Explore:
        """Puts values near its own into a copy of a good member's config."""

        def __init__(self, search: Search) -> None:
            self.search = search

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
            return self.search.explore(config)

    members: list[tuple[dict[str, Any], dict[str, Any]]] = []
    while (found := search.next(f"member {len(members)}")) is not None:
        members.append((asdict(make_order(*found)), found[0].values))
    orders = [order for order, _ in members]
    starts = [
        {"orders": orders, "config": order["config"], "chosen": values} for order, values in members
    ]
    options = sweep.scheduler.options
    asked = {
        "search_alg": Members(search),
        "scheduler": Population(
            time_attr="evaluation",
            perturbation_interval=options["interval"],
            quantile_fraction=options["quantile"],
            custom_explore_fn=Explore(search),
            log_config=False,
            synch=True,  # a member that ran ahead of the others would have nobody to learn from
        ),
    }
    return asked, [Listener(search)], ray_tune.grid_search(starts)


def _member(trial: Any) -> str:
    return f"member {int(trial.trial_id.rpartition('_')[2])}"


def _searcher(search: Search, make_order: MakeOrder, crew: int) -> Any:
    from ray.tune.search import Searcher

    class OurSearcher(Searcher):  # type: ignore[misc]
        """What Tune asks, put to our `Search`."""

        def __init__(self, search: Search, make_order: MakeOrder) -> None:
            super().__init__(metric="value", mode="max")
            self.search, self.make_order = search, make_order

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Tune would write it down to restore it; we go on from our own records

        def suggest(self, trial_id: str) -> Any:
            found = self.search.next(trial_id)
            if found is None:
                return Searcher.FINISHED
            record, cell = found
            return {
                "order": asdict(self.make_order(record, cell)),
                "reports": self.search.replies(record),
                "crew": crew,
            }

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            self.search.reported(trial_id, result)

        def on_trial_complete(
            self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
        ) -> None:
            self.search.ended(trial_id, result, lost=error)

        def save(self, checkpoint_path: str) -> None:
            """Nothing: what there is to keep is in the sweep's own directory."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing, likewise."""

    return OurSearcher(search, make_order)


def _scheduler(options: SchedulerOptions) -> Any:
    from ray.tune import schedulers

    given = options.options
    if options.name == "asha":
        return schedulers.AsyncHyperBandScheduler(
            time_attr="evaluation",
            max_t=10**9,  # the run file's budget ends a trial
            grace_period=int(given["grace"]),
            reduction_factor=given["reduction"],
        )
    if options.name == "median":
        return schedulers.MedianStoppingRule(
            time_attr="evaluation",
            grace_period=int(given["grace"]),
            min_samples_required=int(given["least_trials"]),
        )
    return None
