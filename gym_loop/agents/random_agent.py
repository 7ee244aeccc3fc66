"""The agent that needs nothing: uniformly random actions."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from gym_loop.agents.base_agent import BaseAgent


class RandomAgent(BaseAgent):
    """Samples the action space and learns nothing; a baseline and a smoke test."""

    supports_batch = True
    supports_partial_batch = True

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.action_space = self.parameters["action_space"]

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """There are none."""
        return {}

    def act(self, state: Any, episode_num: int) -> Any:
        """A sample of the action space, whatever the observation; one a row of a batch."""
        rows = batch_size(self.parameters.get("observation_space"), state)
        return self.action_space.sample() if rows is None else samples(self.action_space, rows)

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        """Nothing is remembered."""

    def update(self, episode_num: int) -> None:
        """Nothing is learnt."""


def batch_size(space: Space[Any] | None, observation: Any) -> int | None:
    """Number of observations in a batch; None where it is a single one.

    Args:
        space: of a single observation; None where it is not known.
        observation: an element of the space, or a batch of elements.
    """
    if isinstance(space, Dict):
        key, part = next(iter(space.spaces.items()))
        return batch_size(part, observation[key])
    if isinstance(space, Tuple):
        return batch_size(space.spaces[0], observation[0])
    if isinstance(space, (Box, Discrete, MultiBinary, MultiDiscrete)):
        extra = np.ndim(observation) > len(space.shape)
        return len(observation) if extra else None
    if space is None or space.contains(observation):
        return None
    return len(observation)


def samples(space: Space[Any], count: int) -> Any:
    """A batch of samples, drawn from the space's own random stream."""
    if isinstance(space, (Box, Discrete, MultiBinary, MultiDiscrete)):
        batch = batch_space(space, count)
        batch._np_random = space.np_random  # one stream, whatever the size of the batch
        return batch.sample()
    drawn = [space.sample() for _ in range(count)]
    return concatenate(space, drawn, create_empty_array(space, count))
