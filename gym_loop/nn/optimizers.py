"""Adam for a flat parameter vector, in place, NumPy or torch; clipping; target networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gym_loop.nn.arrays import Array, namespace_of

# Gradients of dead units are zero, so their moments decay for ever: into denormal floats, on which
# processors are many times slower. Adding a constant and taking it away again rounds what is far
# below it to zero (and changes nothing above it); doing so now and then keeps moments out of that
# range for good.
FLUSH_EVERY = 32  # updates; a moment shrinks by less than 1e10 meanwhile
FIRST_FLOOR = 2.0**-40  # float32 below 2**-64 becomes zero; Adam's epsilon is 2**-27
SECOND_FLOOR = 2.0**-80  # the same of squares


class Adam:
    """Adam.

    Moments are kept as sums, ``1 / (1 - beta)`` times the means that the paper has: that takes
    three passes over memory less.

    Source: Kingma and Ba (2015), Adam: a method for stochastic optimization.

    Args:
        like: the parameter vector, for its size, dtype and device.
        betas: decay of the first and the second moment, each update.
        epsilon: added to the root of the second moment.
    """

    def __init__(
        self, like: Array, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8
    ) -> None:
        self.xp = namespace_of(like)
        self.first, self.second = self.xp.zeros_like(like), self.xp.zeros_like(like)
        self.scratch = self.xp.zeros_like(like)
        self.betas, self.epsilon = betas, epsilon
        self.updates = 0

    def step(self, parameters: Array, gradients: Array, learning_rate: float) -> None:
        """Take one step, in place."""
        xp, first, second, work = self.xp, self.first, self.second, self.scratch
        beta1, beta2 = self.betas
        self.updates += 1
        first *= beta1
        first += gradients
        second *= beta2
        xp.multiply(gradients, gradients, out=work)
        second += work
        # What the root of the sum is to be divided by, bias correction included.
        scale = math.sqrt((1.0 - beta2**self.updates) / (1.0 - beta2))
        xp.sqrt(second, out=work)
        xp.add(work, self.epsilon * scale, out=work)
        xp.divide(first, work, out=work)
        mean = (1.0 - beta1) / (1.0 - beta1**self.updates)
        xp.multiply(work, learning_rate * scale * mean, out=work)
        parameters -= work
        if self.updates % FLUSH_EVERY == 0:
            for moment, floor in ((first, FIRST_FLOOR), (second, SECOND_FLOOR)):
                moment += floor
                moment -= floor

    def state_dict(self) -> dict[str, Any]:
        """The number of updates and the moments, not the scratch."""
        return {"updates": self.updates, "first": self.first, "second": self.second}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put them back, in place."""
        self.updates = state["updates"]
        self.first[:], self.second[:] = state["first"], state["second"]


def clip_by_global_norm(gradients: Array, max_norm: float) -> float:
    """Scale a gradient vector down to a length, in place.

    Returns:
        Its length before; a 0-d tensor for torch, so that nothing waits for the device.
    """
    xp = namespace_of(gradients)
    if xp is np:
        norm = math.sqrt(float(gradients @ gradients))
        if norm > max_norm:
            gradients *= max_norm / norm
        return norm
    length = xp.sqrt(gradients @ gradients)
    gradients *= xp.clip(max_norm / (length + 1e-12), None, 1.0)
    return length  # type: ignore[no-any-return]


def polyak_update(target: Array, parameters: Array, tau: float, scratch: Array) -> None:
    """Move a target network's parameters a part of the way to those that learn, in place.

    Args:
        target: what moves.
        parameters: where to.
        tau: how far, from 0 to 1.
        scratch: a vector of the same size, which is overwritten.
    """
    namespace_of(parameters).multiply(parameters, tau, out=scratch)
    target *= 1.0 - tau
    target += scratch
