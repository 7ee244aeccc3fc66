"""Observations made of pictures, each picture stored once."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LONGEST_STACK = 16  # an axis of more entries is one of pixels


class FrameStore:
    """The observations of a replay buffer as numbers of frames in one ring.

    Where observations are stacks of the latest K frames, along their first or their last axis,
    each step brings one new frame; where they are single pictures, the whole picture is one.
    The first step that is written tells which. An episode's first stack is stored as well, but
    equal neighbours in it once. Nothing is lost: a stack that is no continuation of the one
    before is stored frame by frame.

    The ring has about one frame a slot, so that frames of the oldest slots are overwritten a
    little before the slots are: `overwritten` says which.

    Args:
        slots: number of transitions, a multiple of ``n_envs``.
        n_envs: N; slot ``i`` belongs to environment ``i % N``.
        example: an observation, for its shape and dtype.
    """

    def __init__(self, slots: int, n_envs: int, example: Array) -> None:
        self.slots, self.n_envs, self.example = slots, n_envs, example
        self.axis: int | None = None  # of an observation; None for single pictures
        self.allocated = False  # the first step decides about the axis
        self.written = 0  # frames so far; frame number f lies at f % len(frames)
        self.steps = 0  # rows of slots so far

    def _allocate(self, axis: int | None) -> None:
        example, n = self.example, self.n_envs
        stack = example[None] if axis is None else np.moveaxis(example, axis, 0)
        depth = len(stack)
        self.axis, self.allocated = axis, True
        self.frames = np.zeros((self.slots + 2 * depth * n, *stack.shape[1:]), example.dtype)
        self.stacks = np.zeros((self.slots, depth), np.int64)
        self.next_stacks = np.zeros((self.slots, depth), np.int64)
        self.newest = np.zeros((n, depth), np.int64)  # of each environment's latest observation
        self.oldest = np.zeros(n, np.int64)  # the first row whose frames may all be there

    def write(self, at: Any, envs: Any, last: Array, obs: Array, follows: Array) -> None:
        """Store one step of some environments.

        Args:
            at: slots, one an environment.
            envs: the environments.
            last: observations before the step, ``[M, ...]``.
            obs: observations after it.
            follows: True where ``last`` is the environment's latest observation, ``[M]``.
        """
        if not self.allocated:
            self._allocate(_stack_axis(last[0], obs[0]))
        last, obs = self._as_stacks(last), self._as_stacks(obs)
        numbers = self.newest[envs].copy()  # [M, K]
        for row in (~follows).nonzero()[0]:
            numbers[row] = self._append_stack(last[row])
        self.stacks[at] = numbers
        moved = (obs[:, :-1] == last[:, 1:]).all(axis=tuple(range(1, obs.ndim)))
        numbers[:, :-1] = numbers[:, 1:]
        rows = moved.nonzero()[0]
        numbers[rows, -1] = self._append(obs[rows, -1])
        for row in (~moved).nonzero()[0]:
            numbers[row] = self._append_stack(obs[row])
        self.next_stacks[at] = numbers
        self.newest[envs] = numbers
        self.steps += 1

    def skip(self, at: Any) -> None:
        """Mark slots that hold nothing, so that `overwritten` passes them in their turn."""
        if self.allocated:
            self.stacks[at] = self.written

    def overwritten(self) -> Array:
        """Slots that have lost a frame since the last call."""
        limit, rows = self.written - len(self.frames), self.slots // self.n_envs
        lost = [np.zeros(0, np.int64)]
        np.maximum(self.oldest, self.steps - rows, out=self.oldest)
        while limit > 0:  # the slots written last are never among them, so this ends
            at = self.oldest % rows * self.n_envs + np.arange(self.n_envs)
            gone = self.stacks[at, 0] < limit
            if not gone.any():
                break
            lost.append(at[gone])
            self.oldest[gone] += 1
        return np.concatenate(lost)

    def take(self, at: Array) -> Array:
        """Observations before the steps, ``[B, ...]``."""
        return self._gather(self.stacks[at])

    def take_next(self, at: Array) -> Array:
        """Observations after the steps, ``[B, ...]``."""
        return self._gather(self.next_stacks[at])

    def _gather(self, numbers: Array) -> Array:
        stacks = self.frames.take(numbers % len(self.frames), axis=0)  # [B, K, *frame]
        return stacks[:, 0] if self.axis is None else np.moveaxis(stacks, 1, self._batch_axis)

    @property
    def _batch_axis(self) -> int:
        """The axis of frames in a batch of observations."""
        return 1 if self.axis == 0 else -1

    def _as_stacks(self, observations: Array) -> Array:
        """``[M, K, *frame]``, a view."""
        if self.axis is None:
            return observations[:, None]
        return np.moveaxis(observations, self._batch_axis, 1)

    def _append(self, frames: Array) -> Array:
        numbers = np.arange(self.written, self.written + len(frames))
        self.frames[numbers % len(self.frames)] = frames
        self.written += len(frames)
        return numbers

    def _append_stack(self, stack: Array) -> Array:
        """Store ``[K, *frame]``, equal neighbours once."""
        new = np.ones(len(stack), bool)
        new[1:] = (stack[1:] != stack[:-1]).any(axis=tuple(range(1, stack.ndim)))
        numbers: Array = self._append(stack[new])[new.cumsum() - 1]
        return numbers

    def state_dict(self, filled: int) -> dict[str, Any]:
        """The first ``filled`` slots and their frames."""
        if not self.allocated:
            return {"allocated": False}
        return {
            "allocated": True,
            "axis": self.axis,
            "written": self.written,
            "steps": self.steps,
            "frames": self.frames[: self.written],
            "stacks": self.stacks[:filled],
            "next_stacks": self.next_stacks[:filled],
            "newest": self.newest,
            "oldest": self.oldest,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put them back."""
        self.allocated, self.written, self.steps = False, 0, 0
        if not state["allocated"]:
            return
        self._allocate(state["axis"])
        self.written, self.steps = state["written"], state["steps"]
        for name in ("frames", "stacks", "next_stacks", "newest", "oldest"):
            getattr(self, name)[: len(state[name])] = state[name]


def _stack_axis(last: Array, ob: Array) -> int | None:
    """The axis along which an observation moved by one frame in a step, or None."""
    for axis in (0, -1):
        if 2 <= ob.shape[axis] <= LONGEST_STACK:
            before, after = np.moveaxis(last, axis, 0), np.moveaxis(ob, axis, 0)
            if np.array_equal(before[1:], after[:-1]):
                return axis
    return None
