"""The requests of a native client over any link, each with a number that its reply repeats."""

from __future__ import annotations

from typing import Any

from gym_loop.envs.remote.link import Link
from gym_loop.envs.remote.remote_env import InstanceGoneError
from gym_loop.envs.remote.transport import persist
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


class Client:
    """Asks a native server.

    Args:
        link: to the server; it belongs to this client.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self._number = 0
        self._steps = codec.Repeated()

    def ask(self, op: str, *, repeat: bool = True, strict: bool = False, **fields: Any) -> Fields:
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
        number = self._next()
        try:
            message = codec.write(number, {"op": op, **fields}, strict=strict)
        except Unsendable as error:
            raise BridgeProtocolError(f"{op}: {error.message}") from None
        return self._checked(
            persist(self.link, lambda: self._exchange(number, message), repeat=repeat)
        )

    def step(self, instance: str, action: Any) -> Fields:
        """Take one step, which is never repeated; see `ask` for what it raises."""
        number = self._next()
        message = self._steps.write(number, {"op": "step", "instance": instance, "action": action})
        return self._checked(
            persist(self.link, lambda: self._exchange(number, message), repeat=False)
        )

    def close(self) -> None:
        """End the connection."""
        self.link.close()

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _exchange(self, number: int, message: bytes) -> Fields:
        self.link.send(message)
        return self._reply(number)

    def _reply(self, number: int) -> Fields:
        """The reply of this number; an earlier one is late, to a request that was given up."""
        while True:
            try:
                found, fields = codec.read(self.link.receive())
            except Malformed as error:
                raise BridgeProtocolError(
                    f"{self.link.url} answers what is none of this protocol: {error.message}"
                ) from None
            if found == number:
                return fields

    def _checked(self, fields: Fields) -> Fields:
        if "error" not in fields:
            return fields
        error = fields["error"] if type(fields["error"]) is dict else {}
        code, message = error.get("code"), error.get("message")
        raise _ERRORS.get(str(code), BridgeProtocolError)(f"{self.link.url}: {message}")
