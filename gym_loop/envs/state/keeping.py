"""From an environment of any kind to the keeper of its state."""

from __future__ import annotations

import re
from typing import Any

from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from gym_loop.envs.shards import ShardsEnv
from gym_loop.envs.state.layers import layers_of
from gym_loop.envs.state.single_state import METHODS, RESTART, EnvState, SingleState, methods_for
from gym_loop.envs.state.vector_state import AsyncState, SyncState, async_methods
from gym_loop.errors import StateError

ELSEWHERE = (AsyncVectorEnv, ShardsEnv)  # their copies are in other processes


def keep_state(env: Any, method: str | None = None) -> EnvState:
    """Make the keeper of an environment's state, before the environment is first reset.

    Args:
        env: a `gymnasium.Env`, or a `VectorEnv` of any kind, with all its wrappers.
        method: as in a `Verdict`; None takes the first that fits, unproved.

    Raises:
        StateError: there is no such method, or it cannot be used here.
    """
    if method is None:
        method = candidates(env)[0]
    name = copies_method(method)
    if name not in METHODS:
        raise StateError(
            f"{method!r} is no way to keep an environment's state; use {list(METHODS)}"
        )
    core = layers_of(env)[-1]
    if isinstance(core, ELSEWHERE):
        return AsyncState(env, name)
    if isinstance(core, SyncVectorEnv):
        return SyncState(env, name)
    return SingleState(env, name)


def candidates(env: Any) -> list[str]:
    """The methods that can be tried on an environment, best first; ``restart`` is the last."""
    core = layers_of(env)[-1]
    elsewhere = bool(kept_elsewhere(env))
    if isinstance(core, ELSEWHERE):
        methods = [] if elsewhere else async_methods(env)
        return [f"async[{name}]" for name in [*methods, RESTART]]
    if isinstance(core, SyncVectorEnv):
        methods = [] if elsewhere else methods_for(core.envs[0])
        return [f"sync[{name}]" for name in [*methods, RESTART]]
    return [*([] if elsewhere else methods_for(env)), RESTART]


def kept_elsewhere(env: Any) -> str:
    """Why nothing on this side of a wire can bring an environment back; empty if something may.

    Such an environment says so itself, in ``state_elsewhere``: a replay into another copy
    might agree for the length of a proof, and yet follow from what only the server remembers.
    """
    core = layers_of(env)[-1]
    if isinstance(core, ELSEWHERE):
        # A worker that is asked for an attribute that it lacks is shut down.
        if not all(core.call("has_wrapper_attr", "state_elsewhere")):
            return ""
        return str(core.call("get_wrapper_attr", "state_elsewhere")[0])
    if isinstance(core, SyncVectorEnv):
        core = layers_of(core.envs[0])[-1]
    return str(getattr(core, "state_elsewhere", ""))


def copies_method(method: str) -> str:
    """The method of the copies in ``sync[own]`` or ``async[own]``; ``own`` itself otherwise."""
    match = re.fullmatch(r"(?:sync|async)\[(\w+)\]", method)
    return match[1] if match else method
