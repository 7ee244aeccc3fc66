"""Samples of every Gymnasium space as JSON values, and back.

A coder is made once a space and costs about a microsecond a small sample:

    encode, decode = encoder_for(space, Style.EXACT), decoder_for(space)
    decode(json.loads(json.dumps(encode(space.sample()))))

A Tuple, a Sequence and a OneOf (``[index, sample]``) are lists, a Dict is an object, a Graph
``{"nodes": ..., "edges": ..., "edge_links": ...}``; a MultiBinary holds zeros and ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from gym_loop.errors import SampleError, SpaceError
from gym_loop.wire.json_values import (
    SAFE,
    Style,
    array_encoder,
    array_from_json,
    check_dtype,
    fitting_array,
    int_from_json,
    number_to_json,
    short,
)
from gym_loop.wire.sample_parts import (
    LINK,
    Coder,
    Feature,
    at,
    checked_text,
    chosen,
    feature,
    fitting_rows,
    graph_of,
    items_of,
    part_of,
    sequence_of,
    with_keys,
)

Space: TypeAlias = "spaces.Space[Any]"


def sample_to_json(space: Space, sample: Any, *, style: Style) -> Any:
    """A sample as a JSON value; `encoder_for` does the same, faster, for many.

    Raises:
        SampleError: it does not fit the space.
    """
    return encoder_for(space, style)(sample)


def sample_from_json(space: Space, value: Any) -> Any:
    """Read a sample, in any style; it has the space's types, but may be out of its bounds.

    Raises:
        SampleError: types, shape or keys are not the space's; the message says which and where.
    """
    return decoder_for(space)(value)


def encoder_for(space: Space, style: Style) -> Coder:
    """A function from samples of a space to JSON values; it raises SampleError.

    Raises:
        SpaceError: it is no space of Gymnasium's.
    """
    return _coder(_ENCODERS, space, style)


def decoder_for(space: Space) -> Coder:
    """A function from JSON values to samples of a space; it raises SampleError.

    Raises:
        SpaceError: it is no space of Gymnasium's.
    """
    return _coder(_DECODERS, space)


def _coder(makers: dict[type[Any], Callable[..., Coder]], space: Space, *args: Any) -> Coder:
    for kind, make in makers.items():
        if isinstance(space, kind):
            try:
                return make(space, *args)
            except SampleError as error:
                raise SpaceError(f"{space} cannot be sent: {error}") from None
    known = ", ".join(kind.__name__ for kind in makers)
    raise SpaceError(f"samples of {type(space).__name__} cannot be sent; use {known}")


# -- writing -----------------------------------------------------------------------------


def _array_encoder(space: Any, style: Style) -> Coder:
    return array_encoder(space.shape, space.dtype, style)


def _discrete_encoder(space: Any, style: Style) -> Coder:
    dtype = check_dtype(space.dtype)
    wide = style is Style.EXACT and (
        int(space.start) < -SAFE or int(space.start) + int(space.n) > SAFE
    )
    integer = dtype.type

    def encode(sample: Any) -> Any:
        if type(sample) is integer:
            sample = int(sample)
        elif type(sample) is not int:
            sample = fitting_array(sample, (), dtype).item()
        return number_to_json(sample, style) if wide else sample

    return encode


def _text_encoder(space: Any, style: Style) -> Coder:
    return checked_text


def _tuple_encoder(space: Any, style: Style) -> Coder:
    encoders = [encoder_for(part, style) for part in space.spaces]

    def encode(sample: Any) -> Any:
        parts = part_of(sample, len(encoders))
        return [
            at(i, code, part) for i, (code, part) in enumerate(zip(encoders, parts, strict=True))
        ]

    return encode


def _dict_encoder(space: Any, style: Style) -> Coder:
    encoders = {key: encoder_for(part, style) for key, part in space.spaces.items()}

    def encode(sample: Any) -> Any:
        with_keys(sample, encoders.keys())
        return {key: at(key, code, sample[key]) for key, code in encoders.items()}

    return encode


def _sequence_encoder(space: Any, style: Style) -> Coder:
    element = encoder_for(space.feature_space, style)

    def encode(sample: Any) -> Any:
        return [at(i, element, item) for i, item in enumerate(items_of(space, sample))]

    return encode


def _graph_encoder(space: Any, style: Style) -> Coder:
    node, edge = feature(space.node_space), feature(space.edge_space)

    def encode_rows(rows: Any, row: Feature) -> Any:
        array = fitting_rows(rows, *row)
        return array_encoder(array.shape, array.dtype, style)(array)

    def encode(sample: Any) -> Any:
        nodes, edges, links = part_of(sample, 3)
        return {
            "nodes": encode_rows(nodes, node),
            "edges": None if edges is None else encode_rows(edges, edge),
            "edge_links": None if links is None else encode_rows(links, LINK),
        }

    return encode


def _one_of_encoder(space: Any, style: Style) -> Coder:
    encoders = [encoder_for(part, style) for part in space.spaces]

    def encode(sample: Any) -> Any:
        index, part = part_of(sample, 2)
        index = chosen(fitting_array(index, (), np.dtype(np.int64)).item(), len(encoders))
        return [index, at(index, encoders[index], part)]

    return encode


# -- reading -----------------------------------------------------------------------------


def _array_decoder(space: Any) -> Coder:
    shape, dtype = space.shape, check_dtype(space.dtype)
    return lambda value: array_from_json(value, shape, dtype)


def _discrete_decoder(space: Any) -> Coder:
    integer = check_dtype(space.dtype).type
    info = np.iinfo(integer)
    least, most = int(info.min), int(info.max)

    def decode(value: Any) -> Any:
        number = value if type(value) is int else int_from_json(value)
        if not least <= number <= most:
            raise SampleError(f"{short(number)} is too great for {info.dtype}")
        return integer(number)

    return decode


def _text_decoder(space: Any) -> Coder:
    return checked_text


def _tuple_decoder(space: Any) -> Coder:
    decoders = [decoder_for(part) for part in space.spaces]

    def decode(value: Any) -> Any:
        parts = part_of(value, len(decoders))
        return tuple(at(i, decoders[i], part) for i, part in enumerate(parts))

    return decode


def _dict_decoder(space: Any) -> Coder:
    decoders = {key: decoder_for(part) for key, part in space.spaces.items()}

    def decode(value: Any) -> Any:
        with_keys(value, decoders.keys())
        return {key: at(key, code, value[key]) for key, code in decoders.items()}

    return decode


def _sequence_decoder(space: Any) -> Coder:
    element = decoder_for(space.feature_space)

    def decode(value: Any) -> Any:
        if not isinstance(value, list):
            raise SampleError(f"{short(value)} is no list")
        return sequence_of(space, [at(i, element, item) for i, item in enumerate(value)])

    return decode


def _graph_decoder(space: Any) -> Coder:
    node, edge = feature(space.node_space), feature(space.edge_space)

    def decode_rows(rows: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        if not isinstance(rows, list):
            raise SampleError(f"{short(rows)} is no list")
        return array_from_json(rows, (len(rows), *shape), dtype)

    def decode(value: Any) -> Any:
        given = with_keys(value, {"nodes": 0, "edges": 0, "edge_links": 0}.keys())
        edges, links = given["edges"], given["edge_links"]
        if edges is not None and space.edge_space is None:
            raise SampleError("there are edges, where the space has none")
        return graph_of(
            at("nodes", lambda rows: decode_rows(rows, *node), given["nodes"]),
            None if edges is None else at("edges", lambda rows: decode_rows(rows, *edge), edges),
            None
            if links is None
            else at("edge_links", lambda rows: decode_rows(rows, *LINK), links),
        )

    return decode


def _one_of_decoder(space: Any) -> Coder:
    decoders = [decoder_for(part) for part in space.spaces]

    def decode(value: Any) -> Any:
        index, part = part_of(value, 2)
        index = chosen(int_from_json(index), len(decoders))
        return np.int64(index), at(index, decoders[index], part)

    return decode


_ENCODERS: dict[type[Any], Callable[..., Coder]] = {
    spaces.Box: _array_encoder,
    spaces.Discrete: _discrete_encoder,
    spaces.MultiBinary: _array_encoder,
    spaces.MultiDiscrete: _array_encoder,
    spaces.Text: _text_encoder,
    spaces.Tuple: _tuple_encoder,
    spaces.Dict: _dict_encoder,
    spaces.Sequence: _sequence_encoder,
    spaces.Graph: _graph_encoder,
    spaces.OneOf: _one_of_encoder,
}
_DECODERS: dict[type[Any], Callable[..., Coder]] = {
    spaces.Box: _array_decoder,
    spaces.Discrete: _discrete_decoder,
    spaces.MultiBinary: _array_decoder,
    spaces.MultiDiscrete: _array_decoder,
    spaces.Text: _text_decoder,
    spaces.Tuple: _tuple_decoder,
    spaces.Dict: _dict_decoder,
    spaces.Sequence: _sequence_decoder,
    spaces.Graph: _graph_decoder,
    spaces.OneOf: _one_of_decoder,
}
