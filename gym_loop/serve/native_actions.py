"""Actions from the wire: right in kind and shape before an environment sees them.

The bounds of a Box are left to the environment, as they are where it runs without a wire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from gym_loop.wire.json_values import short
from gym_loop.wire.problems import WrongAction

Check = Callable[[Any], Any]  # gives the action as the environment gets it; raises WrongAction


def action_check(space: Any) -> Check:
    """The check of the actions of a space.

    A list stands for an array, as a client without arrays writes it.
    """
    if isinstance(space, spaces.Box):
        return _box(space)
    if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)):
        return _integers(space)
    if isinstance(space, spaces.Dict):
        return _dict(space)
    if isinstance(space, spaces.Tuple):
        return _tuple(space)

    def check(action: Any) -> Any:
        try:
            good = space.contains(action)
        except Exception:  # noqa: BLE001 - of any value, a space may only say yes or no
            good = False
        if not good:
            raise _wrong(action, space)
        return action

    return check


def _wrong(action: Any, space: Any) -> WrongAction:
    return WrongAction(f"action {short(action)} is not in {short(space)}")


def _array(action: Any, space: Any) -> Any:
    """An action as an array of the space's shape."""
    if type(action) is list:
        try:
            action = np.array(action, space.dtype)
        except (TypeError, ValueError, OverflowError):
            raise _wrong(action, space) from None
    if type(action) is not np.ndarray or action.shape != space.shape:
        raise _wrong(action, space)
    return action


def _box(space: spaces.Box) -> Check:
    dtype = space.dtype

    def check(action: Any) -> Any:
        action = _array(action, space)
        if action.dtype != dtype and not np.can_cast(action.dtype, dtype, "same_kind"):
            raise _wrong(action, space)
        return action

    return check


def _integers(space: Any) -> Check:
    least = getattr(space, "start", np.zeros(space.shape, np.int64))
    most = (space.nvec if isinstance(space, spaces.MultiDiscrete) else 2) + least
    # One bound for all, from 0 on, as the copies of a Discrete have it.
    bound = int(np.max(most)) if not np.any(least) and np.ptp(most) == 0 else None

    def check(action: Any) -> Any:
        action = _array(action, space)
        if bound is not None and action.dtype == np.int64 and action.flags.c_contiguous:
            good = int(action.view(np.uint64).max(initial=0)) < bound  # a negative one is huge
        else:
            kind = action.dtype.kind in "iu" or space.dtype.kind == action.dtype.kind
            good = kind and bool(((action >= least) & (action < most)).all())
        if not good:
            raise _wrong(action, space)
        return action

    return check


def _dict(space: spaces.Dict) -> Check:
    checks = {key: action_check(part) for key, part in space.spaces.items()}

    def check(action: Any) -> Any:
        if type(action) is not dict or action.keys() != checks.keys():
            raise _wrong(action, space)
        return {key: one(action[key]) for key, one in checks.items()}

    return check


def _tuple(space: spaces.Tuple) -> Check:
    checks = [action_check(part) for part in space.spaces]

    def check(action: Any) -> Any:
        if type(action) not in (tuple, list) or len(action) != len(checks):
            raise _wrong(action, space)
        return tuple(one(part) for one, part in zip(checks, action, strict=True))

    return check
