"""Clocks that do not drift, and a log that does not flood."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

MOST_BEHIND = 25  # intervals; what is later than this is not caught up, but skipped


class Complaints:
    """Counts things that go wrong, and logs the first and then one line every few seconds.

    Args:
        log: where the lines go, as warnings.
        what: what is counted, in the plural.
        pause: seconds between two lines.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        log: logging.Logger,
        what: str,
        pause: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.count = 0
        self._log = log
        self._what = what
        self._pause = pause
        self._clock = clock
        self._next: float | None = None

    def add(self, text: str, count: int = 1) -> None:
        """Count one more, or several, of which ``text`` describes the newest."""
        self.count += count
        now = self._clock()
        if self._next is None or now >= self._next:
            self._next = now + self._pause
            self._log.warning("%s (%s so far: %d)", text, self._what, self.count)


class Pacer:
    """Ticks at absolute times, so that what is late once does not delay what follows.

    A tick that comes later than the tolerance is counted and logged. Up to `MOST_BEHIND`
    intervals are caught up; beyond, whole intervals are skipped, counted too, and the ticks
    stay on their grid.

    Args:
        name: what ticks, for the log.
        interval: seconds from one tick to the next.
        start: time of the tick before the first.
        late: counts and logs the late ticks.
        tolerance: seconds by which a tick may be late.
        sleep: sleeps so many seconds; returns True if it was told to end.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        name: str,
        interval: float,
        start: float,
        late: Complaints,
        tolerance: float,
        sleep: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._interval = interval
        self._origin = start
        self._count = 0  # a product cannot gather rounding errors, as a sum would
        self.late = late
        self._tolerance = tolerance
        self._sleep = sleep
        self._clock = clock
        self.ticks = 0
        self.skipped = 0
        self.worst = 0.0

    @property
    def deadline(self) -> float:
        """The time of the tick that was last waited for."""
        return self._origin + self._count * self._interval

    def wait(self, duration: float | None = None) -> bool:
        """Wait for the next tick; return False if told to end.

        Args:
            duration: seconds from the last tick to this one, in place of the interval.
        """
        if duration is None:
            self._count += 1
        else:
            self._origin, self._count = self.deadline + duration, 0
        left = self.deadline - self._clock()
        if self._sleep(max(left, 0.0)):
            return False
        self.ticks += 1
        late = self._clock() - self.deadline
        self.worst = max(self.worst, late)
        if late > self._tolerance:
            self._note(late)
        return True

    def _note(self, late: float) -> None:
        skipped = int(late / self._interval) if late > MOST_BEHIND * self._interval else 0
        self._count += skipped
        self.skipped += skipped
        more = f" and {skipped} ticks were left out" if skipped else ""
        self.late.add(f"{self._name}: a tick came {late * 1e3:.1f} ms late{more}")
