"""The element types of arrays by name, and what is checked before an array is made."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

import numpy as np

LARGEST_EMPTY = 1 << 16  # bytes of an element of an array that has none: NumPy allocates one
_MOST_DIMENSIONS = 64
_NAME = re.compile(r"[<>|][buifcUSmM]\d{1,9}(\[\w{1,9}\])?")


@lru_cache(maxsize=256)
def is_plain(dtype: np.dtype[Any], any_machine: bool = False) -> bool:
    """Whether elements of a dtype are plain data: numbers, texts, dates, or records of them.

    Args:
        dtype: any.
        any_machine: numbers and texts alone, and no number that is another on other processors.
    """
    if not dtype.itemsize or dtype.hasobject:
        return False
    longest = {"f": 8, "c": 16}.get(dtype.kind, dtype.itemsize)
    if any_machine:
        return dtype.kind in "buifcUS" and dtype.itemsize <= longest
    return dtype.kind in "buifcUSmM" or (dtype.names is not None and _has_a_name(dtype))


def _has_a_name(dtype: np.dtype[Any]) -> bool:
    try:
        return dtype_of(dtype_name(dtype)) == dtype
    except ValueError:  # fields that overlap, or are out of order
        return False


def dtype_name(dtype: np.dtype[Any]) -> Any:
    """NumPy's name of a plain dtype; of records a list of fields."""
    return dtype.str if dtype.names is None else np.lib.format.dtype_to_descr(dtype)


def dtype_of(name: Any) -> np.dtype[Any]:
    """The dtype that `dtype_name` named.

    Raises:
        ValueError: it is none of plain data; what NumPy makes of a damaged list may raise others.
    """
    if type(name) is str:
        return _dtype(name)
    if type(name) is not list:
        raise ValueError(f"{name!r:.40} is no dtype, such as '<f4'")
    dtype = np.lib.format.descr_to_dtype([_field(field) for field in name])
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"the dtype {dtype} is none of plain data")
    return dtype


@lru_cache(maxsize=512)
def _dtype(name: str) -> np.dtype[Any]:
    dtype = np.dtype(name) if _NAME.fullmatch(name) else None
    if dtype is None or not is_plain(dtype) or dtype.str != name:
        raise ValueError(f"{name!r:.40} is no dtype, such as '<f4'")
    return dtype


def _field(field: Any) -> tuple[Any, ...]:
    # NumPy wants tuples: for the field itself, for its shape, and for a title beside its name.
    name, kind, *shape = field
    if isinstance(kind, list):
        kind = [_field(part) for part in kind]
    name = tuple(name) if isinstance(name, list) else name
    return (name, kind, *(tuple(part) for part in shape))


def little_endian(array: Any) -> Any:
    """An array or a scalar in little-endian order; the same where it is in that order."""
    dtype = array.dtype
    return array if dtype.byteorder != ">" else array.astype(dtype.newbyteorder("<"))


def count_of(shape: Any) -> int:
    """The number of elements, which no shape can make too great to count.

    Raises:
        ValueError: it is no shape.
    """
    if type(shape) is not list or len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"a shape must be a list of at most {_MOST_DIMENSIONS} sizes")
    for size in shape:
        if type(size) is not int or not 0 <= size < 2**40:
            raise ValueError(f"a size must be an integer from 0 on, not {size!r:.40}")
    count = math.prod(shape)
    if count == 0 and math.prod(max(size, 1) for size in shape) >= 2**60:
        raise ValueError("a shape is too great")
    return count


def check_bools(array: np.ndarray[Any, Any]) -> None:
    """Refuse what would break NumPy: a bool that is neither 0 nor 1.

    Raises:
        ValueError: there is one, in the array or in a field of its records.
    """
    for name in array.dtype.names or ():
        check_bools(array[name])
    if array.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise ValueError("a bool is neither 0 nor 1")
