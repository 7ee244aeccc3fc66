"""An agent and an environment for tests of stopping and resuming."""

from __future__ import annotations

import signal
from typing import Any

import gymnasium
import numpy as np

from gym_loop.agents import BaseAgent


class Drifting(BaseAgent):
    """Random, with a number that decides the next one; and it can forget it."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.level = 0.0

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        return {"forgets": False, "stop_in_evaluation": -1}

    def act(self, state: Any, episode_num: int) -> int:
        if not self.training and self.parameters["stop_in_evaluation"] == episode_num:
            self.parameters["stop_in_evaluation"] = -1
            signal.raise_signal(signal.SIGTERM)
        level = self.level + float(self.rng.normal())
        if self.training:
            self.level = level
        return int(level > 0)

    def metrics(self, episode_num: int) -> dict[str, float]:
        return {"level": self.level}

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        if self.parameters["forgets"]:
            del state["level"]
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict({"level": self.level, **state})


class DriftingTogether(Drifting):
    """The same for many copies at once, all of which take the same action."""

    supports_batch = True

    def act(self, state: Any, episode_num: int) -> Any:
        return np.full(len(state), super().act(state, episode_num))


class Hidden(gymnasium.Env):
    """Its state is in a generator, where nobody can save it."""

    observation_space = gymnasium.spaces.Box(-10, 10, (1,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self.story = self._tell()

    def _tell(self):
        place = 0
        while True:
            place += self.np_random.integers(-1, 2)
            yield np.array([place % 10], np.float64)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        return next(self.story), {}

    def step(self, action: Any):
        return next(self.story), 1.0, False, False, {}


def register() -> None:
    """Put the environment into the registry, which tests clear."""
    if "Hidden-v0" not in gymnasium.registry:
        gymnasium.register("Hidden-v0", Hidden, max_episode_steps=20)


register()
