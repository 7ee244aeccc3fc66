"""From a JSON description to a space, bounded before anything is built."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from gym_loop.errors import BridgeProtocolError, SampleError
from gym_loop.wire.json_values import Array, array_from_json, check_dtype, int_from_json, short

Space: TypeAlias = "spaces.Space[Any]"


@dataclass(frozen=True)
class Limits:
    """What a description from a peer may ask for before any of it is built.

    Args:
        depth: spaces inside spaces.
        spaces: number of spaces in all.
        elements: numbers in all arrays together, and characters of texts.
    """

    depth: int = 16
    spaces: int = 4096
    elements: int = 2**22


LIMITS = Limits()


def space_from_json(description: Any, *, limits: Limits = LIMITS) -> Space:
    """Build the space that a peer describes, in any style.

    A Box without a dtype, which is all that older servers tell, is one of float32.

    Args:
        description: a JSON value, checked in every part.
        limits: what it may ask for.

    Raises:
        BridgeProtocolError: it describes no space, says too little, or is beyond the limits.
    """
    return _Builder(limits).build(description, "", 0)


class _Builder:
    """Counts what is asked for while it builds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._spaces = 0
        self._elements = 0

    def build(self, description: Any, place: str, depth: int) -> Space:
        """Build one space; ``place`` leads to it, for messages."""
        self._spaces += 1
        if depth > self._limits.depth or self._spaces > self._limits.spaces:
            raise BridgeProtocolError(
                f"the description of a space holds more than {self._limits.spaces} spaces, or is"
                f" deeper than {self._limits.depth}"
            )
        if not isinstance(description, dict):
            raise BridgeProtocolError(f"{place}{short(description)} describes no space")
        name = description.get("name")
        builders = {
            "Box": self._box,
            "Discrete": self._discrete,
            "MultiBinary": self._multi_binary,
            "MultiDiscrete": self._multi_discrete,
            "Text": self._text,
            "Tuple": self._parts,
            "OneOf": self._parts,
            "Dict": self._dict,
            "Sequence": self._sequence,
            "Graph": self._graph,
        }
        if not isinstance(name, str) or name not in builders:
            raise BridgeProtocolError(
                f"{place}there is no space named {short(name)}; use {', '.join(builders)}"
            )
        place = f"{place}{name}: "
        try:
            return builders[name](description, place, depth)
        except (SampleError, ValueError, TypeError, OverflowError) as error:
            # Gymnasium's constructors refuse what does not fit together.
            raise BridgeProtocolError(f"{place}{str(error)[:300]}") from None

    def _box(self, given: dict[str, Any], place: str, depth: int) -> Space:
        shape = self._shape(_needed(given, "shape", place))
        dtype = _dtype(given, "float32")
        # The bounds are kept as arrays, and so is what tells where there are none.
        self._count(2 * math.prod(shape), place)
        low, bounded_below = _read_bounds(_needed(given, "low", place), shape, dtype)
        high, bounded_above = _read_bounds(_needed(given, "high", place), shape, dtype)
        box = spaces.Box(low, high, shape, dtype.type)
        if dtype.kind == "i":
            box.bounded_below, box.bounded_above = bounded_below, bounded_above
        return box

    def _discrete(self, given: dict[str, Any], place: str, depth: int) -> Space:
        n = int_from_json(_needed(given, "n", place))
        start = int_from_json(given.get("start", 0))
        dtype = _dtype(given, "int64")
        info = np.iinfo(_integer(dtype))
        if not (0 < n <= info.max and info.min <= start <= info.max - (n - 1)):
            raise SampleError(f"n {n} from {start} is no range of {dtype}")
        return _with_dtype(spaces.Discrete, dtype, n, start=start)

    def _multi_binary(self, given: dict[str, Any], place: str, depth: int) -> Space:
        n = given.get("n", given.get("shape"))
        n = _needed({"n": n}, "n", place)
        shape = self._shape(n if isinstance(n, list) else [n])
        self._count(math.prod(shape), place)
        return spaces.MultiBinary(shape if isinstance(n, list) else shape[0])

    def _multi_discrete(self, given: dict[str, Any], place: str, depth: int) -> Space:
        nvec = _needed(given, "nvec", place)
        shape = self._shape(given["shape"] if "shape" in given else [len(nvec)])
        self._count(2 * math.prod(shape), place)
        dtype = _integer(_dtype(given, "int64"))
        read = array_from_json(nvec, shape, dtype)
        start = array_from_json(given["start"], shape, dtype) if "start" in given else None
        return spaces.MultiDiscrete(read, dtype=dtype.type, start=start)

    def _text(self, given: dict[str, Any], place: str, depth: int) -> Space:
        most = int_from_json(_needed(given, "max_length", place))
        least = int_from_json(given.get("min_length", 1))
        charset = given.get("charset", "")
        if not isinstance(charset, str):
            raise SampleError(f"charset {short(charset)} is no text")
        self._count(len(charset), place)
        if not 0 <= least <= most < 2**31:
            raise SampleError(f"there are no texts of {least} to {most} characters")
        named = {"charset": charset} if "charset" in given else {}
        return spaces.Text(most, min_length=least, **named)

    def _parts(self, given: dict[str, Any], place: str, depth: int) -> Space:
        parts = _needed(given, "spaces", place)
        if not isinstance(parts, list):
            raise SampleError(f"spaces is {short(parts)} instead of a list")
        built = [self.build(part, f"{place}{i}: ", depth + 1) for i, part in enumerate(parts)]
        return spaces.Tuple(built) if given["name"] == "Tuple" else spaces.OneOf(built)

    def _dict(self, given: dict[str, Any], place: str, depth: int) -> Space:
        parts = _needed(given, "spaces", place)
        if not isinstance(parts, dict):
            raise SampleError(f"spaces is {short(parts)} instead of an object")
        built = [
            (key, self.build(part, f"{place}{key}: ", depth + 1)) for key, part in parts.items()
        ]
        return spaces.Dict(OrderedDict(built))  # keeps the order, which a dict would sort

    def _sequence(self, given: dict[str, Any], place: str, depth: int) -> Space:
        part = self.build(_needed(given, "space", place), place, depth + 1)
        return spaces.Sequence(part, stack=_flag(given.get("stack", False)))

    def _graph(self, given: dict[str, Any], place: str, depth: int) -> Space:
        nodes = self.build(_needed(given, "node_space", place), place, depth + 1)
        edges = given.get("edge_space")
        edge_space = None if edges is None else self.build(edges, place, depth + 1)
        for part in (nodes, edge_space):
            if part is not None and not isinstance(part, (spaces.Box, spaces.Discrete)):
                raise SampleError(f"nodes and edges are Box or Discrete, not {type(part).__name__}")
        return spaces.Graph(nodes, edge_space)

    def _shape(self, value: Any) -> tuple[int, ...]:
        if not isinstance(value, list) or len(value) > 32:
            raise SampleError(f"shape is {short(value)} instead of a list of at most 32 integers")
        shape = tuple(int_from_json(size) for size in value)
        if any(not 0 <= size < 2**31 for size in shape):
            raise SampleError(f"shape {short(value)} has a size out of range")
        return shape

    def _count(self, elements: int, place: str) -> None:
        self._elements += elements
        if self._elements > self._limits.elements:
            raise BridgeProtocolError(
                f"{place}the space needs more than {self._limits.elements} numbers"
            )


