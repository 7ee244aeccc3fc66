"""Files that a command writes for the user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gym_loop.errors import UsageError


def write_new(files: Mapping[Path, str], *, force: bool = False) -> None:
    """Write text files, all or none.

    Raises:
        UsageError: one exists and ``force`` is off, or one cannot be written.
    """
    files = {path.expanduser(): text for path, text in files.items()}
    for path in files:
        if path.exists() and not force:
            raise UsageError(f"{path} exists; choose another name, or overwrite it with --force")
        if not path.parent.is_dir() or path.is_dir():
            raise UsageError(f"{path} cannot be written: {_obstacle(path)}")
    for path, text in files.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def _obstacle(path: Path) -> str:
    return "it is a directory" if path.is_dir() else f"there is no directory {path.parent}"
