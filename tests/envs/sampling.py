"""An environment that samples its own spaces, registered as ``Opponent-v0``."""

import gymnasium as gym
import numpy as np


class Opponent(gym.Env):
    """An opponent that samples the environment's own action space, in the reset and in a step."""

    observation_space = gym.spaces.Box(0, 1, (1,))

    def __init__(self):
        self.action_space = gym.spaces.Box(-1, 1, (1,))
        self.place = 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.there(), {"action": self.action_space.sample()}

    def there(self):
        self.place = float(abs(np.sin(self.place + self.action_space.sample()[0])))
        return np.array([self.place], np.float32)

    def step(self, action):
        return self.there(), self.place, self.place > 0.97, False, {}


class Halved(gym.ActionWrapper):
    """Shows another action space than the one that is sampled below."""

    def __init__(self, env):
        super().__init__(env)
        self.action_space = gym.spaces.Box(-2, 2, (1,))

    def action(self, action):
        return action / 2


gym.register("Opponent-v0", Opponent)
