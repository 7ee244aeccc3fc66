"""An environment and an agent that write down every call, for tests that know every value."""

from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np

from gym_loop.agents import BaseAgent
from gym_loop.checkpoints.seeding import Seeds
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.runs.loggers.base import BaseLogger
from gym_loop.runs.metrics import Metrics
from gym_loop.runs.training_run import TrainingRun

STEP = (1.0, False, False)
TERMINATE = (1.0, True, False)
TRUNCATE = (1.0, False, True)
EPISODES = [
    [STEP, STEP, TERMINATE],
    [(2.0, False, False), (-0.5, False, True)],
]


class ScriptedEnv(gymnasium.Env):
    """Plays a list of episodes, each a list of ``(reward, terminated, truncated)``; then again.

    The observation is ``[episode, step]``, the info ``{"at": (episode, step)}``.
    """

    observation_space = gymnasium.spaces.Box(0, 1000, (2,), np.int64)
    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, episodes: list[list[tuple[float, bool, bool]]], journal: list[Any]) -> None:
        self.action_space = gymnasium.spaces.Discrete(1000)
        self.action_space.seed(0)
        self.episodes = episodes
        self.journal = journal
        self.episode, self.length = -1, 0

    def _ob(self) -> np.ndarray:
        return np.array([self.episode, self.length], np.int64)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.episode, self.length = self.episode + 1, 0
        self.journal.append(("reset", seed))
        return self._ob(), {"at": (self.episode, 0)}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward, terminated, truncated = self.episodes[self.episode % len(self.episodes)][
            self.length
        ]
        self.length += 1
        self.journal.append(("step", action))
        return self._ob(), reward, terminated, truncated, {"at": (self.episode, self.length)}


class JournalAgent(BaseAgent):
    """Acts 100, 101, 102, ... and notes what it is told."""

    def __init__(self, journal: list[Any], **params: Any) -> None:
        super().__init__(**params)
        self.journal = journal
        self.acts = 0

    def act(self, state: Any, episode_num: int) -> Any:
        self.journal.append(("act", tuple(state), episode_num))
        self.acts += 1
        return 99 + self.acts

    def observe(self, transition: Any) -> None:
        self.journal.append(("observe", transition))

    def update(self, episode_num: int) -> None:
        self.journal.append(("update", episode_num))

    def metrics(self, episode_num: int) -> dict[str, float]:
        return {"acts": self.acts}


def kinds(journal: list[Any]) -> list[str]:
    """The names of the calls, in order."""
    return [entry[0] for entry in journal]


def make_loop(
    episodes: Any = EPISODES, run: TrainingRun | None = None, **parameters: Any
) -> tuple[DefaultLoop, list[Any]]:
    """A loop that plays these episodes, and the journal of its agent and its environment."""
    journal: list[Any] = []
    agent = JournalAgent(journal, action_space=None)
    loop = DefaultLoop(agent, ScriptedEnv(episodes, journal), run, **parameters)
    return loop, journal


class ListLogger(BaseLogger):
    """Keeps what is logged."""

    def __init__(self, directory: Path, run_id: str, **parameters: Any) -> None:
        super().__init__(directory, run_id, **parameters)
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log(self, step: int, scalars: Any, seconds: float) -> None:
        self.rows.append((step, dict(scalars)))


def logged_run() -> tuple[TrainingRun, ListLogger]:
    """A run whose one logger keeps its rows."""
    logger = ListLogger(Path(), "run-1")
    return TrainingRun(Seeds(3), metrics=Metrics([logger], lambda text: None)), logger
