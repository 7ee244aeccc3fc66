"""What the parts of a server tell each other."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

KEPT = 64  # snapshots; a stream that is later than this sends the oldest of them


class Snapshot(NamedTuple):
    """What both streams say of one tick.

    Args:
        since: when it was published, by the monotonic clock.
        offset: what makes the time since the epoch of that clock's time.
        observation: message of the observation, not stamped yet.
        reward: message of the reward, not stamped yet.
    """

    since: float
    offset: float
    observation: str
    reward: str


class Board:
    """The snapshots, so that an observation and its reward always belong to one tick.

    A stream does not ask for the newest one, but for the one that was up at the time of its own
    tick. Two streams with the same ticks therefore send the same, however their threads run.

    Args:
        clock: gives the time in seconds.
        wall_clock: gives the time in seconds since the epoch.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._snapshots: deque[Snapshot] = deque(maxlen=KEPT)

    def publish(self, observation: str, reward: str) -> None:
        """Put up the messages of a new tick."""
        with self._lock:
            now = self._clock()
            offset = self._wall_clock() - now
            self._snapshots.append(Snapshot(now, offset, observation, reward))

    def at(self, moment: float) -> Snapshot:
        """What was up at a time; where nothing was yet, what came first."""
        with self._lock:
            for snapshot in reversed(self._snapshots):
                if snapshot.since <= moment:
                    return snapshot
            return self._snapshots[0]
