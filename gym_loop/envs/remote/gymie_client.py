"""gymie from the other side: the requests of a client over one WebSocket."""

from __future__ import annotations

import re
from typing import Any

import orjson

from gym_loop.envs.remote.remote_env import Client, InstanceGoneError, Step, read_json
from gym_loop.envs.remote.transport import Address, persist
from gym_loop.envs.remote.websocket_channel import TEXT, Channel, Refused
from gym_loop.errors import BridgeProtocolError
from gym_loop.wire.json_values import short

PATH = "/gym"


class WebSocketClient(Client):
    """Asks a gymie server, ours or the original.

    Args:
        address: of the server; without a path, ``/gym`` is meant.
        token: what the server demands, None for nothing.
        timeout: seconds that connecting, and an answer, may take.
    """

    def __init__(self, address: Address, token: str | None, timeout: float) -> None:
        self._channel = Channel(address, token, timeout, PATH, TEXT)
        self._step_of = ""
        self._step_head = b""

    def make(self, env_id: str, seed: int | None) -> str:
        """Make an environment; its instance id, which comes as a bare text."""
        params = {"env_id": env_id} if seed is None else {"env_id": env_id, "seed": seed}
        answer = self._ask("make", params)
        try:
            instance = answer.decode("ascii")
        except UnicodeDecodeError:
            instance = ""
        if not instance.isalnum() or len(instance) > 100:
            raise BridgeProtocolError(f"{short(answer)} is no instance id")
        return instance

    def spaces(self, instance: str) -> tuple[Any, Any]:
        """The descriptions of both spaces."""
        params = {"instance_id": instance}
        return (
            read_json(self._ask("observation_space", params)),
            read_json(self._ask("action_space", params)),
        )

    def reset(self, instance: str) -> Any:
        """Begin an episode; its first observation."""
        return read_json(self._ask("reset", {"instance_id": instance}))

    def step(self, instance: str, action: Any) -> Step:
        """Take one step, which is never repeated."""
        if instance != self._step_of:
            self._step_of = instance
            self._step_head = b'{"method":"step","params":{"instance_id":%b,"action":' % (
                orjson.dumps(instance)
            )
        request = b"%b%b}}" % (self._step_head, orjson.dumps(action))
        reply = read_json(
            persist(self._channel.line, lambda: self._exchange(request), repeat=False)
        )
        if type(reply) is not list or len(reply) != 4:
            raise BridgeProtocolError(
                f"the answer to a step is {short(reply)} instead of observation, reward, done, info"
            )
        return Step(*reply)

    def close(self, instance: str) -> None:
        """Close an environment."""
        self._ask("close", {"instance_id": instance}, repeat=False)

    def hurry(self, seconds: float) -> None:
        """From now on, wait no longer than this for an answer."""
        self._channel.line.hurry(seconds)

    def disconnect(self) -> None:
        """Say goodbye, and end the connection."""
        self._channel.disconnect()

    def _ask(self, method: str, params: dict[str, Any], *, repeat: bool = True) -> bytes:
        request = orjson.dumps({"method": method, "params": params})
        return persist(self._channel.line, lambda: self._exchange(request), repeat=repeat)

    def _exchange(self, request: bytes) -> bytes:
        """Send a request and wait for the message that answers it."""
        self._channel.send(request)
        try:
            return bytes(self._channel.receive())
        except Refused as refused:
            raise self._meant(refused) from None

    def _meant(self, refused: Refused) -> BridgeProtocolError:
        """What a close frame means: every error of this protocol is one."""
        url, reason = self._channel.line.url, refused.reason
        if re.fullmatch(r"Instance `.*` not found", reason, re.DOTALL):
            return InstanceGoneError(f"{url} does not hold the environment any more: {reason}")
        return BridgeProtocolError(f"{url} refused: {reason or refused.code}")
