"""The bytes of NATS's core protocol, as far as requests and replies need it; no I/O here.

https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

LONGEST_LINE = 1 << 16
LARGEST_PAYLOAD = 1 << 26  # what a server may allow at most
_HEAD = b"NATS/1.0"
# A subject may be any UTF-8, and what is none must go back as it came.
_LENIENT = "surrogateescape"


class WireError(Exception):
    """Bytes that are no NATS."""


class Message(NamedTuple):
    """One message that came."""

    subject: str
    reply: str
    payload: bytes
    headers: bytes = b""

    def header(self, name: str) -> str | None:
        """A header's value, None where it is absent."""
        if not self.headers:
            return None
        _, found, rest = self.headers.partition(f"\r\n{name}:".encode())
        return text(rest.partition(b"\r\n")[0]) if found else None

    @property
    def status(self) -> bytes:
        """The code of a reply that the server itself sends, such as ``503``, or empty."""
        return self.headers[len(_HEAD) : self.headers.find(b"\r\n")].strip()[:3]


class Reader:
    """Takes bytes as they come, and gives messages and lines."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0  # read so far

    def feed(self, data: bytes) -> None:
        """Take what came from the socket."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def next(self) -> Message | bytes | None:
        """The next message, or any other line; None when more bytes are needed.

        Raises:
            WireError: it is no NATS.
        """
        data, start = self._data, self._at
        end = data.find(b"\r\n", start)
        if end < 0 or end - start > LONGEST_LINE:
            if len(data) - start > LONGEST_LINE:
                raise WireError(f"a line of more than {LONGEST_LINE} bytes")
            return None
        line = data[start:end]
        if not line.startswith((b"MSG ", b"HMSG ")):
            self._at = end + 2
            return line
        with_headers = line.startswith(b"H")
        words = line.split()
        try:
            size = int(words[-1])
            header_size = int(words[-2]) if with_headers else 0
        except (ValueError, IndexError):
            raise WireError(f"{line[:60]!r} says no size") from None
        most = 5 + with_headers
        if not most - 1 <= len(words) <= most or not 0 <= header_size <= size <= LARGEST_PAYLOAD:
            raise WireError(f"{line[:60]!r} is no head of a message")
        after = end + 2 + size
        if len(data) < after + 2:
            return None
        if data[after : after + 2] != b"\r\n":
            raise WireError(f"{line[:60]!r} is followed by more bytes than it says")
        self._at = after + 2
        body = end + 2 + header_size
        return Message(
            words[1].decode(errors=_LENIENT),
            words[3].decode(errors=_LENIENT) if len(words) == most else "",
            data[body:after],
            data[end + 2 : body],
        )


def read_info(line: bytes | Message) -> dict[str, Any]:
    """What a server says of itself first.

    Raises:
        WireError: it is no NATS server.
    """
    if isinstance(line, Message) or not line.startswith(b"INFO "):
        raise WireError(f"it began with {bytes(line[:20])!r}" if isinstance(line, bytes) else "")
    try:
        info = json.loads(line[5:])
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise WireError("its INFO is no JSON object")
    return info


def connect(options: Mapping[str, Any]) -> bytes:
    """Answer the server's INFO."""
    return b"CONNECT " + json.dumps(options).encode() + b"\r\n"


def subscribe(subject: str, number: int) -> bytes:
    """Ask for the messages of a subject."""
    return f"SUB {subject} {number}\r\n".encode(errors=_LENIENT)


def publish(
    subject: str, payload: bytes, reply: str = "", headers: Mapping[str, str] | None = None
) -> bytes:
    """Send a message.

    Args:
        subject: where to.
        payload: what.
        reply: the subject that the answer is wanted on.
        headers: names and values, each on one line.
    """
    to = f"{subject} {reply}" if reply else subject
    if not headers:
        return b"%b %d\r\n%b\r\n" % (f"PUB {to}".encode(errors=_LENIENT), len(payload), payload)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    block = _HEAD + b"\r\n" + lines.encode(errors="replace") + b"\r\n"
    sizes = f"HPUB {to} {len(block)} {len(block) + len(payload)}\r\n"
    return sizes.encode(errors=_LENIENT) + block + payload + b"\r\n"


def text(raw: bytes) -> str:
    """What a peer said, on one line."""
    return " ".join(raw.decode(errors="replace").strip(" '\"\r\n").split())
