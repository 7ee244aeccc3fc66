"""Environments and a loop about which verify-resume has to say something."""

from __future__ import annotations

import hashlib
import random
import time
from typing import Any

import gymnasium
import numpy as np

from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.runs.results import EpisodeResult


class Paying(gymnasium.Env[Any, Any]):
    """Episodes of ten steps that pay what `paid` says."""

    observation_space = gymnasium.spaces.Box(-10, 10, (1,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self.length = 0

    def paid(self) -> float:
        return float(self.np_random.random())

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.length = 0
        return np.zeros(1), {}

    def step(self, action: Any) -> Any:
        self.length += 1
        return np.zeros(1), self.paid(), self.length >= 10, False, {}


class Digesting(Paying):
    """Needs a digest of all that was, which is no data, after its first hundred steps."""

    def __init__(self) -> None:
        super().__init__()
        self.digest, self.all = hashlib.sha256(), 0

    def paid(self) -> float:
        self.all += 1
        self.digest.update(bytes([self.all % 256]))
        return float(self.digest.digest()[0]) if self.all > 100 else 0.0


class Unseeded(Paying):
    """The same seed does not give the same run."""

    def paid(self) -> float:
        return random.SystemRandom().random()


class Clocked(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Notes the time, as gymnasium's RecordEpisodeStatistics does."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.since = time.time()


class Forgetting(DefaultLoop):
    """Its evaluations follow from those before, which are in no checkpoint."""

    evaluations = 0

    def evaluate(self, seeds: Any = None) -> list[EpisodeResult]:
        self.evaluations += 1
        return [
            EpisodeResult(one.seed, one.episode_return + self.evaluations, one.length)
            for one in super().evaluate(seeds)
        ]


def register() -> None:
    """Put the environments into the registry, which tests clear."""
    for kind in (Paying, Digesting, Unseeded):
        if f"{kind.__name__}-v0" not in gymnasium.registry:
            gymnasium.register(f"{kind.__name__}-v0", kind)


register()
