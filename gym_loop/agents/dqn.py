"""Deep Q-learning, with the parts of Rainbow as options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge
from pydantic import AfterValidator

from gym_loop.agents.distributional import CategoricalReturn, Loss, QuantileReturn
from gym_loop.agents.off_policy import GradientSteps, OffPolicyAgent, OffPolicyParameters
from gym_loop.nn.arrays import Array, namespace_of, scatter, select
from gym_loop.nn.buffers.prioritized import PrioritizedReplay
from gym_loop.nn.buffers.replay import Batch
from gym_loop.nn.networks import Network, NetworkParameters, make_network
from gym_loop.nn.noisy import noisy_class
from gym_loop.nn.optimizers import Adam, clip_by_global_norm
from gym_loop.nn.schedules import FractionSchedule, NonNegativeSchedule, Schedule, schedule
from gym_loop.nn.spaces import DiscreteActions
from gym_loop.schema.parameters import (
    Field,
    Fraction,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

# Targets are computed for several batches at once: a product of so many rows runs at full speed
# and costs Python once; larger ones leave the cache.
TARGET_ROWS, TARGET_BYTES = 512, 1 << 20

_STEPS = "write exploration_steps, the number of environment steps until exploration_final_eps"


def _rising(ends: list[Any]) -> list[Any]:
    numbers = [end for end in ends if type(end) in (int, float)]
    if len(ends) != 2 or len(numbers) != 2 or not ends[0] < ends[1]:
        raise ValueError(f"{ends!r} must be two numbers, the smaller one first")
    return ends


class DQNParameters(OffPolicyParameters, NetworkParameters):
    """The parameters of a run file."""

    former_names: ClassVar[dict[str, str]] = {
        "epsilon": "is written in parts now: exploration_initial_eps, exploration_final_eps and"
        " exploration_steps, the environment steps from the one to the other",
        "exploration_fraction": f"is not known here, for a fraction of the budget would change when"
        f" a run is prolonged: {_STEPS} (the fraction times loop.parameters.max_steps)",
        "max_gradient_norm": "max_grad_norm",
        "target_every": "target_update_interval",
    }

    atoms: Annotated[int, Ge(2)] = Field(
        51, description="Numbers that describe the distribution of the return of an action."
    )
    batch_size: PositiveInt = OffPolicyParameters.redefined("batch_size", 64)
    buffer_size: Annotated[int, Ge(2)] = OffPolicyParameters.redefined("buffer_size", 100_000)
    distribution: Literal["categorical", "quantile"] | None = Field(
        None,
        description="Learn the distribution of the return, by probabilities of fixed values (C51)"
        " or by its quantiles; null for its mean.",
    )
    double: bool = Field(
        True, description="The network that learns chooses the next action, the target values it."
    )
    dueling: bool = Field(
        False,
        description="Two outputs, the value of a state and the advantages of the actions; in the"
        " MLP each has layers of its own, unless network_parameters says shared.",
    )
    exploration_decay: Literal["linear", "exponential"] = Field(
        "linear", description="How the probability of a random action falls."
    )
    exploration_final_eps: Fraction = Field(
        0.05, description="Probability of a random action at last. With noisy, 0 is usual."
    )
    exploration_initial_eps: Fraction = Field(
        1.0, description="Probability of a random action at first. With noisy, 0 is usual."
    )
    exploration_steps: PositiveInt = Field(
        10_000, description="Environment steps from exploration_initial_eps to the final one."
    )
    gradient_steps: GradientSteps = OffPolicyParameters.redefined("gradient_steps", 1)
    learning_rate: NonNegativeSchedule = OffPolicyParameters.redefined("learning_rate", 1e-3)
    learning_starts: NonNegativeInt = OffPolicyParameters.redefined("learning_starts", 1000)
    max_grad_norm: PositiveFloat | None = Field(
        10.0, description="Longer gradients are shortened to this; null for never."
    )
    network_parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Its parameters; of the MLP: hidden [64, 64], activation tanh or relu, init"
        " orthogonal or uniform, layer_norm, shared.",
    )
    noisy: bool = Field(False, description="Explore by learnt noise in the weights of the MLP.")
    prioritized: bool = Field(False, description="Replay surprising transitions more often.")
    priority_correction: FractionSchedule = Field(
        default_factory=lambda: {"linear": [0.4, 1.0], "steps": 100_000},
        description="How much of the bias of priorities is undone (beta), from 0 to 1; a number or"
        " a schedule, {linear: [0.4, 1.0], steps: 100000}.",
    )
    priority_exponent: Fraction = Field(
        0.6, description="0 draws evenly, 1 in proportion to the error (alpha)."
    )
    target_update_interval: PositiveInt = Field(
        500, description="Environment steps from one update of the target network to the next."
    )
    tau: Fraction = OffPolicyParameters.redefined("tau", 1.0)
    train_freq: PositiveInt = OffPolicyParameters.redefined("train_freq", 4)
    value_range: Annotated[list[Any], AfterValidator(_rising)] = Field(
        default_factory=lambda: [-10.0, 10.0],
        description="Least and largest return that categorical atoms stand for.",
    )

    def problems(self) -> dict[str, str]:
        """Only numbers above 0 fall exponentially."""
        if self.exploration_decay == "exponential":
            for name in ("exploration_initial_eps", "exploration_final_eps"):
                if not getattr(self, name):
                    return {name: "0.0 is not reached exponentially; it must be above 0"}
        return {}


class DQN(OffPolicyAgent):
    """Learns the value of each action from a replay of what happened.

    Discrete actions; for the rest see `OffPolicyAgent`. Double, dueling, prioritized, multi-step,
    noisy and distributional learning are options, alone or together.

    Source: Mnih et al. (2015), Human-level control through deep reinforcement learning; Hessel
    et al. (2018), Rainbow: combining improvements in deep reinforcement learning.
    """

    Parameters = DQNParameters
    acts_with = ("network", "steps")
    action_codec = DiscreteActions
    _fixed = (*OffPolicyAgent._fixed, "epsilon", "priority_correction", "returns")

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        p = self.parameters
        self.epsilon = Schedule(
            p["exploration_initial_eps"],
            p["exploration_final_eps"],
            p["exploration_steps"],
            p["exploration_decay"],
        )
        self.priority_correction = schedule(p["priority_correction"], "priority_correction")
        self.network: Any = self._make_network()
        self.target = self.network.clone()
        self.returns = self._make_returns()
        self.optimizer = Adam(self.network.parameters)
        if p["prioritized"]:
            self.replay = self._make_replay(PrioritizedReplay, exponent=p["priority_exponent"])
        else:
            self.replay = self._make_replay()
        # The target network rests while several batches are learnt; priorities and noise do not.
        rows = min(TARGET_ROWS, TARGET_BYTES // self.encoder.example.nbytes)
        self.batches_at_once = max(1, rows // p["batch_size"])
        if p["prioritized"] or p["noisy"]:
            self.batches_at_once = 1
        self.followed_at = 0  # steps when the target network was updated last

    def _make_network(self) -> Network:
        p, choices = self.parameters, self.actions.n
        size = p["atoms"] if p["distribution"] else 1
        outputs = (size, size * choices) if p["dueling"] else (size * choices,)
        network = noisy_class(p["network"]) if p["noisy"] else p["network"]
        return make_network(
            {**p, "network": network},
            self.encoder.shapes,
            outputs,
            output_gains=(1.0,) * len(outputs),
            rng=self.rng,
        )

    def _make_returns(self) -> ExpectedReturn | CategoricalReturn | QuantileReturn:
        p = self.parameters
        if p["distribution"] == "categorical":
            low, high = p["value_range"]
            atoms = np.linspace(low, high, p["atoms"], dtype=np.float32)
            return CategoricalReturn(self.network.asarray(atoms))
        return QuantileReturn(p["atoms"]) if p["distribution"] else ExpectedReturn()

    @property
    def _acting_network(self) -> Any:
        return self.network

    # -- acting ----------------------------------------------------------------------------

    def _explore(self, observations: Array) -> Array:
        p, count = self.parameters, len(observations)
        chance = 1.0 if self.steps < p["learning_starts"] else self.epsilon(self.steps)
        random = self.rng.random(count) < chance
        drawn = self.rng.integers(self.actions.n, size=count)
        if random.all():
            return drawn
        self._draw_noise(self.network)
        return np.where(random, drawn, self._greedy(observations))

    def _best(self, observations: Array) -> Array:
        if self.parameters["noisy"]:
            self.network.remove_noise()
        return self._greedy(observations)

    def _greedy(self, observations: Array) -> Array:
        network = self.network
        outputs = self._outputs(network, network.asarray(observations))
        best: Array = network.tonumpy(self.returns.means(outputs)).argmax(axis=1)
        return best

    def _draw_noise(self, *networks: Any) -> None:
        if self.parameters["noisy"]:
            for network in networks:
                network.draw_noise(self.rng)

    # -- learning --------------------------------------------------------------------------

    def _learn(self, updates: int) -> None:
        p, size = self.parameters, self.parameters["batch_size"]
        self._move_target()
        rate, correction = self.learning_rate(self.steps), self.priority_correction(self.steps)
        while updates > 0:
            batches = min(updates, self.batches_at_once)
            updates -= batches
            drawn = self._sample(batches * size, correction)
            # Rainbow's paper does not say so, but NoisyNet's does: both networks draw anew.
            self._draw_noise(self.network, self.target)
            next_outputs = self._outputs(self.target, drawn.next_observations)
            if not p["double"]:
                all_targets = self._targets(drawn, next_outputs, next_outputs)
            for start in range(0, batches * size, size):
                part = slice(start, start + size)
                batch = drawn.part(part)
                if p["double"]:
                    chooser = self._outputs(self.network, batch.next_observations)
                    targets = self._targets(batch, next_outputs[part], chooser)
                else:
                    targets = all_targets[part]
                loss, predicted = self._step(batch, targets, rate)
        self.latest = {
            "loss": loss.value,
            "q_value": self.returns.means(predicted[:, None]).mean(),
            "learning_rate": rate,
            "updates": self.optimizer.updates,
        }

    def _move_target(self) -> None:
        """Catch up with the updates of the target network that were due since the last call.

        The network that it follows has not changed meanwhile, so that all of them are one step.
        """
        interval = self.parameters["target_update_interval"]
        times = self.steps // interval - self.followed_at // interval
        self.followed_at = self.steps
        left = (1.0 - self.parameters["tau"]) ** times
        if left == 1.0:
            return
        if left == 0.0:
            self.target.load_state_dict(self.network.state_dict())
        else:
            way = self.network.parameters - self.target.parameters
            self.target.parameters += (1.0 - left) * way
        self.target.copy_buffers(self.network)

    def _targets(self, batch: Batch, next_outputs: Array, chooser: Array) -> Array:
        """What to learn, where ``chooser`` chooses the next action and ``next_outputs`` values it.

        Source: van Hasselt, Guez and Silver (2016), Deep reinforcement learning with double
        Q-learning, where the two are outputs of different networks.
        """
        best = self.returns.means(chooser).argmax(1)
        return self.returns.targets(select(next_outputs, best), batch.rewards, batch.discounts)

    def _step(self, batch: Batch, targets: Array, rate: float) -> tuple[Loss, Array]:
        """One gradient update; the loss, and the outputs that were corrected, ``[B, K]``."""
        p, network = self.parameters, self.network
        outputs = self._joined(network.forward(batch.observations))  # [B, A, K]
        predicted = select(outputs, batch.actions)
        loss = self.returns.loss(predicted, targets, batch.weights)
        gradient = scatter(loss.gradient, batch.actions, outputs.shape[1])
        network.backward(split_gradient(gradient, 2 if p["dueling"] else 1))
        if p["max_grad_norm"] is not None:
            clip_by_global_norm(network.gradients, p["max_grad_norm"])
        self.optimizer.step(network.parameters, network.gradients, rate)
        if p["prioritized"]:
            self.replay.reprioritize(batch.slots, network.tonumpy(loss.errors))
        return loss, predicted

    def _outputs(self, network: Network, observations: Array) -> Array:
        """Outputs ``[B, A, K]`` alone, with nothing kept for a gradient."""
        return self._joined(
            network.predict(observations, None if self.parameters["dueling"] else 0)
        )

    def _joined(self, outputs: Sequence[Array]) -> Array:
        return join_streams(outputs, self.actions.n, self.returns.size)

    def metrics(self, episode_num: int) -> dict[str, float]:
        """Of the latest update: the loss and the mean value of the actions taken."""
        return {**super().metrics(episode_num), "epsilon": self.epsilon(self.steps)}


class ExpectedReturn:
    """What the outputs of a Q-network ``[B, A, K]`` say of the return that follows an action.

    Here its mean, as deep Q-learning has it: K is 1.

    Attributes:
        size: K, the numbers for each of the A actions.
    """

    size = 1

    def means(self, outputs: Array) -> Array:
        """Expected returns ``[..., A]`` of outputs ``[..., A, K]``."""
        return outputs[..., 0]

    def targets(self, next_outputs: Array, rewards: Array, discounts: Array) -> Array:
        """What to learn: ``rewards + discounts * next return``.

        Args:
            next_outputs: for the action that follows, ``[B, K]``.
            rewards: ``[B]``.
            discounts: ``[B]``; 0 where the episode terminated.
        """
        return rewards + discounts * next_outputs[:, 0]

    def loss(self, predicted: Array, targets: Array, weights: Array | None) -> Loss:
        """The loss of outputs ``[B, K]``, with its gradient ``[B, K]``."""
        loss = huber_loss(predicted[:, 0], targets, weights)
        return loss._replace(gradient=loss.gradient[:, None])


def huber_loss(
    values: Array, targets: Array, weights: Array | None = None, huber: float = 1.0
) -> Loss:
    """Weighted Huber loss of temporal-difference errors.

    The paper clips the error term to [-1, 1]; that this means the gradient, which makes the loss
    Huber's, is how its authors' code has it.

    Args:
        values: predictions, ``[B]``.
        targets: ``[B]``.
        weights: of the samples, ``[B]``; None for 1.
        huber: error from which the loss grows linearly.
    """
    xp = namespace_of(values)
    errors = values - targets
    slopes = xp.clip(errors, -huber, huber)
    losses = slopes * (errors - 0.5 * slopes)
    if weights is not None:
        losses, slopes = losses * weights, slopes * weights
    return Loss(losses, slopes / len(values), xp.abs(errors))


def join_streams(outputs: Sequence[Array], actions: int, size: int) -> Array:
    """Outputs of a network, ``(A * K,)`` or dueling ``(K, A * K)``, as ``[B, A, K]``.

    Of the two ways that the paper has to tell value from advantages, this is the one that it
    found the more stable: the mean advantage is taken away, not the largest.

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
