"""What the HTTP server keeps with a session: its environment as this protocol sees it.

Every method that calls the environment runs where the session's environment runs, and gives
bytes that are ready to be sent.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from gymnasium.spaces import Discrete

from gym_loop.errors import SampleError, SpaceError
from gym_loop.serve.http.settings import HttpSettings
from gym_loop.serve.monitor import Monitor, monitor_directory, prepare_directory
from gym_loop.serve.sessions import Session
from gym_loop.wire import gym_http as codec
from gym_loop.wire.gym_http import BadRequest, Json
from gym_loop.wire.json_values import Style, plain
from gym_loop.wire.problems import EnvFailed, UnknownInstance, WrongAction
from gym_loop.wire.samples import decoder_for, encoder_for
from gym_loop.wire.spaces import space_to_json

_LOG = logging.getLogger("gym_loop.envs.remote")
_USUAL = [("start", 0), ("dtype", "float32")]  # what the protocol's first server never said


class Held:
    """One session's environment in this protocol's values.

    Args:
        session: its environment has been made.

    Raises:
        EnvFailed: a space of it is none of Gymnasium's.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.monitor: Monitor | None = None
        self.resets = 0
        self.camera: Any = None  # of the page; made when somebody first looks on
        self._observed = session.observation_space
        self._actions = session.action_space
        self._plain_actions = isinstance(self._actions, Discrete)
        try:
            self._encode = encoder_for(self._observed, Style.LEGACY_FLAT)
            self._encode_action = encoder_for(self._actions, Style.LEGACY_FLAT)
            self._decode = decoder_for(self._actions)
        except SpaceError as error:
            raise EnvFailed(f"environment {session.env_id}: {error}") from None

    def reset(self) -> bytes:
        """Begin an episode."""
        observation, _ = self.session.reset()
        self.resets += 1
        return codec.write({"observation": self._observation(observation)})

    def step(self, action: Any, render: bool) -> bytes:
        """Take one step.

        Args:
            action: as the client sent it.
            render: show the environment, where the server's operator gave it a window.
        """
        session = self.session
        # A Discrete action is the integer itself; the session checks its range.
        if type(action) is not int or not self._plain_actions:
            action = self.action(action)
        observation, reward, terminated, truncated, info = session.step(action)
        if self.monitor is not None:
            self.monitor.count(reward, terminated or truncated)
        if render and getattr(session.env, "render_mode", None) == "human":
            session.render()  # frames in memory would be drawn for nobody
        return codec.step_reply(
            self._observation(observation),
            reward,
            terminated,
            truncated,
            plain(info) if info else {},
        )

    def action(self, value: Any) -> Any:
        """Read an action.

        Raises:
            BadRequest: it is empty, which is an action of a few spaces only.
            WrongAction: it is none of this space.
        """
        try:
            action = self._decode(value)
        except SampleError as error:
            if value in codec.EMPTY:
                raise codec.not_provided("action") from None
            shown = codec.shown(value)
            raise WrongAction(f"action {shown} is not in the action space: {error}") from None
        if value in codec.EMPTY and not self._actions.contains(action):
            raise codec.not_provided("action")
        return action

    def sample(self) -> bytes:
        """A random action."""
        return codec.write({"action": self._encode_action(self._actions.sample())})

    def contains(self, number: int) -> bytes:
        """Whether an integer is an action."""
        try:
            member = bool(self._actions.contains(self._decode(number)))
        except SampleError:
            member = False
        return codec.write({"member": member})

    @cached_property
    def action_info(self) -> Json:
        """The action space's description."""
        return _info(self._actions)

    @cached_property
    def observation_info(self) -> Json:
        """The observation space's description."""
        return _info(self._observed)

    def start_monitor(self, settings: HttpSettings, parameters: Json) -> None:
        """Record the episodes from the next reset on.

        Raises:
            BadRequest: it is recorded already, or not to be recorded there.
            UnknownInstance: it was closed meanwhile.
        """
        if self.monitor is not None:
            raise BadRequest(
                f"instance {self.session.instance_id} is being recorded already, in"
                f" {self.monitor.directory}; close that monitor first"
            )
        every = codec.video_interval(parameters)
        force, resume = codec.flag(parameters, "force"), codec.flag(parameters, "resume")
        directory = monitor_directory(
            settings.monitor_root,
            codec.required_text(parameters, "directory"),
            anywhere=settings.any_monitor_directory,
        )
        session = self.session
        if session.env is None:
            raise UnknownInstance(f"instance {session.instance_id} is closed")
        prepare_directory(directory, force=force, resume=resume)
        session.rendered |= every > 0  # what draws stays in one thread
        self.monitor = Monitor(session.env, directory, session.env_id, every, _LOG.warning)
        session.env = self.monitor
        _LOG.info(
            "instance %s (%s) is recorded in %s", session.instance_id, session.env_id, directory
        )

    def close_monitor(self) -> None:
        """Write what was recorded; without a monitor nothing happens."""
        if self.monitor is not None:
            self.monitor.finish()
            self.session.env, self.monitor = self.monitor.env, None

    def _observation(self, observation: Any) -> Any:
        try:
            return self._encode(observation)
        except SampleError as error:
            raise EnvFailed(
                f"environment {self.session.env_id} gave an observation that is not in its"
                f" observation space: {error}"
            ) from None


def _info(space: Any) -> Json:
    """A space's description, without what old clients take for granted."""
    info = space_to_json(space, style=Style.LEGACY_FLAT)
    return {key: value for key, value in info.items() if (key, value) not in _USUAL}
