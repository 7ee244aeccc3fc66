"""Two critics of continuous actions, in one network, with targets that follow them slowly."""

from __future__ import annotations

from gym_loop.nn.losses import smaller_of, td_loss
from gym_loop.nn.namespace import Array, namespace_of
from gym_loop.nn.optimizers import Adam, follow
from gym_loop.nn.protocol import Network


class TwinCritics:
    """Values of actions; the smaller one of two is trusted, for each tends to be too high.

    Args:
        network: takes ``[B, observation + A]``, gives the two values ``[B, 1]``.
        size: number of dimensions of an action A.

    Source: Fujimoto, van Hoof and Meger (2018), Addressing function approximation error in
    actor-critic methods.
    """

    def __init__(self, network: Network, size: int) -> None:
        self.size = size
        self.network, self.target = network, network.clone()
        self.optimizer = Adam(network.parameters)

    def target_values(self, observations: Array, actions: Array) -> Array:
        """The smaller value by the target network, ``[B]``."""
        first, second = self.target.predict_all(join(observations, actions))
        return namespace_of(first).minimum(first[:, 0], second[:, 0])

    def learn(
        self, observations: Array, actions: Array, targets: Array, learning_rate: float
    ) -> tuple[Array, Array]:
        """One gradient update towards ``targets``; losses and the first values, ``[B]`` all."""
        network = self.network
        first, second = network.forward(join(observations, actions))
        one = td_loss(first[:, 0], targets, huber=None)
        two = td_loss(second[:, 0], targets, huber=None)
        network.backward((one.gradient[:, None], two.gradient[:, None]))
        self.optimizer.step(network.parameters, network.gradients, learning_rate)
        return one.losses + two.losses, first[:, 0]

    def judge(self, observations: Array, actions: Array) -> tuple[Array, Array]:
        """The smaller value ``[B]``, and the gradient by the actions of its negative mean."""
        first, second = self.network.forward(join(observations, actions))
        values, chosen = smaller_of(first[:, 0], second[:, 0])
        scale = -1.0 / len(values)
        to_first = chosen * scale
        gradients = to_first[:, None], (scale - to_first)[:, None]
        return values, self.network.input_gradient(gradients)[:, -self.size :]

    def judge_by_first(self, observations: Array, actions: Array) -> tuple[Array, Array]:
        """The same by the first critic alone."""
        (values,) = self.network.forward(join(observations, actions), 0)
        gradient = namespace_of(values).full_like(values, -1.0 / len(values))
        return values[:, 0], self.network.input_gradient((gradient,))[:, -self.size :]

    def follow(self, mix: float) -> None:
        """Move the targets."""
        network, scratch = self.network, self.optimizer.scratch
        follow(self.target.parameters, network.parameters, mix, scratch)
        self.target.copy_buffers(network)


def join(observations: Array, actions: Array) -> Array:
    """Inputs of a critic: observations ``[B, ...]``, pictures from 0 to 1, and actions behind."""
    xp = namespace_of(observations)
    flat = observations.reshape(len(observations), -1)
    if flat.dtype != actions.dtype:  # uint8
        flat = xp.asarray(flat, dtype=actions.dtype) * (1.0 / 255.0)
    return xp.concatenate([flat, actions], axis=1)
