"""Values as JSON beside raw bytes, and back without loss: checkpoints, and the native protocol.

JSON says None, bools, finite floats, integers of 64 bits, texts, lists, and dictionaries with
text keys. Whatever else there is, is an object with one key that begins with ``$``, a tag. The
bytes of arrays lie beside the JSON, each referred to once: by an offset in a message, by a name
in a checkpoint. No input or output.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from gym_loop.wire.dtypes import (
    LARGEST_EMPTY,
    check_bools,
    count_of,
    dtype_name,
    dtype_of,
    is_plain,
    little_endian,
)
from gym_loop.wire.problems import Problem

DEEPEST = 100  # values nested deeper are no message; in an info dictionary they are cut
_LEAST, _MOST = -(2**63), 2**64
_ATOMS = frozenset({type(None), bool})
_JSON = frozenset({str, int, float, bool, type(None)})
_NAN = struct.pack(">d", math.nan)

# What may be raised where data are damaged, or made by others.
DAMAGE = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
)
Way = tuple[Any, ...]  # to a value: (way to what holds it, its key there, its depth)
ROOT: Way = ((), "", 0)


class Malformed(Problem):
    """Bytes that are no message of this protocol."""


class Unsendable(Problem):
    """A value that has no form on the wire."""


class Node(dict[str, Any]):
    """A part of a state that is no value, with its named parts; `KINDS` lists what there is.

    Args:
        kind: one of `KINDS`.
        parts: values.
    """

    __slots__ = ("kind",)

    def __init__(self, kind: str, *args: Any, **parts: Any) -> None:
        super().__init__(*args, **parts)
        self.kind = kind

    def __reduce__(self) -> Any:
        return Node, (self.kind, dict(self))

    def __eq__(self, other: object) -> bool:
        return type(other) is Node and other.kind == self.kind and super().__eq__(other)

    __hash__ = None


# The tag of a node is ``$`` and its kind; `gym_loop.checkpoints.tree` says what they mean.
KINDS = frozenset({
    "attributes", "bytearray", "columns", "dict", "dtype", "enum", "generator", "items", "live",
    "namedtuple", "object", "objects", "path", "quoted", "random", "random_state", "range", "same",
    "seed_sequence", "space", "state_dict", "tensor", "torch_generator", "view",
})  # fmt: skip


def place_of(way: Way) -> str:
    """How a person names a value: ``agent.buffer.3``; empty for the whole."""
    keys = []
    while way[0]:
        keys.append(str(way[1]))
        way = way[0]
    return ".".join(reversed(keys))


# -- writing -----------------------------------------------------------------------------------


class Writer:
    """Makes JSON-able values, and hands over the arrays that lie beside them.

    Args:
        put: takes an array and the way to it, and returns what refers to its bytes in C order.
        strict: refuse what has no form, and keep the memory order and the byte order of arrays, as
            a state needs it. Otherwise such a thing is named by its type, such as ``<Generator>``.
        deepest: how deep values may be nested.
        inline: bytes up to this length stand in the JSON.
    """

    def __init__(
        self,
        put: Callable[[Any, Way], Any],
        *,
        strict: bool = False,
        deepest: int = DEEPEST,
        inline: int = 0,
    ) -> None:
        self._put, self._strict, self._deepest, self._inline = put, strict, deepest, inline

    def value(self, value: Any, way: Way = ROOT) -> Any:
        """The JSON-able form of a value.

        Raises:
            Unsendable: it has none, and this writer is strict; the message names the place.
        """
        kind = type(value)
        if kind is float:
            return value if value - value == 0.0 else {"$f": _special(value)}  # else not finite
        if kind is int:
            return value if _LEAST <= value < _MOST else {"$i": hex(value)}
        if kind is str:
            return value if value.isascii() else _text(value)
        if kind in _ATOMS:
            return value
        if kind is np.ndarray:
            return self._array(value, way)
        if way[2] >= self._deepest:
            return self._unsendable(value, way, "is nested too deeply")
        if kind is dict:
            return self._dict(value, way)
        if kind is list:
            return self._items(value, way)
        if kind is tuple:
            return {"$t": self._items(value, way)}
        if kind is Node:
            return {f"${value.kind}": self._dict(value, way)}
        return self._rarer(value, way, kind)

    def _items(self, values: Any, way: Way) -> list[Any]:
        depth, value = way[2] + 1, self.value
        return [value(item, (way, index, depth)) for index, item in enumerate(values)]

    def _dict(self, items: dict[Any, Any], way: Way) -> Any:
        depth, value = way[2] + 1, self.value
        for key in items:
            if type(key) is not str or key[:1] == "$" or not key.isascii():
                break
        else:
            return {key: value(item, (way, key, depth)) for key, item in items.items()}
        pairs = ((key, item, (way, key, depth)) for key, item in items.items())
        return {"$d": [[value(key, at), value(item, at)] for key, item, at in pairs]}

    def _rarer(self, value: Any, way: Way, kind: type) -> Any:
        if isinstance(value, np.generic):
            return self._scalar(value, way)
        if kind is complex:
            return {"$c": [self.value(value.real), self.value(value.imag)]}
        if isinstance(value, (bytes, bytearray)):
            if len(value) <= self._inline:
                return {"$b": value.hex()}
            return {"$b": [len(value), self._put(np.frombuffer(value, np.uint8), way)]}
        if isinstance(value, dict):
            return self._dict(value, way)
        if isinstance(value, np.ndarray):
            return self._array(np.asarray(value), way)
        if isinstance(value, tuple) and kind.__name__ == "GraphInstance":
            return {"$g": self._items(value, way)}
        if kind is set or (isinstance(value, (set, frozenset)) and not self._strict):
            return {"$set": self._items(sorted(value, key=repr), way)}
        if not self._strict:
            if isinstance(value, (tuple, list)):
                return self.value(tuple(value) if isinstance(value, tuple) else list(value), way)
            for base in (int, float, str):  # a member of an enumeration, for one
                if isinstance(value, base):
                    inner: Any = base.__new__(base, value)  # type: ignore[type-var]
                    return self.value(inner, way)
        return self._unsendable(value, way, "has no form on the wire")

    def _array(self, array: Any, way: Way) -> Any:
        dtype = array.dtype
        if dtype.kind == "O":
            return {"$o": [list(array.shape), self._items(array.ravel().tolist(), way)]}
        if not dtype.itemsize and dtype.kind in "US":  # texts of length 0 have no bytes
            array, dtype = array.astype(f"{dtype.kind}1"), np.dtype(f"{dtype.kind}1")
        if not is_plain(dtype, not self._strict) or (
            not array.size and dtype.itemsize > LARGEST_EMPTY
        ):
            return self._unsendable(array, way, f"of dtype {dtype} has no form on the wire")
        if not self._strict:
            array = little_endian(array)
        node = [dtype_name(array.dtype), list(array.shape)]
        if self._strict and array.flags.f_contiguous and not array.flags.c_contiguous:
            return {"$a": [*node, self._put(array.T, way), "F"]}
        return {"$a": [*node, self._put(array, way)]}

    def _scalar(self, value: Any, way: Way) -> Any:
        dtype = value.dtype
        if not dtype.itemsize:  # an empty text
            value = np.array(value, f"{dtype.kind}1")
            dtype = value.dtype
        if dtype.kind in "bui" or (
            dtype.kind == "f" and dtype.itemsize <= 8 and math.isfinite(float(value))
        ):
            return {"$s": [dtype.str, value.item()]}
        if dtype.kind == "V" or not is_plain(dtype, not self._strict):
            return self._unsendable(value, way, f"of dtype {dtype} has no form on the wire")
        little = little_endian(value)
        return {"$s": [little.dtype.str, little.tobytes().hex()]}

    def _unsendable(self, value: Any, way: Way, why: str) -> Any:
        if self._strict:
            kind = type(value)
            name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
            raise Unsendable(f"{place_of(way) or 'the value'}: a {name} {why}")
        return f"<{type(value).__name__}>"


def _special(number: float) -> str:
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    bits = struct.pack(">d", number)
    return "nan" if bits == _NAN else bits.hex()


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate has no place in UTF-8
        return {"$u": [ord(character) for character in value]}
    return value


# -- reading -----------------------------------------------------------------------------------


class Reader:
    """Puts values together again; arrays are views of the bytes that came.

    Args:
        take: takes a reference and a size, and returns a buffer and where in it so many bytes
            begin. It gives no byte twice, so that a short message cannot become a long one; what is
            wrong is one of `DAMAGE`.
        deepest: how deep values may be nested.
    """

    def __init__(self, take: Callable[[Any, int], tuple[Any, int]], deepest: int = DEEPEST) -> None:
        self._take, self._deepest = take, deepest

    def value(self, node: Any, depth: int = 0) -> Any:
        """The value of a JSON node.

        Raises:
            Malformed: it is none of this protocol.
        """
        kind = type(node)
        if kind is not dict and kind is not list:
            return node
        if depth > self._deepest:
            raise Malformed(f"values are nested more than {self._deepest} deep")
        depth += 1
        value = self.value
        if kind is list:
            return [item if type(item) in _JSON else value(item, depth) for item in node]
        if len(node) == 1:
            for key, content in node.items():
                if key[:1] == "$":
                    return self._tagged(key, content, depth)
        return {k: item if type(item) in _JSON else value(item, depth) for k, item in node.items()}

    def _tagged(self, tag: str, content: Any, depth: int) -> Any:
        read = TAGS.get(tag)
        try:
            if read is not None:
                return read(self, content, depth)
            if tag[1:] in KINDS:
                return Node(tag[1:], self._checked(content, dict, depth))
        except DAMAGE as error:
            raise Malformed(f"{tag}: {str(error)[:200]}") from None
        raise Malformed(f"{tag[:20]!r} is no kind of value; known are {', '.join(TAGS)}")

    def _checked(self, content: Any, kind: type, depth: int) -> Any:
        """The value of a node that must be a list or a dictionary."""
        value = self.value(content, depth)
        if type(value) is not kind:
            raise ValueError(f"a {kind.__name__} belongs here")
        return value

    # -- by tag; these raise what is in DAMAGE as well -------------------------------------------

    def _array(self, content: Any, depth: int) -> Any:
        dtype, shape, reference, order = array_head(content)
        size = math.prod(shape) * dtype.itemsize
        data, begin = self._take(reference, size)
        if not size:
            return np.empty(shape, dtype, order)
        array = np.ndarray(shape, dtype, data, begin, order=order)
        if dtype.kind in "bV":
            check_bools(array)
        return array

    def _bytes(self, content: Any, depth: int) -> bytes:
        if type(content) is str:
            return bytes.fromhex(content)
        size, reference = content
        if type(size) is not int or size < 0:
            raise ValueError("a size must be an integer from 0 on")
        data, begin = self._take(reference, size)
        return bytes(memoryview(data).cast("B")[begin : begin + size])

    def _pairs(self, content: Any, depth: int) -> dict[Any, Any]:
        pairs = self._checked(content, list, depth)
        if not all(type(pair) is list and len(pair) == 2 for pair in pairs):
            raise ValueError("pairs of key and value belong here")
        return {key: value for key, value in pairs}  # noqa: C416 - lists of two, not tuples

    def _objects(self, content: Any, depth: int) -> Any:
        shape, items = content
        values = self._checked(items, list, depth)
        if count_of(shape) != len(values):
            raise ValueError(f"{len(values)} values do not fill the shape")
        array = np.empty(len(values), object)
        for index, value in enumerate(values):
            array[index] = value
        return array.reshape(shape)

    def _scalar(self, content: Any, depth: int) -> Any:
        name, value = content
        dtype = dtype_of(name)
        if type(value) is str:
            data = bytes.fromhex(value)
            if len(data) != dtype.itemsize or dtype.kind == "b":
                raise ValueError(f"{len(data)} bytes are no {dtype}")
            return np.frombuffer(data, dtype)[0]
        wanted = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float)}.get(dtype.kind, ())
        if type(value) not in wanted:
            raise ValueError(f"{value!r:.40} is no {dtype}")
        return dtype.type(value)

    def _complex(self, content: Any, depth: int) -> complex:
        real, imaginary = self._checked(content, list, depth)
        return complex(real, imaginary)

    def _graph(self, content: Any, depth: int) -> Any:
        from gymnasium.spaces import GraphInstance

        nodes, edges, links = self._checked(content, list, depth)
        return GraphInstance(nodes, edges, links)


TAGS: dict[str, Callable[[Reader, Any, int], Any]] = {
    "$a": Reader._array,
    "$b": Reader._bytes,
    "$c": Reader._complex,
    "$d": Reader._pairs,
    "$f": lambda reader, content, depth: _special_float(content),
    "$g": Reader._graph,
    "$i": lambda reader, content, depth: int(content, 16),
    "$o": Reader._objects,
    "$s": Reader._scalar,
    "$set": lambda reader, content, depth: set(reader._checked(content, list, depth)),
    "$t": lambda reader, content, depth: tuple(reader._checked(content, list, depth)),
    "$u": lambda reader, content, depth: "".join(map(chr, content)),
}


def array_head(content: Any) -> tuple[np.dtype[Any], tuple[int, ...], Any, Any]:
    """The dtype, the shape, the reference and the memory order that an array's node says.

    Raises:
        ValueError: it says something else; or another of `DAMAGE`.
    """
    name, shape, reference, *order = content
    dtype = dtype_of(name)
    if order not in ([], ["F"]):
        raise ValueError("the memory order can only be F")
    if not count_of(shape) and dtype.itemsize > LARGEST_EMPTY:
        raise ValueError(f"no element of {dtype.itemsize} bytes is there")
    return dtype, tuple(shape), reference, "F" if order else "C"


def _special_float(content: Any) -> float:
    if content in ("nan", "inf", "-inf"):
        return float(content)
    if type(content) is not str or len(content) != 16:
        raise ValueError("nan, inf, -inf or 16 hexadecimal digits belong here")
    number: float = struct.unpack(">d", bytes.fromhex(content))[0]
    return number
