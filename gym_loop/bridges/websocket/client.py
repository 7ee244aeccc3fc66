"""gymie from the other side: the requests of a client over one WebSocket."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from typing import Any

import orjson

from gym_loop.bridges.json_values import short
from gym_loop.bridges.remote_env import Client, InstanceGoneError, Step, read_json
from gym_loop.bridges.transport import Address, Line, Lost, authorization, persist
from gym_loop.errors import BridgeConnectionError, BridgeProtocolError

PATH = "/gym"
_LONGEST_HEAD = 65536
_LONGEST_MESSAGE = 2**28
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of RFC 6455, for every handshake
_ACCEPT = re.compile(rb"\r\nsec-websocket-accept:[ \t]*([^\r]*?)[ \t]*\r\n", re.IGNORECASE)
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_FINAL = 0x80
_TEMPORARY = frozenset({1000, 1001, 1005, 1006, 1012, 1013})  # codes of a server that ends


class WebSocketClient(Client):
    """Asks a gymie server, ours or the original.

    Args:
        address: of the server; without a path, ``/gym`` is meant.
        token: what the server demands, None for nothing.
        timeout: seconds that connecting, and an answer, may take.
    """

    def __init__(self, address: Address, token: str | None, timeout: float) -> None:
        self._line = Line(address, timeout)
        self._authorization = authorization(token)
        self._data = b""  # received beyond the last frame
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
        reply = read_json(persist(self._line, lambda: self._exchange(request), repeat=False))
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
        self._line.hurry(seconds)

    def disconnect(self) -> None:
        """Say goodbye, and end the connection."""
        if self._line.is_open:
            try:
                self._send(_CLOSE, b"\x03\xe8")  # 1000, the normal end
            except (Lost, BridgeConnectionError):
                pass
        self._line.close()

    def _ask(self, method: str, params: dict[str, Any], *, repeat: bool = True) -> bytes:
        request = orjson.dumps({"method": method, "params": params})
        return persist(self._line, lambda: self._exchange(request), repeat=repeat)

    def _exchange(self, request: bytes) -> bytes:
        """Send a request and wait for the message that answers it."""
        if self._line.is_stale():
            self._shake_hands()
        self._send(_TEXT, request)
        if not self._data:
            data = self._line.receive()
            # Nearly always one short frame, whole, and nothing after it.
            if 1 < len(data) < 128 and data[0] == _FINAL | _TEXT and len(data) == data[1] + 2:
                return data[2:]
            self._data = data
        return self._message()

    # -- frames (RFC 6455, section 5) ----------------------------------------------------

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
        self._line.send(b"%b%b%b" % (head, mask, masked))

    def _message(self) -> bytes:
        """The next message, answering pings on the way."""
        message = b""
        while True:
            final, opcode, payload = self._frame(_LONGEST_MESSAGE - len(message))
            if opcode == _CLOSE:
                raise self._ended(payload)
            if opcode == _PING:
                self._send(_PONG, payload)
            elif opcode in (0, _TEXT, _BINARY):
                message += payload
                if final:
                    return message
            elif opcode != _PONG:
                raise BridgeProtocolError(f"a WebSocket frame of the unknown kind {opcode}")

    def _frame(self, allowed: int) -> tuple[bool, int, bytes]:
        first, second = self._take(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        if first & 0x70 or second & 0x80 or size > allowed:
            raise BridgeProtocolError(
                f"a WebSocket frame of {size} bytes that nobody asked for in this form"
            )
        return bool(first & _FINAL), first & 0x0F, self._take(size)

    def _take(self, size: int) -> bytes:
        if len(self._data) < size:
            parts, have = [self._data], len(self._data)
            while have < size:
                parts.append(self._line.receive())
                have += len(parts[-1])
            self._data = b"".join(parts)
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def _ended(self, payload: bytes) -> Exception:
        """What a close frame means: every error of this protocol is one."""
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
        reason = payload[2:].decode("utf-8", "replace")
        try:
            self._send(_CLOSE, payload[:2])
        except (Lost, BridgeConnectionError):
            pass
        url = self._line.address.url
        if code in _TEMPORARY:
            return Lost(f"the server closed the connection ({code} {reason})".rstrip())
        if re.fullmatch(r"Instance `.*` not found", reason, re.DOTALL):
            return InstanceGoneError(f"{url} does not hold the environment any more: {reason}")
        return BridgeProtocolError(f"{url} refused: {reason or code}")

    # -- the beginning (section 4) -------------------------------------------------------

    def _shake_hands(self) -> None:
        line = self._line
        line.connect()
        self._data = b""
        key = base64.b64encode(os.urandom(16))
        path = line.address.path or PATH
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
        url, status = self._line.address.url, head[9:12]
        if status in (b"401", b"403"):
            raise BridgeProtocolError(
                f"{url} demands another token; give it as the parameter token"
            )
        expected = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - RFC 6455
        accept = _ACCEPT.search(head)
        if status != b"101" or accept is None or accept[1] != expected:
            said = head.split(b"\r\n", 1)[0][:80].decode("latin-1")
            raise BridgeProtocolError(f"{url} has no WebSocket at {path}: it answers {said!r}")
