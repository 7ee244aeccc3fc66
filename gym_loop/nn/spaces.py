"""Gymnasium spaces as networks and distributions see them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatten_space

from gym_loop.errors import SpaceError
from gym_loop.nn.arrays import Shapes
from gym_loop.nn.distributions import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    Distribution,
    MultiCategorical,
)

Array = np.ndarray[Any, Any]


class ObservationEncoder:
    """Turns observations into numbers ``[N, *shape]`` for a network.

    A Box keeps its shape (``uint8`` its dtype too: a network scales it), whatever counts is
    coded one-hot, bits are numbers. A Dict or Tuple becomes one flat vector, part after part,
    as `gymnasium.spaces.flatten` lays them out; ``uint8`` parts of it are divided by 255.

    A replay keeps observations packed: ``uint8`` and codes, in parts too, are not made numbers.

    Args:
        space: observation space of one environment.
        agent: name of the agent, for messages.
        place: name of the observations, for messages.
        whole: the space that this one is a part of, for messages; by default itself.

    Attributes:
        shape: of an encoded observation.
        shapes: the same, or those of the parts; see `gym_loop.nn.networks`.
        packed: an example of a packed observation.

    Raises:
        SpaceError: a space of another kind.
    """

    def __init__(
        self, space: Any, agent: str, place: str = "observations", whole: Any = None
    ) -> None:
        whole = space if whole is None else whole
        self.rank = len(space.shape or ())
        self.dtype: Any = np.dtype(np.float32)
        self.starts: Array | None = None  # first code of each number, where coded one-hot
        self.parts: dict[Any, ObservationEncoder] = {}
        self.shape: tuple[int, ...]
        if isinstance(space, spaces.Box):
            self.shape = space.shape
            if space.dtype == np.uint8:
                self.dtype = np.dtype(np.uint8)
        elif isinstance(space, spaces.MultiBinary):
            self.shape = space.shape
        elif isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
            sizes = np.ravel(space.n if isinstance(space, spaces.Discrete) else space.nvec)
            self.shape = (int(sizes.sum()),)
            self.starts = np.cumsum([0, *sizes[:-1]]) - np.ravel(space.start)
        elif isinstance(space, (spaces.Dict, spaces.Tuple)):
            named = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space)
            for name, part in named:
                self.parts[name] = ObservationEncoder(part, agent, f"{place}[{name!r}]", whole)
            self.shape = (sum(math.prod(part.shape) for part in self.parts.values()),)
        else:
            advice = observation_advice(whole, can_encode)
            raise SpaceError(f"{agent} cannot learn from {place} in {space}: {advice}")
        if not math.prod(self.shape):
            advice = observation_advice(whole, can_encode)
            raise SpaceError(
                f"{agent} cannot learn from {place} in {space}: they are empty; {advice}"
            )
        shapes = {name: part.shapes for name, part in self.parts.items()}
        self.shapes: Shapes = shapes or self.shape
        if isinstance(space, spaces.Tuple):
            self.shapes = list(shapes.values())
        self.packed = self._packed()

    def _packed(self) -> Array:
        if self.starts is not None:
            return np.zeros(self.starts.size, np.int64)
        fields = [(part.packed.dtype, part.packed.shape) for part in self.parts.values()]
        self._record = np.dtype([(f"{i}", *field) for i, field in enumerate(fields)])
        return np.zeros(self._record.itemsize, np.uint8) if fields else self.example

    @property
    def example(self) -> Array:
        """An encoded observation."""
        return np.zeros(self.shape, self.dtype)

    def is_single(self, observation: Any) -> bool:
        """Whether this is one observation, without an axis of environments."""
        for name, part in self.parts.items():
            return part.is_single(observation[name])
        return np.ndim(observation) == self.rank

    def __call__(self, observations: Any) -> Array:
        """Encode one observation or N of them: ``[N, *shape]``."""
        if self.parts:
            return _flat([part(observations[name]) for name, part in self.parts.items()])
        return self.unpack(self.pack(observations))

    def pack(self, observations: Any) -> Array:
        """One observation or N of them as a replay keeps them, ``[N, *packed.shape]``."""
        if not self.parts:
            return np.asarray(observations, self.packed.dtype).reshape(-1, *self.packed.shape)
        columns = [part.pack(observations[name]) for name, part in self.parts.items()]
        records = np.empty(len(columns[0]), self._record)
        for field, column in zip(self._record.fields or (), columns, strict=True):
            records[field] = column
        return records.view(np.uint8).reshape(-1, self._record.itemsize)

    def unpack(self, packed: Array) -> Array:
        """Encode packed observations: ``[N, *shape]``."""
        if self.parts:
            records = packed.view(self._record)[:, 0]
            columns = zip(self.parts.values(), self._record.fields or (), strict=True)
            return _flat([part.unpack(records[field]) for part, field in columns])
        if self.starts is None:
            return packed
        result = np.zeros((len(packed), *self.shape), np.float32)
        result[np.arange(len(packed))[:, None], packed + self.starts] = 1.0
        return result


def can_encode(space: Any) -> bool:
    """Whether an `ObservationEncoder` takes the observations of a space."""
    try:
        ObservationEncoder(space, "")
    except SpaceError:
        return False
    return True


def _flat(parts: list[Array]) -> Array:
    """Encoded parts ``[N, ...]`` side by side, ``[N, sum]``, pictures from 0 to 1."""
    rows = [part.reshape(len(part), math.prod(part.shape[1:])) for part in parts]
    pixel = np.float32(1 / 255)
    return np.concatenate([row * pixel if row.dtype == np.uint8 else row for row in rows], axis=1)


class BoundedActions:
    """Continuous actions as numbers from -1 to 1, ``[N, A]``, and back to their bounds.

    Args:
        space: action space of one environment.
        agent: name of the agent, for messages.

    Attributes:
        size: number of dimensions A.
        example: of what the agent chooses and a replay stores.

    Raises:
        SpaceError: a space of another kind, or one without finite bounds.
    """

    def __init__(self, space: Any, agent: str) -> None:
        if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
            raise cannot_act(agent, space, "continuous actions, a Box of floats")
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise SpaceError(
                f"{agent} cannot act in {space}: it needs finite bounds, from -1 to 1 say;"
                f" {action_advice(space, refused_by=agent)}. Or leave"
                " gymnasium.wrappers:ClipAction out of env.wrappers, which takes bounds away; where"
                " the environment has none, name a wrapper of your own there (env.wrappers:"
                " [{class: my_wrappers.py:Bounded}]), a gymnasium.wrappers.TransformAction with"
                " the action_space that it should have"
            )
        self.shape, self.dtype = space.shape, space.dtype
        self.size = math.prod(space.shape)
        self.example = np.zeros(self.size, np.float32)
        self.low, self.high = space.low, space.high
        self.half = self.high / 2 - self.low / 2
        self.middle = self.high / 2 + self.low / 2
        # Where both bounds are the same number, there is nothing to choose.
        self.inverse = np.divide(1.0, self.half, where=self.half > 0, out=np.zeros_like(self.half))

    def __call__(self, numbers: Array) -> Array:
        """Actions ``[N, *shape]`` from numbers ``[N, A]``."""
        actions = numbers.reshape(-1, *self.shape) * self.half + self.middle
        clipped: Array = np.clip(actions, self.low, self.high).astype(self.dtype, copy=False)
        return clipped

    def single(self, numbers: Array) -> Any:
        """The action of a single environment, an array without an axis of environments."""
        return self(numbers)[0, ...]

    def stored(self, actions: Any) -> Array:
        """Numbers ``[N, A]`` from one action or N of them."""
        numbers: Array = (np.asarray(actions) - self.middle) * self.inverse
        return numbers.reshape(-1, self.size).astype(np.float32, copy=False)


class ActionCodec:
    """The distribution over an action space, and the way from what it draws to actions.

    What a Gaussian draws is clipped to [-1, 1] and stretched to the bounds of its Box; where
    a bound is infinite it is taken as it is.

    Args:
        space: action space of one environment.
        agent: name of the agent, for messages.

    Raises:
        SpaceError: a space of another kind.
    """

    def __init__(self, space: Any, agent: str) -> None:
        self.shape: tuple[int, ...] = space.shape or ()
        self.dtype = space.dtype
        self.start: Any = 0
        self.stretch: tuple[Array, Array] | None = None
        self.clip: tuple[Array, Array] | None = None
        self.distribution: Distribution
        self.example: Array  # of what the distribution draws
        if isinstance(space, spaces.Discrete):
            self.distribution, self.start = Categorical(int(space.n)), space.start
            self.example = np.zeros((), np.int64)
        elif isinstance(space, spaces.MultiDiscrete):
            sizes = tuple(int(size) for size in np.ravel(space.nvec))
            self.distribution, self.start = MultiCategorical(sizes), space.start
            self.example = np.zeros(len(sizes), np.int64)
        elif isinstance(space, spaces.MultiBinary):
            self.distribution = Bernoulli(math.prod(self.shape))
            self.example = np.zeros(math.prod(self.shape), np.int8)
        elif isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
            self._gaussian(space)
        else:
            raise cannot_act(
                agent, space, "Discrete, MultiDiscrete, MultiBinary or a Box of floats"
            )

    def _gaussian(self, space: Any) -> None:
        self.distribution = DiagonalGaussian(math.prod(self.shape))
        self.example = np.zeros(math.prod(self.shape), np.float32)
        low, high = space.low, space.high
        self.clip = low, high
        if np.isfinite(low).all() and np.isfinite(high).all():
            self.stretch = high / 2 - low / 2, high / 2 + low / 2

    def single(self, drawn: Array) -> Any:
        """The action of a single environment, without an axis: a scalar, or an array."""
        actions = self(drawn)
        return actions[0] if self.clip is None else actions[0, ...]  # a Box wants an array

    def __call__(self, drawn: Array) -> Array:
        """Actions ``[N, *shape]`` from what the distribution drew."""
        actions = drawn.reshape(-1, *self.shape)
        if self.clip is None:
            shifted: Array = (actions + self.start).astype(self.dtype, copy=False)
            return shifted
        if self.stretch is not None:
            half, middle = self.stretch
            actions = np.clip(actions, -1.0, 1.0) * half + middle
        clipped: Array = np.clip(actions, *self.clip).astype(self.dtype, copy=False)
        return clipped


class DiscreteActions(ActionCodec):
    """Discrete actions as numbers from 0, ``[N]``, and back.

    Args:
        space: action space of one environment.
        agent: name of the agent, for messages.

    Raises:
        SpaceError: a space of another kind.
    """

    def __init__(self, space: Any, agent: str) -> None:
        if not isinstance(space, spaces.Discrete):
            raise cannot_act(agent, space, "Discrete actions")
        super().__init__(space, agent)
        self.n = int(space.n)

    def stored(self, actions: Any) -> Array:
        """Numbers ``[N]`` from one action or N of them."""
        numbers: Array = np.asarray(actions) - self.start
        return numbers


# -- what to change where an agent cannot use a space; each piece of advice works --------------

_OWN = "name a wrapper of your own in the run file (env.wrappers: [{class: my_wrappers.py:Mine}])"


def observation_advice(space: Any, is_usable: Callable[[Any], bool]) -> str:
    """How the observations of an environment become some that a network can learn from.

    Args:
        space: of the whole observations.
        is_usable: whether a network can learn from a space.
    """
    own = f"{_OWN}, a gymnasium.ObservationWrapper that makes a Box of them"
    if isinstance(space, spaces.Dict):
        usable = [str(key) for key, part in space.spaces.items() if is_usable(part)]
        if usable:
            keys = ", ".join(map(repr, usable))
            return (
                "leave that part out with a wrapper in the run file (env.wrappers: [{class:"
                " gymnasium.wrappers:FilterObservation, parameters: {filter_keys: "
                f"[{keys}]}}}}]); or {own}"
            )
    try:
        flat = flatten_space(space)
    except (NotImplementedError, ValueError):  # a kind that Gymnasium can't flatten
        return own
    if isinstance(flat, spaces.Box) and math.prod(flat.shape):
        return (
            "flatten them with a wrapper in the run file (env.wrappers:"
            f" [{{class: gymnasium.wrappers:FlattenObservation}}]); or {own}"
        )
    return own


def action_advice(space: Any, *, refused_by: str) -> str:
    """Which of our agents take an action space; else how it becomes one that they take."""
    agents = [name for name in _agents_for(space) if name != refused_by]
    if agents:
        names = " or ".join(f"gym_loop.agents.{name.lower()}:{name}" for name in agents)
        return f"use another agent, {names}"
    return f"{_OWN}, a gymnasium.wrappers.TransformAction with such an action_space"


def _agents_for(space: Any) -> list[str]:
    if isinstance(space, spaces.Discrete):
        return ["PPO", "DQN"]
    if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)):
        return ["PPO"]
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        return []
    return ["PPO", "SAC", "TD3"] if space.is_bounded() else ["PPO"]


def cannot_act(agent: str, space: Any, needs: str) -> SpaceError:
    """The error of an agent for an action space that it does not take."""
    advice = action_advice(space, refused_by=agent)
    return SpaceError(f"{agent} cannot act in {space}: it needs {needs}; {advice}")
