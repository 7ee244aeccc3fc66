"""A file that only grows, and never keeps half of a write that failed."""

from __future__ import annotations

import os
from pathlib import Path


class AppendFile:
    """A file written at its end only, unbuffered.

    A write that fails (a full disk) leaves no part of itself behind, so that the same bytes
    can be written again later.

    Args:
        path: the file; created when missing, otherwise kept.
    """

    def __init__(self, path: Path) -> None:
        # Not "ab": there a write goes to the end, whatever a failed one has left there.
        path.touch()
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115 - held open, see close()
        self.size = self._file.seek(0, os.SEEK_END)

    def append(self, data: bytes) -> None:
        """Write all of ``data``, or raise OSError and leave the file as it was."""
        try:
            self._file.seek(self.size)
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self.truncate(self.size)
            raise
        self.size += len(data)

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        self._file.truncate(size)
        self.size = size

    def close(self) -> None:
        """Close the file; ``append`` must not be called again."""
        self._file.close()
