"""Numbers and arrays as JSON values, and back: what JSON has no word for, said in three styles.

JSON knows no NaN, no infinity, and in many languages no integer beyond 2**53. A value here is
made of dict, list, str, int, float, bool and None alone, and every float in it is finite.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from gym_loop.errors import SampleError

HUGE = 1e100  # an infinity, in protocols older than any agreement on it
SAFE = 2**53 - 1  # the greatest integer that a JavaScript number holds exactly
_LONGEST = 40  # characters of a number written as text
_DEEPEST = 32  # a dictionary nested deeper is cut: it may hold itself

# The element types of spaces, and how the array module calls them; it has no float16.
_NAMES = {
    "bool": "B", "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B",
    "uint16": "H", "uint32": "I", "uint64": "Q", "float16": "f", "float32": "f", "float64": "d",
}  # fmt: skip

_TYPECODES = {np.dtype(name): code for name, code in _NAMES.items()}  # a dtype's name is slow

Array = np.ndarray[Any, Any]


class Style(Enum):
    """How a space or a sample is written as JSON.

    Reading knows all of them at once: a number of exactly +-1e100 is an infinity, null is NaN,
    and a text is the number that it spells.
    """

    LEGACY_FLAT = "flat"
    """Infinities as +-1e100, NaN as null, the bounds of a Box as flat lists (gym-http-api)."""
    LEGACY_NESTED = "nested"
    """The same with bounds in the Box's shape (gymie)."""
    EXACT = "exact"
    """Lossless: ``"nan"``, ``"inf"``, ``"-inf"``, and integers beyond 2**53 as texts."""


