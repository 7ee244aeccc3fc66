"""What the server keeps with a native session: its replies, as bytes that are ready to be sent.

Every method runs where the session's environment runs.
"""

from __future__ import annotations

from typing import Any

from gym_loop.serve.native.instance import Instance
from gym_loop.wire import native as codec
from gym_loop.wire.pictures import JpegEncoder, as_rgb
from gym_loop.wire.problems import EnvFailed
from gym_loop.wire.values import Unsendable

Fields = dict[str, Any]


class Held:
    """One session's environment in this protocol's messages.

    Args:
        session: its environment has been made.
    """

    def __init__(self, session: Instance) -> None:
        self._session = session
        self._steps = codec.Repeated()
        self._encoder = JpegEncoder(longest=None)
        self.step = self._step_one if session.wish.num_envs is None else self._step_all

    def reset(self, number: int, fields: Fields) -> bytes:
        """Begin an episode; in a vector environment in the copies of the mask, else in all."""
        observation, info = self._session.reset(fields["seed"], fields["options"])
        return codec.write(number, {"observation": observation, "info": info})

    def _step_one(self, number: int, action: Any) -> bytes:
        observation, reward, terminated, truncated, info = self._session.step(action)
        reply = {
            "observation": observation,
            "reward": reward,
            "terminated": terminated,
            "truncated": truncated,
            "info": info,
        }
        return codec.write(number, reply)

    def _step_all(self, number: int, actions: Any) -> bytes:
        observation, reward, terminated, truncated, info = self._session.step_all(actions)
        reply = {
            "observation": observation,
            "reward": reward,
            "terminated": terminated,
            "truncated": truncated,
            "info": info,
        }
        return self._steps.write(number, reply)

    _step_one.__name__ = _step_all.__name__ = "step"  # by which the runner knows what is fast

    def render(self, number: int, as_jpeg: bool) -> bytes:
        """The current frame, or those of all copies."""
        frame = self._session.render()
        if as_jpeg and frame is not None:
            many = isinstance(frame, (list, tuple))
            frame = tuple(map(self._jpeg, frame)) if many else self._jpeg(frame)
        return codec.write(number, {"frame": frame})

    def _jpeg(self, frame: Any) -> bytes:
        try:
            return self._encoder.encode(as_rgb(frame))
        except ValueError as error:
            raise EnvFailed(f"{error}; ask for it without jpeg") from None

    def get_state(self, number: int) -> bytes:
        """The state of the environment, and of all its copies."""
        try:
            return codec.write(number, {"state": self._session.get_state()}, strict=True)
        except Unsendable as error:
            raise EnvFailed(f"the state of {self._session.env_id}: {error.message}") from None

    def set_state(self, number: int, state: Any) -> bytes:
        """Put a state back."""
        self._session.set_state(state)
        return codec.write(number, {})
