"""Our agents with their paces noted: what the run files of `gpu.py` name."""

from __future__ import annotations

import time
from typing import Any

from _pixels import Pace

from gym_loop.agents.dqn import DQN
from gym_loop.agents.ppo import PPO

pace = Pace()


class _Paced:
    """Notes how long it learns."""

    optimizer: Any
    steps: int

    def update(self, episode_num: int) -> None:
        """Learn, and note it."""
        before, began = self.optimizer.updates, time.perf_counter()
        super().update(episode_num)  # type: ignore[misc]
        if self.optimizer.updates != before:
            pace.note(began, self.steps, self.optimizer.updates)


class PacedPPO(_Paced, PPO):
    """PPO, paced."""


class PacedDQN(_Paced, DQN):
    """DQN, paced."""
