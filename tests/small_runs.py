"""A run file of six short episodes, agents for it, and what its runs leave behind."""

import csv
from pathlib import Path
from typing import Any

from gym_loop.runs.manifest import read_manifest

RUN = """\
agent: {class: "agents.py:Wobbly"}
env: {name: CartPole-v1}
loop: {parameters: {max_episodes: 6, episodes_per_checkpoint: 2, eval_episodes: 3}}
seed: 11
"""
AGENTS = """
import random
import numpy as np
from gym_loop.agents import BaseAgent
from gym_loop.errors import SpaceError

class Wobbly(BaseAgent):
    "Draws from every random stream, so that a stream that is not seeded shows."
    @staticmethod
    def get_default_parameters():
        return {"spread": 0.1}
    def __init__(self, **params):
        super().__init__(**params)
        self.calls = {"memorize": 0, "update": 0}
        self.weights = self.rng.normal(size=4)
    def act(self, state, episode_num):
        noise = random.random() + np.random.rand() + self.rng.random() - 1.5
        noise += 0.01 * self.parameters["action_space"].sample()
        return int(self.weights @ state + (noise if self.training else 0) > 0)
    def memorize(self, last_ob, action, reward, done, ob):
        self.calls["memorize"] += 1
    def update(self, episode_num):
        self.calls["update"] += 1
        self.weights += self.parameters["spread"] * self.rng.normal(size=4)
    def metrics(self, episode_num):
        return {"weight": self.weights[0]}

class Classic(BaseAgent):
    "Exactly the five methods of the contract."
    @staticmethod
    def get_default_parameters():
        return {"rate": 1}
    def act(self, state, episode_num):
        return self.parameters["action_space"].sample()
    def memorize(self, last_ob, action, reward, done, ob):
        self.last = (last_ob, action, reward, done, ob)
    def update(self, episode_num):
        assert self.last[3] in (True, False)
    def __init__(self, **params):
        super().__init__()
        self.parameters = self.get_default_parameters()
        self.parameters.update(params)

class Failing(Wobbly):
    def update(self, episode_num):
        super().update(episode_num)
        if self.calls["update"] == 30:
            raise KeyError("on purpose")

class Refusing(Wobbly):
    def act(self, state, episode_num):
        if episode_num == 1:
            raise SpaceError("this observation is beyond me")
        return super().act(state, episode_num)

class Tuples(Classic):
    @staticmethod
    def get_default_parameters():
        return {"layers": (64, 64), "rate": np.float64(0.5)}

class UnsaveableLater(Wobbly):
    def update(self, episode_num):
        super().update(episode_num)
        if self.calls["update"] == 30:
            self.log = open(__file__)
            self.log.close()

class Late(Wobbly):
    "Its state_dict works from the first step on."
    def act(self, state, episode_num):
        self.net = 1.0
        return super().act(state, episode_num)
    def state_dict(self):
        return {"net": self.net}

class Unsaveable(Failing):
    def __init__(self, **params):
        super().__init__(**params)
        self.file = open(__file__)
        self.file.close()
"""
TIMES = ("seconds", "train/steps_per_second")


def write_files(directory: Path) -> None:
    """Write both."""
    (directory / "agents.py").write_text(AGENTS)
    (directory / "run.yaml").write_text(RUN)


def rows(run: str) -> list[dict[str, str]]:
    """The rows of a run's metrics.csv, without what is time."""
    with open(f"logs/{run}/metrics.csv", newline="") as file:
        return [
            {name: value for name, value in row.items() if name not in TIMES}
            for row in csv.DictReader(file)
        ]


def manifest(run: str) -> dict[str, Any]:
    return read_manifest(Path(f"logs/{run}/manifest.json"))


def checkpoints(run: str) -> list[str]:
    return sorted(path.name for path in Path(f"checkpoints/{run}").glob("step-*"))
