"""What the WebSocket server keeps with a session: its environment as this protocol sees it.

Every method runs where the session's environment runs, and gives bytes that are ready to be sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from gym_loop.envs.making import describe
from gym_loop.errors import SampleError, SpaceError
from gym_loop.serve.sessions import Session
from gym_loop.wire import gymie as codec
from gym_loop.wire.json_values import Style, plain
from gym_loop.wire.problems import EnvFailed, WrongAction
from gym_loop.wire.samples import decoder_for, encoder_for
from gym_loop.wire.spaces import space_to_json

_STYLE = Style.LEGACY_NESTED
_USUAL = [("start", 0), ("dtype", "float32")]  # what old clients take for granted

ProcessStep = Callable[[Any], Any]


class Held:
    """One session's environment in this protocol's values.

    Args:
        session: its environment has been made.
        process_step: makes the four values of a step out of the environment's five; None does
            what the protocol says.

    Raises:
        EnvFailed: a space of it is none of Gymnasium's.
    """

    def __init__(self, session: Session, process_step: ProcessStep | None = None) -> None:
        self._session = session
        self._process_step = process_step
        self._discrete = isinstance(session.action_space, Discrete)
        try:
            self._encode = _encoder(session.observation_space)
            self._encode_action = encoder_for(session.action_space, _STYLE)
            self._decode = decoder_for(session.action_space)
        except SpaceError as error:
            raise EnvFailed(f"environment {session.env_id}: {error}") from None

    def reset(self) -> bytes:
        """Begin an episode."""
        observation, _ = self._session.reset()
        return codec.write(self._observation(observation))

    def step(self, params: codec.Params) -> bytes:
        """Take one step.

        Args:
            params: the client's ``action``; ``render`` shows the environment, where the server's
                operator gave it a window.
        """
        session, action = self._session, params["action"]
        # A Discrete action is the integer itself; the session checks its range.
        if not (self._discrete and type(action) is int):
            action = self._action(action)
        step = session.step(action)
        if params.get("render") and getattr(session.env, "render_mode", None) == "human":
            session.render()  # frames in memory would be drawn for nobody
        if self._process_step is not None:
            return self._processed(self._process_step, step)
        observation, reward, terminated, truncated, info = step
        try:
            observation = self._encode(observation)
        except SampleError as error:
            raise self._nonsense(error) from None
        shown = plain(info) if info else {}
        return codec.step_reply(observation, reward, terminated, truncated, shown)

    def sample(self) -> bytes:
        """A random action."""
        return codec.write(self._encode_action(self._session.action_space.sample()))

    def observation_space(self) -> bytes:
        """The observation space's description."""
        return _described(self._session.observation_space)

    def action_space(self) -> bytes:
        """The action space's description."""
        return _described(self._session.action_space)

    def _action(self, value: Any) -> Any:
        try:
            action = self._decode(value)
        except SampleError as error:
            raise WrongAction(f"the action is none of the action space: {error}") from None
        return int(action) if self._discrete else action

    def _observation(self, observation: Any) -> Any:
        try:
            return self._encode(observation)
        except SampleError as error:
            raise self._nonsense(error) from None

    def _nonsense(self, error: SampleError) -> EnvFailed:
        return EnvFailed(
            f"environment {self._session.env_id} gave an observation that is not in its"
            f" observation space: {error}"
        )

    def _processed(self, hook: ProcessStep, step: Any) -> bytes:
        """What the operator's hook makes of a step; it may change every value's kind."""
        try:
            observation, reward, done, info = hook(step)
        except Exception as error:  # it is the operator's code
            raise EnvFailed(f"process_step failed: {describe(error)}") from error
        try:
            reward = float(reward)
            done = bool(done)
        except (TypeError, ValueError):
            raise EnvFailed(
                "process_step must return observation, reward (a number), done (true or false)"
                " and info"
            ) from None
        shown = reward if math.isfinite(reward) else plain(reward)
        return codec.write((plain(observation), shown, done, plain(info)))


def _encoder(space: Any) -> Callable[[Any], Any]:
    """An encoder of observations that does not make lists of images."""
    encode = encoder_for(space, _STYLE)
    if not isinstance(space, Box) or space.dtype.kind not in "iu":
        return encode
    dtype, shape = space.dtype, space.shape

    def encode_integers(array: Any) -> Any:
        fits = type(array) is np.ndarray and array.dtype == dtype and array.shape == shape
        return codec.integers(array) if fits and array.flags.c_contiguous else encode(array)

    return encode_integers


def _described(space: Any) -> bytes:
    info = space_to_json(space, style=_STYLE)
    return codec.write({key: value for key, value in info.items() if (key, value) not in _USUAL})
