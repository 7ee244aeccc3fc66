"""What a server counts about itself."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from collections import Counter
from typing import Any

from gym_loop.serve.sessions import Sessions

# Ten bounds a decade, from 1 us to 100 s: a percentile is right to 26 %, for a tenth of a
# microsecond a call and no memory.
_BOUNDS = [1e-6 * 10 ** (step / 10) for step in range(81)]


class Latency:
    """A histogram of durations in seconds."""

    def __init__(self) -> None:
        self.counts = array("Q", [0] * (len(_BOUNDS) + 1))
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_right(_BOUNDS, seconds)] += 1
        if seconds > self.longest:
            self.longest = seconds

    @property
    def count(self) -> int:
        """Durations counted."""
        return sum(self.counts)

    def percentile(self, percent: float) -> float:
        """An upper bound of the duration that ``percent`` of the calls stayed below, in seconds."""
        wanted = self.count * percent / 100
        seen = 0
        for bound, count in zip(_BOUNDS, self.counts, strict=False):
            seen += count
            if seen >= wanted:
                return min(bound, self.longest)
        return self.longest


class Statistics:
    """Counters of one server.

    Args:
        sessions: what is open.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.latency = Latency()
        self.errors: Counter[str] = Counter()
        self._sessions = sessions
        self._since = time.monotonic()

    def error(self, problem: BaseException) -> None:
        """Count an error that a client was answered."""
        self.errors[type(problem).__name__] += 1

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain data; durations of environment calls in milliseconds."""
        latency = self.latency
        names = {"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9}
        return {
            "uptime_s": round(time.monotonic() - self._since, 3),
            "instances": len(self._sessions),
            "instances_made": self._sessions.made,
            "steps": self._sessions.steps,
            "episodes": self._sessions.episodes,
            "calls": latency.count,
            "errors": dict(self.errors),
            "latency_ms": {
                **{name: _ms(latency.percentile(percent)) for name, percent in names.items()},
                "max": _ms(latency.longest),
            },
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 4)
