"""The newest checkpoint of a run that another process may be training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gym_loop.checkpoints.store import Checkpoint, CheckpointStore
from gym_loop.errors import CheckpointCorruptError, CheckpointMissingError

Facts = frozenset[tuple[str, int, int]]


class Follower:
    """Reads each new checkpoint once; nothing is written, and no lock is taken.

    Args:
        directory: of the run's checkpoints; it need not exist yet.
        warn: told once of every damaged checkpoint that is passed over.
    """

    def __init__(self, directory: Path, warn: Callable[[str], None]) -> None:
        self._warnings: list[str] = []  # of the reading under way
        self._store = CheckpointStore(directory, warn=self._warnings.append)
        self._warn = warn
        self._told: set[str] = set()
        self._facts: Facts = frozenset()  # when it was read last
        self._read: tuple[str, int, int] | None = None  # what was read then

    def newer(self) -> Checkpoint | None:
        """The newest checkpoint, if it has not been given before; None where there is none.

        Raises:
            CheckpointMismatchError: it was written by a newer version of gym-loop.
        """
        facts = self._look()
        if not facts or facts == self._facts:
            return None
        self._warnings.clear()
        try:
            found = self._store.newest()
        except (CheckpointMissingError, CheckpointCorruptError):
            found = None
        if self._look() != facts:
            return None  # one was put in another's place just now: the next look finds it
        self._facts = facts
        for text in self._warnings:
            if text not in self._told:
                self._told.add(text)
                self._warn(text)
        read = next((one for one in facts if found and one[0] == found.path.name), None)
        if read is None or read == self._read:
            return None
        self._read = read
        return found

    def _look(self) -> Facts:
        """Name, time and number of the files that tell the checkpoints apart."""
        facts = set()
        directory = self._store.directory
        for step in self._store.steps():
            path = self._store.path(step)
            facts.add(_fact(path.name, path / "state.json"))
        return frozenset({*facts, _fact("best", directory / "best.json")} if facts else facts)


def _fact(name: str, file: Path) -> tuple[str, int, int]:
    try:
        status = file.stat()
    except OSError:  # it went away in this moment
        return name, 0, 0
    return name, status.st_mtime_ns, status.st_ino
