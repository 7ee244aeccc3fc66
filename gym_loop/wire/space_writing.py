"""A JSON description of every Gymnasium space."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from gymnasium import spaces

from gym_loop.errors import SampleError, SpaceError
from gym_loop.wire.json_values import Array, Style, array_encoder, check_dtype, number_to_json

Space: TypeAlias = "spaces.Space[Any]"


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
    return {
        "n": number_to_json(int(space.n), style),
        "start": number_to_json(int(space.start), style),
        **_unusual_dtype(space),
    }


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
