"""Environments behind servers of the old protocols, for the tests of them."""

import math
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from tests.serve.old_servers import old_gymie, old_http

IDS = {"http": "gym_loop/Http-v0", "websocket": "gym_loop/WebSocket-v0"}
OLD: dict[str, Any] = {"http": old_http, "websocket": old_gymie}
NOWHERE = {"http": "http://127.0.0.1:9", "websocket": "ws://127.0.0.1:9"}

Make = Callable[..., Any]


class Odd(gymnasium.Env):
    """Says what no JSON can: NaN, infinities, a box of its own shape."""

    observation_space = Box(-np.inf, np.inf, (2, 2), np.float32)
    action_space = Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.array([[np.nan, np.inf], [-np.inf, 0.5]], np.float32), {}

    def step(self, action: Any) -> Any:
        observation = np.full((2, 2), np.sum(action), np.float32)
        return observation, math.nan, False, False, {"bound": math.inf}
