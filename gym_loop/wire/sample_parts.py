"""What samples of nested spaces consist of, checked; for JSON and bytes alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from gym_loop.errors import SampleError
from gym_loop.wire.json_values import Array, check_dtype, fitting_array, short

Coder = Callable[[Any], Any]
Feature = tuple[tuple[int, ...], np.dtype[Any]]  # shape and element type
LINK: Feature = ((2,), np.dtype(np.int32))  # of a graph's edge_links


def at(place: str | int, code: Coder, value: Any) -> Any:
    """Code one part of a sample; an error says which."""
    try:
        return code(value)
    except SampleError as error:
        raise SampleError(f"{place}: {error}") from None


def part_of(sample: Any, count: int) -> list[Any]:
    """The parts of a tuple, as many as there are spaces.

    Raises:
        SampleError: it has another number of parts, or none.
    """
    if not isinstance(sample, (tuple, list)) or len(sample) != count:
        raise SampleError(f"{short(sample)} has not the {count} parts of the space")
    return list(sample)


def with_keys(sample: Any, keys: Any) -> dict[str, Any]:
    """The values of a dict that has these keys and no others.

    Raises:
        SampleError: it is no dict, or its keys are others.
    """
    if not isinstance(sample, dict):
        raise SampleError(f"{short(sample)} is no object with the keys {', '.join(keys)}")
    if sample.keys() != keys:
        other = sorted(short(key) for key in keys ^ sample.keys())[:8]
        raise SampleError(f"its keys differ from the space's in {', '.join(other)}")
    return sample


def checked_text(value: Any) -> str:
    """A text that UTF-8 can say.

    Raises:
        SampleError: it is none.
    """
    if not isinstance(value, str):
        raise SampleError(f"{short(value)} is no text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise SampleError(f"{short(value)} holds a lone surrogate") from None
    return value


def items_of(space: Any, sample: Any) -> list[Any]:
    """The elements of a sequence, stacked or not.

    Raises:
        SampleError: it is no sequence.
    """
    if not space.stack:
        if not isinstance(sample, (tuple, list)):
            raise SampleError(f"{short(sample)} is no sequence")
        return list(sample)
    try:
        return list(iterate(space.stacked_feature_space, sample))
    except Exception as error:  # noqa: BLE001 - Gymnasium does not say what it may raise here
        raise SampleError(f"{short(sample)} is no stacked sequence: {error}") from None


def sequence_of(space: Any, items: list[Any]) -> Any:
    """The sequence that these elements make."""
    if not space.stack:
        return tuple(items)
    empty = create_empty_array(space.feature_space, len(items))
    return concatenate(space.feature_space, items, empty) if items else empty


def graph_of(nodes: Any, edges: Any, links: Any) -> Any:
    """A graph; what has no edges has no links.

    Raises:
        SampleError: there are more edges than links, or links without edges.
    """
    if (edges is None) != (links is None) or (edges is not None and len(edges) != len(links)):
        raise SampleError("a graph has as many edges as edge_links, or neither")
    return spaces.GraphInstance(nodes, edges, links)


def feature(space: Any) -> Feature:
    """Shape and element type of one node or edge; no edge space, no elements."""
    if space is None:
        return LINK
    return space.shape, check_dtype(space.dtype)


def fitting_rows(rows: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Any number of nodes, edges or links, as one array.

    Raises:
        SampleError: one of them does not have its shape.
    """
    array = fitting_array(rows, None, dtype)
    if array.ndim != 1 + len(shape) or array.shape[1:] != shape:
        raise SampleError(f"rows of shape {array.shape[1:]} where the space has {shape}")
    return array


def chosen(index: int, count: int) -> int:
    """The index of the space that a sample of a OneOf belongs to.

    Raises:
        SampleError: there is no such space.
    """
    if not 0 <= index < count:
        raise SampleError(f"there is no space {short(index)} among {count}")
    return index
