"""Whatever an environment puts into its info dictionary, as valid JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gym_loop.wire.json_values import SAFE, Style, number_to_json

_DEEPEST = 32  # a dictionary nested deeper is cut: it may hold itself


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
        return value if -SAFE <= value <= SAFE else _number(value)
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


def _number(value: float) -> Any:
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
