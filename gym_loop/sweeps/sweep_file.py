"""The sweep file: read, checked with the run file it varies, every finding at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gym_loop.checkpoints.seeding import MAX_SEED
from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.errors import ConfigError, Finding
from gym_loop.schema.class_strings import did_you_mean, unknown_names
from gym_loop.schema.files import expanded
from gym_loop.schema.parameters import as_integer
from gym_loop.schema.yaml_file import Document, canonical, read_yaml_file
from gym_loop.sweeps.scheduler_options import SCHEDULERS, SchedulerOptions
from gym_loop.sweeps.space import KINDS, RANGES, Parameter, Space

METRICS = (
    "eval/return_mean",
    "eval/return_median",
    "eval/return_min",
    "eval/return_max",
    "eval/return_std",
    "eval/length_mean",
)
SEARCHERS = ("grid", "random", "tpe", "cmaes")
MODES = ("max", "min")
KEYS = (
    "parameters",
    "metric",
    "mode",
    "resources",
    "retries",
    "scheduler",
    "searcher",
    "seed",
    "seeds",
    "trials",
)
MOST_TRIALS = 100_000


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file.

    Args:
        space: what is varied.
        seeds: of the runs of every trial.
        metric: of the final evaluation, averaged over the seeds.
        mode: ``max`` or ``min``.
        trials: how many; of a grid all combinations.
        searcher: one of `SEARCHERS`.
        scheduler: what ends trials early.
        cpu: cores of a trial.
        gpu: GPUs of a trial; may be a fraction.
        retries: how often a run that fails is begun again.
        seed: of the search.
        path: the file.
        data: its content.
    """

    space: Space
    seeds: Sequence[int]
    metric: str
    mode: str
    trials: int
    searcher: str
    scheduler: SchedulerOptions
    cpu: float
    gpu: float
    retries: int
    seed: int
    path: Path
    data: Mapping[str, Any]

    @property
    def sign(self) -> float:
        """1 where more of the metric is better, else -1."""
        return 1.0 if self.mode == "max" else -1.0


def load_sweep(path: str | Path, config: RunConfig) -> Sweep:
    """Read a sweep file, and check every value in the run config.

    Raises:
        ConfigError: with every finding, each with its file, line and dotted path.
    """
    path = expanded(path)
    return _Reader(read_yaml_file(path), path, config).sweep()


