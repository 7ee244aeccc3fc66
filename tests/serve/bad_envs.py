"""Environments that misbehave in every way, for a server that must live on."""

import asyncio
import threading
import time
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

RELEASE = threading.Event()  # lets hanging environments go, at the end of a test


class Scripted(gym.Env[Any, Any]):
    """A well-behaved counter: ten steps an episode."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    observation_space = Box(-np.inf, np.inf, (1,), np.float64)
    action_space = Discrete(2)

    def __init__(self) -> None:
        self.count = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1), {"options": options}

    def step(self, action: Any) -> Any:
        self.count += 1
        return np.array([float(self.count)]), 1.0, self.count >= 10, False, {}


class Raising(Scripted):
    """Raises in its third step."""

    def step(self, action: Any) -> Any:
        if self.count == 2:
            raise ZeroDivisionError("the third step always fails")
        return super().step(action)


class Exiting(Scripted):
    """Tries to end the process."""

    def step(self, action: Any) -> Any:
        raise SystemExit(3)


class Interrupting(Scripted):
    """Raises what Ctrl-C raises."""

    def step(self, action: Any) -> Any:
        raise KeyboardInterrupt


class Cancelling(Scripted):
    """Raises what ends a task of an event loop."""

    def step(self, action: Any) -> Any:
        raise asyncio.CancelledError


class RaisingReset(Scripted):
    """Cannot be reset."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        raise ValueError("no way to begin")


class RaisingClose(Scripted):
    """Cannot be closed."""

    def close(self) -> None:
        raise OSError("the door is stuck")


class Unmakeable(Scripted):
    """Fails in its constructor."""

    def __init__(self) -> None:
        raise RuntimeError("the engine is missing")


class Nonsense(Scripted):
    """Returns the next thing of a list of wrong things."""

    WRONG: tuple[Any, ...] = (
        None,
        1,
        (np.zeros(1), 1.0, False, {}),
        (np.zeros(1), "much", False, False, {}),
        (np.zeros(1), None, False, False, {}),
        (np.zeros(1), 1.0, False, False, None),
        (np.zeros(1), np.zeros(2), False, False, {}),
    )

    def step(self, action: Any) -> Any:
        self.count += 1
        return self.WRONG[(self.count - 1) % len(self.WRONG)]


class NonsenseReset(Scripted):
    """Returns only the observation, as Gym did once."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(3)


class UnspeakableObservation(Scripted):
    """Observes an object that no codec knows."""

    def step(self, action: Any) -> Any:
        return object(), 1.0, False, False, {"what": object()}


class NotFinite(Scripted):
    """Observes and rewards with NaN and infinities."""

    def step(self, action: Any) -> Any:
        observation, _, terminated, truncated, _ = super().step(action)
        observation[0] = (np.nan, np.inf, -np.inf)[self.count % 3]
        info = {"worst": float("inf"), "none": float("nan"), "array": np.array([np.nan, 1.0])}
        return observation, float("nan"), terminated, truncated, info


class Slow(Scripted):
    """Every step takes as long as it says."""

    SECONDS = 0.5

    def step(self, action: Any) -> Any:
        time.sleep(self.SECONDS)
        return super().step(action)


class Busy(Scripted):
    """Every step computes for half a second, and never lets go of the interpreter."""

    SECONDS = 0.5

    def step(self, action: Any) -> Any:
        end = time.perf_counter() + self.SECONDS
        while time.perf_counter() < end:
            pass
        return super().step(action)


class BecomingSlow(Scripted):
    """Quick at first; from the fiftieth step on, slow."""

    def step(self, action: Any) -> Any:
        if self.count >= 50:
            time.sleep(0.05)
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, False, truncated, info


class Hanging(Scripted):
    """Its second step never ends, until the test ends it."""

    def step(self, action: Any) -> Any:
        if self.count == 1:
            RELEASE.wait()
        return super().step(action)


class HangingClose(Scripted):
    """Never closes, until the test ends it."""

    def close(self) -> None:
        RELEASE.wait()


BAD = (
    Scripted,
    Raising,
    Exiting,
    Interrupting,
    Cancelling,
    RaisingReset,
    RaisingClose,
    Unmakeable,
    Nonsense,
    NonsenseReset,
    UnspeakableObservation,
    NotFinite,
    Slow,
    Busy,
    BecomingSlow,
    Hanging,
    HangingClose,
)


def register() -> None:
    """Put all of them into the registry, as ``Raising-v0`` and so on."""
    for cls in BAD:
        gym.register(f"{cls.__name__}-v0", entry_point=cls, disable_env_checker=True)
