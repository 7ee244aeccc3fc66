"""What `serving_native` serves beside CartPole: pictures that cost the environment nothing."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

SHAPE = (84, 84, 4)


class Pictures(VectorEnv):  # type: ignore[misc]
    """Always the same observation of each copy; episodes never end."""

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = None) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space = Box(0, 255, SHAPE, np.uint8)
        self.single_action_space = Discrete(4)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        rng = np.random.default_rng(0)
        self._picture = rng.integers(0, 256, (num_envs, *SHAPE), np.uint8)
        self._reward, self._never = np.ones(num_envs), np.zeros(num_envs, bool)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        """Begin."""
        return self._picture, {}

    def step(self, actions: Any) -> Any:
        """Go on."""
        return self._picture, self._reward, self._never, self._never, {}


gymnasium.register("Pictures-v0", entry_point=None, vector_entry_point=Pictures)
