"""Messages longer than a NATS server takes, in parts; no input or output.

Each part begins with its number, from 0, and the number of all parts, both uint32 and
little-endian. The parts of a message come in order, on one subject.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

from gym_loop.wire.values import Malformed

_HEAD = struct.Struct("<II")
ROOM = _HEAD.size
_PATIENCE = 30.0  # seconds that the rest of a message may take


def split(message: bytes, most: int) -> Iterator[bytes]:
    """The parts of a message.

    Args:
        message: whole.
        most: bytes of a part.
    """
    size = most - ROOM
    count = max(1, -(-len(message) // size))
    for number in range(count):
        yield _HEAD.pack(number, count) + message[number * size : (number + 1) * size]


class Joiner:
    """Puts messages together again, from any number of peers.

    Args:
        longest: bytes of a message.
        most: messages that may be incomplete at the same time.
    """

    def __init__(self, longest: int, most: int = 64) -> None:
        self._longest = longest
        self._most = most
        self._open: dict[str, tuple[float, int, bytearray]] = {}  # until when, next part, so far

    def add(self, peer: str, part: bytes) -> bytearray | None:
        """Take a part.

        Args:
            peer: whom it is from: the subject that is its own.
            part: as it came.

        Returns:
            The message, if this was its last part.

        Raises:
            Malformed: it is no part, or none that belongs here.
        """
        if len(part) < ROOM:
            raise Malformed(f"a part of {len(part)} bytes has no number")
        number, count = _HEAD.unpack_from(part)
        if count == 1 and number == 0:
            return bytearray(memoryview(part)[ROOM:])
        _, expected, so_far = self._open.pop(peer, (0.0, 0, bytearray()))
        if number != expected or number >= count:
            raise Malformed(f"part {number} of {count} came where part {expected} belongs")
        so_far += memoryview(part)[ROOM:]
        if len(so_far) > self._longest:
            raise Malformed(f"a message is longer than {self._longest} bytes")
        if number == count - 1:
            return so_far
        self._make_room()
        self._open[peer] = time.monotonic() + _PATIENCE, number + 1, so_far
        return None

    def _make_room(self) -> None:
        """Forget what will hardly be complete any more."""
        if len(self._open) < self._most:
            return
        now = time.monotonic()
        self._open = {peer: one for peer, one in self._open.items() if one[0] > now}
        if len(self._open) >= self._most:
            raise Malformed(f"{self._most} messages are incomplete; send no more at once")
