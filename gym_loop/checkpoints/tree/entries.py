"""Numbers that a saved state must hold, checked as they are taken out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gym_loop.errors import StateError


def is_number(value: Any) -> bool:
    """Whether a value is a number, of Python or of NumPy; a bool is none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def saved_number(state: Mapping[str, Any], name: str) -> Any:
    """The number that a state holds under a name.

    Raises:
        StateError: it holds something else there.
    """
    value = state[name]
    if not is_number(value):
        raise StateError(f"{name} was saved as {value!r:.40}, which is no number")
    return value


def saved_count(state: Mapping[str, Any], name: str) -> Any:
    """The integer from 0 on that a state holds under a name.

    Raises:
        StateError: it holds something else there.
    """
    value = saved_number(state, name)
    if not isinstance(value, (int, np.integer)) or value < 0:
        raise StateError(f"{name} was saved as {value!r:.40}, which is no count")
    return value
