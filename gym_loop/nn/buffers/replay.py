"""Transitions of many episodes, to be drawn at random."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gym_loop.errors import StateError
from gym_loop.nn.buffers.frames import FrameStore

Array = np.ndarray[Any, Any]


class Batch(NamedTuple):
    """Transitions of up to ``n_steps`` steps.

    Args:
        observations: ``[B, ...]``.
        actions: ``[B, ...]``.
        rewards: discounted sum over the steps, ``[B]``.
        discounts: worth of what follows ``next_observations``, ``[B]``: 0 where the episode
            terminated, else gamma to the power of the number of steps.
        next_observations: after the last step, ``[B, ...]``.
        slots: where they came from, for priorities, ``[B]``.
        weights: against the bias of prioritised sampling, ``[B]``; None for 1.
    """

    observations: Array
    actions: Array
    rewards: Array
    discounts: Array
    next_observations: Array
    slots: Array
    weights: Array | None = None

    def part(self, at: slice) -> Batch:
        """Some of the transitions."""
        columns: list[Any] = [None if column is None else column[at] for column in self]
        return Batch(*columns)


class _PairStore:
    """Observations that are small enough to be stored twice; like `FrameStore` otherwise."""

    def __init__(self, slots: int, example: Array) -> None:
        self.before = np.zeros((slots, *example.shape), example.dtype)
        self.after = np.zeros((slots, *example.shape), example.dtype)

    def write(self, at: Any, envs: Any, last: Array, obs: Array, follows: Array) -> None:
        self.before[at] = last
        self.after[at] = obs

    def skip(self, at: Any) -> None:
        """Nothing to mark."""

    def overwritten(self) -> Array:
        return np.zeros(0, np.int64)

    def take(self, at: Array) -> Array:
        return self.before.take(at, axis=0)

    def take_next(self, at: Array) -> Array:
        return self.after.take(at, axis=0)

    def state_dict(self, filled: int) -> dict[str, Any]:
        return {"before": self.before[:filled], "after": self.after[:filled]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("before", "after"):
            getattr(self, name)[: len(state[name])] = state[name]


class Replay:
    """The latest transitions of N environments, in a ring of rows of N slots.

    Row by row, as the environments step: slot ``i`` belongs to environment ``i % N``, and its
    next step is N slots on. A slot is empty where an environment took no step. Memory is taken
    from the system as it is filled, and only the filled part is saved.

    Args:
        capacity: number of slots; rounded up to whole rows, at least two.
        n_envs: N.
        observation: an example of one observation, for its shape and dtype.
        action: an example of one action.
        n_steps: how many steps a drawn transition spans at most; it never goes across the end
            of an episode, nor past the latest step.
        gamma: discount of a reward one step later.
        frames: observations are pictures or stacks of them; see `FrameStore`.
    """

    def __init__(
        self,
        capacity: int,
        n_envs: int,
        observation: Array,
        action: Array,
        *,
        n_steps: int = 1,
        gamma: float = 0.99,
        frames: bool = False,
    ) -> None:
        self.n_envs, self.n_steps, self.gamma = n_envs, n_steps, gamma
        self.rows = max(2, -(-capacity // n_envs))
        slots = self.slots = self.rows * n_envs
        self.row = 0  # the next one to write
        self.filled = 0  # slots written at least once
        self.count = 0  # transitions held
        self.store: FrameStore | _PairStore = (
            FrameStore(slots, n_envs, observation) if frames else _PairStore(slots, observation)
        )
        self.actions = np.zeros((slots, *action.shape), action.dtype)
        self.rewards = np.zeros(slots, np.float32)
        self.terminated = np.zeros(slots, bool)
        self.valid = np.zeros(slots, bool)
        self.continues = np.zeros(slots, bool)  # the environment's next slot is its next step
        self.ongoing = np.zeros(n_envs, bool)  # the latest step did not end the episode
        self.compares = frames or n_steps > 1  # else nobody asks what continues
        kept = n_envs if self.compares else 0
        self.newest = np.zeros((kept, *observation.shape), observation.dtype)

    def __len__(self) -> int:
        return self.count

    def add(
        self,
        last: Array,
        actions: Array,
        rewards: Any,
        terminated: Any,
        truncated: Any,
        obs: Array,
        envs: Array | None = None,
    ) -> None:
        """Remember one step of some environments, in place of the oldest row.

        Args:
            last: observations before it, ``[M, ...]``.
            actions: ``[M, ...]``.
            rewards: ``[M]``, or one number.
            terminated: the task ended, ``[M]``.
            truncated: the episode was cut, ``[M]``; it is no end of the task.
            obs: observations after it, ``[M, ...]``.
            envs: the environments that took the step, in their order; None for all of them.
        """
        n, row = self.n_envs, self.row
        if envs is not None and len(envs) == n:
            envs = None
        whole = slice(row * n, row * n + n)
        at: Any = whole if envs is None else row * n + envs
        rows: Any = slice(None) if envs is None else envs
        self._forget(whole)
        if self.compares:
            before = (row - 1) % self.rows * n
            same = (self.newest[rows] == last).all(axis=tuple(range(1, last.ndim)))
            follows = self.continues[before : before + n][rows] = self.ongoing[rows] & same
            self.newest[rows] = obs
        else:
            follows = self.ongoing[rows]
        if envs is not None:
            self.store.skip(whole)
        self.store.write(at, rows, last, obs, follows)
        self.actions[at] = actions
        self.rewards[at] = rewards
        self.terminated[at] = terminated
        self.continues[whole] = False
        self.ongoing[rows] = np.logical_not(np.logical_or(terminated, truncated))
        self._hold(at, len(last))
        self.row = (row + 1) % self.rows
        self.filled = max(self.filled, whole.stop)
        lost = self.store.overwritten()
        if len(lost):
            self._forget(lost)

    def _hold(self, at: Any, count: int) -> None:
        self.valid[at] = True
        self.count += count

    def _forget(self, at: Any) -> None:
        self.count -= int(np.count_nonzero(self.valid[at]))
        self.valid[at] = False

    def sample(self, count: int, rng: np.random.Generator, correction: float = 1.0) -> Batch:
        """Draw transitions, each with the same probability, with replacement.

        Args:
            count: B.
            rng: where to draw from.
            correction: of the bias of priorities, which are none here.
        """
        slots = rng.integers(self.filled, size=count)
        if self.count < self.filled:
            while len(empty := (~self.valid[slots]).nonzero()[0]):
                slots[empty] = rng.integers(self.filled, size=len(empty))
        return self.batch(slots)

    def reprioritize(self, slots: Array, errors: Array) -> None:
        """All transitions stay equally likely; see `PrioritizedReplay`."""

    def batch(self, slots: Array) -> Batch:
        """The transitions that begin in these slots."""
        rewards, last = self.rewards.take(slots), slots
        discounts: Any = self.gamma
        for step in range(1, self.n_steps):
            on = self.continues.take(last)  # where it is False once, `last` stays, and so does it
            last = np.where(on, (last + self.n_envs) % self.slots, last)
            rewards += np.where(on, self.gamma**step * self.rewards.take(last), 0.0)
            discounts = np.where(on, self.gamma ** (step + 1), discounts)
        return Batch(
            self.store.take(slots),
            self.actions.take(slots, axis=0),
            rewards,
            np.where(self.terminated.take(last), 0.0, discounts).astype(np.float32),
            self.store.take_next(last),
            slots,
        )

    def state_dict(self) -> dict[str, Any]:
        """The filled slots, as views: nothing is copied."""
        return {
            "slots": self.slots,
            "n_envs": self.n_envs,
            **{name: getattr(self, name) for name in ("row", "filled", "count")},
            **{name: getattr(self, name) for name in ("ongoing", "newest")},
            **{name: getattr(self, name)[: self.filled] for name in _COLUMNS},
            "store": self.store.state_dict(self.filled),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put them back.

        Raises:
            StateError: they are of a buffer of another size.
        """
        for name in ("slots", "n_envs"):
            now, then = getattr(self, name), state[name]
            if now != then:
                raise StateError(
                    f"the replay buffer has {name} {now} now, but had {then} when it was saved; "
                    "give it the capacity and the number of environments of then"
                )
        self.row, self.filled, self.count = state["row"], state["filled"], state["count"]
        self.valid[:] = False
        self.ongoing[:] = state["ongoing"]
        self.newest[: len(state["newest"])] = state["newest"][: len(self.newest)]
        for name in _COLUMNS:
            getattr(self, name)[: self.filled] = state[name]
        self.store.load_state_dict(state["store"])


_COLUMNS = ("actions", "rewards", "terminated", "valid", "continues")
