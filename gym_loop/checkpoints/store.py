"""Checkpoints: complete or invisible, checked when read, data and never code.

A checkpoint is a directory, ``step-000012000``, with ``state.json`` and
``arrays.safetensors``. It is written under another name, flushed to the disk, and renamed
when it is complete; whatever happens in between leaves those before it as they were.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gym_loop.checkpoints import files
from gym_loop.errors import (
    CheckpointCorruptError,
    CheckpointMismatchError,
    CheckpointMissingError,
    GymLoopError,
    StateError,
)
from gym_loop.schema.files import expanded, read_regular
from gym_loop.wire.values import DAMAGE

_NAME = re.compile(r"step-(\d{9,})")
_SAVING, _REPLACED, _BEST = ".saving-", ".replaced-", "best.json"


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=3)


def _remove(path: Path, *, ignore_errors: bool = False) -> None:
    """Remove a checkpoint, or whatever else has its name: a file, a link, a FIFO."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        if not ignore_errors:
            raise


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
        except DAMAGE as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise StateError(
                f"{self.path} is damaged, or does not fit: {type(error).__name__}: {error}"
                f" ({Path(last.filename).name}, line {last.lineno}); take another checkpoint"
            ) from error


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
    if path.name == files.STATE:
        path = path.parent
    if not os.path.isdir(path):
        raise CheckpointMissingError(
            f"{path}: there is no such checkpoint; give latest, best, or a step-... directory"
        )
    place: Path = path / files.STATE
    try:
        document = files.read_state(place)
        if document["format"] != files.FORMAT:
            raise CheckpointMismatchError(
                f"{place} has the format {document['format']}, this version of gym-loop reads "
                f"{files.FORMAT}; use the version that wrote it"
            )
        facts = document[files.ARRAYS]
        place = path / files.ARRAYS
        arrays = files.read_arrays(place, facts["bytes"], facts["crc32"])
        place = path / files.STATE
        step = document["step"]
        info, tree = (files.decode(document[key], arrays) for key in ("info", "tree"))
        if type(step) is not int or type(info) is not dict or type(tree) is not dict:
            raise ValueError("does not hold a step, its information and a state")
    except FileNotFoundError as error:
        raise CheckpointCorruptError(f"{place} is missing: the checkpoint is useless") from error
    except OSError as error:
        raise CheckpointCorruptError(f"{place} cannot be read ({error.strerror})") from error
    except (ValueError, LookupError, TypeError) as error:
        raise CheckpointCorruptError(f"{place} {error}; take another checkpoint") from error
    return Checkpoint(path, step, tree, info)


