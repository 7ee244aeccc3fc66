"""Gymnasium spaces as networks and distributions see them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from gym_loop.errors import SpaceError
from gym_loop.networks.distributions import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    Distribution,
    MultiCategorical,
)

Array = np.ndarray[Any, Any]
FLATTEN = (
    "flatten them with a wrapper in the run file (env.wrappers: "
    "[{class: gymnasium.wrappers:FlattenObservation}])"
)


class ObservationEncoder:
    """Turns observations into numbers ``[N, *shape]`` for a network.

    A Box keeps its shape (``uint8`` its dtype too: a network scales it), whatever counts is
    coded one-hot, bits are numbers.

    Args:
        space: observation space of one environment.
        agent: name of the agent, for messages.

    Raises:
        SpaceError: a space of another kind.
    """

    def __init__(self, space: Any, agent: str) -> None:
        self.rank = len(space.shape or ())
        self.dtype: Any = np.dtype(np.float32)
        self.starts: Array | None = None  # first code of each number, where coded one-hot
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
        else:
            raise SpaceError(f"{agent} cannot learn from observations in {space}: {FLATTEN}")
        if not math.prod(self.shape):
            raise SpaceError(f"{agent} cannot learn from observations in {space}: they are empty")

    @property
    def example(self) -> Array:
        """An encoded observation."""
        return np.zeros(self.shape, self.dtype)

    def is_single(self, observation: Any) -> bool:
        """Whether this is one observation, without an axis of environments."""
        return np.ndim(observation) == self.rank

    def __call__(self, observations: Any) -> Array:
        """Encode one observation or N of them: ``[N, *shape]``."""
        if self.starts is None:
            return np.asarray(observations, self.dtype).reshape(-1, *self.shape)
        codes = np.asarray(observations).reshape(-1, self.starts.size) + self.starts
        result = np.zeros((len(codes), *self.shape), np.float32)
        np.put_along_axis(result, codes, 1.0, axis=1)
        return result


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
            raise SpaceError(
                f"{agent} cannot act in {space}: it needs Discrete, MultiDiscrete, MultiBinary or"
                " a Box of floats; wrap the environment with gymnasium.wrappers:TransformAction"
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
