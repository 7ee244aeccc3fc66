"""An environment behind a gymie server, over one WebSocket."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from gym_loop.envs.remote.connection import Address, InstanceGoneError, needed
from gym_loop.envs.remote.remote_env import RemoteEnv, Step, read_json
from gym_loop.envs.remote.websocket import WebSocket
from gym_loop.errors import BridgeProtocolError
from gym_loop.wire.json_values import short


class WebSocketClient(WebSocket):
    """Asks a gymie server, ours or the original.

    Args:
        address: of the server; without a path, ``/gym`` is meant.
        token: what the server demands, None for nothing.
        timeout: seconds that connecting, and an answer, may take.
    """

    default_path = "/gym"
    text = True

    def __init__(self, address: Address, token: str | None, timeout: float) -> None:
        super().__init__(address, token, timeout)
        self._write = needed("orjson").dumps

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
        params = {"instance_id": instance, "action": action}
        reply = read_json(self._ask("step", params, repeat=False))
        if type(reply) is not list or len(reply) != 4:
            raise BridgeProtocolError(
                f"the answer to a step is {short(reply)} instead of observation, reward, done, info"
            )
        return Step(*reply)

    def close(self, instance: str) -> None:
        """Close an environment."""
        self._ask("close", {"instance_id": instance}, repeat=False)

    def _ask(self, method: str, params: dict[str, Any], *, repeat: bool = True) -> bytes:
        request = self._write({"method": method, "params": params})
        answer: bytes = self.ask(request, repeat=repeat)
        return answer

    def refusal(self, code: int, reason: str) -> BridgeProtocolError:
        """What a close frame means: every error of this protocol is one."""
        if re.fullmatch(r"Instance `.*` not found", reason, re.DOTALL):
            url = self.address.url
            return InstanceGoneError(f"{url} does not hold the environment any more: {reason}")
        return super().refusal(code, reason)


class WebSocketEnv(RemoteEnv):
    """What a gymie server holds, as an environment: ``gym_loop/WebSocket-v0``.

    The server may be ours (``gym-loop serve websocket``) or the original. Its address is such as
    ``ws://127.0.0.1:5000/gym``, where ``/gym`` is what no path means, and ``wss://`` is encrypted;
    see `gym_loop.envs.remote.remote_env.RemoteEnv` for everything else.
    """

    client_class = WebSocketClient
    schemes: ClassVar[Mapping[str, bool]] = {"ws": False, "wss": True}
