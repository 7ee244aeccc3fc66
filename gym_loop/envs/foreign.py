"""Environments of the old Gym, and of PettingZoo: what to change, in one sentence."""

from __future__ import annotations

import os
import traceback
from typing import Any

import gymnasium

_RESET = (
    "its reset() must be reset(self, *, seed=None, options=None) and return (observation, info),"
    " as Gymnasium calls it"
)
_STEP = "its step() must return (observation, reward, terminated, truncated, info)"
# Where those who call an environment are: Gymnasium, and this package.
_CALLERS = (os.path.dirname(gymnasium.__file__), os.path.dirname(os.path.dirname(__file__)))


def explained_call(error: BaseException) -> str:
    """What a reset() or a step() has to become, where Gymnasium's way to call it failed; or ""."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not frames[-1].filename.startswith(_CALLERS):
        return ""  # a mistake in the environment's own code
    text = f"{error}"
    if isinstance(error, TypeError) and "reset() got an unexpected keyword argument" in text:
        return f"the environment is of the old Gym: {_RESET}"
    if isinstance(error, (TypeError, ValueError)) and "unpack" in text:
        if "(expected 5" in text:
            return f"the environment is of the old Gym: {_STEP}"
        called = frames[-1].line or ""
        return f"the environment is of the old Gym: {_RESET if 'reset' in called else _STEP}"
    if isinstance(error, AttributeError) and "env_info." in (frames[-1].line or ""):
        return f"the environment is of the old Gym: {_RESET}"
    if isinstance(error, AssertionError) and "Expects step result to be a tuple" in text:
        return f"the environment answers a step with something else: {_STEP}"
    return ""


def explained_reset(info: Any) -> str:
    """What is wrong with the second part of what reset() returned; or ""."""
    return "" if isinstance(info, dict) else f"the environment is of the old Gym: {_RESET}"


def explained_kind(env: Any) -> str:
    """What an object is that is no `gymnasium.Env`, and what to do about it; or ""."""
    if isinstance(env, gymnasium.Env) or not hasattr(env, "possible_agents"):
        return ""
    kind = "AEC" if hasattr(env, "agent_iter") else "parallel"
    return (
        f"it is a PettingZoo environment ({kind}) of many agents, and gym-loop trains one: write a"
        " gymnasium.Env around it in which the other agents act by themselves"
    )


def refused_object(error: BaseException) -> Any:
    """The object that Gymnasium refused to take as an environment; None if it was another error."""
    if not isinstance(error, TypeError) or "must inherit from" not in str(error):
        return None
    here = error.__traceback__
    while here is not None and here.tb_next is not None:
        here = here.tb_next
    return here.tb_frame.f_locals.get("env") if here is not None else None
