"""One WebSocket from the client's side: the handshake, and whole messages both ways (RFC 6455)."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from typing import Any

import numpy as np

from gym_loop.envs.remote.transport import Address, Line, Lost, authorization
from gym_loop.errors import BridgeConnectionError, BridgeProtocolError

TEXT, BINARY = 1, 2
_CLOSE, _PING, _PONG = 8, 9, 10
_LONGEST_HEAD = 65536
_LONGEST_MESSAGE = 2**28
_LARGE = 65536  # bytes of a frame that is received where it stays
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # for every handshake
_ACCEPT = re.compile(rb"\r\nsec-websocket-accept:[ \t]*([^\r]*?)[ \t]*\r\n", re.IGNORECASE)
_FINAL = 0x80
_WHOLE_TEXT, _WHOLE_BINARY = _FINAL | TEXT, _FINAL | BINARY
_TEMPORARY = frozenset({1000, 1001, 1005, 1006, 1012, 1013})  # codes of a server that ends

Message = bytes | np.ndarray[Any, Any]  # a long one is an array of its bytes


class Refused(Exception):  # noqa: N818 - each protocol says it in its own way
    """The server closed the connection for a reason that will not go away.

    Args:
        code: of the close frame.
        reason: what it says, or nothing.
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(code, reason)


class Channel:
    """Sends and receives messages over one connection, which is made when it is needed.

    Args:
        address: of the server.
        token: what the server demands, None for nothing.
        timeout: seconds that connecting, and an answer, may take.
        path: what is meant where the address has none.
        kind: of the frames that are sent, TEXT or BINARY.
    """

    def __init__(
        self, address: Address, token: str | None, timeout: float, path: str, kind: int
    ) -> None:
        self.line = Line(address, timeout)
        self._authorization = authorization(token)
        self._path = path
        self._kind = kind
        self._data = b""  # received beyond the last frame

    def send(self, message: bytes) -> None:
        """Send a message, over a new connection if there is none.

        Raises:
            Lost: the connection broke, or could not be made.
            BridgeConnectionError: it was not taken in time.
            BridgeProtocolError: there is no WebSocket.
        """
        if self.line.is_stale():
            self._shake_hands()
        self._send(self._kind, message)

    def receive(self) -> Message:
        """The next message, answering pings on the way.

        Raises:
            Lost: the connection broke, or the server ends.
            Refused: the server closed it for another reason.
            BridgeConnectionError: nothing came in time.
            BridgeProtocolError: it is no frame.
        """
        if not self._data:
            data = self.line.receive()
            # Nearly always one frame, whole, and nothing after it.
            size = len(data)
            if 4 < size < _LARGE and (data[0] == _WHOLE_TEXT or data[0] == _WHOLE_BINARY):
                if size == data[1] + 2 and size < 128:
                    return data[2:]
                if data[1] == 126 and size == (data[2] << 8 | data[3]) + 4:
                    return data[4:]
            self._data = data
        return self._message()

    def disconnect(self) -> None:
        """Say goodbye, and end the connection."""
        if self.line.is_open:
            try:
                self._send(_CLOSE, b"\x03\xe8")  # 1000, the normal end
            except (Lost, BridgeConnectionError):
                pass
        self.line.close()

    # -- frames (section 5) ----------------------------------------------------------------

    def _send(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = bytes((_FINAL | opcode, 0x80 | size))
        elif size < 65536:
            head = bytes((_FINAL | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((_FINAL | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
        mask = os.urandom(4)
        pad = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
        masked = (int.from_bytes(payload, "little") ^ pad).to_bytes(size, "little")
        self.line.send(b"%b%b%b" % (head, mask, masked))

    def _message(self) -> Message:
        parts: list[bytes] = []
        left = _LONGEST_MESSAGE
        while True:
            final, opcode, size = self._head(left)
            if opcode in (0, TEXT, BINARY):
                if final and not parts:
                    return self._take_large(size) if size > _LARGE else self._take(size)
                parts.append(self._take(size))
                left -= size
                if final:
                    return b"".join(parts)
                continue
            payload = self._take(size)
            if opcode == _CLOSE:
                raise self._ended(payload)
            if opcode == _PING:
                self._send(_PONG, payload)
            elif opcode != _PONG:
                raise BridgeProtocolError(f"a WebSocket frame of the unknown kind {opcode}")

    def _head(self, allowed: int) -> tuple[bool, int, int]:
        first, second = self._take(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        if first & 0x70 or second & 0x80 or size > allowed:
            raise BridgeProtocolError(
                f"a WebSocket frame of {size} bytes that nobody asked for in this form"
            )
        return bool(first & _FINAL), first & 0x0F, size

    def _take(self, size: int) -> bytes:
        if len(self._data) < size:
            parts, have = [self._data], len(self._data)
            while have < size:
                parts.append(self.line.receive())
                have += len(parts[-1])
            self._data = b"".join(parts)
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def _take_large(self, size: int) -> Message:
        """Receive a payload where it stays, without putting pieces together."""
        buffer: Any = np.empty(size, np.uint8)  # unlike a bytearray, not filled with zeros first
        view, have = memoryview(buffer), min(size, len(self._data))
        view[:have] = self._data[:have]
        self._data = self._data[have:]
        self.line.receive_into(view[have:])
        message: Message = buffer
        return message

    def _ended(self, payload: bytes) -> Exception:
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
        reason = payload[2:].decode("utf-8", "replace")
        try:
            self._send(_CLOSE, payload[:2])
        except (Lost, BridgeConnectionError):
            pass
        if code in _TEMPORARY:
            return Lost(f"the server closed the connection ({code} {reason})".rstrip())
        return Refused(code, reason)

    # -- the beginning (section 4) -------------------------------------------------------

    def _shake_hands(self) -> None:
        line = self.line
        line.connect()
        self._data = b""
        key = base64.b64encode(os.urandom(16))
        path = line.address.path or self._path
        line.send(
            b"GET %b HTTP/1.1\r\nHost: %b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
            % (path.encode(), line.address.authority.encode(), key, self._authorization)
        )
        data = line.receive()
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > _LONGEST_HEAD:
                raise BridgeProtocolError(f"{line.address.url} does not answer in HTTP")
            data += line.receive()
        head, self._data = data[: end + 2], data[end + 4 :]
        self._check_hands(head, key, path)

    def _check_hands(self, head: bytes, key: bytes, path: str) -> None:
        url, status = self.line.address.url, head[9:12]
        if status in (b"401", b"403"):
            raise BridgeProtocolError(
                f"{url} demands another token; give it as the parameter token"
            )
        expected = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - RFC 6455
        accept = _ACCEPT.search(head)
        if status != b"101" or accept is None or accept[1] != expected:
            said = head.split(b"\r\n", 1)[0][:80].decode("latin-1")
            raise BridgeProtocolError(f"{url} has no WebSocket at {path}: it answers {said!r}")
