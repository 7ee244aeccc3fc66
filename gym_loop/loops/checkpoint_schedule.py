"""When a loop saves: after so many episodes, steps or seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

# Checkpoints may take this share of a training's time, after a first allowance in seconds; one
# that comes due beyond it is put off. Small runs thus save exactly as often as they ask for.
TIME_SHARE = 0.01
SECONDS_ALLOWED = 0.2


class CheckpointSchedule:
    """Says when a checkpoint is due, and puts off those that would take too much of the time.

    Args:
        parameters: the loop's: ``episodes_per_checkpoint``, ``steps_per_checkpoint`` and
            ``time_per_checkpoint`` (seconds); each may be None or missing.

    Attributes:
        seconds_allowed: what saving may take beside its share of the time; infinity puts off none.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._every_episodes = parameters.get("episodes_per_checkpoint")
        self._every_steps = parameters.get("steps_per_checkpoint")
        self._every_seconds = parameters.get("time_per_checkpoint")
        self.seconds_allowed = SECONDS_ALLOWED
        self._seconds_saving = 0.0
        self._is_due = False
        self._saved: tuple[int, int] | None = None  # steps and episodes of the last one
        self.start(0, 0)

    def start(self, steps: int, episodes: int) -> None:
        """Begin to measure time; a checkpoint that came due before is none of this training."""
        self._began = self._saved_at = time.monotonic()
        self._seen = (steps, episodes)

    def next_step(self, steps: int) -> float:
        """The step count after ``steps`` at which a checkpoint comes due by steps."""
        every = self._every_steps
        return (steps // every + 1) * every if every else float("inf")

    def next_episode(self, episodes: int) -> float:
        """The number of episodes after ``episodes`` at which one comes due by episodes."""
        every = self._every_episodes
        return (episodes // every + 1) * every if every else float("inf")

    def due(self, steps: int, episodes: int, now: float) -> bool:
        """Whether to save now: since the last call, one has come due and time allows it."""
        seen_steps, seen_episodes = self._seen
        if (
            steps >= self.next_step(seen_steps)
            or episodes >= self.next_episode(seen_episodes)
            or (self._every_seconds and now - self._saved_at >= self._every_seconds)
        ):
            self._is_due = True
        self._seen = (steps, episodes)
        allowed = self.seconds_allowed + TIME_SHARE * (now - self._began)
        return self._is_due and self._seconds_saving <= allowed

    def is_saved(self, steps: int, episodes: int) -> bool:
        """Whether the last checkpoint was made at this very step."""
        return self._saved == (steps, episodes)

    def saved(self, steps: int, episodes: int, seconds: float = 0.0) -> None:
        """Note a checkpoint, and how long it took."""
        self._saved = (steps, episodes)
        self._is_due = False
        self._saved_at = time.monotonic()
        self._seconds_saving += seconds

    def skip(self, seconds: float) -> None:
        """Leave out a pause that has just passed: its time is not the training's."""
        self._began += seconds
