"""Values as JSON beside raw bytes, and back without loss; no input or output.

JSON says None, bools, finite floats, integers of 64 bits, texts, lists, and dictionaries with
text keys. Whatever else there is, is an object with one key that begins with ``$``; the bytes
of arrays lie one after the other behind the JSON, each at a multiple of 8.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import Any

import numpy as np
from gymnasium.spaces import GraphInstance

from gym_loop.wire.problems import Problem

DEEPEST = 100  # a value nested deeper is not read; in an info dictionary it is cut when written
_LEAST, _MOST = -(2**63), 2**64
_LONGEST_INT = 10_000  # hexadecimal digits
_MOST_DIMENSIONS = 32
_LONGEST_TEXT = 4096  # characters of an element of an array of texts
_ATOMS = frozenset({type(None), bool, str})
_PAD = [bytes(size) for size in range(8)]


class Malformed(Problem):
    """Bytes that are no message of this protocol."""


class Unsendable(Problem):
    """A value that has no form on the wire."""


# -- writing -----------------------------------------------------------------------------------


class Writer:
    """Makes JSON-able values, and collects the bytes that lie beside them.

    Args:
        strict: refuse what has no form on the wire, and keep the memory order of arrays, as a
            state needs it. Otherwise such a thing is named by its type, such as ``<Generator>``.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.blobs: list[Any] = []
        self.size = 0  # of all blobs with their padding
        self._strict = strict

    def value(self, value: Any, depth: int = 0) -> Any:
        """The JSON-able form of a value.

        Raises:
            Unsendable: it has none, and this writer is strict.
        """
        kind = type(value)
        if kind is np.ndarray:
            return self._array(value, depth)
        if kind is str:
            return value if value.isascii() else _text(value)
        if kind in _ATOMS:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"$f": _special(value)}
        if kind is int:
            return value if _LEAST <= value < _MOST else {"$i": hex(value)}
        if depth >= DEEPEST:
            return self._unsendable(value, "is nested too deeply")
        if kind is dict:
            return self._dict(value, depth + 1)
        if kind is list:
            return [self.value(item, depth + 1) for item in value]
        return self._rarer(value, depth + 1)

    def _rarer(self, value: Any, depth: int) -> Any:
        if isinstance(value, np.generic):
            return self._scalar(value)
        if isinstance(value, GraphInstance):
            return {"$g": [self.value(part, depth) for part in value]}
        if isinstance(value, tuple):
            return {"$t": [self.value(item, depth) for item in value]}
        if isinstance(value, (bytes, bytearray)):
            return {"$b": [len(value), self._blob(bytes(value), len(value))]}
        if isinstance(value, (set, frozenset)):
            return {"$set": [self.value(item, depth) for item in sorted(value, key=repr)]}
        if isinstance(value, dict):
            return self._dict(value, depth)
        if isinstance(value, list):
            return self.value(list(value), depth)
        for base in (int, float, str):  # a member of an enumeration, for one
            if isinstance(value, base):
                inner: Any = base.__new__(base, value)  # type: ignore[type-var]
                return self.value(inner, depth)
        if isinstance(value, np.ndarray):
            return self._array(np.asarray(value), depth)
        return self._unsendable(value, "has no form on the wire")

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        for key in value:
            if type(key) is not str or key[:1] == "$" or not key.isascii():
                break
        else:
            return {key: self.value(item, depth) for key, item in value.items()}
        pairs = [[self.value(key, depth), self.value(item, depth)] for key, item in value.items()]
        return {"$d": pairs}

    def _array(self, array: Any, depth: int) -> Any:
        dtype = array.dtype
        if dtype.kind == "O":
            items = [self.value(item, depth + 1) for item in array.ravel().tolist()]
            return {"$o": [array.shape, items]}
        if not _is_plain(dtype):
            return self._unsendable(array, f"of dtype {dtype} has no form on the wire")
        if dtype.byteorder == ">":
            array = array.astype(dtype.newbyteorder("<"))
        node: list[Any] = [array.dtype.str, array.shape]
        if not array.flags.c_contiguous:
            if self._strict and array.flags.f_contiguous:
                array = array.T
                node += [self._blob(array, array.nbytes), "F"]
                return {"$a": node}
            array = np.ascontiguousarray(array)
        node.append(self._blob(array, array.nbytes))
        return {"$a": node}

    def _blob(self, data: Any, size: int) -> int:
        """Note bytes to be sent; their offset."""
        offset = self.size
        if size:
            # `bytes.join` takes no empty buffers of some kinds, and a text has no buffer.
            plain = type(data) is bytes or data.dtype.kind in "buifc"
            self.blobs.append(data if plain else data.tobytes())
            if size & 7:
                self.blobs.append(_PAD[-size & 7])
            self.size += size + (-size & 7)
        return offset

    def _scalar(self, value: Any) -> Any:
        dtype = value.dtype
        if not dtype.itemsize:  # an empty text
            value = np.array(value, f"{dtype.kind}1")
            dtype = value.dtype
        if not _is_plain(dtype):
            return self._unsendable(value, f"of dtype {dtype} has no form on the wire")
        if dtype.kind in "bui" or (dtype.kind == "f" and math.isfinite(float(value))):
            return {"$s": [dtype.str, value.item()]}
        little = value.astype(dtype.newbyteorder("<"))
        return {"$s": [dtype.str.replace(">", "<"), little.tobytes().hex()]}

    def _unsendable(self, value: Any, why: str) -> Any:
        if self._strict:
            raise Unsendable(f"a {type(value).__name__} {why}")
        return f"<{type(value).__name__}>"