@lru_cache(maxsize=256)  # a dtype's name is slow, and every look at it leaves crumbs of memory
def check_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same element type, in this machine's byte order.

    Raises:
        SampleError: it has no size that all machines agree on.
    """
    if dtype.name not in _NAMES:
        raise SampleError(f"the element type {dtype} cannot be sent; use {', '.join(_NAMES)}")
    return np.dtype(dtype.name)


# -- writing -----------------------------------------------------------------------------


def number_to_json(value: int | float, style: Style) -> Any:
    """One int, float or bool of Python as a JSON value."""
    if isinstance(value, float):
        if style is Style.EXACT:
            # As a number, 1e100 means infinity; as a text, itself.
            return value if math.isfinite(value) and abs(value) != HUGE else repr(value)
        if math.isfinite(value):
            return value
        return None if value != value else math.copysign(HUGE, value)
    if style is Style.EXACT and not -SAFE <= value <= SAFE:
        return str(value)
    return value


def array_encoder(
    shape: tuple[int, ...], dtype: np.dtype[Any], style: Style
) -> Callable[[Any], Any]:
    """A function from arrays of one shape to nested lists; to a number, for an empty shape.

    It takes whatever `numpy.asarray` makes such an array of, as long as no value changes, and
    raises SampleError for anything else.

    Raises:
        SampleError: the element type cannot be sent.
    """
    dtype = check_dtype(dtype)
    exact = style is Style.EXACT
    always_plain = dtype.kind in "bui" and not (exact and dtype.itemsize == 8)
    small_floats = dtype.kind == "f" and len(shape) == 1 and shape[0] <= 64
    never_huge = not exact or dtype.itemsize < 8
    isfinite, ndarray = math.isfinite, np.ndarray

    def encode(sample: Any) -> Any:
        if type(sample) is not ndarray or sample.dtype is not dtype or sample.shape != shape:
            sample = fitting_array(sample, shape, dtype)
        if always_plain:
            return sample.tolist()
        if small_floats:
            values = sample.tolist()
            # A sum of floats is finite only if each of them is.
            if isfinite(sum(values)) and (never_huge or not {HUGE, -HUGE}.intersection(values)):
                return values
        return _array_to_json(sample, style)

    return encode


def _array_to_json(sample: Array, style: Style) -> Any:
    if sample.dtype.kind == "f":
        odd = ~np.isfinite(sample)
        if style is Style.EXACT and sample.dtype.itemsize == 8:
            odd |= np.abs(sample) == HUGE
    elif style is Style.EXACT:
        odd = (sample > SAFE) | (sample < -SAFE)
    else:
        return sample.tolist()
    if not odd.any():
        return sample.tolist()
    values = sample.astype(object)
    values[odd] = [number_to_json(value, style) for value in sample[odd].tolist()]
    return values.tolist()


def fitting_array(sample: Any, shape: tuple[int, ...] | None, dtype: np.dtype[Any]) -> Array:
    """What an environment gave, as an array of the shape and the element type of its space.

    Args:
        sample: an array, a number or nested sequences of numbers.
        shape: None for any.
        dtype: of the space.

    Raises:
        SampleError: it has another shape, holds no numbers, or fractions in place of integers.
    """
    try:
        found = np.asarray(sample)
    except (ValueError, TypeError, OverflowError) as error:
        raise SampleError(f"{short(sample)} is no array: {error}") from None
    if found.dtype.kind not in "buif":
        raise SampleError(f"{short(sample)} is no array of numbers, but of {found.dtype}")
    if shape is not None and found.shape != shape:
        raise SampleError(f"its shape is {found.shape}, where the space has {shape}")
    if found.dtype == dtype:
        return found.astype(dtype, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        fitted = found.astype(dtype)
        if dtype.kind != "f" and not np.array_equal(fitted, found):
            raise SampleError(f"it holds {found.dtype} values that {dtype} cannot hold")
    return fitted


# -- reading -----------------------------------------------------------------------------


def array_from_json(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Read nested lists of numbers, in any style; a number, for an empty shape.

    Raises:
        SampleError: the nesting does not have this shape, or something in it is no such number.
    """
    if len(shape) == 1 and type(value) is list and len(value) == shape[0]:
        flat = value
    else:
        flat = _flatten(value, shape)
    code = _TYPECODES[dtype]
    kinds = set(map(type, flat))
    if dtype.kind == "f":
        plain = kinds <= {float, int} and not (code == "d" and (HUGE in flat or -HUGE in flat))
    else:
        plain = kinds == {int} and dtype.kind != "b"
    try:
        typed = array(code, flat if plain else [_number(item, dtype) for item in flat])
    except OverflowError:
        raise SampleError(f"{short(value)} holds a number too great for {dtype}") from None
    if code == "f" and dtype.itemsize == 2:
        with np.errstate(over="ignore"):
            return np.array(typed).astype(dtype).reshape(shape)
    flat_array = np.frombuffer(typed, dtype) if typed else np.empty(0, dtype)
    return flat_array if len(shape) == 1 else flat_array.reshape(shape)


def _flatten(value: Any, shape: tuple[int, ...]) -> list[Any]:
    """The numbers of a nested list, in order."""
    flat: Sequence[Any] = [value]
    for axis, size in enumerate(shape):
        if flat and set(map(type, flat)) != {list}:
            other = next(item for item in flat if type(item) is not list)
            raise SampleError(
                f"there is {short(other)} where a list of {size} was expected (the shape is"
                f" {shape}, axis {axis})"
            )
        if flat and set(map(len, flat)) != {size}:
            length = next(len(item) for item in flat if len(item) != size)
            raise SampleError(
                f"there is a list of {length} where one of {size} was expected (the shape is"
                f" {shape}, axis {axis})"
            )
        flat = list(chain.from_iterable(flat))
    return list(flat)


def _number(value: Any, dtype: np.dtype[Any]) -> float:
    """One number of a JSON value, in whichever style it is written."""
    if dtype.kind == "f":
        return float_from_json(value)
    number = int_from_json(value) if type(value) is not bool or dtype.kind != "b" else int(value)
    if dtype.kind == "b" and number not in (0, 1):
        raise SampleError(f"{short(value)} is neither true nor false")
    return number