def _needed(given: Mapping[str, Any], key: str, place: str) -> Any:
    if given.get(key) is None:
        raise BridgeProtocolError(
            f"{place}the peer does not tell {key}, without which it is unknown"
        )
    return given[key]


def _dtype(given: Mapping[str, Any], default: str) -> np.dtype[Any]:
    name = given.get("dtype", default)
    try:
        return check_dtype(np.dtype(name if isinstance(name, str) else "object"))
    except TypeError:
        raise SampleError(f"there is no dtype {short(name)}") from None


def _integer(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind not in "iu":
        raise SampleError(f"dtype {dtype} holds no integers")
    return dtype


def _with_dtype(kind: Any, dtype: np.dtype[Any], *args: Any, **named: Any) -> Space:
    """Gymnasium has learned of a dtype here only of late."""
    if dtype.name != "int64":
        named["dtype"] = dtype.type
    built: Space = kind(*args, **named)
    return built


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise SampleError(f"{short(value)} is neither true nor false")
    return value


def _read_bounds(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """The bounds, and where there are any; one number stands for all, a flat list for any shape."""
    read_shape: tuple[int, ...] = (1,)
    one = not isinstance(value, list)
    if one:
        value = [value]
    elif any(isinstance(item, list) for item in value):
        read_shape = shape
    else:
        read_shape = (math.prod(shape),)
    if dtype.kind == "i":
        bounds, bounded = _read_integers(value, read_shape, dtype)
    else:
        bounds = array_from_json(value, read_shape, dtype)
        bounded = np.ones(read_shape, bool)
    if one:
        return np.full(shape, bounds[0], dtype), np.full(shape, bounded[0])
    return bounds.reshape(shape), bounded.reshape(shape)


def _read_integers(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Integers, among which infinities stand for the dtype's limits."""
    try:
        return array_from_json(value, shape, dtype), np.ones(shape, bool)
    except SampleError:
        as_floats = array_from_json(value, shape, np.dtype(np.float64))
    infinite = np.isinf(as_floats)
    if not infinite.any():
        return array_from_json(value, shape, dtype), np.ones(shape, bool)  # raises again
    info = np.iinfo(dtype)
    limits = {True: int(info.max), False: int(info.min)}

    def finite(item: Any, number: float) -> Any:
        return limits[number > 0] if math.isinf(number) else item

    def walk(items: Any, numbers: Any) -> Any:
        if not isinstance(items, list):
            return finite(items, numbers)
        return [walk(item, number) for item, number in zip(items, numbers, strict=True)]

    return array_from_json(walk(value, as_floats.tolist()), shape, dtype), ~infinite
