"""Run files and sweep files that the tests of sweeps share, and what their runs left."""

import json
from pathlib import Path
from typing import Any

from gym_loop.schema.yaml_file import write_yaml

# Its return in Flat-v0 is its parameter `skill`, less `spread` for every odd seed.
AGENT = """
import os, pathlib, signal, time
from gym_loop.agents import BaseAgent
class Skilled(BaseAgent):
    @staticmethod
    def get_default_parameters():
        return {"skill": 1.0, "spread": 0.0, "seconds": 0.0, "fate": "none", "size": 1}
    def __init__(self, **params):
        super().__init__(**params)
        self.updates = 0
    def act(self, state, episode_num):
        p = self.parameters
        return [p["skill"] + p["spread"] * (p["seed"] % 2)]
    def update(self, episode_num):
        self.updates += 1
        time.sleep(self.parameters["seconds"])
        fate = self.parameters["fate"]
        if fate == "raise" and self.updates == 3:
            raise ValueError("boom\\nand more")
        if fate == "kill" and self.updates == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if fate == "print" and self.updates == 3:
            print("threads", os.environ["OMP_NUM_THREADS"])
        if fate == "once" and self.updates == 3 and not pathlib.Path("tried").exists():
            pathlib.Path("tried").touch()
            raise ValueError("boom")
    def metrics(self, episode_num):
        return {"updates": self.updates}
    def state_dict(self):
        return {"updates": self.updates}
    def load_state_dict(self, state):
        self.updates = state["updates"]
"""
ENV = """
import gymnasium, numpy
class Flat(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 1, (1,), numpy.float32)
    action_space = gymnasium.spaces.Box(-1000, 1000, (1,), numpy.float32)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return numpy.zeros(1, numpy.float32), {}
    def step(self, action):
        self.steps += 1
        over = self.steps == 4
        return numpy.zeros(1, numpy.float32), float(action[0]) / 4, over, False, {}
gymnasium.register("Flat-v0", Flat)
"""
RUN: dict[str, Any] = {
    "agent": {"class": "agent.py:Skilled"},
    "env": {"name": "Flat-v0", "imports": ["flat.py"]},
    "loop": {"parameters": {"max_episodes": 9, "episodes_per_eval": 3, "eval_episodes": 2}},
}
SKILL = "agent.parameters.skill"


def write_files(sweep: dict[str, Any], run: dict[str, Any] | None = None) -> None:
    """``agent.py``, ``flat.py``, ``run.yaml`` and ``sweep.yaml`` in the working directory."""
    Path("agent.py").write_text(AGENT)
    Path("flat.py").write_text(ENV)
    Path("run.yaml").write_text(write_yaml(run or RUN))
    Path("sweep.yaml").write_text(write_yaml(sweep))


def manifest(run: str) -> dict[str, Any]:
    """What a run's ``manifest.json`` says."""
    return dict(json.loads(Path("logs", run, "manifest.json").read_text()))


def manifests() -> dict[str, dict[str, Any]]:
    """The same of every run, by its id."""
    return {
        path.parent.name: manifest(path.parent.name)
        for path in Path("logs").glob("*/manifest.json")
    }
