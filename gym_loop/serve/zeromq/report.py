"""The report of a server: one JSON object with an entry an episode, valid at every moment."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from gym_loop.errors import ReportExistsError, UsageError
from gym_loop.wire.gymz import finite


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse to write over the report of an earlier run.

    Raises:
        ReportExistsError: the file exists, and is not to be overwritten.
    """
    if path.exists() and not overwrite:
        raise ReportExistsError(
            f"All.report_file: {path} exists; move it away, or set All.overwrite_files to true"
        )


class Report:
    """Notes every step, and writes the file at the end of an episode or every few steps.

    Finished episodes are never written again: each writing replaces the closing brace, so that
    its cost does not grow with the file.

    Args:
        path: the file, which is replaced; its directory is made.
        flush_interval: steps between two writings; None writes at the end of each episode.

    Raises:
        UsageError: it cannot be written.
    """

    def __init__(self, path: Path, flush_interval: int | None) -> None:
        self._flush_interval = flush_interval
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise UsageError(
                f"All.report_file: {path} cannot be written: {error.strerror}"
            ) from None
        self._file.write(b"{}")
        self._end = 1  # where the next finished episode goes: behind the opening brace
        self._episode = 0
        self._steps = 0
        self.begin()

    def begin(self) -> None:
        """Begin an episode, at its reset."""
        self._episode += 1
        self._rewards: list[float | None] = []
        self._observations: list[Any] = []
        self._start = time.monotonic()

    def add(self, observation: Any, reward: float | None) -> None:
        """Note one step."""
        self._observations.append(finite(np.asarray(observation).tolist()))
        self._rewards.append(finite(reward))
        self._steps += 1
        if self._flush_interval is not None and self._steps % self._flush_interval == 0:
            self._write()

    def finish(self) -> None:
        """Finish the episode's entry; it is in the file now, or at the next writing."""
        self._end = self._write()

    def close(self) -> None:
        """Write the episode under way as far as it has come, and close the file."""
        if not self._file.closed:
            if self._rewards:
                self._write()
            self._file.close()

    def _write(self) -> int:
        observations = json.dumps(self._observations)
        entry = (
            f'{", " if self._end > 1 else ""}"{self._episode}": {{'
            f'"reward": {json.dumps(self._rewards)}, '
            f'"obervation": {observations}, "observation": {observations}, '
            f'"duration": {time.monotonic() - self._start!r}}}'
        ).encode()
        # What was written of this episode before must not stick out behind.
        padding = os.fstat(self._file.fileno()).st_size - self._end - len(entry) - 1
        self._file.seek(self._end)
        self._file.write(entry + b" " * max(padding, 0) + b"}")
        return self._end + len(entry)
