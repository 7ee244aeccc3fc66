"""Soft actor-critic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gym_loop.agents.off_policy import OffPolicyAgent
from gym_loop.nn.buffers.replay import Batch
from gym_loop.nn.namespace import Array, namespace_of
from gym_loop.nn.schedules import schedule, schedule_problem
from gym_loop.nn.squashed import SquashedPolicy, TanhGaussian, TanhStateGaussian
from gym_loop.schema.parameters import not_positive, too_small

FEATURES = 64  # of the observation that state-dependent noise is a function of


class SAC(OffPolicyAgent):
    """Learns to be as random as it can while it earns the most, from a replay of what happened.

    Continuous actions with finite bounds; observations are arrays, numbers, or a Dict or Tuple of
    these. Random episodes are learnt from like all others. Pictures are stored once.

    Source: Haarnoja et al. (2018), Soft actor-critic algorithms and applications.
    """

    acts_with = (*OffPolicyAgent.acts_with, "held", "held_for")
    _fixed = (*OffPolicyAgent._fixed, "policy", "temperature", "target_entropy")

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """The parameters of a run file.

        Parameters:
            first_temperature (float): Where the temperature starts when it is found.
            log_std (float): With state_dependent_exploration: first logarithm of the standard
                deviation of the noise, for each feature.
            state_dependent_exploration (int or null): Let noise be a function of the observation,
                which stays the same for so many steps of an environment (gSDE): exploration is
                smooth. null for noise that is drawn for each step.
            target_entropy (float or null): Of the policy, when the temperature is found; null for
                minus the number of dimensions of an action.
            temperature (float or dict or null): Weight of the entropy beside the reward (alpha); a
                number, a schedule, {linear: [0.3, 0.02], steps: 100000}, in environment steps, or
                null to find the one that leads to target_entropy.
        """
        return {
            **OffPolicyAgent.get_default_parameters(),
            "first_temperature": 1.0,
            "log_std": -3.0,
            "state_dependent_exploration": None,
            "target_entropy": None,
            "temperature": None,
        }

    @staticmethod
    def check_parameters(parameters: dict[str, Any]) -> dict[str, str]:
        """Ranges, those of `OffPolicyAgent` included."""
        problems = {
            **OffPolicyAgent.check_parameters(parameters),
            **not_positive(parameters, "first_temperature"),
            **too_small(parameters, state_dependent_exploration=1),
        }
        fixed = parameters["temperature"]
        if fixed is not None and (problem := schedule_problem(fixed, 0.0)):
            problems["temperature"] = problem
        return problems

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        p, size = self.parameters, self.bounds.size
        self.policy: SquashedPolicy = TanhGaussian(size)
        if p["state_dependent_exploration"]:
            self.policy = TanhStateGaussian(size, FEATURES)
        fixed, wanted = p["temperature"], p["target_entropy"]
        self.temperature = None if fixed is None else schedule(fixed, "temperature")
        self.target_entropy = float(-size if wanted is None else wanted)
        # The logarithm of the temperature is the last number beside the actor's layers, so that
        # one optimiser step changes both.
        self._make_networks(self.policy.outputs, self.policy.extra + 1)
        self.actor.extra[:] = p["log_std"]
        self.actor.extra[-1:] = math.log(p["first_temperature"])
        self.held: Array = np.zeros(0, np.float32)  # state-dependent noise, [N, K, A]
        self.held_for = 0  # steps that it was used for

    def _temperature(self) -> Any:
        """The temperature: a number, or ``[1]`` where it is found."""
        if self.temperature is not None:
            return self.temperature(self.steps)
        log = self.actor.extra[-1:]
        return namespace_of(log).exp(log)

    # -- acting ----------------------------------------------------------------------------

    def _best(self, observations: Array) -> Any:
        return self.actor.tonumpy(self.policy.mode(self.actor.predict(observations)))

    def _explore(self, observations: Array) -> Any:
        actor, policy = self.actor, self.policy
        noise = actor.asarray(self._noise(len(observations)))
        extra = actor.extra[: policy.extra]
        return actor.tonumpy(policy.sample(actor.predict(observations), extra, noise).actions)

    def _noise(self, rows: int) -> Array:
        """Noise to act with."""
        steps = self.parameters["state_dependent_exploration"]
        if not steps:
            return self.policy.noise(rows, self.rng)
        if self.held_for % steps == 0 or len(self.held) != rows:
            self.held_for = 0
            self.held = np.stack([self.policy.noise(1, self.rng) for _ in range(rows)])
        self.held_for += 1
        return self.held

    # -- learning --------------------------------------------------------------------------

    def _step(self, batch: Batch, rate: float) -> dict[str, Any]:
        """One update of critics, actor and temperature."""
        temperature = self._temperature()
        errors, q_values = self._improve_critics(batch, temperature, rate)
        losses, log_probs = self._improve_actor(batch.observations, temperature, rate)
        self.critics.follow(self.parameters["target_mix"])
        return {
            "critic_loss": errors,
            "q_value": q_values,
            "actor_loss": losses,
            "entropy": -log_probs,
            "temperature": temperature,
        }

    def _improve_critics(self, batch: Batch, temperature: Any, rate: float) -> tuple[Array, Array]:
        """Learn what rewards, and values and entropy of what follows, add up to."""
        critics, actor, following = self.critics, self.actor, batch.next_observations
        drawn = self._draw(actor.predict(following))
        entropy = -temperature * self.policy.log_probs(drawn)
        worth = critics.target_values(following, drawn.actions) + entropy
        targets = batch.rewards + batch.discounts * worth
        return critics.learn(batch.observations, batch.actions, targets, rate)

    def _improve_actor(
        self, observations: Array, temperature: Any, rate: float
    ) -> tuple[Array, Array]:
        """Climb value and entropy; their negative sums and the log-probabilities, ``[B]``."""
        actor, policy = self.actor, self.policy
        (outputs,) = actor.forward(observations)
        drawn = self._draw(outputs)
        log_probs = policy.log_probs(drawn)
        values, by_actions = self.critics.judge(observations, drawn.actions)
        by_outputs, by_extra = policy.gradient(drawn, by_actions, temperature / len(values))
        actor.backward((by_outputs,))
        if by_extra is not None:
            actor.extra_gradient[: policy.extra] = by_extra
        if self.temperature is None:
            actor.extra_gradient[-1:] = -log_probs.mean() - self.target_entropy
        self.actor_optimizer.step(actor.parameters, actor.gradients, rate)
        return temperature * log_probs - values, log_probs

    def _draw(self, outputs: Array) -> Any:
        noise = self.actor.asarray(self.policy.noise(len(outputs), self.rng))
        return self.policy.sample(outputs, self.actor.extra[: self.policy.extra], noise)
