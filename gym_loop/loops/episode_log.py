"""The episodes of a training in its logs: rows of one episode, or of several with many copies."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gym_loop.checkpoints.tree import saved_count
from gym_loop.errors import ContractError
from gym_loop.loops.progress import Progress
from gym_loop.runs.metrics import as_number
from gym_loop.runs.training_run import TrainingRun

RETURNS_SHOWN = 100
# With many copies at once, episodes that end within so many vector steps share a row of the
# logs, their means: a row costs 12 us, a third of a step of eight copies of CartPole.
VECTOR_STEPS_PER_ROW = 64


class EpisodeLog:
    """Writes episodes, the agent's metrics and the speed to the run's logs.

    Args:
        run: has the loggers.
        agent: its ``metrics`` are in each row.
        progress: knows the speed.
        copies: of a vector environment, whose episodes share rows; None: each has its own.
    """

    def __init__(
        self, run: TrainingRun, agent: Any, progress: Progress, copies: int | None = None
    ) -> None:
        self._run, self._agent, self._progress = run, agent, progress
        self._row_steps = None if copies is None else VECTOR_STEPS_PER_ROW * copies
        self._last_returns: deque[float] = deque(maxlen=RETURNS_SHOWN)
        # The row under way, where episodes share one.
        self._due = 0  # the first episode that ends at this step or later completes the row
        self._step = 0  # environment steps when the last of its episodes ended
        self._episode = 0  # episodes by then
        self._returns: list[float] = []
        self._length = 0  # of all its episodes together, in steps
        self._noted = 0  # of its returns, in `last_returns`

    @property
    def last_returns(self) -> deque[float]:
        """The returns of the last 100 episodes, the latest last."""
        self._note_returns()
        return self._last_returns

    def _note_returns(self) -> None:
        self._last_returns.extend(self._returns[self._noted :])
        self._noted = len(self._returns)

    def add(self, steps: int, episode: int, returns: Sequence[float], length: int) -> None:
        """Take in the episodes that ended in one step, in their order.

        Args:
            steps: environment steps so far.
            episode: episodes so far, these included.
            returns: one an episode.
            length: of all of them together, in steps.
        """
        if self._row_steps is None:
            self._last_returns.extend(returns)
            row = {"train/episode_return": returns[-1], "train/episode_length": length}
            self._write(steps, episode, row)
            return
        self._step, self._episode = steps, episode
        self._returns += returns
        self._length += length
        if steps >= self._due:
            self.write_row()

    def write_row(self) -> None:
        """Write the episodes of the row under way, if there are any, and begin the next row."""
        if self._row_steps is None or not self._returns:
            return
        count = len(self._returns)
        means = {
            "train/episode_return": sum(self._returns) / count,
            "train/episode_length": self._length / count,
            "train/episodes": count,
        }
        self._note_returns()
        self._write(self._step, self._episode, means)
        self._due = self._step + self._row_steps
        self._returns, self._length, self._noted = [], 0, 0

    def _write(self, step: int, episode: int, scalars: dict[str, float]) -> None:
        scalars["train/steps_per_second"] = self._progress.steps_per_second
        if metrics := self._agent.metrics(episode):  # None is easily returned
            self._add_metrics(metrics, scalars)
        if self._run.stopwatch is not None:
            scalars.update(self._run.stopwatch.lap())
        self._run.log(step, scalars)

    def _add_metrics(self, metrics: Any, scalars: dict[str, float]) -> None:
        name = type(self._agent).__name__
        if not isinstance(metrics, Mapping):
            raise ContractError(
                f"metrics() of {name} must return numbers by name, in a dictionary, not {metrics!r}"
            )
        for key, value in metrics.items():
            if not isinstance(key, str):
                raise ContractError(
                    f"metrics() of {name} must return numbers by name, and the name {key!r} is no"
                    " text"
                )
            scalars["agent/" + key] = value
        updates = as_number(metrics.get("updates"))
        if updates is not None:
            speed = self._progress.updates_per_second(updates)
            if speed is not None:
                scalars["train/updates_per_second"] = speed

    def state_dict(self) -> dict[str, Any]:
        """The returns shown, and a row half full."""
        return {
            "last_returns": list(self.last_returns),
            "due": self._due,
            "step": self._step,
            "episode": self._episode,
            "returns": np.array(self._returns, float),
            "length": self._length,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self._last_returns.clear()
        self._last_returns.extend(float(value) for value in state["last_returns"])
        self._due, self._step, self._episode, self._length = (
            saved_count(state, name) for name in ("due", "step", "episode", "length")
        )
        self._returns = state["returns"].astype(float, casting="safe").reshape(-1).tolist()
        self._noted = len(self._returns)
