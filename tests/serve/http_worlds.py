"""Environments whose every number is known, for tests of the servers."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces


class Counter(gymnasium.Env[Any, Any]):
    """Observes [steps, last action], at first [0, seed]; ends after three steps."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode: str | None = None, last: int = 3) -> None:
        self.render_mode, self.last, self.count = render_mode, last, 0
        low, high = np.array([-np.inf, 0.0]), np.array([np.inf, 5.0])
        self.observation_space = spaces.Box(low.astype("f"), high.astype("f"), dtype=np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return np.array([0, seed or 0], np.float32), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        observation = np.array([self.count, action], np.float32)
        return observation, 1, self.count == self.last, False, {"count": np.int64(self.count)}

    def render(self) -> Any:
        return np.full((32, 32, 3), self.count, np.uint8)


class Odd(gymnasium.Env[Any, Any]):
    """Whatever JSON has no word for: a tuple, NaN, infinity, NumPy's values, no action at all."""

    observation_space = spaces.Tuple(
        [spaces.Discrete(5), spaces.Box(-np.inf, np.inf, (2,), np.float32)]
    )
    action_space = spaces.Box(-1, 1, (0,), np.float32)
    seen = np.array([np.nan, np.inf], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return (np.int64(3), self.seen), {}

    def step(self, action: Any) -> Any:
        info = {"array": np.array([1, 2]), "nan": float("nan"), "scalar": np.float32(1.5)}
        return (np.int64(3), self.seen), np.float64("nan"), False, False, info


class Faulty(gymnasium.Env[Any, Any]):
    """Raises on action 0, and observes what is not in its space on action 1."""

    observation_space = spaces.Box(0, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)
    closed = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        if action == 0:
            raise RuntimeError("the motor is broken")
        return np.zeros(3, np.float32), 0.0, False, False, {}

    def close(self) -> None:
        Faulty.closed += 1


class Unheard(spaces.Space[Any]):
    """A space of nobody else's."""


class Strange(Counter):
    """Its action space cannot be sent."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.action_space = Unheard()


def register() -> None:
    """Register all of them."""
    for name, world, more in [
        ("Counter-v0", Counter, {}),
        ("Limited-v0", Counter, {"max_episode_steps": 2}),
        ("Odd-v0", Odd, {}),
        ("Faulty-v0", Faulty, {}),
        ("Strange-v0", Strange, {}),
    ]:
        gymnasium.register(name, entry_point=world, disable_env_checker=True, **more)
