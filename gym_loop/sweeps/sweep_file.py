"""The sweep file: read, checked with the run file it varies, every finding at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval
from pydantic import AfterValidator, BeforeValidator

from gym_loop.checkpoints.seeding import MAX_SEED
from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.config.sections import RunSeed
from gym_loop.errors import ConfigError
from gym_loop.schema.files import expanded
from gym_loop.schema.parameters import Field, Parameters, Section
from gym_loop.schema.reading import Reader
from gym_loop.schema.suggestions import did_you_mean
from gym_loop.schema.validation import Wording
from gym_loop.schema.yaml_file import canonical, read_yaml_file
from gym_loop.sweeps.scheduler_options import (
    NO_POPULATION,
    NoScheduler,
    SchedulerName,
    SchedulerSection,
    no_population,
    scheduler_of,
)
from gym_loop.sweeps.space import KINDS, RANGES, Parameter, Space

METRICS = (  # what a sweep can be judged by
    "eval/return_mean",
    "eval/return_median",
    "eval/return_min",
    "eval/return_max",
    "eval/return_std",
    "eval/length_mean",
)
MOST_TRIALS = 100_000


def _different(seeds: list[int]) -> list[int]:
    twice = [seed for seed, count in Counter(seeds).items() if count > 1]
    if twice:
        raise ValueError(f"holds the seed {twice[0]} twice")
    if not seeds:
        raise ValueError("is empty; give a number of seeds, or a list of them")
    return seeds


class Resources(Parameters):
    """What a trial needs."""

    cpu: Annotated[float, Interval(gt=0, lt=math.inf)] = Field(1.0, description="Cores.")
    gpu: Annotated[float, Interval(ge=0, lt=math.inf)] = Field(
        0.0, description="GPUs; may be a fraction."
    )


class SweepFile(Section):
    """A sweep file."""

    former_names: ClassVar[dict[str, str]] = {"population": NO_POPULATION}

    parameters: dict[Any, Any] = Field(
        {},
        description="What is varied, by dotted path: a list of values, or a range such as"
        " {log_uniform: [1.0e-5, 1.0e-2]}.",
    )
    metric: Literal[METRICS] = Field(  # type: ignore[valid-type]
        METRICS[0], description="Of the final evaluation, averaged over the seeds."
    )
    mode: Literal["max", "min"] = Field("max", description="Whether more of it is better.")
    resources: Resources = Field(Resources(), description="What a trial needs.")
    retries: Annotated[int, Interval(ge=0, le=100)] = Field(
        0, description="How often a run that fails is begun again."
    )
    scheduler: Annotated[SchedulerName | SchedulerSection, BeforeValidator(no_population)] = Field(
        "none", description="What ends trials early."
    )
    searcher: Literal["grid", "random", "tpe", "cmaes"] | None = Field(
        None, description="What chooses the values; by default a grid, or random where are ranges."
    )
    seed: Annotated[int, Interval(ge=0, le=MAX_SEED)] = Field(0, description="Of the search.")
    seeds: Annotated[
        Annotated[int, Interval(ge=1, le=10_000)]
        | Annotated[list[RunSeed], AfterValidator(_different)],
        Wording("must be an integer from 1 to 10,000, or a list of seeds"),
    ] = Field(1, description="Of the runs of every trial: their number, or a list of them.")
    trials: Annotated[int, Interval(ge=1, le=MOST_TRIALS)] | None = Field(
        None, description="How many; of a grid all combinations."
    )


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
    scheduler: NoScheduler
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
    return _SweepReader(read_yaml_file(expanded(path))).sweep(expanded(path), config)


class _SweepReader(Reader):
    def sweep(self, path: Path, config: RunConfig) -> Sweep:
        file = self.read(SweepFile)
        space = self._space(file.parameters)
        searcher = file.searcher or ("grid" if space.is_grid else "random")
        made = Sweep(
            space=space,
            seeds=list(range(file.seeds)) if isinstance(file.seeds, int) else file.seeds,
            metric=file.metric,
            mode=file.mode,
            trials=self._trials(file.trials, space, searcher),
            searcher=searcher,
            scheduler=scheduler_of(file.scheduler),
            cpu=file.resources.cpu,
            gpu=file.resources.gpu,
            retries=file.retries,
            seed=file.seed,
            path=path,
            data=self.document.data or {},
        )
        self._check_together(made, config)
        if not self.findings:
            self._check_values(space, path, config)
        self.finish()
        return made

    def _trials(self, given: int | None, space: Space, searcher: str) -> int:
        if searcher == "grid":
            if given is not None:
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
        if given is None and not self.is_wrong("trials"):
            self.find((), f"trials is missing: how many the searcher {searcher} is to make")
        return given or 1

    # -- parameters ----------------------------------------------------------------------------

    def _space(self, given: Mapping[Any, Any]) -> Space:
        if not given and not self.is_wrong("parameters"):
            example = "{agent.parameters.learning_rate: {log_uniform: [1e-5, 1e-2]}}"
            self.find(("parameters",), f"must be a mapping of what is varied, such as {example}")
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
                self.find((*place, index), f"{one!r} is given twice; keep one")
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

    def _check_together(self, made: Sweep, config: RunConfig) -> None:
        numeric = [one for one in made.space.parameters if one.is_range and not one.when]
        if made.searcher == "cmaes" and len(numeric) < 2:
            self.find(("searcher",), "cmaes needs at least two ranges without conditions; use tpe")
        loop = config.loop.parameters
        if made.scheduler.name != "none" and not loop.get("episodes_per_eval"):
            self.find(
                ("scheduler",),
                f"{made.scheduler.name} judges by periodic evaluations: set"
                " loop.parameters.episodes_per_eval in the run file, or with --set",
            )

    def _check_values(self, space: Space, path: Path, config: RunConfig) -> None:
        """Build the run config with every value of a choice, and with both ends of a range."""
        seen = set()
        for one in space.parameters:
            line = self.document.line(("parameters", one.path))
            for values in space.samples(one):
                options = dict.fromkeys(values, f"{path}:{line}" if line else str(path))
                try:
                    load_config(config, values, options=options)
                except ConfigError as error:
                    for finding in error.findings:
                        if (text := str(finding)) not in seen:
                            seen.add(text)
                            self.findings.append(finding)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
