"""An environment that is seen as a picture: catch the ball with the bat."""

import gymnasium
import numpy as np

SIZE = 12


class Catch(gymnasium.Env):
    """A ball falls from the top; the bat at the bottom moves left, stays, or moves right."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 12}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(0, 255, (1, SIZE, SIZE), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.row, self.column = 0, int(self.np_random.integers(SIZE))
        self.bat = SIZE // 2
        return self._picture(), {}

    def step(self, action):
        self.bat = min(max(self.bat + int(action) - 1, 0), SIZE - 1)
        self.row += 1
        landed = self.row == SIZE - 1
        reward = (1.0 if self.bat == self.column else -1.0) if landed else 0.0
        return self._picture(), reward, landed, False, {}

    def _picture(self):
        picture = np.zeros((1, SIZE, SIZE), np.uint8)
        picture[0, self.row, self.column] = 255
        picture[0, SIZE - 1, self.bat] = 255
        return picture

    def render(self):
        return np.repeat(self._picture()[0].repeat(16, 0).repeat(16, 1)[..., None], 3, 2)


gymnasium.register("Catch-v0", entry_point=Catch)
