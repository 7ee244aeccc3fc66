"""Twin delayed deep deterministic policy gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gym_loop.agents.off_policy import OffPolicyAgent
from gym_loop.agents.transition import Transition
from gym_loop.nn.buffers.replay import Batch
from gym_loop.nn.namespace import Array, namespace_of
from gym_loop.nn.optimizers import follow
from gym_loop.nn.schedules import schedule, schedule_problem
from gym_loop.schema.parameters import too_small

PULL, INTERVAL = 0.15, 1e-2  # of the Ornstein-Uhlenbeck process


class TD3(OffPolicyAgent):
    """Learns the one best action of each observation, from a replay of what happened.

    Continuous actions with finite bounds; observations are arrays, numbers, or a Dict or Tuple of
    these. Random episodes are learnt from like all others. Pictures are stored once.

    Source: Fujimoto, van Hoof and Meger (2018), Addressing function approximation error in
    actor-critic methods.
    """

    _fixed = (*OffPolicyAgent._fixed, "noise_std")

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """The parameters of a run file.

        Parameters:
            noise ("gaussian" or "ornstein-uhlenbeck"): Added to actions in training: drawn anew
                each step, or wandering from step to step through an episode.
            noise_std (float or dict): Its standard deviation, where actions go from -1 to 1 (of
                ornstein-uhlenbeck that of its steps, times ten); a number or a schedule,
                {linear: [0.3, 0.05], steps: 100000}, in environment steps; 0 for no noise.
            policy_delay (int): Updates of the critics for each one of actor and targets.
            target_noise (float): Standard deviation of the noise added to the next action, which
                smooths its value; where actions go from -1 to 1.
            target_noise_clip (float): The most that this noise changes an action.
        """
        return {
            **OffPolicyAgent.get_default_parameters(),
            "learning_rate": 1e-3,
            "noise": "gaussian",
            "noise_std": 0.1,
            "policy_delay": 2,
            "target_noise": 0.2,
            "target_noise_clip": 0.5,
        }

    @staticmethod
    def check_parameters(parameters: dict[str, Any]) -> dict[str, str]:
        """Ranges, those of `OffPolicyAgent` included."""
        problems = {
            **OffPolicyAgent.check_parameters(parameters),
            **too_small(parameters, policy_delay=1, target_noise=0, target_noise_clip=0),
        }
        if problem := schedule_problem(parameters["noise_std"], 0.0):
            problems["noise_std"] = problem
        return problems

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        p, size = self.parameters, self.bounds.size
        self.noise_std = schedule(p["noise_std"], "noise_std")
        self._make_networks(size)
        self.actor_target = self.actor.clone()
        self.wandering = np.zeros((p.get("n_envs", 1), size))  # Ornstein-Uhlenbeck noise, [N, A]

    # -- acting ----------------------------------------------------------------------------

    def _best(self, observations: Array) -> Any:
        return np.tanh(self.actor.tonumpy(self.actor.predict(observations)))

    def _explore(self, observations: Array) -> Any:
        best = self._best(observations)
        noise = self.rng.standard_normal(best.shape)
        if self.parameters["noise"] == "ornstein-uhlenbeck":
            self.wandering += math.sqrt(INTERVAL) * noise - PULL * INTERVAL * self.wandering
            noise = self.wandering
        return np.clip(best + self.noise_std(self.steps) * noise, -1.0, 1.0)

    def load_acting_state(self, state: dict[str, Any]) -> None:
        """Act as another TD3 does; noise begins anew."""
        super().load_acting_state(state)
        self.wandering[:] = 0.0

    def observe(self, transition: Transition) -> None:
        """Put a step into the replay; noise begins anew with an episode."""
        super().observe(transition)
        over = np.atleast_1d(np.logical_or(transition.terminated, transition.truncated))
        envs = transition.env_ids
        self.wandering[over.nonzero()[0] if envs is None else np.asarray(envs)[over]] = 0.0

    # -- learning --------------------------------------------------------------------------

    def _step(self, batch: Batch, rate: float) -> dict[str, Any]:
        """One update of the critics; each `policy_delay`-th time of actor and targets too."""
        p, critics = self.parameters, self.critics
        following = self._following(batch.next_observations)
        worth = critics.target_values(batch.next_observations, following)
        targets = batch.rewards + batch.discounts * worth
        errors, q_values = critics.learn(batch.observations, batch.actions, targets, rate)
        found = {"critic_loss": errors, "q_value": q_values}
        if critics.optimizer.updates % p["policy_delay"] == 0:
            found["actor_loss"] = -self._improve_actor(batch.observations, rate)
            critics.follow(p["target_mix"])
            scratch = self.actor_optimizer.scratch
            follow(self.actor_target.parameters, self.actor.parameters, p["target_mix"], scratch)
            self.actor_target.copy_buffers(self.actor)
        return found

    def _following(self, observations: Array) -> Array:
        """The next actions ``[B, A]``, with noise that smooths their value."""
        p, target = self.parameters, self.actor_target
        outputs = target.predict(observations)
        xp, clip = namespace_of(outputs), p["target_noise_clip"]
        noise = self.rng.standard_normal(tuple(outputs.shape), np.float32)
        limited = np.clip(p["target_noise"] * noise, -clip, clip)
        return xp.clip(xp.tanh(outputs) + target.asarray(limited), -1.0, 1.0)

    def _improve_actor(self, observations: Array, rate: float) -> Array:
        """Climb the first critic's values, ``[B]``."""
        actor = self.actor
        (outputs,) = actor.forward(observations)
        actions = namespace_of(outputs).tanh(outputs)
        values, by_actions = self.critics.judge_by_first(observations, actions)
        actor.backward((by_actions * (1.0 - actions * actions),))
        self.actor_optimizer.step(actor.parameters, actor.gradients, rate)
        return values
