"""Messages of the native protocol as bytes, and back; no input or output.

A message, of either side, is 16 bytes (``GLN`` and the version 1; the length of the header,
uint32; the number of the request, uint64; both little-endian), a header of JSON, zeros up to a
multiple of 8, and the bytes of the arrays that the header names.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from gym_loop.wire.values import DAMAGE, Malformed, Reader, Unsendable, Way, Writer, array_head

VERSION = 1
MAGIC = b"GLN" + bytes([VERSION])
_PREFIX = struct.Struct("<4sIQ")
LEAST = _PREFIX.size
_PAD = [bytes(size) for size in range(8)]
_LONGEST_KNOWN = 2048  # bytes of a header that is worth remembering
_PLAIN = frozenset({str, int, float, bool, type(None)})
_BOOL = np.dtype(bool)
_USUAL = frozenset(map(np.dtype, "?bBhHiIlLqQefd"))
_ndarray = np.ndarray
_dumps, _loads = orjson.dumps, orjson.loads


def write(number: int, fields: dict[str, Any], *, strict: bool = False) -> bytes:
    """Write a message.

    Args:
        number: of the request, which its reply repeats; from 0 on, below 2**64.
        fields: names and values; arrays are copied once, into the message.
        strict: see `Writer`.

    Raises:
        Unsendable: a value has no form on the wire.
    """
    blobs: list[Any] = []
    facts = None if strict else _facts(fields, blobs)
    if facts is not None:
        header, padded = _header(facts)
        return b"".join((_PREFIX.pack(MAGIC, len(header), number), padded, *blobs))
    body = _Body()
    header = _dumped(Writer(body.put, strict=strict), fields)
    prefix = _PREFIX.pack(MAGIC, len(header), number)
    if not body.blobs:
        return prefix + header
    return b"".join((prefix, header, _PAD[-len(header) & 7], *body.blobs))


def _dumped(writer: Writer, fields: dict[str, Any]) -> bytes:
    try:
        return _dumps({name: writer.value(one, ((), name, 0)) for name, one in fields.items()})
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise Unsendable(f"it cannot be sent: {error}") from None


class _Body:
    """The bytes behind a header, as they come together."""

    def __init__(self) -> None:
        self.blobs: list[Any] = []
        self._size = 0  # with the padding

    def put(self, array: Any, way: Way) -> int:
        """Note an array; its offset."""
        offset, size = self._size, array.nbytes
        if size:
            # `bytes.join` takes no empty buffers of some kinds, and a text has no buffer.
            plain = array.flags.c_contiguous and array.dtype.kind in "buifc"
            self.blobs.append(array if plain else array.tobytes())
            if size & 7:
                self.blobs.append(_PAD[-size & 7])
            self._size += size + (-size & 7)
        return offset


def _facts(fields: dict[str, Any], blobs: list[Any]) -> tuple[Any, ...] | None:
    """What the header of a message of arrays and texts follows from; None for any other message.

    The messages of one environment's steps have the same header, as a rule, so that it is made
    only once.
    """
    facts: list[Any] = []
    for name, item in fields.items():
        if type(item) is _ndarray and item.dtype in _USUAL and item.size:
            facts.append((name, item.dtype, item.shape))
            # A contiguous array is its own bytes.
            blobs.append(item if item.flags.c_contiguous else np.ascontiguousarray(item))
            blobs.append(_PAD[-item.nbytes & 7])
        elif type(item) is str:
            facts.append((name, item))
        elif type(item) is dict and not item:
            facts.append((name, None))
        else:
            return None
    return tuple(facts) if blobs else None


@lru_cache(maxsize=256)
def _header(facts: tuple[Any, ...]) -> tuple[bytes, bytes]:
    """The header that follows from such facts, and with zeros up to a multiple of 8."""
    fields = {name: np.empty(*rest[::-1]) if len(rest) == 2 else rest[0] for name, *rest in facts}
    header = _dumped(Writer(_Body().put), {k: {} if v is None else v for k, v in fields.items()})
    return header, header + _PAD[-len(header) & 7]


def number_of(data: Any) -> int:
    """The number of a message that is otherwise of no use; 0 if it has none."""
    return int(_PREFIX.unpack_from(data)[2]) if len(data) >= LEAST and data[:3] == b"GLN" else 0


def read(data: Any) -> tuple[int, dict[str, Any]]:
    """Read a message.

    Args:
        data: bytes, or any writable buffer of bytes, beginning at a multiple of 8 in memory
            where arrays are to be aligned; the arrays stay in it.

    Returns:
        The number and the fields.

    Raises:
        Malformed: it is no message of this protocol.
    """
    if len(data) < LEAST:
        raise Malformed(f"{len(data)} bytes are no message; it has at least {LEAST}")
    magic, size, number = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise Malformed(f"{magic!r} does not begin a message of version {VERSION}")
    end = LEAST + size
    if end > len(data):
        raise Malformed(f"a header of {size} bytes is longer than its message")
    header = bytes(data[LEAST:end])
    if size <= _LONGEST_KNOWN and (layout := _layout_of(header)) is not None:
        return number, layout.read(data)
    value = Reader(_Bytes(data, min(end + (-size & 7), len(data))).take).value
    return number, {name: value(item) for name, item in _fields(header).items()}


class _Bytes:
    """What lies behind a header, none of which is given twice."""

    def __init__(self, data: Any, start: int) -> None:
        self._data, self._start = data, start
        self._left = self._most = len(data) - start

    def take(self, offset: Any, size: int) -> tuple[Any, int]:
        """The message, and where in it so many bytes begin."""
        if type(offset) is not int or offset < 0 or offset & 7:
            raise ValueError(f"an offset must be a multiple of 8 from 0 on, not {offset!r:.40}")
        if size > self._left or offset + size > self._most:
            raise ValueError(f"{size} bytes at {offset} are more than the message holds")
        self._left -= size
        return self._data, self._start + offset


def _fields(header: bytes) -> dict[str, Any]:
    try:
        fields = _loads(header)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the header is no JSON: {error}") from None
    if type(fields) is not dict:
        raise Malformed("the header is no JSON object")
    return fields


# -- messages that look like the one before -------------------------------------------------------


class _Layout:
    """Where the arrays of a header lie, beside fields of plain values.

    The messages of one environment's steps have the same header, as a rule, so that it is
    taken apart only once.

    Args:
        fields: of the header.
        start: where the arrays begin.

    Raises:
        Malformed: there is more in the header than arrays and plain values.
    """

    def __init__(self, fields: dict[str, Any], start: int) -> None:
        self._plain = {}
        self._arrays = []
        self.size = end = 0  # of the shortest message that holds the arrays
        for name, item in fields.items():
            if type(item) in _PLAIN or item == {}:
                self._plain[name] = item
                continue
            if type(item) is not dict or item.keys() != {"$a"}:
                raise Malformed("a nested value")
            dtype, shape, offset, order = array_head(item["$a"])
            size = math.prod(shape) * dtype.itemsize
            if offset != end or order == "F" or not size:
                raise Malformed("an unusual array")
            end = offset + size + (-size & 7)
            self.size = start + offset + size
            self._arrays.append((name, shape, dtype, start + offset, dtype == _BOOL))
        self._empty = [name for name, item in self._plain.items() if item == {}]

    def read(self, data: Any) -> dict[str, Any]:
        """The fields of a message with this header."""
        if len(data) < self.size:
            raise Malformed(f"{len(data)} bytes are fewer than the {self.size} that belong here")
        fields = self._plain.copy()
        for name in self._empty:
            fields[name] = {}  # one of their own: whoever gets it may write into it
        for name, shape, dtype, begin, is_bool in self._arrays:
            fields[name] = array = _ndarray(shape, dtype, data, begin)
            if is_bool and array.tobytes().translate(None, b"\0\1"):
                raise Malformed(f"{name}: a bool is neither 0 nor 1")
        return fields


@lru_cache(maxsize=256)
def _layout_of(header: bytes) -> _Layout | None:
    """The layout of a header of arrays and plain values alone; None for any other."""
    try:
        return _Layout(_fields(header), LEAST + len(header) + (-len(header) & 7))
    except (Malformed, *DAMAGE):
        return None
