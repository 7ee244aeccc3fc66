"""The two files of one checkpoint: written so that they last, read so that nothing is trusted."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gym_loop.checkpoints import array_file, tree_file
from gym_loop.errors import (
    CheckpointCorruptError,
    CheckpointMismatchError,
    CheckpointMissingError,
    GymLoopError,
    StateError,
)
from gym_loop.schema.files import read_regular

FORMAT = 1
SMALL = 1 << 20  # bytes of arrays that one write call takes together
LARGEST_STATE = 1 << 30  # bytes of state.json, which is read at once
STATE, ARRAYS = "state.json", "arrays.safetensors"
_CHECKSUM = '"checksum": '


@dataclass(frozen=True)
class Checkpoint:
    """What was read back.

    Args:
        path: directory of the checkpoint.
        step: environment steps when it was made.
        tree: the state, as plain data.
        info: what it was made with.
    """

    path: Path
    step: int
    tree: dict[str, Any]
    info: dict[str, Any]

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Put something of it back inside; what does not fit is one sentence.

        Raises:
            StateError: whatever was raised inside, with its place.
        """
        try:
            yield
        except GymLoopError:
            raise
        except (
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            ArithmeticError,
            RuntimeError,
            AssertionError,
        ) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise StateError(
                f"{self.path} is damaged, or does not fit: {type(error).__name__}: {error}"
                f" ({Path(last.filename).name}, line {last.lineno}); take another checkpoint"
            ) from error


def write_files(directory: Path, text: str, arrays: tree_file.Arrays) -> None:
    """Write both files of a checkpoint and wait until the disk has them.

    Args:
        directory: an empty directory.
        text: the state as `state_text` gives it.
        arrays: the arrays by name.

    Raises:
        OSError: the disk is full, or refuses.
    """
    with (directory / ARRAYS).open("wb", buffering=0) as file:
        if array_file.total_bytes(arrays) <= SMALL:
            data = array_file.as_bytes(arrays)
            _write_all(file, data)
            size, crc = len(data), array_file.checksum(data)
        else:
            size, crc = array_file.write_arrays(file, arrays)
    facts = json.dumps({"bytes": size, "crc32": crc})
    body = f'{text},\n  "{ARRAYS}": {facts},\n  '.encode()
    with (directory / STATE).open("wb", buffering=0) as file:
        _write_all(file, body + _closing(body))
    for path in (directory / ARRAYS, directory / STATE, directory):
        flush(path)


def state_text(step: int, tree: Any, info: Any) -> str:
    """What `state.json` begins with; how the arrays turned out, and a checksum, follow."""
    text = tree_file.dump({"format": FORMAT, "step": step, "info": info, "tree": tree})
    return text.removesuffix("\n}")


def _closing(body: bytes) -> bytes:
    return f'{_CHECKSUM}"{array_file.checksum(body)}"\n}}\n'.encode()


def write_durably(path: Path, data: bytes) -> None:
    """Write a small file and wait until the disk has it."""
    with path.open("wb", buffering=0) as file:
        _write_all(file, data)
    flush(path)


def _write_all(file: Any, data: bytes) -> None:
    view = memoryview(data)
    while len(view):
        view = view[file.write(view) :]


def flush(path: Path) -> None:
    """Wait until the disk has a file, or what a directory lists."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint and check every byte of it.

    Args:
        path: its directory.

    Raises:
        CheckpointMissingError: there is no such directory.
        CheckpointCorruptError: it is truncated or altered.
        CheckpointMismatchError: it was written by a newer version of gym-loop.
    """
    path = Path(path)
    if path.name == STATE:
        path = path.parent
    if not os.path.isdir(path):
        raise CheckpointMissingError(
            f"{path}: there is no such checkpoint; give latest, best, or a step-... directory"
        )
    place: Path = path / STATE
    try:
        document = _read_state(place)
        if document["format"] != FORMAT:
            raise CheckpointMismatchError(
                f"{place} has the format {document['format']}, this version of gym-loop reads "
                f"{FORMAT}; use the version that wrote it"
            )
        facts = document[ARRAYS]
        place = path / ARRAYS
        arrays = array_file.read_arrays(place, facts["bytes"], facts["crc32"])
        place = path / STATE
        step = document["step"]
        info, tree = (tree_file.decode(document[key], arrays) for key in ("info", "tree"))
        if type(step) is not int or type(info) is not dict or type(tree) is not dict:
            raise ValueError("does not hold a step, its information and a state")
    except FileNotFoundError as error:
        raise CheckpointCorruptError(f"{place} is missing: the checkpoint is useless") from error
    except OSError as error:
        raise CheckpointCorruptError(f"{place} cannot be read ({error.strerror})") from error
    except (ValueError, LookupError, TypeError) as error:
        raise CheckpointCorruptError(f"{place} {error}; take another checkpoint") from error
    return Checkpoint(path, step, tree, info)


def _read_state(path: Path) -> Any:
    data = read_regular(path, LARGEST_STATE, follow=True)
    end = data.rfind(b"\n  " + _CHECKSUM.encode()) + 3
    if end < 3:
        raise ValueError("was truncated: its checksum is not there")
    if data[end:] != _closing(data[:end]):
        raise ValueError("was altered: its checksum is wrong")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no valid JSON: {error}") from error
