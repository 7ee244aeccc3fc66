"""An environment that observes whatever its space gives, and spaces that are seldom seen."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces


class Pair(NamedTuple):
    number: float
    mood: Any


class Mood(enum.Enum):
    GOOD = 1


@dataclasses.dataclass
class Seen:
    number: float
    around: list[Pair]


class Plain:
    def __init__(self, number: float) -> None:
        self.number = number


POINTS = spaces.Box(0, 1, (2,))
SPACES: dict[str, spaces.Space[Any]] = {
    "graph": spaces.Graph(POINTS, spaces.Discrete(3)),
    "sequence": spaces.Sequence(POINTS),
    "stacked": spaces.Sequence(POINTS, stack=True),
    "graphs": spaces.Sequence(spaces.Graph(spaces.Discrete(4), None)),
    "one of": spaces.OneOf([spaces.Discrete(3), spaces.Graph(POINTS, None)]),
    "text": spaces.Text(8),
    "nested": spaces.Dict(
        a=spaces.Tuple([spaces.Discrete(3), spaces.Graph(POINTS, None)]),
        b=spaces.Sequence(spaces.Dict(x=spaces.Text(3), y=spaces.MultiBinary(2))),
    ),
}
OWN = {
    "named tuple": lambda number: Pair(number, Mood.GOOD),
    "dataclass": lambda number: Seen(number, [Pair(number, None)]),
    "object": lambda number: {"deep": [Plain(number)]},
    "code": lambda number: iter([number]),
}


class Own(spaces.Space[Any]):
    """A space of a user's own."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        return OWN[self.kind](float(self.np_random.random()))

    def contains(self, x: Any) -> bool:
        return True


class Observing(gymnasium.Env[Any, Any]):
    def __init__(self, kind: str) -> None:
        self.observation_space = SPACES.get(kind) or Own(kind)
        self.action_space = spaces.Discrete(2)
        self.steps = 0

    def _look(self) -> Any:
        self.observation_space.seed(int(self.np_random.integers(1000)))
        return self.observation_space.sample()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._look(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self._look(), float(np.float32(1)), self.steps >= 30, False, {}


def register() -> None:
    if "Observing-v0" not in gymnasium.registry:
        gymnasium.register("Observing-v0", Observing, disable_env_checker=True)
