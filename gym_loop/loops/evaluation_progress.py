"""How far an evaluation is, shown now and then; and what is said of episodes that never end."""

from __future__ import annotations

import time
from collections.abc import Callable

from gym_loop.runs.console import Console

LOOK_SECONDS = 0.1
# No episode for so long, in seconds and in steps of each copy, may mean that none ever ends.
ENDLESS_SECONDS = 10.0
ENDLESS_STEPS = 5_000


class EpisodeWatch:
    """Says once that no episode ends, where that looks like an environment without an end.

    Args:
        warn: told in one sentence.
        copies: of the environment.
    """

    def __init__(self, warn: Callable[[str], None], copies: int = 1) -> None:
        self._warn = warn
        self._enough = ENDLESS_STEPS * copies
        self._episodes = -1
        self._steps, self._since = 0, 0.0
        self._said = False

    def look(self, episodes: int, steps: int, now: float) -> None:
        """Compare with the last look; a few times a second is enough."""
        if episodes != self._episodes:
            self._episodes, self._steps, self._since = episodes, steps, now
            return
        taken = steps - self._steps
        if self._said or taken < self._enough or now - self._since < ENDLESS_SECONDS:
            return
        self._said = True
        self._warn(
            f"no episode has ended in {taken:,} steps; if this environment ends none by itself, cut"
            " them: set env.max_episode_steps, or loop.parameters.max_episode_len"
        )


class EvaluationProgress:
    """Shows how many episodes of an evaluation are over.

    Args:
        console: where it is shown.
        episodes: how many are to be played.
        copies: of the environment.
    """

    def __init__(self, console: Console, episodes: int, copies: int = 1) -> None:
        self._console, self._episodes = console, episodes
        self._returns: list[float] = []
        self._steps = 0
        self._due = 0.0
        self._watch = EpisodeWatch(console.warning, copies)

    def stepped(self, count: int) -> None:
        """Count steps, and show the progress if it is time."""
        self._steps += count
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + LOOK_SECONDS
        done = len(self._returns)
        self._watch.look(done, self._steps, now)
        mean = sum(self._returns) / done if done else None
        self._console.evaluation(done, self._episodes, self._steps, mean)

    def ended(self, episode_return: float) -> None:
        """Count an episode."""
        self._returns.append(episode_return)