def float_from_json(value: Any) -> float:
    """Read one number, written in any style.

    Raises:
        SampleError: it is none.
    """
    kind = type(value)
    if kind is float or kind is int:
        try:
            return float(value) if abs(value) != HUGE else math.copysign(math.inf, value)
        except OverflowError:
            raise SampleError("there is an integer that no floating-point number holds") from None
    if value is None:
        return math.nan
    if kind is str and len(value) <= _LONGEST:
        try:
            return float(value)
        except ValueError:
            pass
    raise SampleError(f"{short(value)} is no number")


def int_from_json(value: Any) -> int:
    """Read one integer; ``2.0`` and ``"2"`` are integers too.

    Raises:
        SampleError: it is none.
    """
    kind = type(value)
    if kind is int:
        return int(value)
    if kind is float and value.is_integer():
        return int(value)
    if kind is str and len(value) <= _LONGEST:
        try:
            return int(value)
        except ValueError:
            pass
    raise SampleError(f"{short(value)} is no integer")


# -- what an environment puts into info ---------------------------------------------------


def plain(value: Any) -> Any:
    """Any value of an info dictionary as valid JSON: NumPy's as Python's, NaN as null.

    Infinities become +-1e100, tuples and sets lists, keys texts. What JSON has no form for (an
    object, or nesting deeper than 32) is named by its type, such as ``"<Generator>"``.
    """
    return _plain(value, _DEEPEST)


def _plain(value: Any, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is float or kind is int:
        return value if -SAFE <= value <= SAFE else _plain_number(value)
    if kind is str:
        # A lone surrogate has no place in UTF-8.
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if depth == 0:
        return f"<{kind.__name__}>"
    if isinstance(value, dict):
        return {_key(key): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, (set, frozenset)):
        return [_plain(item, depth - 1) for item in sorted(value, key=repr)]
    if isinstance(value, (np.ndarray, np.generic)):
        return _array(value, depth)
    for base in (int, float, str):  # a member of an enumeration, for one
        if isinstance(value, base):
            inner: Any = base.__new__(base, value)  # type: ignore[type-var]
            return _plain(inner, depth)
    return f"<{kind.__name__}>"


def _array(value: Any, depth: int) -> Any:
    if value.dtype.kind not in "buifOU":
        return f"<{value.dtype}>"
    if value.dtype.kind == "f":
        value = value.astype(np.float64)  # a long double has no counterpart in Python
    return _plain(value.tolist(), depth - 1)


def _plain_number(value: float) -> Any:
    if isinstance(value, int):
        if -(2**63) <= value < 2**64:
            return value
        try:
            value = float(value)  # many parsers end at 64 bits
        except OverflowError:
            value = math.inf if value > 0 else -math.inf
    return number_to_json(value, Style.LEGACY_FLAT)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(_plain(str(key), 1))
    if key is None or isinstance(key, (bool, int, float, np.generic)):
        return str(key)
    return f"<{type(key).__name__}>"


def with_ends(info: dict[str, Any], terminated: bool, truncated: bool) -> dict[str, Any]:
    """What protocols with a single ``done`` say beside it, put into ``info``."""
    info["terminated"] = terminated
    info["truncated"] = truncated
    if truncated and not terminated:
        info["TimeLimit.truncated"] = True
    return info


# -- in messages -------------------------------------------------------------------------


def short(value: Any) -> str:
    """A value in an error message: at most about 60 characters, whatever it holds."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if isinstance(value, (list, tuple)):
        nested = any(isinstance(item, (list, tuple, dict)) for item in value[:9])
        if nested or len(value) > 8:
            return f"a list of {len(value)}"
        return f"[{', '.join(map(short, value))}]"
    if type(value) is int and not -SAFE <= value <= SAFE:
        return f"an integer of {value.bit_length()} bits"
    if type(value) in (int, float):
        return repr(value)
    if not isinstance(value, (str, bytes)):
        return f"a {type(value).__name__}"
    text = repr(value[:64])
    return text if len(text) <= 60 else f"{text[:57]}..."
