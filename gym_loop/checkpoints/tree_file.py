"""A state tree as strict JSON beside a list of named arrays, and back.

JSON has no arrays, bytes, NaN or NumPy scalars: each is a dictionary with one reserved key,
such as ``{"__array__": "agent.weights"}``.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import numpy as np

from gym_loop.checkpoints.tree.arrays import check_bools, count_of
from gym_loop.errors import StateError

Arrays = dict[str, np.ndarray[Any, Any]]

_TAGS = frozenset(
    {
        "__array__",  # name of the array; order "F"; dtype and shape where the file has bytes
        "__bytes__",  # base64
        "__float__",  # inf, -inf, nan, or the 16 hexadecimal digits of another NaN
        "__int__",  # hexadecimal, of a very long integer
        "__scalar__",  # dtype; value, or bytes in hexadecimal
        "__escaped__",  # keys and values of a dictionary that has one of these keys itself
    }
)
_PLAIN = frozenset({type(None), bool, str})
_NUMBERS = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float)}  # by kind of dtype
EMPTY_TEXTS = 1 << 16  # in an array of text of length 0
_LONG_INT = 1 << 1024
_LONG_BYTES = 1024
_CANONICAL_NAN = struct.pack(">d", math.nan)
# The dtypes that a safetensors file can name in every version of the format.
DTYPES = {
    "?": "BOOL",
    "b": "I8",
    "B": "U8",
    "<i2": "I16",
    "<u2": "U16",
    "<i4": "I32",
    "<u4": "U32",
    "<i8": "I64",
    "<u8": "U64",
    "<f2": "F16",
    "<f4": "F32",
    "<f8": "F64",
}


def dtype_key(dtype: np.dtype[Any]) -> str:
    """How `DTYPES` knows a dtype: single bytes have no order."""
    return dtype.char if dtype.itemsize == 1 and dtype.kind in "biu" else dtype.str


def encode(tree: Any) -> tuple[Any, Arrays]:
    """Split a tree into a JSON document and the arrays that it names.

    The arrays are not copied.

    Raises:
        StateError: the tree holds something that is no tree; the message names its place.
    """
    encoder = _Encoder()
    try:
        return encoder.encode(tree, ()), encoder.arrays
    except RecursionError as error:
        raise StateError("the state is nested too deeply to be written") from error


def encode_plain(tree: Any) -> Any:
    """A tree without arrays as a JSON document.

    Raises:
        StateError: there is an array in it, or something that is no tree.
    """
    document, arrays = encode(tree)
    if arrays:
        raise StateError(f"{next(iter(arrays))}: an array stands where only plain values may be")
    return document


class _Encoder:
    def __init__(self) -> None:
        self.arrays: Arrays = {}

    def encode(self, node: Any, way: tuple[Any, ...]) -> Any:
        kind = type(node)
        if kind in _PLAIN:
            return node
        if kind is float:
            return node if math.isfinite(node) else {"__float__": _special(node)}
        if kind is int:
            return node if -_LONG_INT < node < _LONG_INT else {"__int__": hex(node)}
        if kind is list:
            return [self.encode(item, (way, index)) for index, item in enumerate(node)]
        if kind is dict:
            if not all(type(key) is str for key in node):
                raise StateError(f"{_place(way)}: a state has text keys only: {list(node)[:5]}")
            coded = {key: self.encode(item, (way, key)) for key, item in node.items()}
            if _TAGS.isdisjoint(node):
                return coded
            return {"__escaped__": [list(coded), list(coded.values())]}
        if kind is np.ndarray:
            return self.array(node, way)
        if kind is bytes:
            if len(node) > _LONG_BYTES:
                return self.array(np.frombuffer(node, np.uint8), way) | {"bytes": True}
            return {"__bytes__": base64.b64encode(node).decode()}
        if isinstance(node, np.generic):
            return _scalar(node, way)
        if isinstance(node, dict):
            return self.encode(dict(node), way)
        raise StateError(
            f"{_place(way)}: a {kind.__module__}.{kind.__qualname__} is no plain data; pass it "
            "through gym_loop.checkpoints.tree.capture"
        )

    def array(self, array: np.ndarray[Any, Any], way: tuple[Any, ...]) -> dict[str, Any]:
        if array.dtype.kind in "OV":
            raise StateError(f"{_place(way)}: an array of dtype {array.dtype} is no plain data")
        name = place = _place(way)
        number = 1
        while name in self.arrays or name == "__metadata__":
            number += 1
            name = f"{place}#{number}"
        self.arrays[name] = array
        node: dict[str, Any] = {"__array__": name}
        if dtype_key(array.dtype) not in DTYPES:
            node["dtype"], node["shape"] = array.dtype.str, list(array.shape)
        if array.flags.f_contiguous and not array.flags.c_contiguous:
            node["order"] = "F"
        return node


def _place(way: tuple[Any, ...]) -> str:
    keys = []
    while way:
        key = str(way[1])
        if not (key.startswith("__") and key.endswith("__")):
            keys.append(key)
        way = way[0]
    return ".".join(reversed(keys)) or "state"


def _special(number: float) -> str:
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    bits = struct.pack(">d", number)
    return "nan" if bits == _CANONICAL_NAN else bits.hex()


def _scalar(value: np.generic, way: tuple[Any, ...]) -> dict[str, Any]:
    dtype = value.dtype
    if dtype.kind in "OV":
        raise StateError(f"{_place(way)}: a NumPy scalar of dtype {dtype} is no plain data")
    if dtype.kind in "biu" or (
        dtype.kind == "f" and dtype.itemsize <= 8 and math.isfinite(float(value))
    ):
        return {"__scalar__": dtype.str, "value": value.item()}
    return {"__scalar__": dtype.str, "bytes": value.tobytes().hex()}


def decode(document: Any, arrays: Arrays) -> Any:
    """Put a JSON document and its arrays together again.

    Args:
        document: what `encode` gave.
        arrays: by name; each stands for one value only.

    Raises:
        ValueError: the document is damaged, or refers to arrays that are not there.
    """
    try:
        return _decode(document, dict(arrays))
    except (
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        struct.error,
    ) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _decode(node: Any, arrays: Arrays) -> Any:
    if type(node) is list:
        return [_decode(item, arrays) for item in node]
    if type(node) is not dict:
        return node
    tag = next(iter(node), None)
    if tag not in _TAGS:
        return {key: _decode(item, arrays) for key, item in node.items()}
    content = node[tag]
    if tag == "__array__":
        return _decode_array(node, arrays)
    if tag == "__bytes__":
        return base64.b64decode(content, validate=True)
    if tag == "__float__":
        if content in ("inf", "-inf", "nan"):
            return float(content)
        return struct.unpack(">d", bytes.fromhex(content))[0]
    if tag == "__int__":
        return int(content, 16)
    if tag == "__escaped__":
        keys, values = content
        return {key: _decode(item, arrays) for key, item in zip(keys, values, strict=True)}
    dtype = _dtype(content)
    if "value" in node:
        if type(node["value"]) not in _NUMBERS.get(dtype.kind, ()):
            raise ValueError(f"{node['value']!r:.40} is no {content}")
        return dtype.type(node["value"])
    scalar = np.frombuffer(bytes.fromhex(node["bytes"]), dtype)
    check_bools(scalar)
    return scalar[0]


def _decode_array(node: dict[str, Any], arrays: Arrays) -> Any:
    array = arrays.pop(node["__array__"])
    if node.get("bytes"):
        return array.tobytes()
    if "dtype" in node:
        dtype, shape = _dtype(node["dtype"]), tuple(node["shape"])
        if dtype.itemsize == 0:  # text of length 0 has no bytes to look at, but NumPy gives it some
            if count_of(shape) > EMPTY_TEXTS:
                raise ValueError(f"{node['__array__']} has the impossible shape {shape}")
            return np.zeros(shape, dtype)
        array = array.view(dtype).reshape(shape)
        check_bools(array)
    return np.asfortranarray(array) if node.get("order") == "F" else array


def _dtype(name: str) -> np.dtype[Any]:
    dtype = np.dtype(str(name))
    if dtype.kind in "OV":
        raise ValueError(f"{name} is no dtype of plain data")
    return dtype


def dump(document: Any, depth: int = 3) -> str:
    """JSON text, one line an entry for the uppermost dictionaries, so that a person can read it.

    Args:
        document: plain JSON data.
        depth: levels of dictionaries that get lines of their own.
    """
    if depth == 0 or type(document) is not dict or not document:
        return json.dumps(document, allow_nan=False)
    indent = "  " * (3 - depth)
    lines = [
        f"{indent}  {json.dumps(key)}: {dump(item, depth - 1)}" for key, item in document.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n" + indent + "}"
