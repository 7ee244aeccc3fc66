"""Ray: started, told what to run, and stopped again, without a word of its own."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gym_loop.envs.shards import QUIET_RAY, environment, start_ray
from gym_loop.errors import SweepError
from gym_loop.sweeps.members import MakeOrder, population
from gym_loop.sweeps.parcel import pack
from gym_loop.sweeps.scheduler_options import SchedulerOptions
from gym_loop.sweeps.search import Search
from gym_loop.sweeps.sweep_file import Sweep
from gym_loop.sweeps.trainable import member_class, trainable_class
from gym_loop.training.many_seeds import cores

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
        asked, options["callbacks"], space = population(sweep, search, make_order)
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
