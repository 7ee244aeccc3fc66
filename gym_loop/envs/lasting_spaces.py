"""Spaces that are the same objects at each access, whatever the environment does."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv, VectorWrapper

_SPACES = (
    *("action_space", "observation_space"),
    *("single_action_space", "single_observation_space"),
)


def with_lasting_spaces(env: Any) -> Any:
    """The environment, whose spaces are the same objects at each access.

    One that a property makes anew, or a reset, would be sampled by nobody's seed.
    """
    for name in _SPACES:
        space = getattr(env, name, None)
        if space is None:
            continue
        lasts = getattr(env, name) is space
        if lasts and not isinstance(env, (gym.Wrapper, VectorWrapper)):
            continue
        try:
            setattr(env, name, space)
        except AttributeError:  # a property that cannot be set
            if not lasts:
                env = VectorWrapper(env) if isinstance(env, VectorEnv) else gym.Wrapper(env)
                setattr(env, name, space)
    return env
