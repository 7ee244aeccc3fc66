"""The networks of SAC and TD3: an actor, and two critics of its actions with slow targets."""

from __future__ import annotations

from typing import Any

from gym_loop.agents.off_policy import OffPolicyAgent
from gym_loop.nn.arrays import Array, namespace_of
from gym_loop.nn.networks import Network, make_network
from gym_loop.nn.optimizers import Adam, polyak_update
from gym_loop.schema.parameters import Field, Parameters

MLP = "gym_loop.nn.mlp:MLP"
# The layers that SAC and TD3 are known with; a run file names what differs.
MLP_PARAMETERS = {"hidden": [256, 256], "activation": "relu", "init": "uniform"}


class CriticParameters(Parameters):
    """The parameters of the networks of SAC and TD3."""

    critic_network: str | None = Field(
        None,
        description="Class of the critics' network, where it is another one; it takes observation"
        " and action: a torch.nn.Module a dictionary of both.",
    )
    critic_parameters: dict[str, Any] | None = Field(
        None, description="Its parameters, where they are not those of network."
    )
    network_parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Its parameters; of the MLP, where they differ from: hidden [256, 256],"
        " activation relu, init uniform, layer_norm false.",
    )


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
        first, second = self.target.predict(join(observations, actions))
        return namespace_of(first).minimum(first[:, 0], second[:, 0])

    def learn(
        self, observations: Array, actions: Array, targets: Array, learning_rate: float
    ) -> tuple[Array, Array]:
        """One gradient update towards ``targets``; losses and the first values, ``[B]`` all."""
        network = self.network
        first, second = network.forward(join(observations, actions))
        # Half the squared error of each, as SAC's paper has it; TD3's leaves out the half.
        errors, other_errors = first[:, 0] - targets, second[:, 0] - targets
        count = len(targets)
        network.backward(((errors / count)[:, None], (other_errors / count)[:, None]))
        self.optimizer.step(network.parameters, network.gradients, learning_rate)
        return 0.5 * errors * errors + 0.5 * other_errors * other_errors, first[:, 0]

    def smaller_value(self, observations: Array, actions: Array) -> tuple[Array, Array]:
        """The smaller value ``[B]``, and the gradient by the actions of its negative mean."""
        first, second = (one[:, 0] for one in self.network.forward(join(observations, actions)))
        xp, scale = namespace_of(first), -1.0 / len(first)
        to_first = xp.asarray(first <= second, dtype=first.dtype) * scale
        gradients = to_first[:, None], (scale - to_first)[:, None]
        return xp.minimum(first, second), self.network.input_gradient(gradients)[:, -self.size :]

    def first_value(self, observations: Array, actions: Array) -> tuple[Array, Array]:
        """The same by the first critic alone."""
        (values,) = self.network.forward(join(observations, actions), 0)
        gradient = namespace_of(values).full_like(values, -1.0 / len(values))
        return values[:, 0], self.network.input_gradient((gradient,))[:, -self.size :]

    def move_target(self, tau: float) -> None:
        """Move the target network to the one that learns."""
        network = self.network
        polyak_update(self.target.parameters, network.parameters, tau, self.optimizer.scratch)
        self.target.copy_buffers(network)


def make_actor_and_critics(
    agent: OffPolicyAgent, outputs: int, extra: int = 0
) -> tuple[Network, TwinCritics]:
    """The networks that the parameters of an agent name.

    Args:
        agent: whose actions are bounded.
        outputs: of the actor.
        extra: number of the actor's parameters besides; see `Network`.
    """
    p, shapes, size = agent.parameters, agent.encoder.shapes, agent.actions.size
    known = _known_parameters(p["network"])
    actor = make_network(
        {**p, "network_parameters": known | p["network_parameters"]},
        shapes,
        (outputs,),
        output_gains=(0.01,),  # actions in the middle at first
        extra=extra,
        rng=agent.rng,
    )
    class_string, parameters = p["critic_network"] or p["network"], p["critic_parameters"]
    if parameters is None:
        parameters = {} if p["critic_network"] else p["network_parameters"]
    parameters = _known_parameters(class_string) | parameters
    critics = make_network(
        {**p, "network": class_string, "network_parameters": parameters},
        {"observation": shapes, "action": (size,)},
        (1, 1),
        output_gains=(1.0, 1.0),
        rng=agent.rng,
    )
    return actor, TwinCritics(critics, size)


def _known_parameters(class_string: str) -> dict[str, Any]:
    return MLP_PARAMETERS if class_string == MLP else {}


def join(observations: Array, actions: Array) -> Array:
    """Inputs of a critic: observations ``[B, ...]``, pictures from 0 to 1, and actions behind."""
    xp = namespace_of(observations)
    flat = observations.reshape(len(observations), -1)
    if flat.dtype != actions.dtype:  # uint8
        flat = xp.asarray(flat, dtype=actions.dtype) * (1.0 / 255.0)
    return xp.concatenate([flat, actions], axis=1)
