"""Optuna's side of a sweep: its storage, which its dashboard opens, and its samplers."""

from __future__ import annotations

import math
import sqlite3
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gym_loop.errors import SweepError
from gym_loop.sweeps.records import TrialRecord
from gym_loop.sweeps.space import Parameter, Values
from gym_loop.sweeps.sweep_file import Sweep

if TYPE_CHECKING:
    import optuna

STORAGE = "study.db"
LOCK_SECONDS = 30.0  # that a write waits for a dashboard that reads
LEAST_TRIALS = 8  # for fewer, the importance of a parameter would be a guess


class Study:
    """The trials of a sweep in Optuna's storage.

    Args:
        sweep: what is searched.
        directory: where ``study.db`` is, or is to be.
        name: of the study.
    """

    def __init__(self, sweep: Sweep, directory: Path, name: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna = optuna
        self._space = sweep.space
        self._sign = sweep.sign
        self._by_path = {one.path: one for one in sweep.space.parameters}
        self._database = optuna.storages.RDBStorage(
            f"sqlite:///{(directory / STORAGE).resolve()}",
            engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS, "factory": _Connection}},
        )
        self._study = optuna.create_study(
            storage=self._database,
            study_name=name,
            direction="maximize" if sweep.mode == "max" else "minimize",
            load_if_exists=True,
        )
        count = len(self._study.get_trials(deepcopy=False))
        # Another seed after a resume: with the same it would propose the same again.
        self._study.sampler = _sampler(sweep, (sweep.seed + count) % 2**32)

    def close(self) -> None:
        """Close the storage; the study is of no use from then on."""
        self._database.remove_session()
        self._database.engine.dispose()

    def ask(self, values: Mapping[str, Any] | None = None) -> tuple[int, Values]:
        """Begin a trial: its number and values, which the sampler chooses if none are given."""
        if values is not None:
            return self._begin(values), dict(values)
        trial = self._study.ask()
        chosen = self._space.choose(lambda one: _suggest(trial, one))
        return trial.number, chosen

    def _begin(self, values: Mapping[str, Any]) -> int:
        """Begin a trial with these values, in one write."""
        trial = self._optuna.trial.create_trial(
            state=self._optuna.trial.TrialState.RUNNING,
            params={path: self._by_path[path].code(value) for path, value in values.items()},
            distributions={path: _distribution(self._by_path[path]) for path in values},
        )
        storage = self._study._storage
        number: int = storage.get_trial(
            storage.create_new_trial(self._study._study_id, template_trial=trial)
        ).number
        return number

    def tell(self, record: TrialRecord) -> None:
        """Close a trial; one that is cut off stays open."""
        states = self._optuna.trial.TrialState
        state = {
            "finished": states.COMPLETE,
            "pruned": states.PRUNED,
            "failed": states.FAIL,
        }.get(record.status)
        if state is not None:
            value = record.value if state == states.COMPLETE else None
            self._study.tell(record.number, value, state, skip_if_finished=True)

    def drop(self, number: int, value: float | None) -> None:
        """Close a trial that is the same as another one, whose value is known or not."""
        states = self._optuna.trial.TrialState
        if value is None:
            self._study.tell(number, state=states.FAIL)
        else:
            self._study.tell(number, value)

    def note(self, record: TrialRecord, value: float, evaluation: int) -> None:
        """Write down a value in between, and which runs it is about."""
        storage = self._study._storage
        trial_id = storage.get_trial_id_from_study_id_trial_number(
            self._study._study_id, record.number
        )
        storage.set_trial_intermediate_value(trial_id, evaluation, value)

    def forget_unknown(self, numbers: set[int]) -> None:
        """Close the trials that were begun right before the sweep was killed: nothing has run."""
        states = self._optuna.trial.TrialState
        for trial in self._study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            if trial.number not in numbers:
                self._study.tell(trial.number, state=states.FAIL)

    def is_open(self, number: int) -> bool:
        """Whether a trial can still be told."""
        trials = self._study.get_trials(deepcopy=False)
        return number < len(trials) and not trials[number].state.is_finished()

    def importance(self) -> dict[str, float]:
        """How much each parameter decides about being among the best, in shares of 1.

        Source: PED-ANOVA (Watanabe, Bansal and Hutter, 2023); empty if there are too few trials.
        """
        states = self._optuna.trial.TrialState
        done = self._study.get_trials(deepcopy=False, states=(states.COMPLETE,))
        if len(done) < LEAST_TRIALS or len({trial.value for trial in done}) < 2:
            return {}
        evaluator = self._optuna.importance.PedAnovaImportanceEvaluator()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # of parameters with conditions there are few values
                found = self._optuna.importance.get_param_importances(
                    self._study, evaluator=evaluator
                )
        except (ValueError, RuntimeError):  # parameters with conditions: no trial has them all
            return {}
        return {path: share for path, share in found.items() if math.isfinite(share)}


def _sampler(sweep: Sweep, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    if sweep.searcher == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    if sweep.searcher == "cmaes":
        try:
            import cmaes  # noqa: F401
        except ImportError:
            raise SweepError('cmaes is missing: pip install "gym-loop[ray]"') from None
        return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return optuna.samplers.RandomSampler(seed=seed)  # its values are given, never asked for


class _Connection(sqlite3.Connection):
    """Leaves it to the system when to write to the disk: what counts is in our own records."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.execute("PRAGMA synchronous=OFF")


def _distribution(one: Parameter) -> optuna.distributions.BaseDistribution:
    import optuna

    if one.kind == "choice":
        return optuna.distributions.CategoricalDistribution(one.codes())
    low, high = one.values
    if one.is_integer:
        return optuna.distributions.IntDistribution(low, high, log=one.is_log)
    return optuna.distributions.FloatDistribution(low, high, log=one.is_log)


def _suggest(trial: optuna.Trial, one: Parameter) -> Any:
    if one.kind == "choice":
        return one.decode(trial.suggest_categorical(one.path, one.codes()))
    low, high = one.values
    if one.is_integer:
        return trial.suggest_int(one.path, low, high, log=one.is_log)
    return trial.suggest_float(one.path, low, high, log=one.is_log)
