"""Distributions over actions, as functions of a network's outputs.

Each class describes an action space and holds no values: everything is computed from outputs
``[B, out]``, actions and ``extra`` (parameters that do not depend on the observation), with
NumPy or torch. `evaluate` gives log-probabilities and `entropies` the entropies, `gradient`
carries the gradient of a loss by these back to the outputs.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gym_loop.nn.arrays import Array, namespace_of, one_hot


class Evaluation(NamedTuple):
    """What `evaluate` gives: log-probabilities ``[B]``, and parts for `gradient`."""

    log_probs: Array
    parts: tuple[Any, ...]


class Categorical:
    """One of ``n`` choices; actions ``[B]`` are integers from 0.

    Args:
        n: number of choices.

    Attributes:
        outputs: number of network outputs that it needs.
        extra: number of parameters besides.
    """

    extra = 0

    def __init__(self, n: int) -> None:
        self.outputs = n

    def sample(self, outputs: Array, extra: Array, rng: np.random.Generator) -> Array:
        """Draw actions, in NumPy, for NumPy's outputs ``[B, out]``."""
        # The Gumbel-max trick: neither exponentials nor sums of the logits.
        return (outputs + rng.gumbel(size=outputs.shape)).argmax(axis=-1)

    def mode(self, outputs: Array) -> Array:
        """The likeliest actions."""
        return outputs.argmax(axis=-1)

    def evaluate(self, outputs: Array, extra: Array, actions: Array) -> Evaluation:
        """Log-probabilities of actions."""
        xp = namespace_of(outputs)
        logs = log_softmax(outputs)
        probs = xp.exp(logs)
        chosen = one_hot(actions, self.outputs)
        return Evaluation(xp.sum(logs * chosen, axis=-1), (logs, probs, chosen))

    def entropies(self, evaluation: Evaluation) -> Array:
        """Entropies ``[B]`` of the distributions that were evaluated."""
        logs, probs, _ = evaluation.parts
        return -(probs * logs).sum(-1)

    def gradient(
        self, evaluation: Evaluation, by_log_probs: Array, by_entropies: float
    ) -> tuple[Array, Array | None]:
        """Gradients of a loss by outputs ``[B, out]`` and by ``extra``.

        Args:
            evaluation: what `evaluate` returned.
            by_log_probs: gradient of the loss by each log-probability, ``[B]``.
            by_entropies: the same by each entropy, one number for all.
        """
        logs, probs, chosen = evaluation.parts
        weights = by_log_probs[:, None]
        result = weights * chosen - weights * probs
        if by_entropies:
            entropies = self.entropies(evaluation)[:, None]
            result = result - by_entropies * (probs * (logs + entropies))
        return result, None


class MultiCategorical:
    """Independent choices; actions ``[B, K]`` are integers from 0.

    Args:
        sizes: number of choices of each of the K parts.
    """

    extra = 0

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.outputs = sum(sizes)
        self.heads = [Categorical(size) for size in sizes]
        ends = np.cumsum(sizes).tolist()
        self.slices = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]

    def sample(self, outputs: Array, extra: Array, rng: np.random.Generator) -> Array:
        """See `Categorical`."""
        parts = zip(self.heads, self.slices, strict=True)
        return np.stack([one.sample(outputs[:, at], extra, rng) for one, at in parts], axis=-1)

    def mode(self, outputs: Array) -> Array:
        """The largest logit of each part."""
        parts = zip(self.heads, self.slices, strict=True)
        return np.stack([one.mode(outputs[:, at]) for one, at in parts], axis=-1)

    def evaluate(self, outputs: Array, extra: Array, actions: Array) -> Evaluation:
        """See `Categorical`."""
        parts = tuple(
            one.evaluate(outputs[:, at], extra, actions[:, index])
            for index, (one, at) in enumerate(zip(self.heads, self.slices, strict=True))
        )
        return Evaluation(sum(part.log_probs for part in parts), parts)

    def entropies(self, evaluation: Evaluation) -> Array:
        """See `Categorical`."""
        parts = zip(self.heads, evaluation.parts, strict=True)
        return sum(one.entropies(part) for one, part in parts)

    def gradient(
        self, evaluation: Evaluation, by_log_probs: Array, by_entropies: float
    ) -> tuple[Array, None]:
        """See `Categorical`."""
        parts = [
            one.gradient(part, by_log_probs, by_entropies)[0]
            for one, part in zip(self.heads, evaluation.parts, strict=True)
        ]
        return namespace_of(by_log_probs).concatenate(parts, axis=1), None


