"""Which trial comes next, and what became of those before."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gym_loop.config.run_file import RunConfig
from gym_loop.errors import ConfigError
from gym_loop.schema.yaml_file import canonical
from gym_loop.sweeps.records import WORST, SweepDirectory, TrialRecord
from gym_loop.sweeps.space import Cell, Values, make_cell
from gym_loop.sweeps.study import Study
from gym_loop.sweeps.sweep_file import Sweep
from gym_loop.training.pool import Event, PooledRun

if TYPE_CHECKING:
    import optuna

MOST_REPEATS = 1_000  # points in a row that are known already: the space is used up


def planned_cells(config: RunConfig, sweep: Sweep) -> Iterator[tuple[Values, Cell | None, str]]:
    """The cells of a grid or of a random search, each once: values, cell, or why there is none."""
    known: set[str] = set()  # values and cells
    repeats = made = 0
    for values in _points(sweep):
        if made == sweep.trials or repeats == MOST_REPEATS:
            return
        repeats += 1
        if (given := canonical(values)) in known:
            continue
        known.add(given)
        try:
            cell, problem = make_cell(config, values, str(sweep.path)), ""
        except ConfigError as error:
            cell, problem = None, str(error)
        if cell is not None:
            if cell.name in known:
                continue
            known.add(cell.name)
        repeats, made = 0, made + 1
        yield values, cell, problem


def _points(sweep: Sweep) -> Iterator[Values]:
    if sweep.searcher == "grid":
        yield from sweep.space.grid()
        return
    rng = np.random.default_rng(sweep.seed)
    while True:
        yield sweep.space.draw(rng)


@dataclass
class Trial:
    """A trial under way.

    Args:
        record: what is known of it.
        cell: its values.
        optuna: Optuna's side of it.
        runs: one a seed.
        began: when, by `time.monotonic`.
    """

    record: TrialRecord
    cell: Cell
    optuna: optuna.Trial
    runs: list[PooledRun] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)


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
        self._restored = {one.cell: study.restore(one) for one in self.records.values()}
        self._coming = self._all()

    @property
    def left(self) -> int:
        """How many trials are still to come, at most."""
        return self.sweep.trials - sum(one.is_over for one in self.records.values())

    def ask(self) -> Trial | None:
        """The next trial; None when there is none left."""
        return next(self._coming, None)

    def tell(self, trial: Trial, event: Event) -> list[PooledRun]:
        """Take in what has happened to a run of a trial; which runs are to be stopped therefore."""
        record = trial.record
        living = [run for run in trial.runs if not run.ended]
        if event.kind == "evaluated" and self.sweep.scheduler.name != "none":
            self._compare(trial)
            return living if record.status == "pruned" else []
        if event.kind != "ended":
            return []
        if event.run.error is not None and record.error is None and record.status == "running":
            record.error = f"{event.run.job['name']}: {event.run.error}"
        if not living:
            self._finish(trial)
        return living if record.error is not None else []  # the other seeds are of no use

    # -- what comes next ----------------------------------------------------------------------

    def _all(self) -> Iterator[Trial]:
        """Those of before that have not come to their end, then new ones."""
        for record in list(self.records.values()):
            if record.is_over or record.is_impossible:
                continue
            cell = make_cell(self.config, record.values, str(self.sweep.path))
            trial = self._restored[record.cell]
            assert trial is not None
            record.status, record.error = "running", None
            self.directory.write(record)
            yield Trial(record, cell, trial)
        if self.sweep.searcher in ("grid", "random"):
            yield from self._planned()
        else:
            yield from self._asked()

    def _planned(self) -> Iterator[Trial]:
        for values, cell, problem in planned_cells(self.config, self.sweep):
            if cell is None:
                if not any(one.values == values for one in self.records.values()):
                    self._refuse(self.study.begin(values), values, problem)
            elif cell.name not in self.records:
                yield self._begin(self.study.begin(values), cell)

    def _asked(self) -> Iterator[Trial]:
        repeats = 0
        while len(self.records) < self.sweep.trials and repeats < MOST_REPEATS:
            trial, values = self.study.ask()
            try:
                cell = make_cell(self.config, values, str(self.sweep.path))
            except ConfigError as error:
                self._refuse(trial, values, str(error))
                continue
            if cell.name in self.records:
                repeats += 1
                self.study.drop(trial, self.records[cell.name].value)
                continue
            repeats = 0
            yield self._begin(trial, cell)

    def _begin(self, trial: optuna.Trial, cell: Cell) -> Trial:
        record = self.directory.begin(trial.number, cell, self.sweep.seeds)
        self.records[cell.name] = record
        self.directory.write(record)
        return Trial(record, cell, trial)

    def _refuse(self, trial: optuna.Trial, values: Values, problem: str) -> None:
        """Note a point whose values do not go together; it is no trial that could be run."""
        name = f"invalid-{trial.number}"
        record = TrialRecord(trial.number, name, values, {}, "failed", error=problem)
        self.records[name] = record
        self._keep(trial, record)

    # -- what became of it -------------------------------------------------------------------

    def _compare(self, trial: Trial) -> None:
        """Report what all seeds have come to; the pruner says whether the trial goes on."""
        record, metric = trial.record, self.sweep.metric
        ready = min(len(run.evaluations) for run in trial.runs)
        while record.status == "running" and len(record.reports) < ready:
            found = [run.evaluations[len(record.reports)] for run in trial.runs]
            values = [one[metric] for one in found]
            mean = mean_value(values, self.sweep.sign)
            record.steps = sum(one["steps"] for one in found) / len(found)
            number = len(record.reports) + 1
            record.reports.append({"evaluation": number, "value": mean, "values": values})
            trial.optuna.report(mean, number)
            if trial.optuna.should_prune():
                record.status, record.value, record.per_seed = "pruned", mean, values
            self.directory.write(record)

    def _finish(self, trial: Trial) -> None:
        record = trial.record
        finals = [run.final[self.sweep.metric] for run in trial.runs if run.final is not None]
        if record.status != "pruned":
            record.steps = sum(run.steps for run in trial.runs) / len(trial.runs)
            if record.error is not None:
                record.status = "failed"
            elif len(finals) < len(trial.runs):
                record.status = "stopped"
            elif not all(map(math.isfinite, finals)):
                metric = self.sweep.metric
                record.status = "failed"
                record.error = f"{metric} of the final evaluation is no finite number"
            else:
                record.status, record.per_seed = "finished", finals
                record.value = mean_value(finals, self.sweep.sign)
        record.seconds = time.monotonic() - trial.began
        self._keep(trial.optuna, record)

    def _keep(self, trial: optuna.Trial, record: TrialRecord) -> None:
        self.study.tell(trial, record)
        self.directory.write(record)
        self._tell(record)


def mean_value(values: Sequence[float], sign: float) -> float:
    """Mean over the seeds; the worst there is where one of them is no number, or there is none."""
    mean = sum(values) / len(values) if values else math.nan
    return mean if math.isfinite(mean) else -WORST * sign
