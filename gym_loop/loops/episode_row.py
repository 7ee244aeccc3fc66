"""The episodes that share a row of the logs."""

from __future__ import annotations

from typing import Any

import numpy as np

from gym_loop.checkpoints.tree.entries import saved_count


class EpisodeRow:
    """Episodes that end shortly after one another; what they have in common is logged."""

    def __init__(self) -> None:
        self.step = 0  # environment steps when the last of them ended
        self.due = 0  # the first episode that ends at this step or later completes the row
        self.returns: list[float] = []
        self.length = 0  # of all of them together
        self._shown = 0  # of the returns

    def add(self, step: int, returns: list[float], length: int) -> None:
        """Take in the episodes that ended in one step."""
        self.step = step
        self.returns += returns
        self.length += length

    def latest(self, most: int) -> list[float]:
        """The last returns, at most so many, of those that came in since the last call."""
        latest = self.returns[max(self._shown, len(self.returns) - most) :]
        self._shown = len(self.returns)
        return latest

    def begin(self, due: int) -> None:
        """Begin the next row."""
        self.due = due
        self.returns, self.length, self._shown = [], 0, 0

    def scalars(self) -> dict[str, float]:
        """What is logged: means, and how many episodes there are."""
        count = len(self.returns)
        return {
            "train/episode_return": sum(self.returns) / count,
            "train/episode_length": self.length / count,
            "train/episodes": count,
        }

    def state_dict(self) -> dict[str, Any]:
        """A row half full; after `latest`."""
        returns = np.array(self.returns, float)
        return {"step": self.step, "due": self.due, "returns": returns, "length": self.length}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put it back."""
        self.step, self.due, self.length = (
            saved_count(state, name) for name in ("step", "due", "length")
        )
        self.returns = state["returns"].astype(float, casting="safe").reshape(-1).tolist()
        self._shown = len(self.returns)
