"""A file that only grows, and never keeps half of a write that failed."""

from __future__ import annotations

import os
from pathlib import Path

from gym_loop.schema.files import open_regular

END = 16  # bytes by which a file is known again; a record of events has as many at least


class AppendFile:
    """A file written at its end only, unbuffered.

    A write that fails (a full disk) leaves no part of itself behind, so that the same bytes
    can be written again later.

    Args:
        path: the file; created when missing, otherwise kept.

    Raises:
        OSError: it cannot be written, or it is a link or no regular file.
    """

    def __init__(self, path: Path) -> None:
        # Not "ab": there a write goes to the end, whatever a failed one has left there.
        self._file = os.fdopen(open_regular(path, os.O_RDWR | os.O_CREAT), "r+b", buffering=0)
        self.size = self._file.seek(0, os.SEEK_END)
        self.end = self.before(self.size)

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
        self.end = data[-END:] or self.end

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        self._file.truncate(size)
        self.size, self.end = size, self.before(size)

    def before(self, position: int) -> bytes:
        """The ``END`` bytes right before a position, or as many as there are."""
        start = max(0, position - END)
        self._file.seek(start)
        return self._file.read(position - start)

    def close(self) -> None:
        """Close the file; ``append`` must not be called again."""
        self._file.close()
