"""Optimisers of a flat parameter vector, in place, NumPy or torch.

Gradients of dead units are zero, so moments decay for ever: into denormal floats, on which
processors are many times slower. Adding a constant and taking it away again rounds what is
far below it to zero (and changes nothing above it); doing so now and then keeps moments out
of that range for good.
"""

from __future__ import annotations

import math
from typing import Any

from gym_loop.nn.namespace import Array, namespace_of

FLUSH_EVERY = 32  # updates; a moment shrinks by less than 1e10 meanwhile
FIRST_FLOOR = 2.0**-40  # float32 below 2**-64 becomes zero; Adam's epsilon is 2**-27
SECOND_FLOOR = 2.0**-80  # the same of squares


def clip_by_global_norm(gradients: Array, max_norm: float) -> float:
    """Scale a gradient vector down to a length, in place.

    Returns:
        Its length before; a 0-d tensor for torch, so that nothing waits for the device.
    """
    xp = namespace_of(gradients)
    if xp.__name__ == "numpy":
        norm = math.sqrt(float(gradients @ gradients))
        if norm > max_norm:
            gradients *= max_norm / norm
        return norm
    length = xp.sqrt(gradients @ gradients)
    gradients *= xp.clip(max_norm / (length + 1e-12), None, 1.0)
    return length  # type: ignore[no-any-return]


def follow(target: Array, parameters: Array, mix: float, scratch: Array) -> None:
    """Move a target network's parameters a part of the way to those that learn, in place.

    Args:
        target: what moves.
        parameters: where to.
        mix: how far, from 0 to 1 (tau).
        scratch: a vector of the same size, which is overwritten.
    """
    namespace_of(parameters).multiply(parameters, mix, out=scratch)
    target *= 1.0 - mix
    target += scratch


class _Moments:
    """State that is saved: the number of updates and the moment vectors, not the scratch."""

    moments: dict[str, Array]
    updates: int

    def state_dict(self) -> dict[str, Any]:
        """The number of updates and the moments."""
        return {"updates": self.updates, **self.moments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put them back, in place."""
        self.updates = state["updates"]
        for name, array in self.moments.items():
            array[:] = state[name]


class Adam(_Moments):
    """Adam, and AdamW where ``weight_decay`` is above 0.

    Moments are kept as sums, ``1 / (1 - beta)`` times the means that the paper has: that takes
    three passes over memory less.

    Source: Kingma and Ba (2015); Loshchilov and Hutter (2019) for the decoupled decay.

    Args:
        like: the parameter vector, for its size, dtype and device.
        betas: decay of the first and the second moment, each update.
        epsilon: added to the root of the second moment.
        weight_decay: fraction of the parameters taken away each update, times learning rate.
    """

    def __init__(
        self,
        like: Array,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.xp = namespace_of(like)
        self.first, self.second = self.xp.zeros_like(like), self.xp.zeros_like(like)
        self.moments = {"first": self.first, "second": self.second}
        self.scratch = self.xp.zeros_like(like)
        self.betas, self.epsilon, self.weight_decay = betas, epsilon, weight_decay
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
        if self.weight_decay:
            parameters *= 1.0 - learning_rate * self.weight_decay
        parameters -= work
        if self.updates % FLUSH_EVERY == 0:
            _flush(first, FIRST_FLOOR)
            _flush(second, SECOND_FLOOR)


class RMSProp(_Moments):
    """RMSProp as PyTorch has it: the epsilon outside the root.

    Source: Tieleman and Hinton (2012), lecture 6.5.

    Args:
        like: the parameter vector, for its size, dtype and device.
        decay: of the second moment, each update.
        epsilon: added to the root of the second moment.
    """

    def __init__(self, like: Array, decay: float = 0.99, epsilon: float = 1e-8) -> None:
        self.xp = namespace_of(like)
        self.second, self.scratch = self.xp.zeros_like(like), self.xp.zeros_like(like)
        self.moments = {"second": self.second}
        self.decay, self.epsilon = decay, epsilon
        self.updates = 0

    def step(self, parameters: Array, gradients: Array, learning_rate: float) -> None:
        """Take one step, in place."""
        xp, second, work = self.xp, self.second, self.scratch
        self.updates += 1
        _blend_square(xp, second, gradients, self.decay, work)
        xp.sqrt(second, out=work)
        xp.add(work, self.epsilon, out=work)
        xp.divide(gradients, work, out=work)
        xp.multiply(work, learning_rate, out=work)
        parameters -= work
        if self.updates % FLUSH_EVERY == 0:
            _flush(second, SECOND_FLOOR)


class SGD(_Moments):
    """Gradient descent, with momentum where it is above 0.

    Args:
        like: the parameter vector, for its size, dtype and device.
        momentum: decay of the velocity, each update.
    """

    def __init__(self, like: Array, momentum: float = 0.0) -> None:
        self.xp = namespace_of(like)
        self.velocity, self.scratch = self.xp.zeros_like(like), self.xp.zeros_like(like)
        self.moments = {"velocity": self.velocity}
        self.momentum = momentum
        self.updates = 0

    def step(self, parameters: Array, gradients: Array, learning_rate: float) -> None:
        """Take one step, in place."""
        self.updates += 1
        direction = gradients
        if self.momentum:
            direction = self.velocity
            direction *= self.momentum
            direction += gradients
        self.xp.multiply(direction, learning_rate, out=self.scratch)
        parameters -= self.scratch
        if self.momentum and self.updates % FLUSH_EVERY == 0:
            _flush(self.velocity, FIRST_FLOOR)


def _blend_square(xp: Any, moment: Array, gradients: Array, decay: float, work: Array) -> None:
    """``moment = decay * moment + (1 - decay) * gradients ** 2``."""
    xp.multiply(gradients, gradients, out=work)
    xp.multiply(work, 1.0 - decay, out=work)
    moment *= decay
    moment += work


def _flush(moment: Array, floor: float) -> None:
    """Round what is far below ``floor`` to zero."""
    moment += floor
    moment -= floor