@lru_cache(maxsize=256)
def _is_plain(dtype: np.dtype[Any]) -> bool:
    if dtype.kind in "US":
        return dtype.itemsize > 0
    return dtype.kind in "buifc" and dtype.itemsize <= (16 if dtype.kind == "c" else 8)


def _special(number: float) -> str:
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    bits = struct.pack(">d", number)
    return "nan" if bits == _NAN else bits.hex()


_NAN = struct.pack(">d", math.nan)


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate has no place in UTF-8
        return {"$u": [ord(character) for character in value]}
    return value


# -- reading -----------------------------------------------------------------------------------


class Reader:
    """Puts values together again; arrays stay where the message lies, without a copy.

    Args:
        data: the message; if it can be written to, so can the arrays.
        start: where the bytes beside the JSON begin.
    """

    def __init__(self, data: Any, start: int) -> None:
        self._data = data
        self._start = start
        self._most = len(data) - start
        self._left = self._most  # bytes that values may still refer to: none is read twice

    def value(self, node: Any, depth: int = 0) -> Any:
        """The value of a JSON node.

        Raises:
            Malformed: it is none of this protocol.
        """
        kind = type(node)
        if kind is dict:
            if depth > DEEPEST:
                raise Malformed(f"values are nested more than {DEEPEST} deep")
            if len(node) == 1:
                for key, content in node.items():
                    if key[:1] == "$":
                        return self._tagged(key, content, depth + 1)
            return {key: self.value(item, depth + 1) for key, item in node.items()}
        if kind is list:
            if depth > DEEPEST:
                raise Malformed(f"values are nested more than {DEEPEST} deep")
            return [self.value(item, depth + 1) for item in node]
        return node

    def _tagged(self, tag: str, content: Any, depth: int) -> Any:
        if tag == "$a":
            return self._array(content)
        read = _TAGS.get(tag)
        if read is None:
            raise Malformed(f"{tag[:20]!r} is no kind of value; known are $a, {', '.join(_TAGS)}")
        try:
            return read(self, content, depth)
        except (TypeError, ValueError, OverflowError) as error:
            raise Malformed(f"{tag}: {str(error)[:200]}") from None

    def _array(self, content: Any) -> Any:
        dtype, shape, offset, order = array_head(content)
        size = math.prod(shape) * dtype.itemsize
        begin = self._taken(offset, size)
        if not size:
            return np.empty(shape, dtype)
        array = np.ndarray(shape, dtype, self._data, begin, order=order)
        if dtype.kind == "b":
            check_bools(array)
        return array

    def _taken(self, offset: int, size: int) -> int:
        """Where bytes begin that are there, and paid for."""
        if size > self._left or offset + size > self._most:
            raise Malformed(f"{size} bytes at {offset} are more than the message holds")
        self._left -= size
        return self._start + offset

    # -- what is rarer; these raise TypeError or ValueError as well ------------------------------

    def _bytes(self, content: Any, depth: int) -> bytes:
        size, offset = content
        if type(size) is not int or size < 0:
            raise ValueError("a size must be an integer from 0 on")
        begin = self._taken(_checked_offset(offset), size)
        return bytes(memoryview(self._data)[begin : begin + size])

    def _items(self, content: Any, depth: int) -> list[Any]:
        if type(content) is not list:
            raise ValueError("a list belongs here")
        return [self.value(item, depth) for item in content]

    def _pairs(self, content: Any, depth: int) -> dict[Any, Any]:
        pairs = self._items(content, depth)
        if not all(type(pair) is list and len(pair) == 2 for pair in pairs):
            raise ValueError("pairs of key and value belong here")
        return {key: value for key, value in pairs}  # noqa: C416 - lists of two, not tuples

    def _objects(self, content: Any, depth: int) -> Any:
        shape, items = content
        values = self._items(items, depth)
        if _count(shape) != len(values):
            raise ValueError(f"{len(values)} values do not fill the shape")
        array = np.empty(len(values), object)
        for index, value in enumerate(values):
            array[index] = value
        return array.reshape(shape)

    def _scalar(self, content: Any, depth: int) -> Any:
        name, value = content
        dtype = _dtype(name)
        if type(value) is str:
            data = bytes.fromhex(value)
            if len(data) != dtype.itemsize or dtype.kind == "b":
                raise ValueError(f"{len(data)} bytes are no {dtype}")
            return np.frombuffer(data, dtype)[0]
        wanted = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float)}.get(dtype.kind, ())
        if type(value) not in wanted:
            raise ValueError(f"{value!r:.40} is no {dtype}")
        return dtype.type(value)

    def _graph(self, content: Any, depth: int) -> GraphInstance:
        nodes, edges, links = self._items(content, depth)
        return GraphInstance(nodes, edges, links)


