"""Registers environments whose every step takes half a second: asleep, or at work in Python."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Box, Discrete

SECONDS = 0.5


class Asleep(gym.Env[Any, Any]):  # type: ignore[misc]
    """Waits, as for a simulator elsewhere."""

    observation_space = Box(0, 1, (1,))
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin at once."""
        super().reset(seed=seed)
        return self.observation_space.low, {}

    def step(self, action: Any) -> Any:
        """Wait."""
        self.spend()
        return self.observation_space.low, 0.0, False, False, {}

    def spend(self) -> None:
        """Half a second."""
        time.sleep(SECONDS)


class AtWork(Asleep):
    """Computes, and never lets go of the interpreter by itself."""

    def spend(self) -> None:
        """Half a second."""
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            pass


gym.register("Asleep-v0", entry_point=Asleep, disable_env_checker=True)
gym.register("AtWork-v0", entry_point=AtWork, disable_env_checker=True)
