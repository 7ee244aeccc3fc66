"""Scripted copies of which every value is known, in every autoreset mode."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space

from gym_loop.agents import BaseAgent
from gym_loop.envs.workers import WorkerCopy, WorkersEnv

# Lengths of each copy's episodes, and how they end. Copy 0 has episodes of one step; all end
# together after six steps; copy 2 is terminated and truncated at once.
TERMINATED, TRUNCATED, BOTH = (True, False), (False, True), (True, True)
SCRIPTS = [
    [(1, TERMINATED), (1, TRUNCATED), (4, TERMINATED), (3, BOTH)],
    [(3, TRUNCATED), (3, TERMINATED), (2, TRUNCATED)],
    [(6, BOTH), (5, TERMINATED)],
]


class ScriptedCopy(gymnasium.Env):
    """Observation ``[copy, episode, step, last action]``; reward ``copy + 0.1 step + action``."""

    observation_space = gymnasium.spaces.Box(0, 1e6, (4,), np.float64)
    action_space = gymnasium.spaces.Discrete(1000)

    def __init__(self, copy: int) -> None:
        self.copy, self.episode, self.length = copy, -1, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.episode, self.length = self.episode + 1, 0
        return self._ob(0), {"seed": -1 if seed is None else seed}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.length += 1
        length, (terminated, truncated) = SCRIPTS[self.copy][self.episode % len(SCRIPTS[self.copy])]
        over = self.length == length
        reward = self.copy + 0.1 * self.length + int(action)
        return self._ob(action), reward, over and terminated, over and truncated, {}

    def _ob(self, action: Any) -> np.ndarray:
        return np.array([self.copy, self.episode, self.length, action], np.float64)


class OwnVectorEnv(VectorEnv):
    """A vector environment of its own kind, which writes into the same buffer at every step."""

    def __init__(self, mode: AutoresetMode = AutoresetMode.NEXT_STEP, num_envs: int = 3) -> None:
        self.metadata = {"autoreset_mode": mode}
        self.num_envs = num_envs
        self.single_observation_space = ScriptedCopy.observation_space
        self.single_action_space = ScriptedCopy.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._inner = SyncVectorEnv(
            [lambda copy=copy: ScriptedCopy(copy) for copy in range(num_envs)],
            copy=False,
            autoreset_mode=mode,
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self._inner.reset(seed=seed, options=options)

    def step(self, actions: Any) -> Any:
        return self._inner.step(actions)


class ScriptedFactory:
    """Makes one scripted copy, in a worker process too."""

    def __init__(self, copy: int, cls: type = ScriptedCopy) -> None:
        self.copy, self.cls = copy, cls

    def __call__(self) -> gymnasium.Env:
        return self.cls(self.copy)


def make_copies(kind: str, mode: AutoresetMode) -> VectorEnv:
    """Three scripted copies: ``sync``, ``async``, ``workers`` or a kind of its ``own``."""
    factories = [ScriptedFactory(copy) for copy in range(3)]
    if kind == "own":
        return OwnVectorEnv(mode)
    if kind == "workers":
        return WorkersEnv([WorkerCopy(one) for one in factories], "Scripted-v0", mode)
    cls = {"sync": SyncVectorEnv, "async": AsyncVectorEnv}[kind]
    return cls(factories, copy=False, autoreset_mode=mode)


class BatchJournal(BaseAgent):
    """Acts by copy and step, so that actions follow from the observation; notes everything."""

    supports_batch = True
    supports_partial_batch = True

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.acted: list[Any] = []
        self.observed: list[Any] = []
        self.updates: list[int] = []

    def act(self, state: Any, episode_num: int) -> Any:
        self.acted.append((state, state.copy(), episode_num))
        return (10 * state[:, 0] + state[:, 2] + 1).astype(np.int64)

    def observe(self, transition: Any) -> None:
        self.observed.append(transition)

    def update(self, episode_num: int) -> None:
        self.updates.append(episode_num)

    def of_copy(self, copy: int) -> list[tuple[Any, ...]]:
        """The transitions of one copy, in order, as plain values."""
        found = []
        for transition in self.observed:
            last_ob, action, reward, terminated, truncated, ob, info = transition
            assert info["env_ids"] is transition.env_ids
            for row in np.flatnonzero(transition.env_ids == copy):
                found.append(
                    (
                        tuple(last_ob[row]),
                        int(action[row]),
                        float(reward[row]),
                        bool(terminated[row]),
                        bool(truncated[row]),
                        tuple(ob[row]),
                    )
                )
        return found


def expected(copy: int, count: int) -> list[tuple[Any, ...]]:
    """The first transitions of a copy, written down from the script."""
    found: list[tuple[Any, ...]] = []
    episode = 0
    while len(found) < count:
        length, (terminated, truncated) = SCRIPTS[copy][episode % len(SCRIPTS[copy])]
        last = (copy, episode, 0, 0)
        for step in range(1, length + 1):
            action = 10 * copy + step
            ob = (copy, episode, step, action)
            over = step == length
            reward = copy + 0.1 * step + action
            found.append((last, action, reward, over and terminated, over and truncated, ob))
            last = ob
        episode += 1
    return found[:count]


def episodes(copy: int, steps: int) -> list[tuple[int, float, int]]:
    """Number of steps at its end, return and length of each episode that ends within ``steps``."""
    found, total, length = [], 0.0, 0
    for number, (_, _, reward, terminated, truncated, _) in enumerate(expected(copy, steps), 1):
        total, length = total + reward, length + 1
        if terminated or truncated:
            found.append((number, total, length))
            total, length = 0.0, 0
    return found
