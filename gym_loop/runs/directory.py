"""Run ids, the directories of a run, and the lock that keeps a run to one process."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from gym_loop.errors import RunError, RunLockedError
from gym_loop.runs.manifest import read_manifest, write_manifest
from gym_loop.schema.files import expanded, open_regular
from gym_loop.schema.suggestions import did_you_mean

try:
    import fcntl
except ImportError:  # no record locks on this system: runs are then not protected
    fcntl = None  # type: ignore[assignment]

MANIFEST = "manifest.json"
RUN_FILE = "run.yaml"
OWNED = ("logdir", "checkpoint_dir")  # what a run has a directory below as soon as it is made
_NAME = re.compile(r"[A-Za-z0-9][\w.+=-]*")
# Record locks do not exclude the process that holds them, so it remembers them itself.
_held: set[Path] = set()


class RunDirectory:
    """Where one run keeps its files: ``<parent>/<run id>/`` below each directory parameter.

    Args:
        run_id: such as ``run-3``.
        parents: directory parameters of the loop by name; ``logdir`` is required.
    """

    def __init__(self, run_id: str, parents: Mapping[str, Path]) -> None:
        self.run_id = run_id
        self.parents = dict(parents)
        self._lock: IO[bytes] | None = None
        self._order: int | None = None  # of a new run: higher than those of all that are there
        self._noting = threading.Lock()  # facts of the machine are noted by a thread

    @classmethod
    def create(
        cls, stem: str, parents: Mapping[str, Path], *, name: str | None = None
    ) -> RunDirectory:
        """Take a new run id, ``<stem>-<n>``, or exactly ``name``, and lock it.

        The id is taken by making the directories: two runs that start together get two ids.

        Raises:
            RunError: the name is taken or cannot be a directory's, or nothing can be written here.
        """
        if name is not None and not _NAME.fullmatch(name):
            raise RunError(
                f"--name {name!r}: a run's name is made of letters, digits and . _ + = -,"
                " and starts with a letter or a digit"
            )
        refuse_obstacles(parents.values(), "choose another directory in the run file")
        owned = [parents[key] for key in OWNED if key in parents]
        for parent in owned:
            try:
                parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunError(f"the directory {parent} cannot be made: {error.strerror}") from None
        while True:
            run_id = name or f"{stem}-{_next_number(stem, parents.values())}"
            taken = _take(run_id, list(dict.fromkeys(path.resolve() for path in owned)))
            if taken:
                run = cls(run_id, parents)
                run.lock()
                facts = _manifests(parents["logdir"]).values()
                run._order = 1 + max((one.get("order", 0) for one in facts), default=0)
                return run
            if name is not None:
                raise RunError(
                    f"there is a run {name} already; choose another --name, or continue it with"
                    f" --resume {name}"
                )

    @classmethod
    def open(cls, run_id: str, parents: Mapping[str, Path]) -> RunDirectory:
        """The directories of an existing run.

        Raises:
            RunError: there is no such run; the message names the nearest.
        """
        run = cls(run_id, parents)
        if run_id in ("", "..") or run_id != Path(run_id).name or not run.logs.is_dir():
            known = run_ids(parents["logdir"])
            hint = did_you_mean(run_id, known) or (
                f"; the newest is {known[-1]}" if known else "; there are no runs there"
            )
            raise RunError(f"there is no run {run_id} in {parents['logdir']}{hint}")
        return run

    @property
    def logs(self) -> Path:
        """The directory of logs, manifest and resolved run file."""
        return self.path("logdir")

    def path(self, parameter: str) -> Path:
        """The run's own directory below the one that a parameter names (not made yet)."""
        return self.parents[parameter] / self.run_id

    def lock(self) -> None:
        """Claim the run for this process until `unlock`, or until the process dies.

        Raises:
            RunLockedError: another process, or this one, is working on it.
            RunError: its files may not be written.
        """
        path = self.logs.resolve() / "lock"
        handle = None
        for patience in (0.05, 0.1, 0.0):  # whoever lists the runs holds it for a moment
            if path not in _held and (handle := _try_lock(path)) is not None:
                break
            time.sleep(patience)
        if handle is None:
            raise RunLockedError(
                f"run {self.run_id} is in use by another process"
                f" ({self.logs}); wait for it or stop it first"
            )
        _held.add(path)
        self._lock = handle

    def unlock(self) -> None:
        """Give the run free."""
        if self._lock is not None:
            _held.discard(Path(self._lock.name))
            self._lock.close()
            self._lock = None

    def discard(self) -> None:
        """Take away what `create` made: the run was refused before it began."""
        self.unlock()
        for key in OWNED:
            if key in self.parents:
                shutil.rmtree(self.path(key), ignore_errors=True)

    def manifest(self) -> dict[str, Any]:
        """What ``manifest.json`` says; empty if there is none that can be read."""
        return read_manifest(self.logs / MANIFEST)

    def note(self, **entries: Any) -> None:
        """Update entries of ``manifest.json``."""
        with self._noting:
            order = {} if self._order is None else {"order": self._order}
            write_manifest(self.logs / MANIFEST, {**self.manifest(), **entries, **order})


