import random

import gymnasium
import numpy as np


class Drift(gymnasium.Env):
    """Stay near zero in a wind; the wind is a Python generator, which is no data."""

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.place = 0.0
        self.wind = wind()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0.0
        return self.observe(), {}

    def step(self, action):
        self.place += (0.5 if action == 1 else -0.5) + next(self.wind)
        gone = abs(self.place) > 5.0
        return self.observe(), 1.0, gone, False, {}

    def observe(self):
        return np.array([self.place], np.float32)


def wind():
    while True:
        yield random.uniform(-0.4, 0.4)


class SaveableDrift(Drift):
    """The same, which says what its state is."""

    def get_state(self):
        return {"place": self.place}

    def set_state(self, state):
        self.place = state["place"]


gymnasium.register("Drift-v0", entry_point=Drift, max_episode_steps=200)
gymnasium.register("SaveableDrift-v0", entry_point=SaveableDrift, max_episode_steps=200)
