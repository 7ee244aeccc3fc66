"""Curves in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TextIO

LEVELS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"


def sparkline(values: Sequence[float], low: float | None = None, high: float | None = None) -> str:
    """One block a value; a gap where there is none.

    Args:
        values: NaN for a gap.
        low: what the lowest block stands for; by default the least value.
        high: what the highest stands for.
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return " " * len(values)
    low = min(known) if low is None else low
    high = max(known) if high is None else high
    size = len(LEVELS) / (high - low) if high > low else 0.0
    return "".join(
        LEVELS[min(max(int((value - low) * size), 0), len(LEVELS) - 1)]
        if math.isfinite(value)
        else " "
        for value in values
    )


def shows_sparklines(stream: TextIO) -> bool:
    """Whether somebody looks at a stream, and its encoding has the blocks."""
    try:
        LEVELS.encode(getattr(stream, "encoding", None) or "ascii")
        return stream.isatty()
    except (LookupError, UnicodeEncodeError, ValueError):  # a closed stream has no terminal
        return False
