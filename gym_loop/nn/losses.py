"""Losses as pure functions: from outputs and batch to the value and its gradient.

All are means over the batch ``B``; gradients have the shape of the outputs. They take NumPy
arrays or torch tensors and return the same; values are computed when they are asked for, as 0-d
arrays, so that on a GPU nothing waits until somebody reads them. Targets are constants: no
gradient is meant for them.
"""

from __future__ import annotations

from typing import NamedTuple

from gym_loop.nn.distributions import log_softmax
from gym_loop.nn.namespace import Array, arange, namespace_of, one_hot, sum_by_index


class Loss(NamedTuple):
    """The losses of the samples ``[B]``, the gradient of their mean by the outputs, and errors.

    The last are one size a sample, ``[B]``, from which prioritised replay takes its priorities.
    """

    losses: Array
    gradient: Array
    errors: Array

    @property
    def value(self) -> Array:
        """The mean."""
        return self.losses.mean()


class PolicyLoss(NamedTuple):
    """The clipped objective: its parts, gradient by the log-probabilities, ratios, ``[B]`` each."""

    plain: Array
    clipped: Array
    gradient: Array
    ratios: Array

    @property
    def value(self) -> Array:
        """The mean of the smaller part, negative: what is to become small."""
        return -namespace_of(self.plain).minimum(self.plain, self.clipped).mean()


def clipped_policy_loss(
    log_probs: Array, old_log_probs: Array, advantages: Array, clip_range: float
) -> PolicyLoss:
    """The negative clipped surrogate objective of PPO.

    Args:
        log_probs: of the actions taken, under the policy that learns, ``[B]``.
        old_log_probs: under the policy that acted, ``[B]``.
        advantages: ``[B]``.
        clip_range: how far from 1 the ratio of probabilities earns anything.

    Source: Schulman et al. (2017), Proximal policy optimization algorithms, equation 7.
    """
    xp = namespace_of(log_probs)
    ratios = xp.exp(log_probs - old_log_probs)
    plain = ratios * advantages
    clipped = xp.clip(ratios, 1.0 - clip_range, 1.0 + clip_range) * advantages
    scale = -1.0 / len(log_probs)
    # The ratio's derivative by its logarithm is the ratio; where clipping won, it is a constant.
    return PolicyLoss(plain, clipped, plain * (plain <= clipped) * scale, ratios)


def approximate_kl(ratios: Array) -> Array:
    """Mean divergence of the acting from the learning policy; never negative.

    Source: Schulman (2020), Approximating KL divergence (the estimator k3).
    """
    xp = namespace_of(ratios)
    return xp.sum((ratios - 1.0) - xp.log(ratios)) / len(ratios)


def clip_fraction(ratios: Array, clip_range: float) -> Array:
    """The part of the samples whose ratio is outside the clip range."""
    xp = namespace_of(ratios)
    return xp.sum(xp.abs(ratios - 1.0) > clip_range) / len(ratios)


def value_loss(
    values: Array, returns: Array, old_values: Array | None = None, clip_range: float | None = None
) -> Loss:
    """Mean squared error of a value function.

    Args:
        values: predictions, ``[B]``.
        returns: targets, ``[B]``.
        old_values: predictions before the update, ``[B]``; with ``clip_range``.
        clip_range: a prediction gains nothing by moving farther than this from the old one;
            None for no limit.
    """
    xp = namespace_of(values)
    count = len(values)
    errors = values - returns
    squares = errors * errors
    if clip_range is None:
        return Loss(squares, errors * (2.0 / count), errors)
    assert old_values is not None
    moved = values - old_values
    limited = old_values + xp.clip(moved, -clip_range, clip_range) - returns
    limited_squares = limited * limited
    inside = xp.abs(moved) <= clip_range
    active = (squares >= limited_squares) | inside
    return Loss(
        xp.maximum(squares, limited_squares),
        errors * active * (2.0 / count),
        errors,
    )


def td_loss(
    values: Array, targets: Array, weights: Array | None = None, huber: float | None = 1.0
) -> Loss:
    """Weighted temporal-difference loss: Huber, or half the squared error.

    Args:
        values: predictions, ``[B]``.
        targets: ``[B]``.
        weights: of the samples, ``[B]``; None for 1.
        huber: error from which the loss grows linearly; None for never.
    """
    xp = namespace_of(values)
    errors = values - targets
    slopes = errors if huber is None else xp.clip(errors, -huber, huber)
    losses = slopes * (errors - 0.5 * slopes)
    if weights is not None:
        losses, slopes = losses * weights, slopes * weights
    return Loss(losses, slopes / len(values), xp.abs(errors))


def smaller_of(first: Array, second: Array) -> tuple[Array, Array]:
    """The smaller of two values, ``[B]``, and 1 where it is the first, else 0."""
    xp = namespace_of(first)
    return xp.minimum(first, second), xp.asarray(first <= second, dtype=first.dtype)


def select(outputs: Array, actions: Array) -> Array:
    """The outputs ``[B, ...]`` of the actions taken, from ``[B, A, ...]``."""
    return outputs[arange(len(actions), actions), actions]


def scatter(gradient: Array, actions: Array, choices: int) -> Array:
    """Gradient by all outputs ``[B, A, ...]`` from that by the selected ones ``[B, ...]``."""
    chosen = one_hot(actions, choices)
    behind = (..., *[None] * (len(gradient.shape) - 1))
    return chosen[behind] * gradient[:, None]


def categorical_td_loss(logits: Array, target_probs: Array, weights: Array | None = None) -> Loss:
    """Cross-entropy between a target distribution over returns and the predicted one (C51).

    Args:
        logits: of the atoms, for the actions taken, ``[B, K]``.
        target_probs: from `project_atoms`, ``[B, K]``.
        weights: of the samples, ``[B]``; None for 1.

    Source: Bellemare, Dabney and Munos (2017), A distributional perspective on reinforcement
    learning.
    """
    xp = namespace_of(logits)
    logs = log_softmax(logits)
    losses = -xp.sum(target_probs * logs, axis=-1)
    totals = xp.sum(target_probs, axis=-1, keepdims=True)
    gradient = xp.exp(logs) * totals - target_probs
    errors = losses
    if weights is not None:
        losses, gradient = losses * weights, gradient * weights[:, None]
    return Loss(losses, gradient / len(logits), errors)


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


def quantile_huber_loss(
    quantiles: Array, targets: Array, weights: Array | None = None, huber: float = 1.0
) -> Loss:
    """Quantile regression of the distribution of returns (QR-DQN).

    Args:
        quantiles: predicted, at the middles of K equal parts, for the actions taken, ``[B, K]``.
        targets: samples of the return, ``[B, M]``.
        weights: of the samples, ``[B]``; None for 1.
        huber: error from which the loss grows linearly.

    Source: Dabney et al. (2018), Distributional reinforcement learning with quantile
    regression: summed over quantiles, averaged over targets.
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
