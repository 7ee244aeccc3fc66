"""Our agents under a `Watch`: what a run file of the training benchmarks names."""

from __future__ import annotations

from typing import Any

from _training import Watch

from gym_loop.agents.base_agent import BaseAgent
from gym_loop.agents.dqn import DQN
from gym_loop.agents.ppo import PPO
from gym_loop.agents.sac import SAC
from gym_loop.agents.td3 import TD3

watch = Watch(None)  # set before a training: a run file cannot name it
agents: list[Any] = []  # the last one is asked for its policy after the training


class _Watched(BaseAgent):
    """Is evaluated now and then, after an update."""

    steps: int

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        agents.append(self)

    def update(self, episode_num: int) -> None:
        """Learn; then perhaps be looked at."""
        super().update(episode_num)
        watch.check(self.steps, self.greedy)

    def greedy(self, ob: Any) -> Any:
        """Actions ``[N]`` without exploration."""
        with self.evaluating():
            return self.act(ob, 0)


class WatchedPPO(_Watched, PPO):
    """PPO, watched."""


class WatchedDQN(_Watched, DQN):
    """DQN, watched."""


class WatchedSAC(_Watched, SAC):
    """SAC, watched."""


class WatchedTD3(_Watched, TD3):
    """TD3, watched."""
