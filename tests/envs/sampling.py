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


class Renewing(gym.Env):
    """Makes its action space anew in each reset, and samples it: highway-env does."""

    observation_space = gym.spaces.Box(0, 30, (1,))

    def __init__(self):
        self.action_space = gym.spaces.Discrete(100)
        self.count = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.action_space = gym.spaces.Discrete(100)
        self.count = 0
        return np.zeros(1, np.float32), {"action": self.action_space.sample(), "count": 0}

    def step(self, action):
        self.count += 1
        info = {"action": action, "count": self.count}
        return np.full(1, self.count, np.float32), float(action), self.count == 9, False, info


gym.register("Renewing-v0", Renewing)
