"""An environment that a server of one of the old request protocols holds for us."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import gymnasium

from gym_loop.envs.remote.connection import Address, InstanceGoneError, parse_url
from gym_loop.errors import (
    BridgeError,
    BridgeProtocolError,
    EnvParametersError,
    RenderError,
    SampleError,
)
from gym_loop.wire.json_values import Style, float_from_json, short
from gym_loop.wire.samples import decoder_for, encoder_for
from gym_loop.wire.spaces import space_from_json

_CLOSING = 2.0  # seconds that a farewell may take


class Step(NamedTuple):
    """What a server answered to a step, as JSON values."""

    observation: Any
    reward: Any
    done: Any
    info: Any


class Client(Protocol):
    """The requests of a protocol; each waits for its answer.

    They raise BridgeConnectionError where the server cannot be reached or does not answer,
    BridgeProtocolError where it refuses, and InstanceGoneError where it has lost the environment.
    """

    def __init__(self, address: Address, token: str | None, timeout: float) -> None: ...

    def make(self, env_id: str, seed: int | None) -> str:
        """Make an environment; its instance id."""

    def spaces(self, instance: str) -> tuple[Any, Any]:
        """The descriptions of the observation space and of the action space."""

    def reset(self, instance: str) -> Any:
        """Begin an episode; its first observation."""

    def step(self, instance: str, action: Any) -> Step:
        """Take one step, which is never repeated."""

    def close(self, instance: str) -> None:
        """Close an environment."""

    def hurry(self, seconds: float) -> None:
        """From now on, wait no longer than this for an answer."""

    def disconnect(self) -> None:
        """End the connection."""


class RemoteEnv(gymnasium.Env[Any, Any]):  # type: ignore[misc]  # gymnasium is untyped here
    """The part that both protocols share.

    Each environment has a connection of its own, kept open. A lost one is made again where
    nothing is lost by it: for making, the spaces and a reset, but never for a step. The spaces are
    what the server says, a Box without a dtype being one of float32. The server is told seeds
    only when an environment is made: a reset with a seed makes a new instance with it and closes
    the old one. Episodes after that follow from the server's own random stream, which neither
    protocol can save.

    Args:
        url: of the server.
        env_id: what the server knows the environment by.
        token: what the server demands; None for nothing.
        timeout: seconds that connecting, and each answer, may take.
        render_mode: None; frames do not travel.

    Attributes:
        client_class: of the protocol.
        schemes: of its addresses, and whether they are encrypted.

    Raises:
        EnvParametersError: a parameter is of no use.
        EnvPackageMissingError: the packages for bridges are not installed.
        RenderError: frames are asked for.
        BridgeConnectionError: the server cannot be reached, or does not answer in time.
        BridgeProtocolError: it refuses, or is no such server.
    """

    client_class: ClassVar[type[Client]]
    schemes: ClassVar[Mapping[str, bool]]
    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own form
    state_elsewhere = "the state is on the server, and the protocol cannot ask for it"

    def __init__(
        self,
        url: str,
        env_id: str,
        *,
        token: str | None = None,
        timeout: float = 30.0,
        render_mode: str | None = None,
    ) -> None:
        address = parse_url(url, self.schemes)
        if not isinstance(env_id, str) or not env_id:
            raise EnvParametersError(f"env_id: {env_id!r} is no id; write one such as CartPole-v1")
        if render_mode is not None:
            raise RenderError(
                f"{env_id} on a server cannot be rendered here: its protocol carries no frames;"
                " set render and record to false"
            )
        self._client = client = self.client_class(address, token, timeout)
        self._env_id = env_id
        self._instance: str | None = None
        self._episode = self._steps = 0
        self._playing = self._closed = False
        try:
            self._instance = client.make(env_id, None)
            described = client.spaces(self._instance)
            self.observation_space, self.action_space = map(space_from_json, described)
        except BaseException:
            self.close()
            raise
        self._encode = encoder_for(self.action_space, Style.LEGACY_NESTED)
        self._decode = decoder_for(self.observation_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; with a seed, in a new instance that is made with it.

        Raises:
            BridgeError: options, which the protocol cannot say; or the server's fault.
        """
        super().reset(seed=seed)
        if self._closed:
            raise BridgeError(f"{self._env_id}: it was closed; make a new environment")
        if options:
            raise BridgeError(f"{self._env_id}: the protocol knows no options for a reset")
        self._playing = False
        if seed is None and self._episode == 0:
            seed = drawn_seed(self)  # a resumed run, which has its stream of seeds from before
        instance = self._instance
        if instance is None or seed is not None:
            instance = self._renew(seed)
        try:
            value = self._client.reset(instance)
        except InstanceGoneError:
            self._instance = None  # what was lost with it is over anyway
            value = self._client.reset(self._renew(drawn_seed(self)))
        self._episode += 1
        self._steps = 0
        observation = self._observation(value)
        self._playing = True
        return observation, {}

    def _renew(self, seed: int | None) -> str:
        """Make a new instance in place of the one there is."""
        seed = None if seed is None else int(seed)
        old, made = self._instance, self._client.make(self._env_id, seed)
        self._instance = made
        if old is not None:
            try:
                self._client.close(old)
            except BridgeError:
                pass  # its lease will end
        return made

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step.

        Raises:
            SampleError: the action does not fit the space.
            BridgeConnectionError: the connection was lost, and nobody knows whether the step
                was taken; the episode cannot go on.
            BridgeProtocolError: the server refused the step, or answered nonsense.
        """
        instance = self._instance
        if instance is None or not self._playing:
            raise BridgeError(f"{self._env_id}: there is no episode under way; call reset()")
        try:
            value = self._encode(action)
        except SampleError as error:
            raise SampleError(f"{self._env_id}: the action: {error}") from None
        self._steps += 1
        try:
            reply = self._client.step(instance, value)
        except BridgeError as error:
            self._playing = False
            raise type(error)(
                f"{self._env_id}: step {self._steps} of episode {self._episode} was lost: {error};"
                " reset() begins a new episode"
            ) from None
        observation, done, info = self._observation(reply.observation), reply.done, reply.info
        reward = reply.reward
        if type(reward) is not float:
            reward = self._reward(reward)
        if type(done) is not bool or type(info) is not dict:
            raise BridgeProtocolError(
                f"{self._env_id}: done is {short(done)} and info {short(info)}, where true or false"
                " and an object belong"
            )
        terminated, truncated = ends(done, info)
        return observation, reward, terminated, truncated, info

    def _observation(self, value: Any) -> Any:
        try:
            return self._decode(value)
        except SampleError as error:
            raise SampleError(f"{self._env_id}: the server's observation: {error}") from None

    def _reward(self, value: Any) -> float:
        try:
            return float_from_json(value)
        except SampleError as error:
            raise BridgeProtocolError(f"{self._env_id}: the server's reward: {error}") from None

    def render(self) -> None:
        """Frames do not travel; there is no render mode."""

    def close(self) -> None:
        """Close the server's instance and the connection, also when the server is gone."""
        self._playing, self._closed = False, True
        instance, self._instance = self._instance, None
        try:
            if instance is not None:
                self._client.hurry(_CLOSING)
                self._client.close(instance)
        except BridgeError:
            pass  # the instance's lease will end
        finally:
            self._client.disconnect()


def drawn_seed(env: Any) -> int | None:
    """A seed that follows from the last one an environment was given; None if none ever was."""
    return None if env._np_random is None else int(env.np_random.integers(2**31))


def ends(done: bool, info: dict[str, Any]) -> tuple[bool, bool]:
    """Whether an episode terminated, and whether it was truncated.

    Servers that know of the two say both in info, from where they are taken; older ones mark
    a time limit by ``TimeLimit.truncated``; others only say that it is over.
    """
    said = info.get("terminated"), info.get("truncated")
    if type(said[0]) is type(said[1]) is bool and any(said) is done:
        del info["terminated"], info["truncated"]
        return bool(said[0]), bool(said[1])
    truncated = done and info.get("TimeLimit.truncated") is True
    return done and not truncated, truncated


def read_json(data: bytes | str) -> Any:
    """Read an answer; older servers write NaN and Infinity, which are no JSON.

    Raises:
        BridgeProtocolError: it is neither.
    """
    import orjson

    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        text = data[:120] if isinstance(data, str) else data[:120].decode("utf-8", "replace")
        raise BridgeProtocolError(f"the server's answer is no JSON: {text!r}") from None