class _Reader:
    def __init__(self, document: Document, path: Path, config: RunConfig) -> None:
        self.document, self.path, self.config = document, path, config
        self.data: dict[str, Any] = {}
        self.findings: list[Finding] = []

    def find(self, path: tuple[Any, ...], problem: str) -> None:
        place = ".".join(map(str, path))
        line = self.document.line(path)
        self.findings.append(Finding(place, problem, str(self.path), line))

    def sweep(self) -> Sweep:
        data = self.document.data
        if not isinstance(data, dict):
            self.find((), f"a mapping belongs here, with the keys {', '.join(KEYS)}")
            raise ConfigError(self.findings)
        self.data = data
        for key, problem in unknown_names(data, KEYS).items():
            self.find((key,), problem)
        space = self._space()
        searcher = self._word("searcher", SEARCHERS, "grid" if space.is_grid else "random")
        resources = self._resources()
        made = Sweep(
            space=space,
            seeds=self._seeds(),
            metric=self._word("metric", METRICS, METRICS[0]),
            mode=self._word("mode", MODES, "max"),
            trials=self._trials(space, searcher),
            searcher=searcher,
            scheduler=self._scheduler(),
            cpu=resources[0],
            gpu=resources[1],
            retries=self._integer("retries", 0, 0, 100),
            seed=self._integer("seed", 0, 0, MAX_SEED),
            path=self.path,
            data=data,
        )
        self._check_together(made)
        if not self.findings:
            self._check_values(space)
        if self.findings:
            raise ConfigError(sorted(self.findings, key=lambda one: one.line or 0))
        return made

    # -- single keys -------------------------------------------------------------------------

    def _word(self, key: str, known: Sequence[str], default: str) -> str:
        value = self.data.get(key, default)
        if value in known:
            return str(value)
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        self.find((key,), f"{value!r} is none of {', '.join(known)}{hint}")
        return default

    def _integer(self, key: str, default: int, least: int, most: int) -> int:
        value = self.data.get(key, default)
        number = as_integer(value)
        if number is None or not least <= number <= most:
            self.find((key,), f"{value!r} must be an integer from {least} to {most:,}")
            return default
        return number

    def _seeds(self) -> list[int]:
        value = self.data.get("seeds", 1)
        if isinstance(value, list):
            seeds: list[int] = []
            seen: set[int] = set()
            for index, given in enumerate(value):
                seed = as_integer(given)
                if seed is None or not 0 <= seed <= MAX_SEED:
                    self.find(("seeds", index), f"{given!r} is no seed; use 0 to {MAX_SEED}")
                    continue
                if seed in seen:
                    self.find(("seeds", index), f"the seed {seed} stands twice")
                seen.add(seed)
                seeds.append(seed)
            if not value:
                self.find(("seeds",), "is empty; give a number of seeds, or a list of them")
            return seeds
        return list(range(self._integer("seeds", 1, 1, 10_000)))

    def _trials(self, space: Space, searcher: str) -> int:
        if searcher == "grid":
            if "trials" in self.data:
                self.find(("trials",), "a grid has as many trials as combinations: leave it out")
            if not space.is_grid:
                ranges = [one.path for one in space.parameters if one.is_range]
                self.find(
                    ("searcher",),
                    f"a grid goes through lists, but {', '.join(ranges)} is a range: list its"
                    " values, or choose the searcher random, tpe or cmaes",
                )
                return 1
            count = space.size(MOST_TRIALS + 1)
            if count > MOST_TRIALS:
                self.find(("parameters",), f"the grid has more than {MOST_TRIALS:,} combinations")
            return count
        if "trials" not in self.data:
            self.find((), f"trials is missing: how many the searcher {searcher} is to make")
            return 1
        return self._integer("trials", 1, 1, MOST_TRIALS)

    def _resources(self) -> tuple[float, float]:
        value = self.data.get("resources")
        if value is None:
            return 1.0, 0.0
        if not isinstance(value, dict):
            self.find(("resources",), f"{value!r} must be a mapping with the keys cpu and gpu")
            return 1.0, 0.0
        found = {"cpu": 1.0, "gpu": 0.0}
        for key, amount in value.items():
            if key not in found:
                self.find(("resources", key), f"unknown{did_you_mean(str(key), found)}")
            elif not _is_number(amount) or amount < 0 or (key == "cpu" and amount == 0):
                self.find(("resources", key), f"{amount!r} must be a number above 0")
            else:
                found[key] = float(amount)
        return found["cpu"], found["gpu"]

    def _scheduler(self) -> SchedulerOptions:
        value = self.data.get("scheduler")
        if value is None or isinstance(value, str):
            return SchedulerOptions.named(self._word("scheduler", [*SCHEDULERS], "none"))
        if not isinstance(value, dict) or len(value) != 1:
            self.find(("scheduler",), f"{value!r} must be one of {', '.join(SCHEDULERS)}")
            return SchedulerOptions.named("none")
        ((name, options),) = value.items()
        if name not in SCHEDULERS:
            self.find(("scheduler", name), f"unknown{did_you_mean(str(name), SCHEDULERS)}")
            return SchedulerOptions.named("none")
        made, problems = SchedulerOptions.read(name, options)
        for key, problem in problems.items():
            self.find(("scheduler", name, *([key] if key else [])), problem)
        return made

    # -- parameters ----------------------------------------------------------------------------

    def _space(self) -> Space:
        given = self.data.get("parameters")
        if not isinstance(given, dict) or not given:
            self.find(
                ("parameters",),
                "a mapping belongs here, such as"
                " {agent.parameters.learning_rate: {log_uniform: [1e-5, 1e-2]}}",
            )
            return Space([])
        found: list[Parameter] = []
        for key, value in given.items():
            if (one := self._parameter(str(key), value, found)) is not None:
                found.append(one)
        return Space(found)

    def _parameter(self, key: str, value: Any, above: Sequence[Parameter]) -> Parameter | None:
        place = ("parameters", key)
        last = key.rpartition(".")[2]
        if key == "seed":
            self.find(place, "is no parameter of a sweep: every trial has the seeds of `seeds`")
            return None
        if key.startswith("loop.parameters.") and last.endswith("dir"):
            self.find(place, "says where files go, and is the same for all trials: leave it out")
            return None
        if isinstance(value, list):
            return self._choice(key, value, {}, place, listed=True)
        if not isinstance(value, dict):
            self.find(place, f"{value!r} must be a list of values, or one of {', '.join(KINDS)}")
            return None
        when = self._when(value.get("when"), place, above)
        kinds = [name for name in value if name != "when"]
        if len(kinds) != 1 or kinds[0] not in KINDS:
            wrong = next((str(name) for name in kinds if name not in KINDS), "")
            what = f"{wrong} is unknown{did_you_mean(wrong, KINDS)}; " if wrong else ""
            self.find(place, f"{what}write one of {', '.join(KINDS)}")
            return None
        kind = kinds[0]
        if kind == "choice":
            return self._choice(key, value[kind], when, (*place, kind), listed=False)
        return self._range(key, kind, value[kind], when, (*place, kind))

    def _choice(
        self, key: str, values: Any, when: dict[str, Any], place: tuple[Any, ...], *, listed: bool
    ) -> Parameter | None:
        if not isinstance(values, list) or not values:
            self.find(place, "must be a list of at least one value")
            return None
        seen = set()
        for index, one in enumerate(values):
            if (text := canonical(one)) in seen:
                self.find((*place, index), f"{one!r} stands twice; keep one")
            seen.add(text)
        return Parameter(key, "choice", tuple(values), listed, when)

    def _range(
        self, key: str, kind: str, ends: Any, when: dict[str, Any], place: tuple[Any, ...]
    ) -> Parameter | None:
        if not isinstance(ends, list) or len(ends) != 2 or not all(map(_is_number, ends)):
            self.find(place, f"{ends!r} must be the two ends of a range: [1e-5, 1e-2]")
            return None
        low, high = ends
        integers = kind in ("int_uniform", "log_int")
        if not low < high:
            self.find(place, f"{low} must be less than {high}")
        elif kind.startswith("log") and low <= 0:
            self.find(place, f"{low} has no logarithm; begin above 0, or use {RANGES[0]}")
        elif integers and not all(float(end).is_integer() for end in ends):
            self.find(place, f"{ends} must be two integers")
        else:
            whole = tuple(int(end) if integers else float(end) for end in ends)
            return Parameter(key, kind, whole, when=when)
        return None

    def _when(
        self, value: Any, place: tuple[Any, ...], above: Sequence[Parameter]
    ) -> dict[str, tuple[Any, ...]]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.find((*place, "when"), f"{value!r} must be a mapping of paths to values")
            return {}
        known = {one.path: one for one in above}
        conditions = {}
        for path, wanted in value.items():
            here = (*place, "when", path)
            if path not in known:
                hint = did_you_mean(str(path), known) or "; name one that is varied above this one"
                self.find(here, f"is not among the parameters above{hint}")
                continue
            wanted = tuple(wanted) if isinstance(wanted, list) else (wanted,)
            other = known[path]
            values = {canonical(one) for one in other.values}
            missing = [
                one for one in wanted if other.kind == "choice" and canonical(one) not in values
            ]
            if other.is_range:
                self.find(here, "is a range; a condition needs a list or a choice")
                continue
            if missing or not wanted:
                self.find(here, f"{missing} is none of its values {list(other.values)}")
                continue
            conditions[path] = wanted
        return conditions

    # -- together --------------------------------------------------------------------------------

    def _check_together(self, made: Sweep) -> None:
        numeric = [one for one in made.space.parameters if one.is_range and not one.when]
        if made.searcher == "cmaes" and len(numeric) < 2:
            self.find(("searcher",), "cmaes needs at least two ranges without conditions; use tpe")
        loop = self.config.loop.parameters
        if made.scheduler.name != "none" and not loop.get("episodes_per_eval"):
            self.find(
                ("scheduler",),
                f"{made.scheduler.name} judges by periodic evaluations: set"
                " loop.parameters.episodes_per_eval in the run file, or with --set",
            )
        if made.scheduler.name == "pbt" and made.searcher not in ("random", "grid"):
            self.find(("searcher",), "pbt searches by itself; its population is drawn by random")
        if made.scheduler.name == "pbt" and any(one.when for one in made.space.parameters):
            self.find(("scheduler",), "pbt knows no conditions (`when`)")

    def _check_values(self, space: Space) -> None:
        """Build the run config with every value of a choice, and with both ends of a range."""
        seen = set()
        for one in space.parameters:
            line = self.document.line(("parameters", one.path))
            for values in space.samples(one):
                options = dict.fromkeys(values, f"{self.path}:{line}" if line else str(self.path))
                try:
                    load_config(self.config, values, options=options)
                except ConfigError as error:
                    for finding in error.findings:
                        if (text := str(finding)) not in seen:
                            seen.add(text)
                            self.findings.append(finding)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
