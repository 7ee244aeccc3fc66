"""The requests of a native client over a WebSocket, each with a number that its reply repeats."""

from __future__ import annotations

from typing import Any

from gym_loop.envs.remote.connection import Address, InstanceGoneError
from gym_loop.envs.remote.websocket import WebSocket
from gym_loop.errors import BridgeProtocolError, SampleError, StateError
from gym_loop.wire import native as codec
from gym_loop.wire.values import Malformed, Unsendable

Fields = dict[str, Any]

_ERRORS: dict[str, type[Exception]] = {
    "unknown_instance": InstanceGoneError,
    "wrong_action": SampleError,
    "no_state": StateError,
    "wrong_state": StateError,
}


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

    def step(self, instance: str, action: Any) -> Fields:
        """Take one step, which is never repeated; see `call` for what it raises."""
        self._number += 1
        fields = {"op": "step", "instance": instance, "action": action}
        return self._reply(self.ask(codec.write(self._number, fields), repeat=False))

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
