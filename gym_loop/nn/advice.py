"""What to change where an agent cannot use the spaces of an environment; each piece works."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatten_space

from gym_loop.errors import SpaceError

_OWN = "name a wrapper of your own in the run file (env.wrappers: [{class: my_wrappers.py:Mine}])"


def observation_advice(space: Any, is_usable: Callable[[Any], bool]) -> str:
    """How the observations of an environment become some that a network can learn from.

    Args:
        space: of the whole observations.
        is_usable: whether a network can learn from a space.
    """
    own = f"{_OWN}, a gymnasium.ObservationWrapper that makes a Box of them"
    if isinstance(space, spaces.Dict):
        usable = [str(key) for key, part in space.spaces.items() if is_usable(part)]
        if usable:
            keys = ", ".join(map(repr, usable))
            return (
                "leave that part out with a wrapper in the run file (env.wrappers: [{class:"
                " gymnasium.wrappers:FilterObservation, parameters: {filter_keys: "
                f"[{keys}]}}}}]); or {own}"
            )
    try:
        flat = flatten_space(space)
    except (NotImplementedError, ValueError):  # a kind that Gymnasium can't flatten
        return own
    if isinstance(flat, spaces.Box) and math.prod(flat.shape):
        return (
            "flatten them with a wrapper in the run file (env.wrappers:"
            f" [{{class: gymnasium.wrappers:FlattenObservation}}]); or {own}"
        )
    return own


def action_advice(space: Any, *, refused_by: str) -> str:
    """Which of our agents take an action space; else how it becomes one that they take."""
    agents = [name for name in _agents_for(space) if name != refused_by]
    if agents:
        names = " or ".join(f"gym_loop.agents.{name.lower()}:{name}" for name in agents)
        return f"use another agent, {names}"
    return f"{_OWN}, a gymnasium.wrappers.TransformAction with such an action_space"


def _agents_for(space: Any) -> list[str]:
    if isinstance(space, spaces.Discrete):
        return ["PPO", "DQN"]
    if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)):
        return ["PPO"]
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        return []
    return ["PPO", "SAC", "TD3"] if space.is_bounded() else ["PPO"]


def cannot_act(agent: str, space: Any, needs: str) -> SpaceError:
    """The error of an agent for an action space that it does not take."""
    advice = action_advice(space, refused_by=agent)
    return SpaceError(f"{agent} cannot act in {space}: it needs {needs}; {advice}")
