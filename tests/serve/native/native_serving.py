"""A raw client of the native protocol, and what it may be compared with."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gym_loop.wire import native as codec
from tests.serve.live import connect, frame, live


@contextmanager
def native(**options: Any) -> Iterator[str]:
    """A live WebSocket server; gives the address of its native path."""
    with live("websocket", **options) as address:
        yield address.removesuffix("/gym") + "/native"


class Refused(Exception):  # noqa: N818 - what a protocol answers is no error
    """An error reply."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"{code}: {message}")


class Raw:
    """One WebSocket whose messages may be anything."""

    def __init__(self, address: str, more: str = "") -> None:
        self.socket: socket.socket = connect(address)
        self.file = self.socket.makefile("rb")
        self.number = 0
        self.socket.sendall(
            b"GET /native HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\n" + more.encode() + b"\r\n"
        )
        self.status = int(self.file.readline()[9:12])
        while self.file.readline().strip():
            pass

    def send(self, message: bytes, opcode: int = 2) -> None:
        self.socket.sendall(frame(message, opcode))

    def receive(self) -> bytes:
        """The payload of the next binary frame."""
        head = self.file.read(2)
        if len(head) < 2:
            raise ConnectionResetError("the server ended the connection")
        length = head[1]
        if length >= 126:
            length = int.from_bytes(self.file.read(2 if length == 126 else 8), "big")
        payload = self.file.read(length)
        assert head[0] == 0x82, (head, payload)
        return payload

    def exchange(self, message: bytes) -> tuple[int, dict[str, Any]]:
        """Send bytes, and read the reply."""
        self.send(message)
        return codec.read(self.receive())

    def ask(self, op: Any, **fields: Any) -> dict[str, Any]:
        """Send a request; an error reply is raised."""
        self.number += 1
        number, reply = self.exchange(codec.write(self.number, {"op": op, **fields}))
        assert number == self.number
        if "error" in reply:
            assert reply.keys() == {"error"}
            raise Refused(reply["error"]["code"], reply["error"]["message"])
        return reply

    def make(self, env_id: Any = "CartPole-v1", **fields: Any) -> str:
        """Make an environment; its instance."""
        instance: str = self.ask("make", env_id=env_id, **fields)["instance"]
        return instance

    def close(self) -> None:
        """End the connection without a word."""
        self.file.close()
        self.socket.close()


def same(want: Any, have: Any) -> bool:
    """Whether two values are equal in kind, dtype, shape and every bit but a NaN's."""
    if isinstance(want, np.ndarray):
        if not isinstance(have, np.ndarray) or (want.dtype, want.shape) != (have.dtype, have.shape):
            return False
        if want.dtype == object:
            return all(map(same, want.ravel(), have.ravel()))
        return bool(np.array_equal(want, have, equal_nan=want.dtype.kind in "fc"))
    if type(want) is not type(have):
        return False
    if isinstance(want, dict):
        return list(want) == list(have) and all(same(want[key], have[key]) for key in want)
    if isinstance(want, (list, tuple)):
        return len(want) == len(have) and all(map(same, want, have))
    return bool(want == have or (want != want and have != have))
