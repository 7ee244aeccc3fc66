"""The environment that is watched: every reset and step passes its watcher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import gymnasium
import numpy as np

from gym_loop.wire.pictures import JpegEncoder, as_rgb

_SHOWN = 12  # parts of an action


class Watcher(Protocol):
    """Who is told of an environment's steps."""

    def begin(self) -> None:
        """After every reset."""

    def wait(self) -> None:
        """Before every step; may take its time, and may raise."""

    def step(self, action: Any, reward: float, over: bool) -> None:
        """After every step."""


class WatchedEnv(gymnasium.Wrapper):  # type: ignore[misc]
    """An environment of which somebody is told.

    Args:
        env: the environment.
        watcher: who is told.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], watcher: Watcher) -> None:
        super().__init__(env)
        self._watcher = watcher
        self._encoder = JpegEncoder()

    def reset(self, **named: Any) -> Any:
        """Begin an episode."""
        result = self.env.reset(**named)
        self._watcher.begin()
        return result

    def step(self, action: Any) -> Any:
        """Take a step, when the watcher lets it."""
        self._watcher.wait()
        result = self.env.step(action)
        self._watcher.step(action, float(result[1]), bool(result[2] or result[3]))
        return result

    def picture(self) -> bytes:
        """The environment as a JPEG file.

        Raises:
            ValueError: what it renders is no frame.
        """
        return self._encoder.encode(as_rgb(self.env.render()))


def action_reader(env: gymnasium.Env[Any, Any]) -> Callable[[Any], Any]:
    """What makes an environment's actions readable: short plain data, or the action's name."""
    ask = getattr(env.unwrapped, "get_action_meanings", None)
    names = list(ask()) if callable(ask) else []

    def read(action: Any) -> Any:
        if isinstance(action, (int, np.integer)):
            number = int(action)
            return f"{number} {names[number]}" if 0 <= number < len(names) else number
        if isinstance(action, np.ndarray) and action.dtype.kind in "biuf":
            if action.ndim == 0:
                return read(action.item())
            return [round(float(one), 3) for one in action.reshape(-1)[:_SHOWN]]
        return None if action is None else f"{action}"[:120]

    return read