class Bernoulli:
    """Independent bits; actions ``[B, n]`` are 0 or 1.

    Args:
        n: number of bits.
    """

    extra = 0

    def __init__(self, n: int) -> None:
        self.outputs = n

    def sample(self, outputs: Array, extra: Array, rng: np.random.Generator) -> Array:
        """Draw each bit."""
        return (rng.logistic(size=outputs.shape) < outputs).astype(np.int8)

    def mode(self, outputs: Array) -> Array:
        """1 where it is the likelier one."""
        return (outputs > 0).astype(np.int8)

    def evaluate(self, outputs: Array, extra: Array, actions: Array) -> Evaluation:
        """See `Categorical`."""
        xp = namespace_of(outputs)
        softplus = xp.clip(outputs, 0, None) + xp.log1p(xp.exp(-xp.abs(outputs)))
        probs = xp.exp(outputs - softplus)
        log_probs = xp.sum(outputs * actions - softplus, axis=-1)
        return Evaluation(log_probs, (outputs, probs, actions, softplus))

    def entropies(self, evaluation: Evaluation) -> Array:
        """See `Categorical`."""
        outputs, probs, _, softplus = evaluation.parts
        return (softplus - outputs * probs).sum(-1)

    def gradient(
        self, evaluation: Evaluation, by_log_probs: Array, by_entropies: float
    ) -> tuple[Array, None]:
        """See `Categorical`."""
        outputs, probs, actions, _ = evaluation.parts
        result = by_log_probs[:, None] * (actions - probs)
        if by_entropies:
            result = result - by_entropies * (outputs * probs * (1.0 - probs))
        return result, None


class DiagonalGaussian:
    """Independent normal numbers; outputs are the means, ``extra`` the log standard deviations.

    Args:
        n: number of dimensions.
    """

    def __init__(self, n: int) -> None:
        self.outputs = self.extra = n

    def sample(self, outputs: Array, extra: Array, rng: np.random.Generator) -> Array:
        """Draw each number."""
        noise = rng.standard_normal(outputs.shape, outputs.dtype)
        return outputs + np.exp(extra) * noise

    def mode(self, outputs: Array) -> Array:
        """The means."""
        return outputs.copy()  # outputs may live in a network's buffer

    def evaluate(self, outputs: Array, extra: Array, actions: Array) -> Evaluation:
        """See `Categorical`."""
        xp = namespace_of(outputs)
        inverse = xp.exp(-extra)
        deviations = (actions - outputs) * inverse
        total = xp.sum(extra)
        constant = 0.5 * math.log(2.0 * math.pi) * self.outputs
        log_probs = -0.5 * xp.sum(deviations * deviations, axis=-1) - total - constant
        return Evaluation(log_probs, (deviations, inverse, total + constant + 0.5 * self.outputs))

    def entropies(self, evaluation: Evaluation) -> Array:
        """See `Categorical`; all are the same."""
        entropy = evaluation.parts[2]
        return namespace_of(entropy).zeros_like(evaluation.log_probs) + entropy

    def gradient(
        self, evaluation: Evaluation, by_log_probs: Array, by_entropies: float
    ) -> tuple[Array, Array]:
        """See `Categorical`."""
        deviations, inverse, _ = evaluation.parts
        xp = namespace_of(deviations)
        weighted = by_log_probs[:, None] * deviations
        by_extra = xp.sum(weighted * deviations, axis=0) - xp.sum(by_log_probs)
        return weighted * inverse, by_extra + by_entropies * len(deviations)


Distribution = Categorical | MultiCategorical | Bernoulli | DiagonalGaussian


def log_softmax(logits: Array) -> Array:
    """Logarithms of the probabilities along the last axis."""
    xp = namespace_of(logits)
    shifted = logits - xp.amax(logits, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