class CheckpointStore:
    """The checkpoints of one run.

    Only one store at a time may save to a directory (the run's lock sees to that); any
    number may read.

    Args:
        directory: where the checkpoints are; made when the first one is saved.
        keep: how many of the last ones to keep, at least 1; the best one is kept besides.
        warn: told what went wrong where that is no reason to stop: a full disk, a damaged
            checkpoint that was passed over. Default: Python's warnings.
    """

    def __init__(self, directory: Path, keep: int = 3, warn: Callable[[str], None] = _warn) -> None:
        self.directory = Path(directory)
        self.keep = max(1, keep)
        self._warn = warn
        self._swept = False

    # -- writing -------------------------------------------------------------------------------

    def save(
        self,
        step: int,
        tree: dict[str, Any],
        info: dict[str, Any],
        *,
        best: bool = False,
    ) -> bool:
        """Write a checkpoint; a disk that is full or gone costs a warning, not the training.

        It is on the disk when this returns. A thread would not be cheaper: measured beside a
        training in Python, it costs the training more than the writing itself, because the two
        take the interpreter from each other at every system call.

        Args:
            step: environment steps so far.
            tree: the state, as ``gym_loop.checkpoints.tree.capture`` gives it; not changed. Large
                arrays are streamed, without a second copy.
            info: plain data about what it was made with.
            best: keep it as the best one.

        Returns:
            Whether it was written.

        Raises:
            StateError: the tree holds something that is no plain data.
        """
        document, arrays = files.encode(tree)
        text = files.state_text(step, document, files.encode_plain(info))
        name = f"step-{step:09d}"
        temporary = self.directory / f"{_SAVING}{name}"
        try:
            self._sweep()
            _remove(temporary)
            temporary.mkdir()
            files.write_files(temporary, text, arrays)
            self._publish(temporary, self.directory / name)
            self._note_best(step, best)
            self._prune(step)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            self._warn(
                f"the checkpoint of step {step:,} could not be written to {self.directory} "
                f"({error.strerror or error}); the training goes on and the earlier checkpoints "
                "are intact, but make room there, or this one's progress may be lost"
            )
            return False
        return True

    def _sweep(self) -> None:
        """Put away what a killed run left behind, once."""
        if self._swept:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in self.directory.iterdir():
            if path.name.startswith(_SAVING):
                _remove(path)
            elif path.name == f".{_BEST}":
                path.unlink()
            elif path.name.startswith(_REPLACED):
                final = self.directory / path.name.removeprefix(_REPLACED)
                if os.path.lexists(final):
                    _remove(path)
                else:  # killed between the two renames of _publish
                    os.rename(path, final)
        self._swept = True

    def _publish(self, temporary: Path, final: Path) -> None:
        """Give the complete checkpoint its name; one of the same step makes way."""
        replaced = self.directory / f"{_REPLACED}{final.name}"
        if os.path.lexists(final):
            os.rename(final, replaced)
        try:
            os.rename(temporary, final)
        except OSError:
            if os.path.lexists(replaced):
                os.rename(replaced, final)
            raise
        files.flush(self.directory)
        _remove(replaced)

    def _note_best(self, step: int, best: bool) -> None:
        """Note which one is the best, and whether the run has gone back to before it."""
        noted = self._read_best()
        if not best and noted is None:
            return
        best_step = step if best or noted is None else noted["step"]
        new = {"step": best_step, "ahead": best_step > step}
        if new != noted:
            temporary = self.directory / f".{_BEST}"
            files.write_durably(temporary, (json.dumps(new) + "\n").encode())
            os.replace(temporary, self.directory / _BEST)
            files.flush(self.directory)

    def _prune(self, step: int) -> None:
        """Delete all but the last ones and the best one.

        What is ahead of the step just saved is a future that the run left by resuming from an
        earlier checkpoint.
        """
        noted = self._read_best()
        steps = self.steps()
        last = [each for each in steps if each <= step][-self.keep :]
        for each in steps:
            if each not in last and (noted is None or each != noted["step"]):
                _remove(self.path(each), ignore_errors=True)

    # -- reading -------------------------------------------------------------------------------

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, in ascending order."""
        try:
            names = [path.name.removeprefix(_REPLACED) for path in self.directory.iterdir()]
        except OSError:
            return []
        return sorted({int(match[1]) for match in map(_NAME.fullmatch, names) if match})

    def newest(self) -> Checkpoint:
        """The last checkpoint that is not damaged; those passed over are warned about.

        Raises:
            CheckpointMissingError: there is none.
        """
        noted = self._read_best()
        steps = self.steps()[::-1]
        if noted is not None and noted["ahead"] and noted["step"] in steps:
            steps.remove(noted["step"])  # the run has gone back to before it
            steps.append(noted["step"])
        for step in steps:
            try:
                return read_checkpoint(self.path(step))
            except (CheckpointCorruptError, CheckpointMissingError) as error:
                self._warn(f"{error}; it is passed over for the one before")
        what = self.obstacle() or "there is none"
        if steps:
            what = f"all {len(steps)} of them are damaged"
        raise CheckpointMissingError(
            f"no checkpoint to load in {self.directory}: {what}; train first, or give another run"
        )

    def obstacle(self) -> str:
        """Why the directory cannot be read; ``""`` if it can."""
        try:
            os.listdir(self.directory)
        except FileNotFoundError:
            return "there is no such directory"
        except OSError as error:
            return f"it cannot be read ({error.strerror})"
        return ""

    def best(self) -> Checkpoint:
        """The checkpoint that was saved as the best one.

        Raises:
            CheckpointMissingError: none was.
            CheckpointCorruptError: it is damaged.
        """
        noted = self._read_best()
        if noted is None:
            raise CheckpointMissingError(
                f"no checkpoint in {self.directory} was kept as the best one; set "
                "loop.parameters.episodes_per_eval, or ask for the latest"
            )
        return read_checkpoint(self.path(noted["step"]))

    def find(self, which: str | Path) -> Checkpoint:
        """A checkpoint by its name.

        Args:
            which: ``latest``, ``best``, or the path of a checkpoint's directory.

        Raises:
            CheckpointMissingError: there is no such checkpoint.
            CheckpointCorruptError: it is damaged.
        """
        if str(which) == "latest":
            return self.newest()
        if str(which) == "best":
            return self.best()
        return read_checkpoint(expanded(which))

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is."""
        path = self.directory / f"step-{step:09d}"
        replaced = self.directory / f"{_REPLACED}{path.name}"
        return replaced if os.path.lexists(replaced) and not os.path.lexists(path) else path

    def _read_best(self) -> dict[str, Any] | None:
        try:
            noted = json.loads(read_regular(self.directory / _BEST, 1000))
        except (OSError, ValueError, RecursionError):
            return None
        fits = type(noted) is dict and type(noted.get("step")) is int
        return {"step": noted["step"], "ahead": noted.get("ahead") is True} if fits else None
