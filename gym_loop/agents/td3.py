"""Twin delayed deep deterministic policy gradient."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np

from gym_loop.agents.off_policy import OffPolicyAgent, OffPolicyParameters
from gym_loop.agents.transition import Transition
from gym_loop.agents.twin_critics import CriticParameters, make_actor_and_critics
from gym_loop.nn.arrays import Array, namespace_of
from gym_loop.nn.buffers.replay import Batch
from gym_loop.nn.networks import Network, NetworkParameters
from gym_loop.nn.optimizers import Adam, polyak_update
from gym_loop.nn.schedules import NonNegativeSchedule, schedule
from gym_loop.schema.parameters import Field, NonNegativeFloat, PositiveInt

THETA, INTERVAL = 0.15, 1e-2  # of the Ornstein-Uhlenbeck process, as stable-baselines3 has it


class TD3Parameters(CriticParameters, OffPolicyParameters, NetworkParameters):
    """The parameters of a run file."""

    former_names: ClassVar[dict[str, str]] = {
        "noise": "is called noise_type now, and gaussian is called normal",
        "target_noise": "target_policy_noise",
    }

    learning_rate: NonNegativeSchedule = OffPolicyParameters.redefined("learning_rate", 1e-3)
    noise_std: NonNegativeSchedule = Field(
        0.1,
        description="Standard deviation of the noise, where actions go from -1 to 1 (of"
        " ornstein-uhlenbeck that of its steps, times ten); a number or a schedule, {linear: [0.3,"
        " 0.05], steps: 100000}, in environment steps; 0 for no noise.",
    )
    noise_type: Literal["normal", "ornstein-uhlenbeck"] = Field(
        "normal",
        description="Added to actions in training: drawn anew each step, or wandering from step to"
        " step through an episode.",
    )
    policy_delay: PositiveInt = Field(
        2, description="Updates of the critics for each one of actor and targets."
    )
    target_noise_clip: NonNegativeFloat = Field(
        0.5, description="The most that target_policy_noise changes an action."
    )
    target_policy_noise: NonNegativeFloat = Field(
        0.2,
        description="Standard deviation of the noise added to the next action, which smooths its"
        " value; where actions go from -1 to 1.",
    )


class TD3(OffPolicyAgent):
    """Learns the one best action of each observation, from a replay of what happened.

    Continuous actions with finite bounds; for the rest see `OffPolicyAgent`.

    Source: Fujimoto, van Hoof and Meger (2018), Addressing function approximation error in
    actor-critic methods.
    """

    Parameters = TD3Parameters
    acts_with = ("actor", "steps")
    _fixed = (*OffPolicyAgent._fixed, "noise_std")

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        p, size = self.parameters, self.actions.size
        self.noise_std = schedule(p["noise_std"], "noise_std")
        self.actor, self.critics = make_actor_and_critics(self, size)
        self.actor_target = self.actor.clone()
        self.actor_optimizer = Adam(self.actor.parameters)
        self.replay = self._make_replay()
        self.ou_noise = np.zeros((p.get("n_envs", 1), size))  # Ornstein-Uhlenbeck noise, [N, A]

    @property
    def _acting_network(self) -> Network:
        return self.actor

    # -- acting ----------------------------------------------------------------------------

    def _best(self, observations: Array) -> Any:
        actor = self.actor
        return np.tanh(actor.tonumpy(actor.predict(actor.asarray(observations), 0)[0]))

    def _explore(self, observations: Array) -> Any:
        if self.steps < self.parameters["learning_starts"]:
            return self.rng.uniform(-1.0, 1.0, (len(observations), self.actions.size))
        best = self._best(observations)
        noise = self.rng.standard_normal(best.shape)
        if self.parameters["noise_type"] == "ornstein-uhlenbeck":
            self.ou_noise += math.sqrt(INTERVAL) * noise - THETA * INTERVAL * self.ou_noise
            noise = self.ou_noise
        return np.clip(best + self.noise_std(self.steps) * noise, -1.0, 1.0)

    def load_acting_state(self, state: dict[str, Any]) -> None:
        """Act as another TD3 does; noise begins anew."""
        super().load_acting_state(state)
        self.ou_noise[:] = 0.0

    def observe(self, transition: Transition) -> None:
        """Put a step into the replay; noise begins anew with an episode."""
        super().observe(transition)
        done = np.atleast_1d(np.logical_or(transition.terminated, transition.truncated))
        env_ids = transition.env_ids
        self.ou_noise[done.nonzero()[0] if env_ids is None else np.asarray(env_ids)[done]] = 0.0

    # -- learning --------------------------------------------------------------------------

    def _learn(self, updates: int) -> None:
        rate = self.learning_rate(self.steps)
        for batch in self._batches(updates):
            metrics = self._step(batch, rate)
        # Not each update has an actor's loss: the one before stays.
        self.latest |= metrics | {"learning_rate": rate, "updates": self.critics.optimizer.updates}

    def _step(self, batch: Batch, rate: float) -> dict[str, Any]:
        """One update of the critics; each `policy_delay`-th time of actor and targets too."""
        p, critics = self.parameters, self.critics
        next_actions = self._next_actions(batch.next_observations)
        next_values = critics.target_values(batch.next_observations, next_actions)
        targets = batch.rewards + batch.discounts * next_values
        errors, q_values = critics.learn(batch.observations, batch.actions, targets, rate)
        metrics = {"critic_loss": errors, "q_value": q_values}
        if critics.optimizer.updates % p["policy_delay"] == 0:
            metrics["actor_loss"] = -self._improve_actor(batch.observations, rate)
            critics.move_target(p["tau"])
            actor, target = self.actor, self.actor_target
            scratch = self.actor_optimizer.scratch
            polyak_update(target.parameters, actor.parameters, p["tau"], scratch)
            target.copy_buffers(actor)
        return metrics

    def _next_actions(self, observations: Array) -> Array:
        """The target actor's actions ``[B, A]``, with noise that smooths their value."""
        p, target = self.parameters, self.actor_target
        (outputs,) = target.predict(observations, 0)
        xp, clip = namespace_of(outputs), p["target_noise_clip"]
        noise = self.rng.standard_normal(tuple(outputs.shape), np.float32)
        limited = np.clip(p["target_policy_noise"] * noise, -clip, clip)
        return xp.clip(xp.tanh(outputs) + target.asarray(limited), -1.0, 1.0)

    def _improve_actor(self, observations: Array, rate: float) -> Array:
        """Climb the first critic's values, ``[B]``; why the first one, the paper does not say."""
        actor = self.actor
        (outputs,) = actor.forward(observations)
        actions = namespace_of(outputs).tanh(outputs)
        values, by_actions = self.critics.first_value(observations, actions)
        actor.backward((by_actions * (1.0 - actions * actions),))
        self.actor_optimizer.step(actor.parameters, actor.gradients, rate)
        return values
