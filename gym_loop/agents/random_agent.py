"""The agent that needs nothing: uniformly random actions."""

from __future__ import annotations

from typing import Any

from gym_loop.agents.base_agent import BaseAgent


class RandomAgent(BaseAgent):
    """Samples the action space and learns nothing; a baseline and a smoke test."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.action_space = self.parameters["action_space"]

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """There are none."""
        return {}

    def act(self, state: Any, episode_num: int) -> Any:
        """A sample of the action space, whatever the observation."""
        return self.action_space.sample()

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        """Nothing is remembered."""

    def update(self, episode_num: int) -> None:
        """Nothing is learnt."""
