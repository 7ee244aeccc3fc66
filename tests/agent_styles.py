"""Agents as different people write them, each with a place of its own for what it learns."""

from __future__ import annotations

import enum
import functools
import heapq
import random
import threading
import types
from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from gym_loop.agents import BaseAgent

Step = namedtuple("Step", ("state", "action", "reward", "following"))
RECORD = np.dtype([("state", "f4", (4,)), ("action", "i1"), ("reward", "f8"), ("when", "M8[s]")])


class Phase(enum.Enum):
    """What the agent is at."""

    WARMUP = enum.auto()
    EXPLORE = enum.auto()


class Key(NamedTuple):
    """Of a table."""

    place: int
    action: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One step."""

    place: int
    action: int
    reward: float


@dataclass
class Settings:
    """What falls while it learns."""

    epsilon: float = 1.0
    seen: list[Seen] = field(default_factory=list)


@dataclass(order=True)
class Candidate:
    """Weights that were tried."""

    score: float
    weights: Any = field(compare=False)


class Named(dict[str, Any]):
    """A dictionary whose keys are attributes too, as in many scripts."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


class Ring(list[Any]):
    """A list that forgets."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def put(self, item: Any) -> None:
        self.append(item)
        del self[: -self.size]


class Style(BaseAgent):
    """What they share: a table over the sign of the pole's angle and speed."""

    def place(self, state: Any) -> int:
        return int(state[2] > 0) + 2 * int(state[3] > 0)


class Tables(Style):
    """Dictionaries by tuples, a factory of its own, and epsilon in the parameters."""

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        return {"epsilon": 1.0}

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self.parameters = self.get_default_parameters()  # type: ignore[assignment]
        self.parameters.update(params)
        self.values: Any = defaultdict(lambda: np.zeros(2))
        self.visits: dict[Any, int] = {}
        self.recent: OrderedDict[int, int] = OrderedDict()

    def act(self, state: Any, episode_num: int) -> int:
        if self.training and np.random.rand() < self.parameters["epsilon"]:
            return int(self.parameters["action_space"].sample())
        return int(self.values[self.place(state)].argmax())

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        key = self.place(last_ob), int(action)
        self.visits[key] = self.visits.get(key, 0) + 1
        self.recent[key[0]] = self.visits[key]
        self.recent.move_to_end(key[0])
        self.values[key[0]][action] += (-float(done) + 0.1 * random.random()) / self.visits[key]
        self.parameters["epsilon"] *= 0.99

    def metrics(self, episode_num: int) -> dict[str, float]:
        return {"epsilon": self.parameters["epsilon"], "last": next(reversed(self.recent), -1)}


class Records(Style):
    """Dataclasses that replace each other, named tuples in a deque, an enumeration as the state."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.settings, self.phase = Settings(), Phase.WARMUP
        self.memory: deque[Any] = deque(maxlen=50)
        self.values: dict[Any, float] = {}

    def act(self, state: Any, episode_num: int) -> int:
        if self.training and random.random() < self.settings.epsilon:
            return random.randrange(2)
        return max(range(2), key=lambda one: self.values.get(Key(self.place(state), one), 0.0))

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        self.memory.append(Step(self.place(last_ob), action, -float(done), self.place(ob)))
        self.settings.seen.append(Seen(self.place(ob), action, float(reward)))
        if len(self.memory) > 20:
            self.phase = Phase.EXPLORE

    def update(self, episode_num: int) -> None:
        if self.phase is Phase.EXPLORE:
            for one in random.sample(self.memory, 4):
                key = Key(one.state, one.action)
                self.values[key] = 0.9 * self.values.get(key, 0.0) + one.reward
            self.settings = replace(self.settings, epsilon=0.99 * self.settings.epsilon)

    def metrics(self, episode_num: int) -> dict[str, float]:
        return {"epsilon": self.settings.epsilon, "phase": self.phase.value}


class Evolving(Style):
    """A heap of dataclasses, generators that were spawned, the best one in two places."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.streams = self.rng.spawn(3)
        self.elite: list[Candidate] = []
        self.weights, self.total = self.rng.normal(size=4), 0.0
        self.best = self.weights

    def act(self, state: Any, episode_num: int) -> int:
        return int((self.weights if self.training else self.best) @ state > 0)

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        self.total += float(reward)
        if done:
            heapq.heappush(self.elite, Candidate(self.total, self.weights))
            del self.elite[:-4]
            self.best = max(self.elite).weights
            stream = self.streams[len(self.elite) % 3].spawn(1)[0]
            self.weights, self.total = self.best + stream.normal(size=4), 0.0

    def metrics(self, episode_num: int) -> dict[str, float]:
        return {"same": float(any(self.best is one.weights for one in self.elite))}


class Arrays(Style):
    """Records in an array, a window into it, objects of several kinds, a cached property."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.__dict__.update({name: params[name] for name in params if name != "seed"})
        self.rows = np.zeros(30, RECORD)
        self.window = self.rows["reward"][:10]
        self.count = types.SimpleNamespace(steps=0)
        self.ring, self.me = Ring(7), self
        self.config: Any = Named(noise=1.0, deep=Named(steps=0))
        self.notes: UserDict[int, int] = UserDict()

    @functools.cached_property
    def weights(self) -> Any:
        return self.rng.normal(size=4)

    def act(self, state: Any, episode_num: int) -> int:
        noise = self.rng.normal() if self.training else 0.0
        return int(self.weights @ state + noise * self.config.noise > 0)

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        steps = self.count.steps
        self.rows[steps % 30] = (last_ob, action, self.rng.normal(), np.datetime64(steps, "s"))
        self.weights[:] += 0.01 * last_ob * self.window.sum()
        self.ring.put((steps, action))
        self.notes[steps % 5] = action
        self.count.steps += 1
        self.config.noise *= 0.99
        self.config.deep.steps += 1

    def metrics(self, episode_num: int) -> dict[str, float]:
        return {"window": self.window.sum(), "ring": self.ring[0][0]}


# -- what no checkpoint can hold: named -----------------------------------------------------------


def falling() -> Any:
    """A schedule that counts in its closure."""
    calls = 0

    def value() -> float:
        nonlocal calls
        calls += 1
        return 1.0 / calls

    return value


class Closures(Style):
    """A counter in a closure, streams behind methods alone; and what is no loss beside them."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.schedule = falling()
        self.noise = np.random.default_rng(3).normal
        self.coin = functools.partial(np.random.RandomState(3).choice, [0, 1])
        self.saved = self.rng.normal
        self.steps = 0
        self.epsilon = lambda: 1.0 / (1 + self.steps)
        self.sample = self.parameters["action_space"].sample
        self.of_all = random.random

    def act(self, state: Any, episode_num: int) -> int:
        self.steps += 1
        self.of_all()
        self.saved()
        value = self.schedule() + self.noise() + self.coin() + self.epsilon()
        return int(value > 1) if self.training else int(self.sample())


def remembered(step: int, steps: list[int] = []) -> int:  # noqa: B006 - as people do write it
    steps.append(step)
    return len(steps)


class Defaults(Style):
    """Remembers in the default of a function's argument."""

    def act(self, state: Any, episode_num: int) -> int:
        return remembered(episode_num) % 2


# -- and what is refused at the start -------------------------------------------------------------


class Telling(Style):
    """A generator says what comes next."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.plan = (step % 2 for step in range(10**6))


class Locking(Style):
    """Has a lock."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.parts = {"lock": threading.Lock()}
