"""What a sweep keeps on disk: a directory with its files, its trials, and Optuna's storage."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gym_loop.errors import ConfigError, SweepError
from gym_loop.runs.directory import RunDirectory, refuse_obstacles, run_ids
from gym_loop.runs.manifest import now
from gym_loop.runs.results import Statistics
from gym_loop.schema.yaml_file import as_json, canonical, from_json
from gym_loop.sweeps.space import Cell

SWEEPS = Path("sweeps")
WORST = 1e30  # stands for an evaluation that is no number: pruners compare it with others
# What may differ when a sweep goes on: how much of it, with what, not what is looked for.
FREE = ("resources", "retries", "trials")


@dataclass
class TrialRecord:
    """What became of one trial.

    Args:
        number: in Optuna's storage.
        cell: name of its cell.
        values: of the parameters, by path.
        runs: id of the run of each seed.
        status: ``running``, ``finished``, ``pruned`` (ended early by the scheduler),
            ``stopped`` or ``failed``.
        value: mean of the metric over the seeds; of a pruned one at its last evaluation.
        per_seed: the values behind it.
        steps: mean of the environment steps.
        error: why it failed.
        reports: what was reported before the end.
        notes: what Optuna's sampler and pruner have noted of it, in numbers.
        began: time.
    """

    number: int
    cell: str
    values: dict[str, Any]
    runs: dict[int, str]
    status: str = "running"
    value: float | None = None
    per_seed: list[float] = field(default_factory=list)
    steps: float = 0.0
    seconds: float = 0.0
    error: str | None = None
    reports: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    began: str = ""

    @property
    def interval(self) -> tuple[float, float] | None:
        """Bootstrap interval of the mean over the seeds, where there are several."""
        return Statistics.of(self.per_seed).ci95 if len(self.per_seed) > 1 else None

    @property
    def is_over(self) -> bool:
        """Whether it is not to be trained again."""
        return self.status in ("finished", "pruned")

    @property
    def is_impossible(self) -> bool:
        """Whether its values do not go together, so that there is nothing to train."""
        return not self.runs


class SweepDirectory:
    """The files of a sweep.

    Args:
        home: ``sweeps/<id>/``, claimed.
    """

    def __init__(self, home: RunDirectory) -> None:
        self._home = home
        self.id = home.run_id
        self.path = home.logs
        self.resumes = 0

    @classmethod
    def create(cls, stem: str, name: str | None, facts: Mapping[str, Any]) -> SweepDirectory:
        """Take a new id, ``<stem>-<n>``, or exactly ``name``."""
        refuse_obstacles([SWEEPS], "begin the sweep in another working directory")
        made = cls(RunDirectory.create(stem, {"logdir": SWEEPS}, name=name))
        made._home.note(sweep_id=made.id, started=now(), status="running", **facts)
        for folder in ("trials", "output"):
            (made.path / folder).mkdir()
        return made

    @classmethod
    def reopen(cls, name: str | None, facts: Mapping[str, Any]) -> SweepDirectory:
        """Claim a sweep to continue: of this name, or the newest of the same two files.

        Raises:
            SweepError: there is none.
            ConfigError: it looks for something else than the files do now.
        """
        known = {one: RunDirectory(one, {"logdir": SWEEPS}) for one in run_ids(SWEEPS)}
        if name is None:
            same = [
                one
                for one, home in known.items()
                if all(home.manifest().get(key) == facts[key] for key in ("config", "sweep"))
            ]
            name = same[-1] if same else None
        if name is None or name not in known:
            what = f"sweep {name}" if name else "sweep of these files"
            hint = f"; there are {', '.join(known)}" if known else ""
            raise SweepError(f"there is no {what} in {SWEEPS}{hint}")
        home = known[name]
        _check_unchanged(name, home.manifest(), facts)
        home.lock()
        made = cls(home)
        resumes = home.manifest().get("resumes")
        made.resumes = (resumes if isinstance(resumes, int) else 0) + 1
        home.note(status="running", resumes=made.resumes, **facts)
        return made

    def close(self, status: str) -> None:
        """Say how it ended, and give it free."""
        self._home.note(status=status, ended=now())
        self._home.unlock()

    def write(self, record: TrialRecord) -> None:
        """Keep what is known of a trial; replaced in one step."""
        path = self.path / "trials" / f"{record.cell}.json"
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        content = {**asdict(record), "values": as_json(record.values)}
        temporary.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        temporary.replace(path)

    def records(self) -> Iterator[TrialRecord]:
        """All trials, in the order of their numbers."""
        found = []
        for path in (self.path / "trials").glob("*.json"):
            content = json.loads(path.read_text("utf-8"))
            content["values"] = from_json(content["values"])
            content["runs"] = {int(seed): run for seed, run in content["runs"].items()}
            found.append(TrialRecord(**content))
        yield from sorted(found, key=lambda one: one.number)

    def begin(self, number: int, cell: Cell, seeds: Any) -> TrialRecord:
        """The record of a new trial; its runs are named after sweep, cell and seed."""
        runs = {seed: f"{self.id}.{cell.name}.{seed}" for seed in seeds}
        return TrialRecord(number, cell.name, dict(cell.values), runs, began=now())


def _check_unchanged(name: str, before: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    differing = []
    for part in ("resolved_config", "resolved_sweep"):
        was, is_now = before.get(part) or {}, facts[part]
        differing += [
            f"{key}: the sweep has {was.get(key)!r}, the file {is_now.get(key)!r}"
            for key in sorted({*was, *is_now})
            if canonical(was.get(key)) != canonical(is_now.get(key)) and key not in FREE
        ]
    if differing:
        raise ConfigError(
            f"these files no longer describe {name}:\n  "
            + "\n  ".join(differing)
            + f"\nchange them back ({', '.join(FREE)} may differ), or begin a new sweep"
        )
