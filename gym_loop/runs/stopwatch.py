"""Where the time of a training goes, measured around its calls when that is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

METRICS = "time/"
PARTS = ("act", "observe", "update", "environment")
_F = TypeVar("_F", bound=Callable[..., Any])


class Stopwatch:
    """Sums the seconds that functions take, by part of the training."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._since = clock()

    def timed(self, part: str, function: _F) -> _F:
        """The same function, whose time is counted to a part."""
        clock, seconds = self._clock, self._seconds

        def measured(*arguments: Any, **named: Any) -> Any:
            started = clock()
            try:
                return function(*arguments, **named)
            finally:
                seconds[part] = seconds.get(part, 0.0) + clock() - started

        return measured  # type: ignore[return-value]

    def around(self, *functions: Callable[..., Any]) -> list[Callable[..., Any]]:
        """An agent's ``act``, ``observe``, ``update`` and an environment's ``step``, measured."""
        pairs = zip(PARTS, functions, strict=True)
        return [self.timed(part, function) for part, function in pairs]

    def lap(self) -> dict[str, float]:
        """Seconds of each part since the last lap, as metrics; what is left is the loop's own."""
        now = self._clock()
        parts = {f"{METRICS}{part}": seconds for part, seconds in self._seconds.items()}
        rest = now - self._since - sum(parts.values())
        self._seconds.clear()
        self._since = now
        return {**parts, f"{METRICS}loop": max(0.0, rest)}