def is_running(logs: Path) -> bool:
    """Whether a living process holds the run whose log directory this is."""
    path = logs.resolve() / "lock"
    if path in _held:
        return True
    try:
        # To ask, reading is enough: the run may be somebody else's.
        with open(path, "rb", opener=open_regular) as handle:
            return not _claim(handle, shared=True)
    except OSError:
        return False


def status_of(logs: Path, facts: Mapping[str, Any]) -> str:
    """What a run's manifest says became of it; ``killed`` if it claims to run and does not."""
    if is_running(logs):
        return "running"
    status: str = facts.get("status", "")
    return "killed" if status == "running" else status


def refuse_obstacles(directories: Iterable[Path], remedy: str) -> None:
    """Find out beforehand that files cannot be written.

    Raises:
        RunError: one of the directories can't be written, or made; with the remedy.
    """
    for directory in directories:
        if obstacle := obstacle_to(directory):
            raise RunError(f"{obstacle}; {remedy}")


def obstacle_to(directory: Path) -> str:
    """Why a directory can't be written, or made; ``""`` if it can. Nothing is made."""
    place = directory
    # Not Path.exists, which raises where a name is too long or a directory may not be entered.
    while not os.path.exists(place) and place != place.parent:
        place = place.parent
    if os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK):
        return ""
    reason = "may not be written" if os.path.isdir(place) else "is no directory"
    return f"the directory {directory} cannot be written: {place.absolute()} {reason}"


def run_ids(logdir: Path) -> list[str]:
    """Ids of the runs below a log directory, in the order in which they were begun there.

    Each counts from those that were there before, for a clock may be wrong; the time decides
    between runs of other directories, which were counted there.
    """
    found = _manifests(logdir)
    keys = {
        name: (facts.get("order", 0), facts.get("started", ""), name)
        for name, facts in found.items()
    }
    return sorted(found, key=keys.__getitem__)


def _manifests(logdir: Path) -> dict[str, dict[str, Any]]:
    places = [entry for entry in _entries(logdir) if os.path.lexists(entry / MANIFEST)]
    return {entry.name: read_manifest(entry / MANIFEST) for entry in places}


def _entries(directory: Path) -> list[Path]:
    try:
        return [entry for entry in directory.iterdir() if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _next_number(stem: str, parents: Any) -> int:
    names = [entry.name for parent in set(parents) for entry in _entries(parent)]
    matches = [re.fullmatch(rf"{re.escape(stem)}-(\d+)", name) for name in names]
    return 1 + max((int(found[1]) for found in matches if found), default=0)


def _take(run_id: str, parents: list[Path]) -> bool:
    """Make the run's directories; False, and nothing made, if another run was faster."""
    made: list[Path] = []
    for parent in parents:
        path = parent / run_id
        try:
            path.mkdir()
        except OSError as error:
            for one in made:
                one.rmdir()
            if isinstance(error, FileExistsError):
                return False
            raise RunError(f"the directory {path} cannot be made: {error.strerror}") from None
        made.append(path)
    return True


def _try_lock(path: Path) -> IO[bytes] | None:
    # A record lock, because worker processes inherit the other kind and would outlive us with it.
    try:
        handle = open(path, "ab", opener=open_regular)  # noqa: SIM115 - open as long as it is ours
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from None
    if _claim(handle):
        return handle
    handle.close()
    return None


def _claim(handle: IO[bytes], *, shared: bool = False) -> bool:
    """Lock an open file, unless another process has locked it."""
    if fcntl is not None:
        try:
            fcntl.lockf(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def directories(parameters: Mapping[str, Any]) -> dict[str, Path]:
    """The directory parameters of a loop, as paths.

    A loop that names none for logs and checkpoints has ``logs`` and ``checkpoints``; one whose
    ``checkpoint_dir`` is null keeps no checkpoints, and has no such entry.
    """
    defaults = {"logdir": "logs", "checkpoint_dir": "checkpoints"}
    return {
        name: expanded(value)
        for name, value in {**defaults, **parameters}.items()
        if name.endswith("dir") and isinstance(value, str)
    }
