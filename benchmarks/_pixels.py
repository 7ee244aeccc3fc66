"""An environment of pictures that costs next to nothing, and the paces of those that learn it."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import gymnasium
import numpy as np

FRAMES = 64  # drawn beforehand, shown in a cycle
EPISODE = 200
SKIPPED = 0.25  # of the records: memory is taken and kernels are chosen at first


class Pixels(gymnasium.Env):  # type: ignore[misc]
    """Stacks of the latest four pictures, ``(84, 84, 4)`` ``uint8``; one of six actions pays."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - gymnasium's way
    observation_space = gymnasium.spaces.Box(0, 255, (84, 84, 4), np.uint8)
    action_space = gymnasium.spaces.Discrete(6)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode  # stable-baselines3 gives one
        frames = np.random.default_rng(0).integers(0, 255, (FRAMES, 84, 84), dtype=np.uint8)
        numbers = (np.arange(FRAMES)[:, None] + np.arange(4)) % FRAMES
        self.stacks = np.ascontiguousarray(np.moveaxis(frames[numbers], 1, -1))
        self.number = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin somewhere in the cycle."""
        super().reset(seed=seed)
        self.number, self.steps = int(self.np_random.integers(FRAMES)), 0
        return self.stacks[self.number], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Show the next picture."""
        reward = float(action == self.number % 6)
        self.steps += 1
        self.number = (self.number + 1) % FRAMES
        return self.stacks[self.number], reward, self.steps % EPISODE == 0, False, {}


class _Record(NamedTuple):
    """Where a training stands after it has learnt: time, steps, updates, seconds in updates."""

    now: float
    steps: int
    updates: int
    seconds: float


class Pace:
    """Steps and updates per second of a training, its beginning left out."""

    def __init__(self) -> None:
        self.records: list[_Record] = []

    def note(self, began: float, steps: int, updates: int) -> None:
        """Learning, which began then, has ended now, after so many steps and updates in all."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        spent = self.records[-1].seconds if self.records else 0.0
        self.records.append(_Record(now, steps, updates, spent + now - began))

    def rates(self) -> tuple[float, float]:
        """Environment steps a second of the training, updates a second of the learning."""
        first, last = self.records[int(len(self.records) * SKIPPED)], self.records[-1]
        return (
            (last.steps - first.steps) / (last.now - first.now),
            (last.updates - first.updates) / (last.seconds - first.seconds),
        )


gymnasium.register("Pixels-v0", entry_point=Pixels)
