"""What the step of an environment returns, as a loop needs it."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from gym_loop.errors import EnvError

# Of an environment that is watched for memory that it writes to again: at least so many steps and
# a second reset, at most so many steps, and among so many arrays it may change.
FIRST_STEPS, MOST_STEPS, BUFFERS = 64, 1024, 8
_RETURN = "return (observation, reward, terminated, truncated, info)"


def as_reward(reward: Any) -> float:
    """A reward as a number; of an array with one element, that element.

    Raises:
        EnvError: it is no number.
    """
    value = reward.item() if isinstance(reward, np.ndarray) and reward.size == 1 else reward
    if not isinstance(value, (str, bytes, complex, np.complexfloating)):
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):  # a RuntimeError of torch
            pass
    if isinstance(reward, (list, tuple, dict)) or np.ndim(reward):
        remedy = (
            "where it has one for each objective or each agent, let a wrapper in env.wrappers make"
            " one number of them, as mo_gymnasium.wrappers:LinearReward does of objectives"
        )
    else:
        remedy = f"{_RETURN} with one number as the reward"
    raise EnvError(
        f"the environment's step() gave the reward {_shown(reward)}, which is no number; {remedy}"
    )


def as_flags(terminated: Any, truncated: Any) -> tuple[Any, Any]:
    """Flags as bools (NumPy's stay such); of arrays and lists with one element, that element.

    Raises:
        EnvError: one is neither true nor false.
    """
    return _as_flag(terminated, "terminated"), _as_flag(truncated, "truncated")


def _as_flag(flag: Any, name: str) -> Any:
    if isinstance(flag, (bool, np.bool_)):
        return flag
    try:
        array = np.asarray(flag)
    except (TypeError, ValueError, RuntimeError):
        array = np.zeros(0)
    if array.size == 1 and array.dtype.kind in "biuf":
        return bool(array.item())
    raise EnvError(
        f"the environment's step() gave {name} = {_shown(flag)}, which is neither true nor false;"
        f" {_RETURN} with one bool for each flag"
    )


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


# -- observations that an environment writes to again ------------------------------------------


def own_copy(observation: Any) -> Any:
    """A copy of an observation; parts that are no arrays, tensors or containers stay the same."""
    if isinstance(observation, np.ndarray):
        return observation.copy()
    if isinstance(observation, dict):
        own = copy.copy(observation)  # an OrderedDict stays one
        own.update({key: own_copy(part) for key, part in observation.items()})
        return own
    if isinstance(observation, (tuple, list)):
        parts = [own_copy(part) for part in observation]
        kind: Any = type(observation)
        return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
    clone = getattr(observation, "clone", None)
    return clone() if callable(clone) else observation


def share_memory(one: Any, other: Any) -> bool:
    """Whether writing to one observation may change the other."""
    if one is other and isinstance(one, (np.ndarray, dict, list)):
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return any(share_memory(one[key], other[key]) for key in one.keys() & other.keys())
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return any(map(share_memory, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        same_owner = one.base is not None and one.base is other.base
        return same_owner or np.may_share_memory(one, other)
    is_tensor = all(hasattr(part, "data_ptr") for part in (one, other))
    return is_tensor and one.data_ptr() == other.data_ptr()


class OwnObservations:
    """Copies observations that the environment writes to again, so that nothing else is copied.

    An environment may return the same array at every step, or change among a few. Its first
    episode shows whether it does; meanwhile everything is copied.

    Attributes:
        needed: False once it is known that no memory is shared: observations may be taken as they
            are.
    """

    def __init__(self) -> None:
        self.needed = True
        self._steps, self._resets = 0, 0
        self._shared = False
        self._latest: deque[Any] = deque(maxlen=BUFFERS)
        self._first: Any = None  # what the latest reset returned

    def first(self, observation: Any) -> Any:
        """A copy of what a reset returned: steps may write to it, and later resets."""
        if not self.needed:
            return observation
        self._resets += 1
        self._look_at(observation)
        self._first = observation if self.needed else None
        return own_copy(observation)

    def own(self, observation: Any) -> Any:
        """A copy of what a step returned."""
        if not self.needed:
            return observation
        self._steps += 1
        self._look_at(observation)
        return own_copy(observation)

    def _look_at(self, observation: Any) -> None:
        if not self._shared:
            known = (*self._latest, self._first)
            self._shared = any(share_memory(observation, one) for one in known)
            self._latest.append(observation)
        enough = FIRST_STEPS if self._resets > 1 else MOST_STEPS
        if self._shared or self._steps >= enough:
            self.needed, self._first = self._shared, None
            self._latest.clear()

    def around(self, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """An environment's step, whose observations go through `own`."""

        def owning(action: Any) -> Any:
            observation, *rest = step(action)
            return (self.own(observation), *rest)

        return owning


class WatchedCopy(gymnasium.Wrapper):  # type: ignore[misc]
    """One of many copies, whose vector environment neither copies nor checks what it returns.

    A vector environment that resets a copy at the end of an episode keeps the last observation as
    it is, and a copy that writes to the same array again changes it. Once the first steps have
    shown that nothing of the kind happens, the copy's own step is called without this one.
    """

    not_state = ("step", "_own", "_odd")

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._own = OwnObservations()
        self._odd = False  # rewards or flags are arrays

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the copy."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._own.first(observation), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the copy, with numbers and flags that are such."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        own, number = self._own.own(observation), as_reward(reward)
        flags = as_flags(terminated, truncated)
        self._odd |= any(np.ndim(one) > 0 for one in (reward, terminated, truncated))
        if not self._own.needed and not self._odd:
            self.step = self.env.step  # type: ignore[method-assign]
        return (own, number, *flags, info)
