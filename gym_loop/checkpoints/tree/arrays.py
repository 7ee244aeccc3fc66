"""Arrays: record dtypes as data, views into other arrays, and back into live arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gym_loop.checkpoints.tree.tags import Tree, Way

_LARGEST_VIEW = 64  # times the memory that it looks into; windows that overlap are larger than it


def fields_of(dtype: np.dtype[Any]) -> list[Any]:
    """A dtype of records as nested lists."""
    fields: list[Any] = _as_lists(np.lib.format.dtype_to_descr(dtype))
    return fields


def _as_lists(fields: Any) -> Any:
    return [_as_lists(part) for part in fields] if isinstance(fields, (tuple, list)) else fields


def dtype_of(fields: list[Any]) -> np.dtype[Any]:
    """The dtype that `fields_of` described.

    Raises:
        ValueError: it is none of plain data.
    """
    dtype = np.lib.format.descr_to_dtype([_field(field) for field in fields])
    if dtype.hasobject:
        raise ValueError(f"the dtype {dtype} is none of plain data")
    return dtype


def _field(field: Sequence[Any]) -> tuple[Any, ...]:
    # NumPy wants tuples, for the field itself and for its shape.
    name, kind, *shape = field
    if isinstance(kind, list):
        kind = [_field(part) for part in kind]
    return (name, kind, *(tuple(part) for part in shape))


def view_of(
    holder: np.ndarray[Any, Any],
    dtype: np.dtype[Any],
    shape: Sequence[int],
    offset: int,
    strides: Sequence[int],
) -> np.ndarray[Any, Any]:
    """An array in the memory of another one; NumPy checks that it stays inside.

    Raises:
        ValueError: it would not, or it would show the same memory too often.
    """
    memory: Any = holder if holder.flags.c_contiguous else holder.T
    if dtype.hasobject or memory.dtype.hasobject or offset < 0:
        raise ValueError("no view of this kind can be")
    if count_of(shape) * dtype.itemsize > _LARGEST_VIEW * holder.nbytes:
        raise ValueError(f"a view of shape {list(shape)} is too large for the memory behind it")
    view: np.ndarray[Any, Any] = np.ndarray(tuple(shape), dtype, memory, offset, tuple(strides))
    if memory.dtype.kind != "b":
        check_bools(view)
    return view


def fits_into(holder: np.ndarray[Any, Any], *place: Any) -> bool:
    """Whether `view_of` would succeed."""
    try:
        view_of(holder, *place)
    except ValueError:
        return False
    return True


def count_of(shape: Any) -> int:
    """The number of elements of a shape.

    Raises:
        ValueError: it is none.
    """
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"{shape!r:.60} is no shape")
    return math.prod(shape)


def check_bools(array: np.ndarray[Any, Any]) -> None:
    """Refuse what would break NumPy: a bool that is neither 0 nor 1.

    Raises:
        ValueError: there is one, in the array or in a field of its records.
    """
    for name in array.dtype.names or ():
        check_bools(array[name])
    if array.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise ValueError("a bool is neither 0 nor 1")


# -- and back ------------------------------------------------------------------------------------


def restore_array(walk: Any, live: Any, node: np.ndarray[Any, Any], way: Way | None) -> Any:
    """Fill the live array, or make a new one where it does not fit."""
    if (
        isinstance(live, np.ndarray)
        and (live.shape, live.dtype) == (node.shape, node.dtype)
        and live.flags.writeable
        and not walk.is_used(live)
        and not walk.is_used(live.base)  # it was no view when it was saved
    ):
        live[...] = node
        if live.base is not None:
            walk.overlaid.append((way, live, node))
    else:
        live = np.array(node, order="K")
    return walk.claim(live, node)


def restore_view(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """An array that looks into another one."""
    holder = walk.same(None, {"__same__": node["__view__"]}, way)
    kind = node["dtype"]
    dtype = dtype_of(kind) if isinstance(kind, list) else np.dtype(kind)
    view = view_of(holder, dtype, node["shape"], node["offset"], node["strides"])
    if (
        type(live) is np.ndarray
        and live.dtype == dtype
        and live.__array_interface__ == view.__array_interface__
        and not walk.is_used(live)
    ):
        view = live
    return walk.claim(view, node)


def restore_objects(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """An array of objects, made only if as many were saved as its shape has places."""
    shape, items = tuple(node["shape"]), node["__objects__"]
    count, there = count_of(shape), walk.count(items, way)
    if there != count:
        raise walk.misfit(way, f"{there:,} values were saved for {count:,} places")
    if (
        not isinstance(live, np.ndarray)
        or (live.shape, live.dtype) != (shape, np.dtype(object))
        or walk.is_used(live)
    ):
        live = np.empty(shape, object)
    walk.claim(live, node)
    values = walk.items(live.ravel(), items, way)
    for index, value in zip(np.ndindex(shape), values, strict=True):
        live[index] = value
    return live


def restore_structured(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """An array of records."""
    dtype = dtype_of(node["dtype"])
    saved = np.frombuffer(node["__structured__"].tobytes(), dtype).reshape(node["shape"])
    check_bools(saved)
    return walk.claim(restore_array(walk, live, saved, way), node)
