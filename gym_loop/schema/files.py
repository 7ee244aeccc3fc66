"""Files that a command writes for the user, and files whose content nobody vouches for."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from gym_loop.errors import UsageError


def expanded(path: str | Path) -> Path:
    """The path with the home directory in the place of ``~`` or ``~user``.

    Raises:
        UsageError: there is no such home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{path}: this home directory is not known; write the path without ~, or set HOME"
        ) from None


def write_new(files: Mapping[Path, str], *, force: bool = False) -> None:
    """Write text files, all or none.

    Raises:
        UsageError: one exists and ``force`` is off, or one cannot be written.
    """
    files = {expanded(path): text for path, text in files.items()}
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


def replace_file(path: Path, text: str) -> None:
    """Write a text file in one step: a reader sees the old one or the new one.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _obstacle(path: Path) -> str:
    return "it is a directory" if path.is_dir() else f"there is no directory {path.parent}"


def open_regular(path: Path | str, flags: int = os.O_RDONLY, *, follow: bool = False) -> int:
    """Open a regular file, also as the ``opener`` of `open`; no FIFO, no device, no link.

    Args:
        path: the file.
        flags: as of `os.open`.
        follow: open what a link leads to.

    Returns:
        The descriptor.

    Raises:
        OSError: it is no regular file, or cannot be opened.
    """
    if not follow:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    # Without O_NONBLOCK, opening a FIFO waits for whoever comes to its other end.
    extra = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags | extra, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def read_regular(path: Path | str, most: int, *, follow: bool = False) -> bytes:
    """The content of a regular file of at most ``most`` bytes.

    Args:
        path: the file.
        most: bytes that are read; a longer file is refused before any of it is.
        follow: read what a link leads to.

    Raises:
        OSError: it is no regular file, too long, or cannot be read.
    """
    with os.fdopen(open_regular(path, follow=follow), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, {most:,} are allowed", str(path))
        return file.read(most)
