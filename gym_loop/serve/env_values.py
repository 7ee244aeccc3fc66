"""Observations and actions of one environment as JSON, as gym-http-api and gymie write them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from gym_loop.errors import SampleError, SpaceError
from gym_loop.serve.served_env import ServedEnv
from gym_loop.wire import gym_http, gymie
from gym_loop.wire.json_values import Style
from gym_loop.wire.problems import EnvFailed, WrongAction
from gym_loop.wire.samples import decoder_for, encoder_for
from gym_loop.wire.spaces import space_to_json

_USUAL = [("start", 0), ("dtype", "float32")]  # what the protocols' first servers never said


class EnvValues:
    """Encodes observations and decodes actions.

    Args:
        env: it is made.
        style: how the protocol writes bounds.

    Raises:
        EnvFailed: a space of it is none of Gymnasium's.
    """

    def __init__(self, env: ServedEnv, style: Style) -> None:
        self._env = env
        self._style = style
        self._discrete = isinstance(env.action_space, spaces.Discrete)
        observed = env.observation_space
        self._is_integers = isinstance(observed, spaces.Box) and observed.dtype.kind in "iu"
        try:
            self._encode = encoder_for(env.observation_space, style)
            self._encode_action = encoder_for(env.action_space, style)
            self._decode = decoder_for(env.action_space)
        except SpaceError as error:
            raise EnvFailed(f"environment {env.env_id}: {error}") from None

    def observation(self, observation: Any) -> Any:
        """An observation as JSON-able data.

        Raises:
            EnvFailed: it is not in the observation space.
        """
        space = self._env.observation_space
        if self._is_integers and type(observation) is np.ndarray:  # no list of a picture
            fits = observation.shape == space.shape and observation.dtype == space.dtype
            if fits and observation.flags.c_contiguous:
                return gymie.integers(observation)
        try:
            return self._encode(observation)
        except SampleError as error:
            raise EnvFailed(
                f"environment {self._env.env_id} gave an observation that is not in its"
                f" observation space: {error}"
            ) from None

    def action(self, value: Any) -> Any:
        """An action from what a client sent.

        Raises:
            WrongAction: it is none of the action space.
        """
        # A Discrete action is the integer itself; the environment's bounds are checked later.
        if self._discrete and isinstance(value, int):  # both first servers stepped true and false
            return int(value)
        try:
            if _holds_no_numbers(value, self._env.action_space):
                raise SampleError("text and infinities are no numbers")
            action = self._decode(value)
        except SampleError as error:
            shown = gym_http.shown(value)
            raise WrongAction(f"action {shown} is not in the action space: {error}") from None
        return int(action) if self._discrete else action

    def sample(self) -> Any:
        """A random action as JSON-able data."""
        return self._encode_action(self._env.action_space.sample())

    def described(self, space: Any) -> dict[str, Any]:
        """A space's description, without what old clients take for granted."""
        info = space_to_json(space, style=self._style)
        return {key: value for key, value in info.items() if (key, value) not in _USUAL}


def _holds_no_numbers(value: Any, space: Any) -> bool:
    """Whether text or an infinity is where a space has numbers; `decoder_for` takes both."""
    if isinstance(space, spaces.Text):
        return False
    if isinstance(space, spaces.Dict) and isinstance(value, dict):
        parts = [(value[key], part) for key, part in space.spaces.items() if key in value]
    elif isinstance(space, spaces.Tuple) and isinstance(value, list):
        parts = list(zip(value, space.spaces, strict=False))
    elif isinstance(space, spaces.Sequence) and isinstance(value, list):
        parts = [(one, space.feature_space) for one in value]
    elif isinstance(space, spaces.OneOf) and isinstance(value, list) and len(value) == 2:
        index = value[0] if type(value[0]) is int else -1
        return 0 <= index < len(space.spaces) and _holds_no_numbers(value[1], space.spaces[index])
    else:
        return _holds_odd(value)
    return any(_holds_no_numbers(one, part) for one, part in parts)


def _holds_odd(value: Any) -> bool:
    if isinstance(value, (list, dict)):
        items = value.values() if isinstance(value, dict) else value
        return any(map(_holds_odd, items))
    return isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value))
