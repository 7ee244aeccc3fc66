"""An environment that a native server holds for us: made, stepped, saved, and given up for lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gym_loop.envs.remote.link import Access, Link
from gym_loop.envs.remote.remote_env import InstanceGoneError
from gym_loop.errors import (
    BridgeConnectionError,
    BridgeError,
    BridgeProtocolError,
    EnvPackageMissingError,
    EnvParametersError,
    SampleError,
    StateError,
)
from gym_loop.wire.json_values import short
from gym_loop.wire.spaces import space_from_json

_CLOSING = 2.0  # seconds that a farewell may take
_REPLY = ("observation", "reward", "terminated", "truncated", "info")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the server is to make; see `gym_loop.envs.remote.native_env.NativeEnv`."""

    env_id: str
    parameters: dict[str, Any] | None = None
    num_envs: int | None = None
    vectorization: str = "auto"
    autoreset: str | None = None
    max_episode_steps: int | None = None
    render_mode: str | None = None
    keep_state: bool = True
    jpeg: bool = False

    def check(self) -> None:
        """Refuse what no server could make.

        Raises:
            EnvParametersError: a parameter is of no use.
        """
        if not isinstance(self.env_id, str) or not self.env_id:
            raise EnvParametersError(
                f"env_id: {self.env_id!r} is no id; write one such as CartPole-v1"
            )
        if self.render_mode not in (None, "rgb_array"):
            raise EnvParametersError(
                f"render_mode: {self.render_mode!r} must be null or rgb_array: a window would open"
                " where the server is"
            )

    def fields(self) -> dict[str, Any]:
        """Those of the request."""
        fields = {
            "env_id": self.env_id,
            "parameters": dict(self.parameters or {}),
            "num_envs": self.num_envs,
            "vectorization": self.vectorization,
            "autoreset": self.autoreset,
            "max_episode_steps": self.max_episode_steps,
            "render_mode": self.render_mode,
            "state": self.keep_state,
        }
        usual: tuple[Any, ...] = (None, {}, "auto", False)
        return {name: value for name, value in fields.items() if value not in usual}


@dataclass
class Answer:
    """What a server answers to a step."""

    observation: Any
    reward: Any
    terminated: Any
    truncated: Any
    info: Any


