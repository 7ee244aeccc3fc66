"""A run whose every step is counted, and the page on which its agent is seen at play."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium

import gym_loop
from gym_loop.watch.server import watch

# An environment whose every step is counted, and an agent that acts what it has learnt.
ENV = """
import gymnasium, numpy as np
from gymnasium.spaces import Box, Discrete
STEPS = []
class World(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 60}
    observation_space = Box(-9, 9, (1,), np.float32)
    action_space = Discrete(100)
    def __init__(self, render_mode=None, last=5, fail=0):
        self.render_mode, self.last, self.fail, self.count = render_mode, last, fail, 0
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), {}
    def step(self, action):
        STEPS.append(int(action))
        self.count += 1
        if self.fail and len(STEPS) > self.fail:
            raise RuntimeError("the wheel came off")
        return np.ones(1, np.float32), 2.0, self.count >= self.last, False, {}
    def render(self):
        return np.full((20, 30, 3), 10 * (self.count % 25), np.uint8)
class Blind(World):
    metadata = {"render_modes": []}
gymnasium.register("World-v0", entry_point=World)
gymnasium.register("Blind-v0", entry_point=Blind)
"""
AGENT = """
import numpy as np
from gym_loop.agents import BaseAgent
class Learner(BaseAgent):
    supports_batch = True
    def __init__(self, **params):
        super().__init__(**params)
        self.learnt = 0
    def act(self, state, episode_num):
        assert not self.training or self.learnt < 50
        rows = np.ndim(state) == 2
        return np.full(len(state), self.learnt) if rows else self.learnt
    def update(self, episode_num):
        self.learnt = min(self.learnt + 1, 40)
"""
RUN: dict[str, Any] = {
    "agent": {"class": "agent.py:Learner"},
    "env": {"name": "World-v0", "imports": ["world.py"]},
    "loop": {"parameters": {"max_episodes": 2, "steps_per_checkpoint": None}},
    "seed": 3,
}


def write(directory: Path) -> None:
    """Leave the files of the run in a directory."""
    (directory / "world.py").write_text(ENV)
    (directory / "agent.py").write_text(AGENT)
    (directory / "run.yaml").write_text(json.dumps(RUN))


def train(**options: Any) -> str:
    return gym_loop.train("run.yaml", **options).run


@contextmanager
def watching(**options: Any) -> Iterator[str]:
    """The address of the page for as long as the block."""
    addresses: list[str] = []
    failed: list[BaseException] = []
    listens, stop = threading.Event(), threading.Event()

    def ready(run: str, address: str) -> None:
        addresses.append(address)
        listens.set()

    def work() -> None:
        try:
            watch("run.yaml", port=0, ready=ready, stop=stop, **options)
        except BaseException as error:  # noqa: BLE001 - the test raises it
            failed.append(error)
        listens.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert listens.wait(30)
        if addresses:
            yield addresses[0]
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
        if failed:
            raise failed[0]


def steps_made() -> list[int]:
    registry = gymnasium.registry
    return sys.modules[registry["World-v0"].entry_point.__module__].STEPS
