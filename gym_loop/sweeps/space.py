"""What a sweep varies: parameters by their dotted paths, and the cells that their values make."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.schema.yaml_file import as_json, canonical

if TYPE_CHECKING:
    import optuna

Values: TypeAlias = dict[str, Any]  # by dotted path
Random: TypeAlias = "np.random.Generator"

NAME_LENGTH = 10  # of a cell
RANGES = ("uniform", "log_uniform", "int_uniform", "log_int")
KINDS = (*RANGES, "choice")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a sweep.

    Args:
        path: dotted, such as ``agent.parameters.learning_rate``.
        kind: ``choice``, or one of `RANGES`.
        values: of a choice all values; of a range its two ends, which both count.
        listed: written as a list, so that a grid goes through it.
        when: the parameter is varied only if the parameters of these paths have one of
            these values; else it keeps the value of the run file.
    """

    path: str
    kind: str
    values: tuple[Any, ...]
    listed: bool = False
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def is_range(self) -> bool:
        """Whether it has infinitely many values, or as good as."""
        return self.kind != "choice"

    @property
    def is_integer(self) -> bool:
        """Whether its values are integers between two ends."""
        return self.kind in ("int_uniform", "log_int")

    @property
    def is_log(self) -> bool:
        """Whether it is drawn evenly in its logarithm."""
        return self.kind in ("log_uniform", "log_int")

    def is_active(self, values: Mapping[str, Any]) -> bool:
        """Whether the parameters above it, whose values these are, ask for it."""
        return all(
            path in values and any(_same(values[path], one) for one in wanted)
            for path, wanted in self.when.items()
        )

    def draw(self, rng: Random) -> Any:
        """A value, each as likely as any other."""
        if self.kind == "choice":
            return self.values[int(rng.integers(len(self.values)))]
        low, high = self.values
        if self.kind == "int_uniform":
            return int(rng.integers(low, high + 1))
        if self.kind == "uniform":
            return float(rng.uniform(low, high))
        if self.kind == "log_uniform":
            return float(np.clip(math.exp(rng.uniform(math.log(low), math.log(high))), low, high))
        # Each integer gets the part of the line that is rounded to it.
        value = math.exp(rng.uniform(math.log(low - 0.5), math.log(high + 0.5)))
        return min(max(round(value), low), high)

    def codes(self) -> list[Any]:
        """The values of a choice as Optuna stores them: it knows numbers, text and null alone."""
        simple = all(value is None or isinstance(value, (bool, int, str)) or _is_finite(value)
                     for value in self.values)  # fmt: skip
        # 1 and True would be the same to it, as they are to Python.
        if simple and len(set(self.values)) == len(self.values):
            return list(self.values)
        return [json.dumps(as_json(value)) for value in self.values]

    def code(self, value: Any) -> Any:
        """What stands for a value in Optuna."""
        return self.codes()[self._position(value)] if self.kind == "choice" else value

    def decode(self, code: Any) -> Any:
        """The value that Optuna's stands for."""
        return self.values[self.codes().index(code)] if self.kind == "choice" else code

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """What Optuna calls it."""
        from optuna import distributions

        if self.kind == "choice":
            return distributions.CategoricalDistribution(self.codes())
        low, high = self.values
        if self.is_integer:
            return distributions.IntDistribution(low, high, log=self.is_log)
        return distributions.FloatDistribution(low, high, log=self.is_log)

    def suggest(self, trial: optuna.Trial) -> Any:
        """The value that Optuna chooses for a trial."""
        if self.kind == "choice":
            return self.decode(trial.suggest_categorical(self.path, self.codes()))
        low, high = self.values
        if self.is_integer:
            return trial.suggest_int(self.path, low, high, log=self.is_log)
        return trial.suggest_float(self.path, low, high, log=self.is_log)

    def _position(self, value: Any) -> int:
        same = [index for index, one in enumerate(self.values) if _same(one, value)]
        return same[0]


def _same(one: Any, other: Any) -> bool:
    return canonical(one) == canonical(other)


def _is_finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


@dataclass(frozen=True)
class Space:
    """All parameters of a sweep, in the order of the file; conditions look upwards."""

    parameters: Sequence[Parameter]

    @property
    def is_grid(self) -> bool:
        """Whether a grid can go through it: it has no ranges."""
        return not any(one.is_range for one in self.parameters)

    def choose(self, value_of: Callable[[Parameter], Any]) -> Values:
        """Values for all parameters that are asked for by those above them."""
        chosen: Values = {}
        for one in self.parameters:
            if one.is_active(chosen):
                chosen[one.path] = value_of(one)
        return chosen

    def draw(self, rng: Random) -> Values:
        """One point, drawn at random."""
        return self.choose(lambda one: one.draw(rng))

    def grid(self) -> Iterator[Values]:
        """Every combination once, the last parameter changing fastest."""
        yield from self._grid(0, {})

    def _grid(self, start: int, chosen: Values) -> Iterator[Values]:
        if start == len(self.parameters):
            yield dict(chosen)
            return
        one = self.parameters[start]
        for value in one.values if one.is_active(chosen) else (None,):
            inner = {**chosen, one.path: value} if one.is_active(chosen) else chosen
            yield from self._grid(start + 1, inner)

    def size(self, most: int) -> int:
        """Number of the grid's combinations; counting stops at ``most``."""
        return sum(1 for _ in itertools.islice(self.grid(), most))

    def samples(self, one: Parameter) -> Iterator[Values]:
        """Values to check a parameter with: all of a choice, both ends of a range.

        Beside it stand the values that its conditions ask for.
        """
        by_path = {other.path: other for other in self.parameters}
        needed: Values = {}
        waiting = list(one.when.items())
        while waiting:
            path, wanted = waiting.pop()
            if path not in needed:
                needed[path] = wanted[0]
                waiting += by_path[path].when.items()
        for value in one.values:
            yield {**needed, one.path: value}


@dataclass(frozen=True)
class Cell:
    """One choice of values, and the config that it gives.

    Args:
        values: by dotted path.
        config: with these values; its seed counts for nothing.
        name: hash of the config's content.
    """

    values: Mapping[str, Any]
    config: RunConfig
    name: str


def make_cell(config: RunConfig, values: Mapping[str, Any], where: str) -> Cell:
    """Put values into a config.

    Args:
        config: what the run file says.
        values: by dotted path.
        where: what messages name as their source.

    Raises:
        ConfigError: the values do not go together.
    """
    changed = load_config(config, values, options=dict.fromkeys(values, where))
    return Cell(values, changed, content_hash(changed))


def content_hash(config: RunConfig) -> str:
    """A name for everything that the config says but the seed."""
    content = {key: value for key, value in config.as_dict().items() if key != "seed"}
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:NAME_LENGTH]
