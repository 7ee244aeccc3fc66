"""The slow facts of a manifest: versions, hardware, commit, looked up beside the training."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from gym_loop.runs import manifest
from gym_loop.runs.directory import RunDirectory

WAIT = 0.5  # seconds before they are looked up


class Surroundings:
    """Notes where a run takes place, in a thread of its own.

    Args:
        directory: of the run.
        place: a directory; the git commit around it is noted.
        warn: told that the kernels of matrix products are other ones than before.
    """

    def __init__(self, directory: RunDirectory, place: Path, warn: Callable[[str], None]) -> None:
        self._directory, self._place, self._warn = directory, place, warn
        self._noted = False
        self._timer = threading.Timer(WAIT, self._note)
        self._timer.daemon = True

    def start(self) -> None:
        """Look them up in a moment."""
        self._timer.start()

    def finish(self) -> None:
        """Wait for them, or look them up now if the run was over before."""
        self._timer.cancel()
        self._timer.join()
        if not self._noted:
            self._note()

    def _note(self) -> None:
        hardware, self._noted = manifest.hardware(), True
        now = hardware["matrix_products"]
        before = (self._directory.manifest().get("hardware") or {}).get("matrix_products", now)
        if before != now:
            self._warn(
                f"matrix products are computed by {now} now, by {before} before: results will be"
                " close to, but not exactly, what they would have been (the processor, or"
                " OPENBLAS_CORETYPE, is another one)"
            )
        git = manifest.git_state(self._place)
        try:
            self._directory.note(versions=manifest.versions(), hardware=hardware, git=git)
        except OSError:
            pass  # the directory has gone, or the disk is full: the run itself will say so
