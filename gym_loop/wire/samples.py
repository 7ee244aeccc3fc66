"""Samples of every Gymnasium space as JSON values, and back.

A coder is made once a space and costs about a microsecond a small sample:

    encode, decode = encoder_for(space, Style.EXACT), decoder_for(space)
    decode(json.loads(json.dumps(encode(space.sample()))))

A Tuple, a Sequence and a OneOf (``[index, sample]``) are lists, a Dict is an object, a Graph
``{"nodes": ..., "edges": ..., "edge_links": ...}``; a MultiBinary holds zeros and ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from gym_loop.errors import SampleError, SpaceError
from gym_loop.wire.json_values import (
    SAFE,
    Array,
    Style,
    array_encoder,
    array_from_json,
    check_dtype,
    fitting_array,
    int_from_json,
    number_to_json,
    short,
)

Space: TypeAlias = "spaces.Space[Any]"
Coder = Callable[[Any], Any]
Both = tuple[Coder, Coder]  # from a sample to JSON, and back
Row = tuple[tuple[int, ...], np.dtype[Any]]  # shape and element type of a node, edge or link

_LINK: Row = ((2,), np.dtype(np.int32))


def encoder_for(space: Space, style: Style) -> Coder:
    """A function from samples of a space to JSON values; it raises SampleError.

    Raises:
        SpaceError: it is no space of Gymnasium's.
    """
    return _coders(space, style)[0]


def decoder_for(space: Space) -> Coder:
    """A function from JSON values, in any style, to samples of a space; it raises SampleError.

    The samples have the space's types, but may be out of its bounds.

    Raises:
        SpaceError: it is no space of Gymnasium's.
    """
    return _coders(space, Style.EXACT)[1]


def _coders(space: Space, style: Style) -> Both:
    for kind, make in _CODERS.items():
        if isinstance(space, kind):
            try:
                return make(space, style)
            except SampleError as error:
                raise SpaceError(f"{space} cannot be sent: {error}") from None
    known = ", ".join(kind.__name__ for kind in _CODERS)
    raise SpaceError(f"samples of {type(space).__name__} cannot be sent; use {known}")


def _at(place: str | int, code: Coder, value: Any) -> Any:
    """Code one part of a sample; an error says which."""
    try:
        return code(value)
    except SampleError as error:
        raise SampleError(f"{place}: {error}") from None


# -- numbers and texts ---------------------------------------------------------------------------


def _arrays(space: Any, style: Style) -> Both:
    shape, dtype = space.shape, check_dtype(space.dtype)
    return array_encoder(shape, dtype, style), lambda value: array_from_json(value, shape, dtype)


def _discrete(space: Any, style: Style) -> Both:
    dtype = check_dtype(space.dtype)
    integer, info = dtype.type, np.iinfo(dtype)
    first, end = int(space.start), int(space.start) + int(space.n)
    wide = style is Style.EXACT and (first < -SAFE or end > SAFE)
    least, most = int(info.min), int(info.max)

    def encode(sample: Any) -> Any:
        if type(sample) is integer:
            sample = int(sample)
        elif type(sample) is not int:
            sample = fitting_array(sample, (), dtype).item()
        return number_to_json(sample, style) if wide else sample

    def decode(value: Any) -> Any:
        number = value if type(value) is int else int_from_json(value)
        if not least <= number <= most:
            raise SampleError(f"{short(number)} is too great for {dtype}")
        return integer(number)

    return encode, decode


def _text(space: Any, style: Style) -> Both:
    return _checked_text, _checked_text


def _checked_text(value: Any) -> str:
    if not isinstance(value, str):
        raise SampleError(f"{short(value)} is no text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise SampleError(f"{short(value)} holds a lone surrogate") from None
    return value


# -- spaces of spaces ----------------------------------------------------------------------------


def _tuple(space: Any, style: Style) -> Both:
    coders = [_coders(part, style) for part in space.spaces]

    def encode(sample: Any) -> Any:
        parts = _parts(sample, len(coders))
        return [_at(i, coders[i][0], part) for i, part in enumerate(parts)]

    def decode(value: Any) -> Any:
        parts = _parts(value, len(coders))
        return tuple(_at(i, coders[i][1], part) for i, part in enumerate(parts))

    return encode, decode


def _parts(sample: Any, count: int) -> list[Any]:
    if not isinstance(sample, (tuple, list)) or len(sample) != count:
        raise SampleError(f"{short(sample)} has not the {count} parts of the space")
    return list(sample)


def _dict(space: Any, style: Style) -> Both:
    coders = {key: _coders(part, style) for key, part in space.spaces.items()}

    def encode(sample: Any) -> Any:
        _check_keys(sample, coders.keys())
        return {key: _at(key, coder[0], sample[key]) for key, coder in coders.items()}

    def decode(value: Any) -> Any:
        _check_keys(value, coders.keys())
        return {key: _at(key, coder[1], value[key]) for key, coder in coders.items()}

    return encode, decode


def _check_keys(sample: Any, keys: Any) -> None:
    if not isinstance(sample, dict):
        raise SampleError(f"{short(sample)} is no object with the keys {', '.join(keys)}")
    if sample.keys() != keys:
        other = sorted(short(key) for key in keys ^ sample.keys())[:8]
        raise SampleError(f"its keys differ from the space's in {', '.join(other)}")


def _sequence(space: Any, style: Style) -> Both:
    to_json, from_json = _coders(space.feature_space, style)

    def encode(sample: Any) -> Any:
        return [_at(i, to_json, item) for i, item in enumerate(_items(space, sample))]

    def decode(value: Any) -> Any:
        if not isinstance(value, list):
            raise SampleError(f"{short(value)} is no list")
        items = [_at(i, from_json, item) for i, item in enumerate(value)]
        if not space.stack:
            return tuple(items)
        empty = create_empty_array(space.feature_space, len(items))
        return concatenate(space.feature_space, items, empty) if items else empty

    return encode, decode


def _items(space: Any, sample: Any) -> list[Any]:
    if not space.stack:
        if not isinstance(sample, (tuple, list)):
            raise SampleError(f"{short(sample)} is no sequence")
        return list(sample)
    try:
        return list(iterate(space.stacked_feature_space, sample))
    except Exception as error:  # noqa: BLE001 - Gymnasium does not say what it may raise here
        raise SampleError(f"{short(sample)} is no stacked sequence: {error}") from None


def _graph(space: Any, style: Style) -> Both:
    rows = {"nodes": _row(space.node_space), "edges": _row(space.edge_space), "edge_links": _LINK}

    def encode_rows(value: Any, row: Row) -> Any:
        array = _fitting_rows(value, *row)
        return array_encoder(array.shape, array.dtype, style)(array)

    def encode(sample: Any) -> Any:
        parts = zip(_parts(sample, 3), rows.items(), strict=True)
        return {
            name: None if part is None and name != "nodes" else encode_rows(part, row)
            for part, (name, row) in parts
        }

    def decode_rows(value: Any, row: Row) -> Any:
        if not isinstance(value, list):
            raise SampleError(f"{short(value)} is no list")
        return array_from_json(value, (len(value), *row[0]), row[1])

    def decode(value: Any) -> Any:
        _check_keys(value, rows.keys())
        if value["edges"] is not None and space.edge_space is None:
            raise SampleError("there are edges, where the space has none")
        parts = []
        for name, row in rows.items():
            part = value[name]
            if part is not None or name == "nodes":
                part = _at(name, partial(decode_rows, row=row), part)
            parts.append(part)
        nodes, edges, links = parts
        if (edges is None) != (links is None) or (edges is not None and len(edges) != len(links)):
            raise SampleError("a graph has as many edges as edge_links, or neither")
        return spaces.GraphInstance(nodes, edges, links)

    return encode, decode


def _row(space: Any) -> Row:
    """Shape and element type of one node or edge; no edge space, no elements."""
    return _LINK if space is None else (space.shape, check_dtype(space.dtype))


def _fitting_rows(rows: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    array = fitting_array(rows, None, dtype)
    if array.ndim != 1 + len(shape) or array.shape[1:] != shape:
        raise SampleError(f"rows of shape {array.shape[1:]} where the space has {shape}")
    return array


def _one_of(space: Any, style: Style) -> Both:
    coders = [_coders(part, style) for part in space.spaces]

    def chosen(index: int) -> Both:
        if not 0 <= index < len(coders):
            raise SampleError(f"there is no space {short(index)} among {len(coders)}")
        return coders[index]

    def encode(sample: Any) -> Any:
        index, part = _parts(sample, 2)
        index = fitting_array(index, (), np.dtype(np.int64)).item()
        return [index, _at(index, chosen(index)[0], part)]

    def decode(value: Any) -> Any:
        index, part = _parts(value, 2)
        index = int_from_json(index)
        return np.int64(index), _at(index, chosen(index)[1], part)

    return encode, decode


_CODERS: dict[type[Any], Callable[[Any, Style], Both]] = {
    spaces.Box: _arrays,
    spaces.Discrete: _discrete,
    spaces.MultiBinary: _arrays,
    spaces.MultiDiscrete: _arrays,
    spaces.Text: _text,
    spaces.Tuple: _tuple,
    spaces.Dict: _dict,
    spaces.Sequence: _sequence,
    spaces.Graph: _graph,
    spaces.OneOf: _one_of,
}
