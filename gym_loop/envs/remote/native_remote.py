"""An environment that a native server holds for us: made, stepped, saved, and given up for lost.

It is imported when an environment is made, because it needs the packages for bridges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gym_loop.envs.remote.connection import Address, InstanceGoneError, parse_url
from gym_loop.envs.remote.websocket import WebSocket
from gym_loop.errors import (
    BridgeConnectionError,
    BridgeError,
    BridgeProtocolError,
    EnvParametersError,
    SampleError,
    StateError,
)
from gym_loop.wire import native as codec
from gym_loop.wire.json_values import short
from gym_loop.wire.spaces import space_from_json
from gym_loop.wire.values import Malformed, Unsendable

Fields = dict[str, Any]

_ERRORS: dict[str, type[Exception]] = {
    "unknown_instance": InstanceGoneError,
    "wrong_action": SampleError,
    "no_state": StateError,
    "wrong_state": StateError,
}
_CLOSING = 2.0  # seconds that a farewell may take
_REPLY = ("observation", "reward", "terminated", "truncated", "info")
_MADE = {"instance", "observation_space", "action_space"}
_STATE = {"last", "steps", "resets", "cut_off", "server"}
_USUAL: tuple[Any, ...] = (None, {}, "auto", False)  # values that need not be said


class NativeClient(WebSocket):
    """Asks a native server.

    Args:
        address: of the server; without a path, ``/native`` is meant.
        token: what the server demands, None for nothing.
        timeout: seconds that connecting, and an answer, may take.
    """

    default_path = "/native"
    text = False

    def __init__(self, address: Address, token: str | None, timeout: float) -> None:
        super().__init__(address, token, timeout)
        self._number = 0

    def call(self, op: str, *, repeat: bool = True, strict: bool = False, **fields: Any) -> Fields:
        """Send a request and wait for its reply.

        Args:
            op: the operation.
            repeat: where the connection broke, ask again over a new one.
            strict: refuse values that have no form on the wire.
            fields: of the request.

        Raises:
            BridgeConnectionError: the server cannot be reached, or does not answer in time.
            BridgeProtocolError: it refuses, or its answer is none of this protocol.
            InstanceGoneError: it does not hold the environment any more.
            SampleError: an action is none of the action space.
            StateError: the environment cannot give, or take, its state.
        """
        self._number += 1
        try:
            message = codec.write(self._number, {"op": op, **fields}, strict=strict)
        except Unsendable as error:
            raise BridgeProtocolError(f"{op}: {error.message}") from None
        return self._reply(self.ask(message, repeat=repeat))

    def _reply(self, message: bytes) -> Fields:
        url = self.address.url
        try:
            # Observations can be written to, as those of an environment here.
            number, fields = codec.read(bytearray(message))
        except Malformed as error:
            raise BridgeProtocolError(
                f"{url} answers what is none of this protocol: {error.message}"
            ) from None
        if number != self._number:
            raise BridgeProtocolError(f"{url} answers request {number} instead of {self._number}")
        if "error" not in fields:
            return fields
        said = fields["error"] if type(fields["error"]) is dict else {}
        kind = _ERRORS.get(str(said.get("code")), BridgeProtocolError)
        raise kind(f"{url}: {said.get('message')}")


class Remote:
    """The environment on the other side.

    Args:
        url: of the server; without a path, ``/native`` is meant.
        token: what the server demands; None for nothing.
        timeout: seconds that connecting, and each answer, may take.
        wanted: what the server is to make: the fields of its request ``make``.
        jpeg: frames travel compressed.
        draw_seed: gives a seed for an instance in place of a lost one, or None.

    Attributes:
        observation_space: of one environment.
        action_space: of one environment.
        autoreset: how copies begin a new episode, None for a single environment.
        render_fps: frames a second, or None.
        lost: the server is gone in the middle of an episode, or has forgotten the environment.
        cut_off: that episode is to be truncated by the next step.
        last: the last observation that came.

    Raises:
        EnvParametersError: a parameter is of no use.
        BridgeConnectionError: the server cannot be reached, or does not answer in time.
        BridgeProtocolError: it refuses, or is no such server.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        timeout: float,
        wanted: dict[str, Any],
        jpeg: bool,
        draw_seed: Callable[[], int | None],
    ) -> None:
        self.env_id, self._render_mode = wanted["env_id"], wanted["render_mode"]
        _check(self.env_id, self._render_mode)
        self._wanted = {name: value for name, value in wanted.items() if value not in _USUAL}
        self._jpeg = jpeg
        self._draw_seed = draw_seed
        self.lost = self.cut_off = self._fresh = self._closed = False
        self.last: Any = None
        self._steps = self._resets = 0
        self._instance: str | None = None
        address = parse_url(url, {"ws": False, "wss": True})
        self._client = NativeClient(address, token, timeout)
        try:
            self._client.call("hello", version=1)
            described = self._make()
            self.observation_space = space_from_json(described["observation_space"])
            self.action_space = space_from_json(described["action_space"])
        except BaseException:
            self.close()
            raise
        self.autoreset: str | None = described.get("autoreset")
        self.render_fps = described.get("render_fps")

    def _make(self) -> dict[str, Any]:
        """Make an instance in place of the one there is; what the server says of it."""
        old = self._instance
        described = self._client.call("make", **self._wanted)
        if missing := _MADE - described.keys():
            raise BridgeProtocolError(f"{self.env_id}: the server made it without {min(missing)}")
        self._instance, self._fresh = str(described["instance"]), True
        self.lost = False
        if old is not None:
            try:
                self._client.call("close", instance=old, repeat=False)
            except BridgeError:
                pass  # it is gone, or its lease will end
        return described

    def reset(
        self, seed: Any, options: dict[str, Any] | None, mask: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; in a vector environment in the copies of a mask, else in all.

        Raises:
            BridgeError: the server's fault.
        """
        self.cut_off = False
        if self._closed:
            raise BridgeError(f"{self.env_id}: it was closed; make a new environment")
        fields = {"seed": seed, "options": options, "mask": mask}
        fields = {name: value for name, value in fields.items() if value is not None}
        try:
            reply = self._asked_reset(fields)
        except InstanceGoneError:
            self.lost = True  # what was lost with it is over anyway
            reply = self._asked_reset(fields)
        self._fresh = False
        self._resets += 1
        self._steps = 0
        self.last, info = self._taken(reply, "observation", "info")
        return self.last, info

    def _asked_reset(self, fields: dict[str, Any]) -> dict[str, Any]:
        if self.lost or self._instance is None:
            if "seed" not in fields and (seed := self._draw_seed()) is not None:
                fields = {**fields, "seed": seed}
            self._make()
        try:
            return self._client.call("reset", instance=self._instance, **fields)
        except BridgeConnectionError:
            self.lost = True
            raise

    def step(self, action: Any) -> tuple[Any, ...]:
        """Take one step, which is never repeated: observation, reward, two flags and info.

        Raises:
            SampleError: the action does not fit the space.
            BridgeConnectionError: the connection was lost, and nobody knows whether the step
                was taken; the episode cannot go on.
            BridgeProtocolError: the server refused the step, or answered nonsense.
        """
        if self._instance is None or self.lost:
            raise BridgeError(f"{self.env_id}: there is no episode under way; call reset()")
        self._steps += 1
        try:
            reply = self._client.call("step", repeat=False, instance=self._instance, action=action)
        except (BridgeConnectionError, InstanceGoneError) as error:
            self.lost = True
            raise type(error)(
                f"{self.env_id}: step {self._steps} after reset {self._resets} was lost:"
                f" {error}; reset() begins a new episode"
            ) from None
        except SampleError:
            self._steps -= 1
            raise
        answer = self._taken(reply, *_REPLY)
        self.last = answer[0]
        return tuple(answer)

    def _taken(self, reply: dict[str, Any], *names: str) -> list[Any]:
        try:
            values = [reply[name] for name in names]
        except KeyError as error:
            raise BridgeProtocolError(
                f"{self.env_id}: there is no {error} in the server's answer"
            ) from None
        if type(values[-1]) is not dict:
            raise BridgeProtocolError(
                f"{self.env_id}: info is {short(values[-1])}, where an object belongs"
            )
        return values

    def render(self) -> Any:
        """The current frame, or those of all copies; None where there is none."""
        if self._render_mode is None:
            return None
        reply = self._client.call("render", instance=self._instance, jpeg=self._jpeg)
        frame = reply.get("frame")
        if not self._jpeg or frame is None:
            return frame
        from gym_loop.wire.pictures import from_jpeg

        try:
            return tuple(map(from_jpeg, frame)) if type(frame) is tuple else from_jpeg(frame)
        except ValueError as error:
            raise BridgeProtocolError(f"{self.env_id}: a frame is {error}") from None

    # -- state -----------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """The state on the server; where it is lost, what is known without it.

        Raises:
            StateError: the environment cannot give its state.
            BridgeError: the server cannot be reached.
        """
        state = {
            "last": self.last,
            "steps": self._steps,
            "resets": self._resets,
            "cut_off": self.cut_off,
        }
        if self.lost:
            return {**state, "server": None}
        try:
            reply = self._client.call("get_state", instance=self._instance)
        except (BridgeConnectionError, InstanceGoneError):
            self.lost = True
            raise
        return {**state, "server": reply.get("state")}

    def set_state(self, state: dict[str, Any]) -> None:
        """Put a state back; an episode that the server took with it is then cut off.

        Args:
            state: what `get_state` returned.

        Raises:
            StateError: it is another environment's.
            BridgeError: the server cannot be reached.
        """
        if type(state) is not dict or state.keys() != _STATE:
            raise StateError(f"{self.env_id}: this is no state of gym_loop/Remote-v0")
        held = state["server"]
        if held is not None:
            self._fresh = False
            self._client.call("set_state", instance=self._instance, state=held, strict=True)
        elif not self._fresh:
            self._make()
        self.last, self._steps, self._resets = state["last"], state["steps"], state["resets"]
        # Before the first reset there is no episode that could be cut off.
        self.cut_off = bool(state["cut_off"]) or (held is None and self.last is not None)

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the server's instance and the connection, also when the server is gone."""
        self._closed = True
        instance, self._instance = self._instance, None
        try:
            if instance is not None and not self.lost:
                self._client.hurry(_CLOSING)
                self._client.call("close", instance=instance, repeat=False)
        except BridgeError:
            pass  # the instance's lease will end
        finally:
            self._client.disconnect()


def _check(env_id: object, render_mode: object) -> None:
    """Refuse what no server could make."""
    if not isinstance(env_id, str) or not env_id:
        raise EnvParametersError(f"env_id: {env_id!r} is no id; write one such as CartPole-v1")
    if render_mode not in (None, "rgb_array"):
        raise EnvParametersError(
            f"render_mode: {render_mode!r} must be null or rgb_array: a window would open where"
            " the server is"
        )
