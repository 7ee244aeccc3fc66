"""The steps of a few environments since the policy last changed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Batch(NamedTuple):
    """Steps to learn from, ``[B, ...]`` each, as the network wants them."""

    observations: Any
    actions: Any
    log_probs: Any
    values: Any
    advantages: Any
    returns: Any

    def take(self, rows: Any) -> Batch:
        """Some of the steps."""
        return Batch(*(column[rows] for column in self))


class RolloutBuffer:
    """``T`` steps of ``N`` environments, and the advantages of their actions.

    It is saved between steps, not between `begin` and `finish`.

    Args:
        n_steps: T.
        n_envs: N.
        observation: an example of one observation, for its shape and dtype.
        action: an example of one action.
    """

    def __init__(self, n_steps: int, n_envs: int, observation: Array, action: Array) -> None:
        shape = (n_steps, n_envs)
        self.n_steps, self.n_envs = n_steps, n_envs
        self.step = 0  # number of steps held
        self.pending = False  # `begin` was called for the next one
        self.observations = np.zeros((*shape, *observation.shape), observation.dtype)
        self.actions = np.zeros((*shape, *action.shape), action.dtype)
        self.taken = np.zeros(shape, bool)  # False where a copy was reset in place of a step
        self.rewards = np.zeros(shape, np.float32)
        self.terminated = np.zeros(shape, bool)
        self.truncated = np.zeros(shape, bool)
        self.final_values = np.zeros(shape, np.float32)
        self.last_values = np.zeros(n_envs, np.float32)

    @property
    def full(self) -> bool:
        """All T steps are there."""
        return self.step == self.n_steps

    @property
    def dones(self) -> Array:
        """Which steps ended an episode, ``[T, N]``."""
        return self.terminated | self.truncated

    def begin(self, observations: Array, actions: Array) -> None:
        """Note what was chosen, if there is room; the environment may overwrite its observations.

        Args:
            observations: what the actions were chosen for, ``[N, ...]``.
            actions: as the policy drew them, ``[N, ...]``.
        """
        if self.full:
            return
        self.observations[self.step] = observations
        self.actions[self.step] = actions
        self.pending = True

    def finish(
        self,
        rewards: Any,
        terminated: Any,
        truncated: Any,
        final_values: Any = 0.0,
        rows: Array | None = None,
    ) -> None:
        """Note what came of it, one value an environment.

        Args:
            rewards: of the step.
            terminated: the task ended.
            truncated: the episode was cut.
            final_values: of the true final observation, read where ``truncated``.
            rows: the environments that took the step; the others, whose episodes had ended
                before, were reset in its place. None for all.
        """
        columns = self.taken, self.rewards, self.terminated, self.truncated, self.final_values
        at: Any = self.step
        if rows is not None:
            for column in columns:
                column[at] = 0
            at = at, rows
        for column, value in zip(
            columns, (True, rewards, terminated, truncated, final_values), strict=True
        ):
            column[at] = value
        self.step += 1
        self.pending = False

    def clear(self) -> None:
        """Forget all steps."""
        self.step = 0
        self.pending = False

    def advantages(self, values: Array, rewards: Array, gamma: float, gae_lambda: float) -> Array:
        """Generalised advantage estimates ``[T, N]`` of a full rollout.

        The estimate of a step never looks past the end of its episode. Where the episode
        was truncated, the value of its true final observation stands for the rest; where it
        terminated, nothing does. Behind the last step stand ``last_values``.

        Args:
            values: of the observations, ``[T, N]``.
            rewards: ``self.rewards``, or the same normalised, ``[T, N]``.
            gamma: discount of a reward one step later.
            gae_lambda: 0 trusts the value function, 1 the returns.

        Source: Schulman et al. (2016), High-dimensional continuous control using generalized
        advantage estimation.
        """
        next_values = np.concatenate([values[1:], self.last_values[None]])
        next_values[self.truncated] = self.final_values[self.truncated]
        next_values[self.terminated] = 0.0
        result = next_values
        result *= gamma
        result += rewards
        result -= values  # the one-step errors; summed from the back, in place
        carry = np.where(self.dones, 0.0, gamma * gae_lambda).astype(result.dtype)
        for step in range(self.n_steps - 2, -1, -1):
            result[step] += carry[step] * result[step + 1]
        return result

    def state_dict(self) -> dict[str, Any]:
        """The steps held so far."""
        steps = {name: getattr(self, name)[: self.step] for name in _COLUMNS}
        return {"step": self.step, "last_values": self.last_values, **steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put them back."""
        self.step, self.pending = state["step"], False
        self.last_values[:] = state["last_values"]
        for name in _COLUMNS:
            getattr(self, name)[: self.step] = state[name]


_STEPS = ("taken", "rewards", "terminated", "truncated", "final_values")
_COLUMNS = ("observations", "actions", *_STEPS)
