"""What the outputs of a Q-network mean: values, or distributions of returns.

Outputs are ``[B, A, K]``, ``K`` numbers for each of ``A`` actions; NumPy or torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gym_loop.nn.distributions import log_softmax
from gym_loop.nn.losses import (
    Loss,
    categorical_td_loss,
    project_atoms,
    quantile_huber_loss,
    td_loss,
)
from gym_loop.nn.namespace import Array, namespace_of


class Returns(Protocol):
    """How the return that follows an action is described.

    Attributes:
        size: K.
    """

    size: int

    def means(self, outputs: Array) -> Array:
        """Expected returns ``[..., A]`` of outputs ``[..., A, K]``."""
        ...

    def targets(self, following: Array, rewards: Array, discounts: Array) -> Array:
        """What to learn: ``rewards + discounts * following``.

        Args:
            following: outputs for the action that follows, ``[B, K]``.
            rewards: ``[B]``.
            discounts: ``[B]``.
        """
        ...

    def loss(self, predicted: Array, targets: Array, weights: Array | None) -> Loss:
        """The loss of outputs ``[B, K]``, with its gradient ``[B, K]``."""
        ...


class ExpectedReturn:
    """The mean alone: deep Q-learning, with the Huber loss."""

    size = 1

    def means(self, outputs: Array) -> Array:
        """See `Returns`."""
        return outputs[..., 0]

    def targets(self, following: Array, rewards: Array, discounts: Array) -> Array:
        """See `Returns`; ``[B]``."""
        return rewards + discounts * following[:, 0]

    def loss(self, predicted: Array, targets: Array, weights: Array | None) -> Loss:
        """See `Returns`."""
        loss = td_loss(predicted[:, 0], targets, weights)
        return loss._replace(gradient=loss.gradient[:, None])


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
        """See `Returns`."""
        xp = namespace_of(outputs)
        return xp.sum(xp.exp(log_softmax(outputs)) * self.atoms, axis=-1)

    def targets(self, following: Array, rewards: Array, discounts: Array) -> Array:
        """See `Returns`; probabilities ``[B, K]``."""
        probs = namespace_of(following).exp(log_softmax(following))
        return project_atoms(probs, rewards, discounts, self.atoms)

    def loss(self, predicted: Array, targets: Array, weights: Array | None) -> Loss:
        """See `Returns`."""
        return categorical_td_loss(predicted, targets, weights)


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
        """See `Returns`."""
        return outputs.mean(-1)

    def targets(self, following: Array, rewards: Array, discounts: Array) -> Array:
        """See `Returns`; ``[B, K]``."""
        return rewards[:, None] + discounts[:, None] * following

    def loss(self, predicted: Array, targets: Array, weights: Array | None) -> Loss:
        """See `Returns`."""
        return quantile_huber_loss(predicted, targets, weights)


def join_streams(outputs: Sequence[Array], actions: int, size: int) -> Array:
    """Outputs of a network, ``(A * K,)`` or dueling ``(K, A * K)``, as ``[B, A, K]``.

    Source: Wang et al. (2016), Dueling network architectures for deep reinforcement learning.
    """
    last = outputs[-1]
    joined = last.reshape(len(last), actions, size)
    if len(outputs) == 1:
        return joined
    return joined - joined.mean(1)[:, None] + outputs[0][:, None]


def split_gradient(gradient: Array, streams: int) -> tuple[Array, ...]:
    """The gradient by each of the network's outputs, from that by what `join_streams` gave."""
    batch = len(gradient)
    if streams == 1:
        return (gradient.reshape(batch, -1),)
    centred = gradient - gradient.mean(1)[:, None]
    return gradient.sum(1), centred.reshape(batch, -1)
