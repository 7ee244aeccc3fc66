"""Optuna's side of a sweep: its samplers, its pruners, and the storage that its dashboard opens."""

from __future__ import annotations

import math
import sqlite3
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gym_loop.errors import SweepError
from gym_loop.sweeps.records import TrialRecord
from gym_loop.sweeps.space import Values
from gym_loop.sweeps.sweep_file import Sweep

if TYPE_CHECKING:
    import optuna

STORAGE = "study.db"
LOCK_SECONDS = 30.0  # that a write waits for a dashboard that reads
LEAST_TRIALS = 8  # for fewer, the importance of a parameter would be a guess


def require_optuna(searcher: str) -> None:
    """Import what sweeps need.

    Raises:
        SweepError: it is not installed.
    """
    try:
        import optuna  # noqa: F401

        if searcher == "cmaes":
            import cmaes  # noqa: F401
    except ImportError as error:
        raise SweepError(f'{error.name} is missing: pip install "gym-loop[sweeps]"') from None


class Study:
    """The trials of a sweep in Optuna's storage.

    The storage is written anew from our own records whenever a sweep goes on: samplers keep pickled
    objects in it, and nothing is unpickled that another process may have written.

    Args:
        sweep: what is searched.
        directory: where ``study.db`` is to be.
        name: of the study.
    """

    def __init__(self, sweep: Sweep, directory: Path, name: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._sweep, self._space = sweep, sweep.space
        self._states = optuna.trial.TrialState
        self._by_path = {one.path: one for one in sweep.space.parameters}
        (directory / STORAGE).unlink(missing_ok=True)
        self._database = optuna.storages.RDBStorage(
            f"sqlite:///{(directory / STORAGE).resolve()}",
            engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS, "factory": _Connection}},
        )
        self._study = optuna.create_study(
            storage=self._database,
            study_name=name,
            direction="maximize" if sweep.mode == "max" else "minimize",
            sampler=optuna.samplers.RandomSampler(),  # asked for nothing: values are given to it
            pruner=sweep.scheduler.pruner(),
        )

    def close(self) -> None:
        """Close the storage; the study is of no use from then on."""
        self._database.remove_session()
        self._database.engine.dispose()

    def restore(self, record: TrialRecord) -> optuna.Trial | None:
        """Note a trial of before; one that has not come to its end is begun again."""
        from optuna.trial import create_trial

        reports = {number: one["value"] for number, one in enumerate(record.reports, start=1)}
        if not record.is_over:
            trial = self.begin(record.values)
            for number, value in reports.items():
                trial.report(value, number)
                trial.should_prune()  # notes how it compares with those before it
            record.number = trial.number
            if record.is_impossible:
                self.tell(trial, record)
            return trial
        record.number = len(self._study.get_trials(deepcopy=False))
        finished = record.status == "finished"
        self._study.add_trial(
            create_trial(
                state=self._states.COMPLETE if finished else self._states.PRUNED,
                value=record.value if finished else None,
                params=self._codes(record.values),
                distributions={path: self._by_path[path].distribution() for path in record.values},
                intermediate_values=reports,
                system_attrs={
                    key: value for key, value in record.notes.items() if not isinstance(value, str)
                },
            )
        )
        return None

    def _codes(self, values: Mapping[str, Any]) -> Values:
        return {path: self._by_path[path].code(value) for path, value in values.items()}

    def begin(self, values: Mapping[str, Any]) -> optuna.Trial:
        """Begin a trial with these values."""
        self._study.enqueue_trial(self._codes(values))
        trial = self._study.ask()
        self._space.choose(lambda one: one.suggest(trial))
        return trial

    def ask(self) -> tuple[optuna.Trial, Values]:
        """Begin a trial with values that the sampler chooses by the results so far.

        Each trial has a sampler of its own, seeded by how many there were before: a sweep that
        goes on does not propose the same once more.
        """
        count = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = _sampler(self._sweep, count)
        trial = self._study.ask()
        return trial, self._space.choose(lambda one: one.suggest(trial))

    def tell(self, trial: optuna.Trial, record: TrialRecord) -> None:
        """Close a trial; one that is cut off stays open.

        What a sampler or a pruner has noted of it goes to the record, as far as it is numbers:
        the generation that CMA-ES counts it to, the values that successive halving compares.
        """
        known_of_it = self._study.get_trials(deepcopy=False)[trial.number].system_attrs
        record.notes = {
            key: value for key, value in known_of_it.items() if isinstance(value, (int, float))
        }
        states = self._states
        known = {"finished": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
        if (state := known.get(record.status)) is not None:
            value = record.value if state == states.COMPLETE else None
            self._study.tell(trial, value, state)

    def drop(self, trial: optuna.Trial, value: float | None) -> None:
        """Close a trial that is the same as another one, whose value is known or not."""
        state = self._states.FAIL if value is None else self._states.COMPLETE
        self._study.tell(trial, value, state)

    def importance(self) -> dict[str, float]:
        """How much each parameter decides about being among the best, in shares of 1.

        Source: PED-ANOVA (Watanabe, Bansal and Hutter, 2023); empty if there are too few trials.
        """
        from optuna import importance

        done = self._study.get_trials(deepcopy=False, states=(self._states.COMPLETE,))
        if len(done) < LEAST_TRIALS or len({trial.value for trial in done}) < 2:
            return {}
        evaluator = importance.PedAnovaImportanceEvaluator()
        try:
            with warnings.catch_warnings():
                # Of parameters with conditions there are few values.
                warnings.simplefilter("ignore")
                found = importance.get_param_importances(self._study, evaluator=evaluator)
        except (ValueError, RuntimeError):  # parameters with conditions: no trial has them all
            return {}
        return {path: share for path, share in found.items() if math.isfinite(share)}


def _sampler(sweep: Sweep, count: int) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    seed = (sweep.seed + count) % 2**32
    if sweep.searcher == "tpe":
        return samplers.TPESampler(seed=seed, constant_liar=True)
    return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


class _Connection(sqlite3.Connection):
    """Leaves it to the system when to write to the disk: what counts is in our own records."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.execute("PRAGMA synchronous=OFF")
