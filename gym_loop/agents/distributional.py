"""What DQN may learn in place of the mean return of an action: the distribution of the return.

The classes have the methods of `ExpectedReturn` (``agents/dqn.py``), for outputs ``[B, A, K]``.
"""

from __future__ import annotations

from typing import NamedTuple

from gym_loop.nn.arrays import Array, arange, namespace_of, sum_by_index
from gym_loop.nn.distributions import log_softmax


class Loss(NamedTuple):
    """The losses of the samples ``[B]``, the gradient of their mean by the outputs, and errors.

    The last are one size a sample, ``[B]``, from which prioritized replay takes its priorities.
    """

    losses: Array
    gradient: Array
    errors: Array

    @property
    def value(self) -> Array:
        """The mean."""
        return self.losses.mean()


class CategoricalReturn:
    """Probabilities of evenly spaced returns (C51).

    Source: Bellemare, Dabney and Munos (2017), A distributional perspective on reinforcement
    learning.

    Args:
        atoms: the returns, rising, ``[K]``.
    """

    def __init__(self, atoms: Array) -> None:
        self.atoms, self.size = atoms, len(atoms)

    def means(self, outputs: Array) -> Array:
        """See `ExpectedReturn`."""
        xp = namespace_of(outputs)
        return xp.sum(xp.exp(log_softmax(outputs)) * self.atoms, axis=-1)

    def targets(self, next_outputs: Array, rewards: Array, discounts: Array) -> Array:
        """See `ExpectedReturn`; probabilities ``[B, K]``."""
        probs = namespace_of(next_outputs).exp(log_softmax(next_outputs))
        return project_atoms(probs, rewards, discounts, self.atoms)

    def loss(self, predicted: Array, targets: Array, weights: Array | None) -> Loss:
        """Cross-entropy between the target distribution and the predicted one."""
        xp = namespace_of(predicted)
        logs = log_softmax(predicted)
        losses = -xp.sum(targets * logs, axis=-1)
        totals = xp.sum(targets, axis=-1, keepdims=True)
        gradient = xp.exp(logs) * totals - targets
        errors = losses  # priorities by the loss, as Rainbow has them
        if weights is not None:
            losses, gradient = losses * weights, gradient * weights[:, None]
        return Loss(losses, gradient / len(predicted), errors)


def project_atoms(probs: Array, rewards: Array, discounts: Array, atoms: Array) -> Array:
    """Distribution of ``reward + discount * return``, put back onto the atoms (C51).

    Args:
        probs: of the next state's return, ``[B, K]``.
        rewards: ``[B]``.
        discounts: ``[B]``; 0 where the episode terminated.
        atoms: evenly spaced returns, rising, ``[K]``.

    Returns:
        ``[B, K]``; returns outside the atoms count for the nearest one.
    """
    xp = namespace_of(probs)
    count, last = len(probs), len(atoms) - 1
    moved = rewards[:, None] + discounts[:, None] * atoms
    places = xp.clip((moved - atoms[0]) / (atoms[1] - atoms[0]), 0, last)  # [B, K]
    below = xp.clip(xp.floor(places), None, last - 1)
    upper = probs * (places - below)  # the part for the atom above
    cells = xp.asarray(below, dtype=xp.int64) + arange(count, probs)[:, None] * len(atoms)
    flat = cells.reshape(-1)
    size = count * len(atoms)
    lower = sum_by_index(flat, (probs - upper).reshape(-1), size)
    return (lower + sum_by_index(flat + 1, upper.reshape(-1), size)).reshape(count, len(atoms))


class QuantileReturn:
    """Quantiles of the return, at the middles of K equal parts (QR-DQN).

    Source: Dabney et al. (2018), Distributional reinforcement learning with quantile
    regression.

    Args:
        size: K.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def means(self, outputs: Array) -> Array:
        """See `ExpectedReturn`."""
        return outputs.mean(-1)

    def targets(self, next_outputs: Array, rewards: Array, discounts: Array) -> Array:
        """See `ExpectedReturn`; ``[B, K]``."""
        return rewards[:, None] + discounts[:, None] * next_outputs

    def loss(self, predicted: Array, targets: Array, weights: Array | None) -> Loss:
        """See `ExpectedReturn`."""
        return quantile_huber_loss(predicted, targets, weights)


def quantile_huber_loss(
    quantiles: Array, targets: Array, weights: Array | None = None, huber: float = 1.0
) -> Loss:
    """Quantile regression of the distribution of returns.

    The paper sums over quantiles and averages over targets; priorities, which it does not have,
    are the mean absolute error of all pairs.

    Args:
        quantiles: predicted, at the middles of K equal parts, for the actions taken, ``[B, K]``.
        targets: samples of the return, ``[B, M]``.
        weights: of the samples, ``[B]``; None for 1.
        huber: error from which the loss grows linearly.
    """
    xp = namespace_of(quantiles)
    count, parts = quantiles.shape
    middles = xp.asarray((arange(parts, quantiles) + 0.5) / parts, dtype=quantiles.dtype)
    errors = targets[:, None, :] - quantiles[:, :, None]  # [B, K, M]
    slopes = xp.clip(errors, -huber, huber)
    tilt = xp.where(errors < 0, 1.0 - middles[:, None], middles[:, None]) / huber
    losses = xp.sum(tilt * slopes * (errors - 0.5 * slopes), axis=(1, 2)) / targets.shape[1]
    gradient = -xp.sum(tilt * slopes, axis=2) / targets.shape[1]
    sizes = xp.sum(xp.abs(errors), axis=(1, 2)) / (parts * targets.shape[1])
    if weights is not None:
        losses, gradient = losses * weights, gradient * weights[:, None]
    return Loss(losses, gradient / count, sizes)
