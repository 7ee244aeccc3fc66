"""Which trial comes next, and what became of those before: the sweep as Ray Tune asks for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from gym_loop.config.run_file import RunConfig
from gym_loop.errors import ConfigError
from gym_loop.sweeps.cells import Cell, make_cell
from gym_loop.sweeps.population import explored
from gym_loop.sweeps.records import SweepDirectory, TrialRecord
from gym_loop.sweeps.space import Values
from gym_loop.sweeps.study import Study
from gym_loop.sweeps.sweep_file import Sweep
from gym_loop.sweeps.trial import WORST

T = TypeVar("T")
MOST_REPEATS = 1_000  # points in a row that are known already: the space is used up


def planned_cells(config: RunConfig, sweep: Sweep) -> Iterator[tuple[Values, Cell | None, str]]:
    """The cells of a grid or of a random search, each once: values, cell, or why there is none."""
    known: set[str] = set()
    repeats = made = 0
    for values in _points(sweep):
        if made == sweep.trials or repeats == MOST_REPEATS:
            return
        try:
            cell, problem = make_cell(config, values, str(sweep.path)), ""
        except ConfigError as error:
            cell, problem = None, str(error)
        name = cell.name if cell else repr(sorted(values.items()))
        if name in known:
            repeats += 1
            continue
        repeats, made = 0, made + 1
        known.add(name)
        yield values, cell, problem


def _points(sweep: Sweep) -> Iterator[Values]:
    if sweep.searcher == "grid":
        yield from sweep.space.grid()
        return
    rng = np.random.default_rng(sweep.seed)
    while True:
        yield sweep.space.draw(rng)


class Search:
    """The trials of a sweep, one after another.

    Args:
        config: the run file.
        sweep: the sweep file.
        directory: where the records are.
        study: Optuna's side.
        tell: called with a record that has come to an end.
    """

    def __init__(
        self,
        config: RunConfig,
        sweep: Sweep,
        directory: SweepDirectory,
        study: Study,
        tell: Callable[[TrialRecord], None],
    ) -> None:
        self.config, self.sweep, self.directory, self.study = config, sweep, directory, study
        self._tell = tell
        self.records = {one.cell: one for one in directory.records()}
        self.cells: dict[str, Cell] = {}
        self.under_way: dict[str, TrialRecord] = {}  # by Ray's name of the trial
        self._replayed: set[str] = set()
        self._rng = np.random.default_rng(sweep.seed)
        study.forget_unknown({one.number for one in self.records.values()})
        self._coming = self._all()

    # -- what comes next ----------------------------------------------------------------------

    def next(self, trial: str) -> tuple[TrialRecord, Cell] | None:
        """The next trial, under Ray's name; None when there is none left, or all are to stop."""
        if self.directory.stop_file.exists():
            return None
        found = next(self._coming, None)
        if found is not None:
            self.under_way[trial] = found[0]
        return found

    def left(self) -> int:
        """How many trials are still to come, at most."""
        over = sum(one.is_over for one in self.records.values())
        return self.sweep.trials - (over if self.sweep.scheduler.name == "none" else 0)

    def _all(self) -> Iterator[tuple[TrialRecord, Cell]]:
        """Those of before that are needed again, then new ones."""
        for record in list(self.records.values()):
            # To a scheduler the finished ones are told again: it judges the others by them.
            if record.is_over and self.sweep.scheduler.name in ("none", "pbt"):
                continue
            if record.status == "failed" and record.cell.startswith("invalid"):
                continue
            cell = make_cell(self.config, record.values, str(self.sweep.path))
            if record.is_over:
                self._replayed.add(cell.name)
            yield self._again(record), cell
        if self.sweep.searcher in ("grid", "random"):
            yield from self._planned()
        else:
            yield from self._asked()

    def _again(self, record: TrialRecord) -> TrialRecord:
        if not record.is_over:
            record.status, record.error = "running", None
            if not self.study.is_open(record.number):  # it had failed: Optuna keeps that
                record.number, _ = self.study.ask(record.values)
            self.directory.write(record)
        return record

    def _planned(self) -> Iterator[tuple[TrialRecord, Cell]]:
        for values, cell, problem in planned_cells(self.config, self.sweep):
            if cell is None:
                self._refuse(values, problem, None)
            elif cell.name not in self.records:
                number, _ = self.study.ask(values)
                yield self._begin(number, cell)

    def _asked(self) -> Iterator[tuple[TrialRecord, Cell]]:
        repeats = 0
        while len(self.records) < self.sweep.trials and repeats < MOST_REPEATS:
            number, values = self.study.ask()
            try:
                cell = make_cell(self.config, values, str(self.sweep.path))
            except ConfigError as error:
                self._refuse(values, str(error), number)
                continue
            if cell.name in self.records:
                repeats += 1
                self.study.drop(number, self.records[cell.name].value)
                continue
            repeats = 0
            yield self._begin(number, cell)

    def _begin(self, number: int, cell: Cell) -> tuple[TrialRecord, Cell]:
        record = self.directory.begin(number, cell, self.sweep.seeds)
        self.records[cell.name] = record
        self.directory.write(record)
        return record, cell

    def _refuse(self, values: Values, problem: str, number: int | None) -> None:
        """Note a point whose values do not go together; it is no trial that could be run."""
        if any(one.values == values for one in self.records.values()):
            return
        if number is None:
            number, _ = self.study.ask(values)
        record = TrialRecord(number, f"invalid-{number}", values, {}, "failed", error=problem)
        self.records[record.cell] = record
        self._finish(record)

    def drawn(self, members: Sequence[T]) -> T:
        """One of the good members, to be copied, by the sweep's seed."""
        return members[int(self._rng.integers(len(members)))]

    def explore(self, config: dict[str, Any]) -> dict[str, Any]:
        """Give a copy of a member's config values near its own, if they go together."""
        resample = self.sweep.scheduler.options["resample"]
        values = explored(self.sweep.space, config["chosen"], resample, self._rng)
        try:
            cell = make_cell(self.config, values, str(self.sweep.path))
        except ConfigError:
            return config
        return {**config, "chosen": values, "config": cell.config.portable().to_yaml()}

    # -- what became of it -------------------------------------------------------------------

    def reported(self, trial: str, result: dict[str, Any]) -> None:
        """An evaluation of all seeds, with more to come."""
        record = self.under_way[trial]
        if record.cell in self._replayed:
            return
        _adopt(record, result)
        self._note(record, result)
        self.directory.write(record)

    def ended(self, trial: str, result: dict[str, Any] | None, *, lost: bool) -> None:
        """The end of a trial: by itself, by the scheduler, or because its node died too often."""
        record = self.under_way.pop(trial)
        if record.cell in self._replayed:
            return
        if lost or result is None:
            record.status = "stopped" if self.directory.stop_file.exists() else "failed"
            record.error = "the processes that Ray gave it died again and again"
        elif result["done"] and result["status"] != "running":
            record.status, record.error = result["status"], result["error"]
        else:
            self._note(record, result)
            record.per_seed = list(result["values"])
            record.value = _mean(record.per_seed, self.sweep.sign)
            record.status = "pruned"
        if record.status == "finished" and result is not None:
            record.per_seed = list(result["values"])
            record.value = _mean(record.per_seed, self.sweep.sign)
        if result is not None:
            _adopt(record, result)
        self._finish(record)

    def _note(self, record: TrialRecord, result: dict[str, Any]) -> None:
        """Keep an evaluation, unless it was made before and has been repeated since."""
        if result["evaluation"] > len(record.reports):
            record.reports.append(_report(result))
            self.study.note(record, _mean(result["values"], self.sweep.sign), result["evaluation"])

    def _finish(self, record: TrialRecord) -> None:
        self.directory.write(record)
        self.study.tell(record)
        self._tell(record)

    def replies(self, record: TrialRecord) -> list[dict[str, Any]]:
        """What a trial of before has said: a scheduler hears it again."""
        if record.cell not in self._replayed:
            return []
        told = list(record.reports)
        if record.status == "pruned":  # it ended with the last one
            told.pop()
        last = {
            "value": (record.value or 0.0) * self.sweep.sign,
            "values": record.per_seed,
            "evaluation": len(told) + 1,
            "steps": record.steps,
            "seconds": record.seconds,
            "done": True,
            "status": record.status,
            "error": None,
        }
        return [*told, last]


def _adopt(record: TrialRecord, result: dict[str, Any]) -> None:
    """Note how far a trial is, and the runs and values that a member of a population has now.

    A copy counts from its first evaluation on: one that was stopped or failed before may not
    have begun.
    """
    record.steps, record.seconds = result["steps"], result["seconds"]
    if "chosen" in result and result["status"] in ("running", "finished"):
        record.values = dict(result["chosen"])
        record.runs = {int(seed): run for seed, run in result["runs"].items()}


def _report(result: dict[str, Any]) -> dict[str, Any]:
    keys = ("value", "values", "evaluation", "steps", "seconds", "done", "status", "error")
    return {key: result[key] for key in keys}


def _mean(values: Sequence[float], sign: float) -> float:
    """Mean over the seeds; the worst there is where one of them is no number, or there is none."""
    mean = sum(values) / len(values) if values else math.nan
    return mean if math.isfinite(mean) else -WORST * sign