@dataclass
class Remote:
    """The environment on the other side.

    Attributes:
        observation_space: of one environment.
        action_space: of one environment.
        autoreset: how copies begin a new episode, None for a single environment.
        render_fps: frames a second, or None.
        lost: the server is gone in the middle of an episode, or has forgotten the environment.
        last: the last observation that came.
    """

    access: Access
    wanted: Wanted
    draw_seed: Callable[[], int | None]
    lost: bool = False
    last: Any = None
    steps: int = 0
    resets: int = 0
    _instance: str | None = None
    _fresh: bool = False
    _closed: bool = False
    _described: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wanted.check()
        link = Link(self.access)
        try:
            from gym_loop.envs.remote.native_client import Client
        except ModuleNotFoundError as error:
            raise EnvPackageMissingError(
                f'gym_loop/Remote-v0 needs the module {error.name}: pip install "gym-loop[bridges]"'
            ) from None
        self._client = Client(link)
        try:
            self._client.ask("hello", version=1)
            self._make()
            self.observation_space = space_from_json(self._described["observation_space"])
            self.action_space = space_from_json(self._described["action_space"])
        except KeyError as error:
            self.close()
            raise BridgeProtocolError(f"{self.access.url} made no {error}") from None
        except BaseException:
            self.close()
            raise
        self.autoreset: str | None = self._described.get("autoreset")
        self.render_fps = self._described.get("render_fps")

    def _make(self) -> str:
        """Make an instance in place of the one there is."""
        old = self._instance
        self._described = self._client.ask("make", **self.wanted.fields())
        self._instance, self._fresh = str(self._described["instance"]), True
        self.lost = False
        if old is not None:
            try:
                self._client.ask("close", instance=old, repeat=False)
            except BridgeError:
                pass  # it is gone, or its lease will end
        return self._instance

    def reset(
        self, seed: Any, options: dict[str, Any] | None, mask: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; in a vector environment in the copies of a mask, else in all.

        Raises:
            BridgeError: the server's fault.
        """
        if self._closed:
            raise BridgeError(f"{self.wanted.env_id}: it was closed; make a new environment")
        fields = {"seed": seed, "options": options, "mask": mask}
        fields = {name: value for name, value in fields.items() if value is not None}
        try:
            reply = self._asked_reset(fields)
        except InstanceGoneError:
            self.lost = True  # what was lost with it is over anyway
            reply = self._asked_reset(fields)
        self._fresh = False
        self.resets += 1
        self.steps = 0
        self.last, info = self._taken(reply, "observation", "info")
        return self.last, info

    def _asked_reset(self, fields: dict[str, Any]) -> dict[str, Any]:
        if self.lost or self._instance is None:
            if "seed" not in fields and (seed := self.draw_seed()) is not None:
                fields = {**fields, "seed": seed}
            self._make()
        try:
            return self._client.ask("reset", instance=self._instance, **fields)
        except BridgeConnectionError:
            self.lost = True
            raise

    def step(self, action: Any) -> Answer:
        """Take one step, which is never repeated.

        Raises:
            SampleError: the action does not fit the space.
            BridgeConnectionError: the connection was lost, and nobody knows whether the step
                was taken; the episode cannot go on.
            BridgeProtocolError: the server refused the step, or answered nonsense.
        """
        if self._instance is None or self.lost:
            raise BridgeError(f"{self.wanted.env_id}: there is no episode under way; call reset()")
        self.steps += 1
        try:
            reply = self._client.step(self._instance, action)
        except (BridgeConnectionError, InstanceGoneError) as error:
            self.lost = True
            raise type(error)(
                f"{self.wanted.env_id}: step {self.steps} after reset {self.resets} was lost:"
                f" {error}; reset() begins a new episode"
            ) from None
        except SampleError:
            self.steps -= 1
            raise
        answer = Answer(*self._taken(reply, *_REPLY))
        self.last = answer.observation
        return answer

    def _taken(self, reply: dict[str, Any], *names: str) -> list[Any]:
        try:
            values = [reply[name] for name in names]
        except KeyError as error:
            raise BridgeProtocolError(
                f"{self.wanted.env_id}: there is no {error} in the server's answer"
            ) from None
        if type(values[-1]) is not dict:
            raise BridgeProtocolError(
                f"{self.wanted.env_id}: info is {short(values[-1])}, where an object belongs"
            )
        return values

    def render(self) -> Any:
        """The current frame, or those of all copies; None where there is none."""
        if self.wanted.render_mode is None:
            return None
        reply = self._client.ask("render", instance=self._instance, jpeg=self.wanted.jpeg)
        frame = reply.get("frame")
        if not self.wanted.jpeg or frame is None:
            return frame
        from gym_loop.wire.pictures import from_jpeg

        try:
            return tuple(map(from_jpeg, frame)) if type(frame) is tuple else from_jpeg(frame)
        except ValueError as error:
            raise BridgeProtocolError(f"{self.wanted.env_id}: a frame is {error}") from None

    # -- state -----------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """The state on the server; where it is lost, what is known without it.

        Raises:
            StateError: the environment cannot give its state.
            BridgeError: the server cannot be reached.
        """
        state: dict[str, Any] = {"last": self.last, "steps": self.steps, "resets": self.resets}
        if self.lost:
            return {**state, "server": None}
        try:
            reply = self._client.ask("get_state", instance=self._instance)
        except (BridgeConnectionError, InstanceGoneError):
            self.lost = True
            raise
        return {**state, "server": reply.get("state")}

    def set_state(self, state: dict[str, Any]) -> bool:
        """Put a state back.

        Args:
            state: what `get_state` returned.

        Returns:
            Whether the episode goes on; where the server was lost, it does not.

        Raises:
            StateError: it is another environment's.
            BridgeError: the server cannot be reached.
        """
        if type(state) is not dict or state.keys() != {"last", "steps", "resets", "server"}:
            raise StateError(f"{self.wanted.env_id}: this is no state of gym_loop/Remote-v0")
        if state["server"] is None:
            if not self._fresh:
                self._make()
        else:
            self._fresh = False
            self._client.ask(
                "set_state", instance=self._instance, state=state["server"], strict=True
            )
        self.last, self.steps, self.resets = state["last"], state["steps"], state["resets"]
        return state["server"] is not None

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the server's instance and the connection, also when the server is gone."""
        self._closed = True
        instance, self._instance = self._instance, None
        try:
            if instance is not None and not self.lost:
                self._client.link.hurry(_CLOSING)
                self._client.ask("close", instance=instance, repeat=False)
        except BridgeError:
            pass  # the instance's lease will end
        finally:
            self._client.close()
