"""How far a training or an evaluation is: its speed, its line of progress, episodes without end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gym_loop.runs.console import Console

# A loop looks up about this often (seconds), and never after more steps than this, so that
# neither fast environments feel it nor slow ones delay a signal, a checkpoint or the progress.
LOOK_UP_SECONDS = 0.1
LOOK_UP_STEPS = 2_048
# No episode for so long, in seconds and in steps of each copy, may mean that none ever ends.
ENDLESS_SECONDS = 10.0
ENDLESS_STEPS = 5_000


class Progress:
    """Shows how far a training is, and measures its speed.

    Args:
        console: where it is shown.
        parameters: the loop's; ``max_steps`` and ``max_episodes`` say what is left.
        copies: of the environment.

    Attributes:
        steps_per_second: over the last one to two seconds.
        chunk: steps that the loop may take until it looks up again.
        attention_at: the step count at which it does. A loop reads it in every step, which is
            quick here: Python is slower with an object whose attributes are looked at as a whole,
            as those of a loop are by a checkpoint.
    """

    def __init__(self, console: Console, parameters: Mapping[str, Any], copies: int = 1) -> None:
        self._console, self._parameters = console, parameters
        self._most_steps = LOOK_UP_STEPS * copies
        self._endless = EndlessEpisodes(console.warning, copies)
        self.attention_at: float = 0
        self.start(0)

    def start(self, steps: int) -> None:
        """Begin to measure time, ``steps`` environment steps after the training's beginning."""
        now = time.monotonic()
        self._looked = self._began = now
        self._looked_steps = self._began_steps = steps
        self._steps_rate = Rate(now, steps)
        # A resumed run measures its updates from its first row of the logs on.
        self._updates_rate = None if steps else Rate(now, 0.0)
        self.chunk = 1
        self.steps_per_second = 0.0

    def is_due(self, now: float) -> bool:
        """Whether it is time to look up again."""
        return now - self._looked >= LOOK_UP_SECONDS

    def look(self, steps: int, now: float) -> None:
        """Measure the speed, and from it the steps until the next look."""
        elapsed, done = now - self._looked, steps - self._looked_steps
        if elapsed > 0 and done > 0:
            wanted = int(done * LOOK_UP_SECONDS / elapsed)
            self.chunk = max(1, min(wanted, 4 * self.chunk, self._most_steps))
        self._looked, self._looked_steps = now, steps
        self.steps_per_second = self._steps_rate.measure(now, steps)

    def show(
        self, steps: int, episodes: int, returns: Collection[float], now: float, last: bool = False
    ) -> None:
        """Show the line of progress, and say once if no episode ever ends.

        Args:
            steps: environment steps so far.
            episodes: finished so far.
            returns: of the last episodes.
            now: `time.monotonic`, in seconds.
            last: the training is over.
        """
        if not last:
            self._endless.look(episodes, steps, now)
        self._console.progress(
            episodes,
            steps,
            sum(returns) / len(returns) if returns else None,
            self.steps_per_second,
            None if last else self._seconds_left(steps, episodes, now),
            last=last,
        )

    def updates_per_second(self, updates: float) -> float | None:
        """The speed of updates; None at the first call after a resume."""
        now = time.monotonic()
        if self._updates_rate is None:
            self._updates_rate = Rate(now, updates)
            return None
        return self._updates_rate.measure(now, updates)

    def skip(self, seconds: float) -> None:
        """Leave out a pause that has just passed: speeds are those of training alone."""
        self._steps_rate.skip(seconds)
        if self._updates_rate is not None:
            self._updates_rate.skip(seconds)
        self._looked += seconds
        self._began += seconds

    def _seconds_left(self, steps: int, episodes: int, now: float) -> float | None:
        rate = (steps - self._began_steps) / max(now - self._began, 1e-9)
        if rate <= 0:
            return None
        most_steps = self._parameters.get("max_steps")
        most_episodes = self._parameters.get("max_episodes")
        left = []
        if most_steps is not None:
            left.append((most_steps - steps) / rate)
        if most_episodes is not None and episodes:
            left.append((most_episodes - episodes) * (steps / episodes) / rate)
        return max(0.0, min(left)) if left else None


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
        self._endless = EndlessEpisodes(console.warning, copies)

    def stepped(self, count: int) -> None:
        """Count steps, and show the progress if it is time."""
        self._steps += count
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + LOOK_UP_SECONDS
        done = len(self._returns)
        self._endless.look(done, self._steps, now)
        mean = sum(self._returns) / done if done else None
        self._console.evaluation(done, self._episodes, self._steps, mean)

    def ended(self, episode_return: float) -> None:
        """Count an episode."""
        self._returns.append(episode_return)


class EndlessEpisodes:
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


class Rate:
    """How fast something grows: a second, over the last one to two seconds.

    Args:
        now: time of the first count, in seconds.
        count: the first count.
    """

    def __init__(self, now: float, count: float) -> None:
        self._since = self._mark = (now, count)

    def measure(self, now: float, count: float) -> float:
        """The speed at a time, with the count at that time."""
        if now - self._mark[0] >= 1.0:
            self._since, self._mark = self._mark, (now, count)
        began, first = self._since
        return (count - first) / max(now - began, 1e-9)

    def skip(self, pause: float) -> None:
        """Leave out some seconds that have just passed."""
        self._since = (self._since[0] + pause, self._since[1])
        self._mark = (self._mark[0] + pause, self._mark[1])
