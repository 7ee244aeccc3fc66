"""A wrapper: observations as a bad sensor shows them."""

import gymnasium
import numpy as np


class Noise(gymnasium.ObservationWrapper):
    """Adds normal noise to every number of an observation."""

    def __init__(self, env, scale=0.1):
        super().__init__(env)
        self.scale = scale

    def observation(self, observation):
        # The environment's own generator: it is seeded, and saved in every checkpoint.
        noise = self.unwrapped.np_random.normal(size=observation.shape)
        return (observation + self.scale * noise).astype(np.float32)
