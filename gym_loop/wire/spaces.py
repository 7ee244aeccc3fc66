"""Every Gymnasium space as a JSON description, and back, bounded before anything is built.

    description = space_to_json(env.observation_space, style=Style.EXACT)
    space = space_from_json(json.loads(json.dumps(description)))
Samples: `gym_loop.wire.samples`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from gym_loop.errors import BridgeProtocolError, SampleError, SpaceError
from gym_loop.wire.json_values import (
    Array,
    Style,
    array_encoder,
    array_from_json,
    check_dtype,
    int_from_json,
    number_to_json,
    short,
)

Space: TypeAlias = "spaces.Space[Any]"

# -- from a space to its description -------------------------------------------------------------


def space_to_json(space: Space, *, style: Style) -> dict[str, Any]:
    """Describe a space: its ``name``, and what its constructor needs.

    Args:
        space: any of Gymnasium's, nested at will; a subclass is described as its base.
        style: how bounds are written.

    Raises:
        SpaceError: it is of another kind, or has a part that JSON cannot say.
    """
    for kind, describe in _DESCRIBE.items():
        if isinstance(space, kind):
            try:
                return {"name": kind.__name__, **describe(space, style)}
            except SampleError as error:
                raise SpaceError(f"{space} cannot be described: {error}") from None
    known = ", ".join(kind.__name__ for kind in _DESCRIBE)
    raise SpaceError(f"{type(space).__name__} cannot be described; use {known}")


def _describe_box(space: Any, style: Style) -> dict[str, Any]:
    dtype = check_dtype(space.dtype)
    return {
        "shape": list(space.shape),
        "low": _bounds(space.low, space.bounded_below, -math.inf, style),
        "high": _bounds(space.high, space.bounded_above, math.inf, style),
        "dtype": dtype.name,
    }


def _bounds(bounds: Array, bounded: Array, infinity: float, style: Style) -> Any:
    """Bounds in their style; one number for all in EXACT, where they are equal."""
    if style is Style.EXACT:
        if bounds.size and (bounded == bounded.flat[0]).all() and _equal(bounds):
            return number_to_json(bounds.flat[0].item() if bounded.flat[0] else infinity, style)
        if bounds.dtype.kind == "i" and not bounded.all():
            # An integer has no infinity: the space keeps the least one, and that it is unbounded.
            values = bounds.astype(object)
            values[bounded] = [number_to_json(value, style) for value in bounds[bounded].tolist()]
            values[~bounded] = number_to_json(infinity, style)
            return values.tolist()
    written = bounds.reshape(-1) if style is Style.LEGACY_FLAT else bounds
    return array_encoder(written.shape, written.dtype, style)(written)


def _equal(values: Array) -> bool:
    """Whether all are the same bit for bit: 0.0 is not -0.0."""
    same = values == values.flat[0]
    return bool(same.all()) and values.tobytes() == values.flat[0].tobytes() * values.size


def _describe_discrete(space: Any, style: Style) -> dict[str, Any]:
    numbers = {"n": int(space.n), "start": int(space.start)}
    described = {name: number_to_json(number, style) for name, number in numbers.items()}
    return {**described, **_unusual_dtype(space)}


def _unusual_dtype(space: Any) -> dict[str, Any]:
    name = check_dtype(space.dtype).name
    return {} if name == "int64" else {"dtype": name}


def _describe_multi_binary(space: Any, style: Style) -> dict[str, Any]:
    n = space.n
    return {"n": n if isinstance(n, int) else list(n), "shape": list(space.shape)}


def _describe_multi_discrete(space: Any, style: Style) -> dict[str, Any]:
    encode = array_encoder(space.shape, space.dtype, style)
    return {
        "nvec": encode(space.nvec),
        "start": encode(space.start),
        "shape": list(space.shape),
        **_unusual_dtype(space),
    }


def _describe_text(space: Any, style: Style) -> dict[str, Any]:
    # The order counts: samples are drawn by index.
    charset = "".join(space.character_list)
    try:
        charset.encode()
    except UnicodeEncodeError:
        raise SampleError("its characters include a lone surrogate, which UTF-8 lacks") from None
    return {"min_length": space.min_length, "max_length": space.max_length, "charset": charset}


def _describe_parts(space: Any, style: Style) -> dict[str, Any]:
    return {"spaces": [space_to_json(part, style=style) for part in space.spaces]}


def _describe_dict(space: Any, style: Style) -> dict[str, Any]:
    parts = {}
    for key, part in space.spaces.items():
        if not isinstance(key, str):
            raise SampleError(f"its key {key!r} is no text")
        parts[key] = space_to_json(part, style=style)
    return {"spaces": parts}


def _describe_sequence(space: Any, style: Style) -> dict[str, Any]:
    return {"space": space_to_json(space.feature_space, style=style), "stack": bool(space.stack)}


def _describe_graph(space: Any, style: Style) -> dict[str, Any]:
    edges = space.edge_space
    return {
        "node_space": space_to_json(space.node_space, style=style),
        "edge_space": None if edges is None else space_to_json(edges, style=style),
    }


_DESCRIBE: dict[type[Any], Callable[[Any, Style], dict[str, Any]]] = {
    spaces.Box: _describe_box,
    spaces.Discrete: _describe_discrete,
    spaces.MultiBinary: _describe_multi_binary,
    spaces.MultiDiscrete: _describe_multi_discrete,
    spaces.Text: _describe_text,
    spaces.Tuple: _describe_parts,
    spaces.Dict: _describe_dict,
    spaces.Sequence: _describe_sequence,
    spaces.Graph: _describe_graph,
    spaces.OneOf: _describe_parts,
}


# -- and back ------------------------------------------------------------------------------------


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
        pairs = [(key, self.build(parts[key], f"{place}{key}: ", depth + 1)) for key in parts]
        return spaces.Dict(OrderedDict(pairs))  # keeps the order, which a dict would sort

    def _sequence(self, given: dict[str, Any], place: str, depth: int) -> Space:
        part = self.build(_needed(given, "space", place), place, depth + 1)
        stack = given.get("stack", False)
        if not isinstance(stack, bool):
            raise SampleError(f"{short(stack)} is neither true nor false")
        return spaces.Sequence(part, stack=stack)

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
    items = np.array(value, object)
    greater = (as_floats[infinite] > 0).tolist()
    items[infinite] = [int(info.max) if one else int(info.min) for one in greater]
    return array_from_json(items.tolist(), shape, dtype), ~infinite
