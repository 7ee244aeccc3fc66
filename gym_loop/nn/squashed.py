"""Gaussian policies squashed into (-1, 1) by tanh, with their gradients by hand.

As in `gym_loop.nn.distributions` a class describes the actions and holds no values. A draw
is a function of the network's outputs and of noise that does not depend on them, so that a
gradient by the actions goes on to the outputs.

Source: Haarnoja et al. (2018), Soft actor-critic algorithms and applications, appendix C;
Raffin, Kober and Stulp (2021), Smooth exploration for robotic reinforcement learning (gSDE).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from gym_loop.nn.namespace import Array, namespace_of

LOG_STD = (-20.0, 2.0)  # outside, a standard deviation stays what it is at the limit
LEAST_VARIANCE = 1e-6  # of noise whose features are all zero
HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class Draw(NamedTuple):
    """Actions ``[B, A]`` in (-1, 1), what they were before tanh, and parts for what follows."""

    actions: Array
    before: Array
    parts: tuple[Any, ...]


class SquashedPolicy(Protocol):
    """Draws actions in (-1, 1).

    Attributes:
        outputs: number of network outputs that it needs.
        extra: number of parameters besides.
    """

    outputs: int
    extra: int

    def noise(self, rows: int, rng: np.random.Generator) -> Array:
        """Noise to learn with, for a batch of so many rows."""
        ...

    def sample(self, outputs: Array, extra: Array, noise: Array) -> Draw:
        """Actions for outputs ``[B, out]``."""
        ...

    def mode(self, outputs: Array) -> Array:
        """The actions without noise, ``[B, A]``."""
        ...

    def log_probs(self, draw: Draw) -> Array:
        """Logarithms of the densities of the drawn actions, ``[B]``."""
        ...

    def gradient(
        self, draw: Draw, by_actions: Array, by_log_probs: Any
    ) -> tuple[Array, Array | None]:
        """Gradients of a loss by outputs ``[B, out]`` and by ``extra``.

        Args:
            draw: what `sample` returned.
            by_actions: gradient of the loss by each action, ``[B, A]``.
            by_log_probs: the same by each log-probability, one number for all.
        """
        ...


class TanhGaussian:
    """Independent noise each time; outputs are means and log standard deviations.

    Args:
        n: number of dimensions A.
    """

    extra = 0

    def __init__(self, n: int) -> None:
        self.n, self.outputs = n, 2 * n

    def noise(self, rows: int, rng: np.random.Generator) -> Array:
        """Standard normal, ``[rows, A]``."""
        return rng.standard_normal((rows, self.n), np.float32)

    def sample(self, outputs: Array, extra: Array, noise: Array) -> Draw:
        """See `SquashedPolicy`."""
        xp = namespace_of(outputs)
        wanted = outputs[:, self.n :]
        log_std = xp.clip(wanted, *LOG_STD)
        spread = xp.exp(log_std) * noise
        before = outputs[:, : self.n] + spread
        return Draw(xp.tanh(before), before, (wanted, log_std, spread, noise))

    def mode(self, outputs: Array) -> Array:
        """See `SquashedPolicy`."""
        return namespace_of(outputs).tanh(outputs[:, : self.n])

    def log_probs(self, draw: Draw) -> Array:
        """See `SquashedPolicy`."""
        _, log_std, _, noise = draw.parts
        each = -0.5 * noise * noise - log_std - HALF_LOG_TWO_PI - log_slope(draw.before)
        return each.sum(-1)

    def gradient(self, draw: Draw, by_actions: Array, by_log_probs: Any) -> tuple[Array, None]:
        """See `SquashedPolicy`."""
        wanted, log_std, spread, _ = draw.parts
        by_means = by_before(draw.actions, by_actions, by_log_probs)
        by_log_std = (by_means * spread - by_log_probs) * (wanted == log_std)
        return namespace_of(by_means).concatenate([by_means, by_log_std], axis=1), None


class TanhStateGaussian:
    """Noise that is the same function of the observation for a while (gSDE).

    Outputs are means and ``features`` numbers, ``extra`` are the log standard deviations of the
    noise that each feature (their tanh) adds to each action, ``[features * A]``.

    Args:
        n: number of dimensions A.
        features: number of features K.
    """

    def __init__(self, n: int, features: int) -> None:
        self.n, self.features = n, features
        self.outputs, self.extra = n + features, n * features

    def noise(self, rows: int, rng: np.random.Generator) -> Array:
        """Standard normal, ``[K, A]``: one function for the whole batch."""
        return rng.standard_normal((self.features, self.n), np.float32)

    def sample(self, outputs: Array, extra: Array, noise: Array) -> Draw:
        """See `SquashedPolicy`; noise is ``[K, A]``, or ``[B, K, A]`` where each row has its own.

        With the latter there are neither log-probabilities nor gradients.
        """
        xp = namespace_of(outputs)
        features = xp.tanh(outputs[:, self.n :])
        std = xp.exp(extra.reshape(self.features, self.n))
        if len(noise.shape) > 2:
            drawn = (features[:, None] @ (std * noise))[:, 0]
            before = outputs[:, : self.n] + drawn
            return Draw(xp.tanh(before), before, ())
        drawn = features @ (std * noise)
        variance = (features * features) @ (std * std) + LEAST_VARIANCE
        before = outputs[:, : self.n] + drawn
        return Draw(xp.tanh(before), before, (features, std, noise, drawn, variance))

    def mode(self, outputs: Array) -> Array:
        """See `SquashedPolicy`."""
        return namespace_of(outputs).tanh(outputs[:, : self.n])

    def log_probs(self, draw: Draw) -> Array:
        """See `SquashedPolicy`."""
        *_, drawn, variance = draw.parts
        logs = namespace_of(variance).log(variance)
        each = -0.5 * (drawn * drawn / variance + logs) - HALF_LOG_TWO_PI - log_slope(draw.before)
        return each.sum(-1)

    def gradient(self, draw: Draw, by_actions: Array, by_log_probs: Any) -> tuple[Array, Array]:
        """See `SquashedPolicy`."""
        features, std, noise, drawn, variance = draw.parts
        by_means = by_before(draw.actions, by_actions, by_log_probs)
        relative = drawn / variance
        by_drawn = by_means - by_log_probs * relative
        by_variance = (0.5 * by_log_probs) * (relative * relative - 1.0 / variance)
        by_features = by_drawn @ (std * noise).T + 2.0 * features * (by_variance @ (std * std).T)
        by_inputs = by_features * (1.0 - features * features)
        by_std = (features.T @ by_drawn) * noise + 2.0 * std * ((features**2).T @ by_variance)
        by_outputs = namespace_of(by_means).concatenate([by_means, by_inputs], axis=1)
        return by_outputs, (by_std * std).reshape(-1)


def log_slope(before: Array) -> Array:
    """``log(1 - tanh(u) ** 2)``, exact for every u: the correction of a squashed density."""
    xp = namespace_of(before)
    size = xp.abs(before)
    return 2.0 * (math.log(2.0) - size - xp.log1p(xp.exp(-2.0 * size)))


def by_before(actions: Array, by_actions: Array, by_log_probs: Any) -> Array:
    """The gradient by what actions were before tanh, the correction's part included."""
    return by_actions * (1.0 - actions * actions) + (2.0 * by_log_probs) * actions