def array_head(content: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, Any]:
    """The dtype, the shape, the offset and the memory order that an array's node says.

    Raises:
        Malformed: it says something else.
    """
    try:
        name, shape, offset, *order = content
        dtype = _dtype(name)
    except (TypeError, ValueError) as error:
        raise Malformed(f"$a: {str(error)[:200]}") from None
    if order not in ([], ["F"]):
        raise Malformed("$a: the memory order can only be F")
    _count(shape)
    return dtype, tuple(shape), _checked_offset(offset), "F" if order else "C"


def check_bools(array: Any) -> None:
    """Refuse what would break NumPy: a bool that is neither 0 nor 1.

    Raises:
        Malformed: there is one.
    """
    if array.tobytes("A").translate(None, b"\0\1"):
        raise Malformed("$a: a bool is neither 0 nor 1")


def _checked_offset(offset: Any) -> int:
    if type(offset) is not int or offset < 0 or offset & 7:
        raise Malformed(f"an offset must be a multiple of 8 from 0 on, not {offset!r:.40}")
    return offset


_TAGS: dict[str, Any] = {
    "$b": Reader._bytes,
    "$d": Reader._pairs,
    "$f": lambda reader, content, depth: _special_float(content),
    "$g": Reader._graph,
    "$i": lambda reader, content, depth: _long_int(content),
    "$o": Reader._objects,
    "$s": Reader._scalar,
    "$set": lambda reader, content, depth: set(reader._items(content, depth)),
    "$t": lambda reader, content, depth: tuple(reader._items(content, depth)),
    "$u": lambda reader, content, depth: "".join(map(chr, content)),
}


@lru_cache(maxsize=512)
def _dtype(name: Any) -> np.dtype[Any]:
    """The dtype of a name such as ``<f4``; nothing but plain data, in little-endian order."""
    if type(name) is not str or name[:1] not in ("<", "|") or not name[2:].isdecimal():
        raise ValueError(f"{name!r:.40} is no dtype, such as '<f4'")
    if name[1] not in "buifcUS" or int(name[2:]) > _LONGEST_TEXT:
        raise ValueError(f"{name!r:.40} is no dtype of this protocol")
    dtype = np.dtype(name)
    if not _is_plain(dtype) or dtype.str != name:
        raise ValueError(f"{name!r:.40} is no dtype of this protocol")
    return dtype


def _count(shape: Any) -> int:
    """The number of elements, which no shape can make too great to count."""
    if type(shape) is not list or len(shape) > _MOST_DIMENSIONS:
        raise Malformed(f"a shape must be a list of at most {_MOST_DIMENSIONS} sizes")
    count = 1
    for size in shape:
        if type(size) is not int or not 0 <= size < 2**40:
            raise Malformed(f"a size must be an integer from 0 on, not {size!r:.40}")
        count *= size
    if count == 0 and math.prod(max(size, 1) for size in shape) >= 2**60:
        raise Malformed("a shape is too great")
    return count


def _special_float(content: Any) -> float:
    if content in ("nan", "inf", "-inf"):
        return float(content)
    if type(content) is not str or len(content) != 16:
        raise ValueError("nan, inf, -inf or 16 hexadecimal digits belong here")
    number: float = struct.unpack(">d", bytes.fromhex(content))[0]
    return number


def _long_int(content: Any) -> int:
    if type(content) is not str or len(content) > _LONGEST_INT:
        raise ValueError("a hexadecimal number belongs here")
    return int(content, 16)
