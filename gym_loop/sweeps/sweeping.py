"""A sweep from its two files to its result."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from gym_loop.config.run_file import RunConfig, flatten, load_config
from gym_loop.errors import ConfigError, Finding, SweepError, UsageError
from gym_loop.runs.console import Console
from gym_loop.runs.directory import directories, refuse_obstacles
from gym_loop.runs.signals import stop_signals
from gym_loop.schema.yaml_file import as_json, plain, write_yaml
from gym_loop.sweeps.plan import plan
from gym_loop.sweeps.records import SweepDirectory, TrialRecord
from gym_loop.sweeps.result import SweepResult
from gym_loop.sweeps.search import Search, Trial
from gym_loop.sweeps.study import Study, require_optuna
from gym_loop.sweeps.sweep_file import Sweep, load_sweep
from gym_loop.training.pool import Engine, Pool, describe, open_engine

Overrides = Iterable[str] | Mapping[str, Any]


def sweep(
    run_config: str | Path,
    sweep_file: str | Path,
    overrides: Overrides = (),
    *,
    name: str | None = None,
    resume: str | bool = False,
    address: str | None = None,
    quiet: bool = True,
) -> SweepResult:
    """Train many runs of a run file with other values, and compare them.

    Ctrl-C and SIGTERM let every run finish its step and save; no other is begun then.

    Args:
        run_config: path of the run file.
        sweep_file: path of the sweep file.
        overrides: of the run file; see `gym_loop.train`.
        name: the sweep's id; by default the sweep file's stem and a number.
        resume: True continues the newest sweep of these two files, an id that one.
        address: of a Ray cluster; by default that of RAY_ADDRESS, else this machine.
        quiet: show warnings only.

    Raises:
        ConfigError: with everything that is wrong in the two files; nothing has begun then.
        SweepError: Optuna is missing, or there is no room for a single trial.
    """
    config, asked = read(run_config, sweep_file, overrides)
    if name is not None and resume:
        raise UsageError("--name and --resume exclude each other: a resumed sweep keeps its id")
    require_optuna(asked.searcher)
    facts = _facts(config, asked)
    if resume:
        directory = SweepDirectory.reopen(None if resume is True else resume, facts)
    else:
        directory = SweepDirectory.create(asked.path.stem, name, facts)
    status = "failed"
    try:
        result = _Sweeping(config, asked, directory, Console(quiet=quiet)).run(address)
        status = "stopped" if result.signal else "finished"
        return result
    finally:
        directory.close(status)


def read(
    run_config: str | Path, sweep_file: str | Path, overrides: Overrides = ()
) -> tuple[RunConfig, Sweep]:
    """Read and check the two files.

    Raises:
        ConfigError: with every finding.
    """
    config = load_config(run_config, overrides)
    if "checkpoint_dir" not in directories(config.loop.parameters):
        problem = "is null, but a sweep judges the agents that its runs save: name a directory"
        place = "loop.parameters.checkpoint_dir"
        raise ConfigError([Finding(place, problem, str(config.path or ""))])
    return config, load_sweep(sweep_file, config)


def preview(run_config: str | Path, sweep_file: str | Path, overrides: Overrides = ()) -> str:
    """What `sweep` would do; nothing is begun."""
    return plan(*read(run_config, sweep_file, overrides))


def _facts(config: RunConfig, asked: Sweep) -> dict[str, Any]:
    flat = flatten(config.portable().as_dict())
    return {
        "command": sys.argv,
        "config": str(config.path.resolve()) if config.path else None,
        "sweep": str(asked.path.resolve()),
        "resolved_config": as_json({key: value for key, value in flat.items() if key != "seed"}),
        "resolved_sweep": as_json(dict(asked.data)),
    }


class _Sweeping:
    """A sweep under way.

    Args:
        config: the run file.
        asked: the sweep file.
        directory: its files.
        console: what a person sees.
    """

    def __init__(
        self, config: RunConfig, asked: Sweep, directory: SweepDirectory, console: Console
    ) -> None:
        self.config, self.asked, self.directory = config, asked, directory
        self.console = console
        self.ended = 0
        (directory.path / "sweep.yaml").write_text(write_yaml(plain(dict(asked.data))), "utf-8")
        (directory.path / "run.yaml").write_text(config.portable().to_yaml(), "utf-8")

    def run(self, address: str | None) -> SweepResult:
        """Carry it out."""
        parents = directories(self.config.loop.parameters).values()
        refuse_obstacles(parents, "choose another directory in the run file")
        sweep_id, path = self.directory.id, self.directory.path
        self.console.message(f"{sweep_id}: {self.asked.trials:,} trials, {path}")
        with closing(Study(self.asked, path, sweep_id)) as study:
            self.search = Search(self.config, self.asked, self.directory, study, self._tell)
            cpu, gpu = self.asked.cpu / self.together, self.asked.gpu / self.together
            with open_engine(self.config, address, cpu, gpu) as engine:
                signal = self._train(engine)
            importance = study.importance()
        result = SweepResult(
            sweep=sweep_id,
            directory=path,
            metric=self.asked.metric,
            mode=self.asked.mode,
            trials=self.asked.trials,
            records=list(self.search.records.values()),
            importance=importance,
            signal=signal,
        )
        self._write_best(result)
        return result

    @property
    def together(self) -> int:
        """How many runs of a trial share what it takes; a scheduler compares all its seeds."""
        seeds = len(self.asked.seeds)
        return (
            seeds
            if self.asked.scheduler.name != "none"
            else min(seeds, max(1, int(self.asked.cpu)))
        )

    def _train(self, engine: Engine) -> int | None:
        """Train the trials; the signal that stopped them is returned."""
        asked, trials = self.asked, {}
        if (room := engine.room()) == 0:
            raise SweepError(
                f"{asked.path}: resources: a trial asks for {asked.cpu:g} cpu and {asked.gpu:g}"
                f" gpu, but {engine.most()}"
            )
        with (
            Pool(engine, room, self.search.left * len(asked.seeds)) as pool,
            stop_signals(lambda signum: self._stop(pool, signum)),
        ):
            while True:
                while pool.has_room(self.together) and (trial := self.search.ask()) is not None:
                    for job in self._jobs(trial):
                        trial.runs.append(run := pool.submit(job, asked.retries))
                        trials[run] = trial
                if not pool.running:
                    return pool.stopped_by
                for event in pool.events():
                    for run in self.search.tell(trials[event.run], event):
                        pool.stop(run)

    def _stop(self, pool: Pool, signum: int) -> None:
        pool.stop_all(signum)
        self.console.message(f"{self.directory.id}: stopping; the runs finish their step and save")

    def _jobs(self, trial: Trial) -> Iterator[dict[str, Any]]:
        """What the processes of a trial's runs are told."""
        job = describe(trial.cell.config.portable())
        job["path"] = str(self.config.path.resolve()) if self.config.path else None
        output = (self.directory.path / "output").resolve()
        for seed, name in trial.record.runs.items():
            more = {"seed": seed, "name": name, "output": str(output / f"{name}.txt")}
            yield {**job, **more, "evaluate": True, "quiet": True}

    def _tell(self, record: TrialRecord) -> None:
        """One line a trial that has ended."""
        who = f"{self.directory.id} {record.cell}"
        if record.status == "failed":
            self.console.warning(f"{who} failed: {record.error}")
            return
        self.ended += record.is_over
        over = sum(one.is_over for one in self.search.records.values())
        value = "" if record.value is None else f", {self.asked.metric} {record.value:.6g}"
        self.console.message(f"{who}: {record.status}{value}, {over:,} of {self.asked.trials:,}")

    def _write_best(self, result: SweepResult) -> None:
        best = result.best
        if best is None:
            return
        values = load_config(self.config, best.values).portable().as_dict()
        intervals = "" if best.interval is None else " ({:.6g} to {:.6g})".format(*best.interval)
        heading = (
            f"# The best of {result.sweep}: cell {best.cell}, {result.metric} {best.value:.6g}"
            f"{intervals}, seeds {', '.join(map(str, best.runs))}.\n"
        )
        text = heading + write_yaml({**values, "seed": None})
        (self.directory.path / "best.yaml").write_text(text, "utf-8")
