"""What arrays are made of: record dtypes as data, and views into other arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


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
        ValueError: it would not.
    """
    memory: Any = holder if holder.flags.c_contiguous else holder.T
    if dtype.hasobject or memory.dtype.hasobject or offset < 0:
        raise ValueError("no view of this kind can be")
    return np.ndarray(tuple(shape), dtype, memory, offset, tuple(strides))


def fits_into(holder: np.ndarray[Any, Any], *place: Any) -> bool:
    """Whether `view_of` would succeed."""
    try:
        view_of(holder, *place)
    except ValueError:
        return False
    return True
