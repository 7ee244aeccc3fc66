"""``logs/<run>/code``: a copy of every file of the user that a run has loaded."""

from __future__ import annotations

import difflib
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from gym_loop.errors import RunError
from gym_loop.runs.directory import MANIFEST, RunDirectory
from gym_loop.runs.manifest import read_manifest
from gym_loop.runs.origin import moved
from gym_loop.schema.class_strings import original_of
from gym_loop.schema.files import read_regular
from gym_loop.schema.own_files import Copies, Copy, Source

CODE = "code"
_NEIGHBOURS = 20  # the newest runs beside this one, whose copies may be the same
_UP = "_"  # stands for a directory above that of the run file


def keep(directory: RunDirectory, sources: Iterable[Source], root: Path) -> None:
    """Copy files into the run's directory, and note their hashes; what is there already is left.

    Args:
        directory: of the run, locked.
        sources: as they were imported.
        root: directory of the run file, which names of copies are relative to.

    Raises:
        OSError: a copy cannot be written.
    """
    noted: dict[str, Any] = dict(_noted(directory.manifest()))
    before = dict(noted)
    for source in sources:
        file, data = file_of(source, root), source.data
        entry = noted.get(file, {})
        modules = {*entry.get("modules", ()), *([source.module] if source.module else ())}
        noted[file] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "modules": sorted(modules),
            "path": str(original_of(source.path)),
        }
        place = directory.logs / CODE / file
        if entry.get("sha256") != noted[file]["sha256"] or not place.is_file():
            _write(place, data, directory.logs)
    if noted != before:
        directory.note(code=noted)


def set_aside(directory: RunDirectory, step: int) -> None:
    """Keep the copies of before beside those to come: the run goes on with other files.

    Args:
        directory: of the run, locked.
        step: that the run has come to with them.
    """
    place = directory.logs / f"{CODE}-until-step-{step}"
    code = directory.logs / CODE
    if code.is_dir() and not place.exists():
        code.rename(place)
    directory.note(code={})


def earlier(logs: Path) -> list[str]:
    """Directories of the copies that a run was trained with before it went on with others."""
    return sorted(path.name for path in logs.glob(f"{CODE}-until-step-*"))


def file_of(source: Source, root: Path) -> str:
    """The name of a file's copy: its way from the directory of the run file."""
    path = original_of(source.path)
    try:
        parts = Path(os.path.relpath(path, root.resolve())).parts
    except ValueError:  # on another drive
        parts = path.parts[1:]
    return PurePosixPath(*(_UP if part == ".." else part for part in parts)).as_posix()


def changed(facts: Mapping[str, Any], sources: Iterable[Source], root: Path) -> list[str]:
    """Names of files that are not what a run kept; none if it has kept nothing.

    Args:
        facts: the run's manifest.
        sources: as they were imported now.
        root: directory of the run file.
    """
    noted = _noted(facts)
    known = {entry.get("sha256") for entry in noted.values()}
    found = set()
    for source in sources if noted else ():
        file, now = file_of(source, root), hashlib.sha256(source.data).hexdigest()
        # The same file may have another name from here: a config without a file has no directory.
        if now != noted[file].get("sha256") if file in noted else now not in known:
            found.add(file)
    return sorted(found)


def read_copies(logs: Path) -> Copies | None:
    """The copies that a run has kept; None if it has kept none.

    Raises:
        RunError: one is missing, or is not what the run kept.
    """
    facts = read_manifest(logs / MANIFEST)
    files = {file: _read(logs, file, entry) for file, entry in _noted(facts).items()}
    if not files:
        return None
    places = {one.path: moved(facts, one.path, logs) for one in files.values()}
    return Copies(logs, (logs / CODE).resolve(), files, places)


def difference(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Where the code of two runs differs: a unified diff of each file that does.

    Args:
        first: texts by the name of the file, from `texts`.
        second: likewise.
    """
    found = {}
    for file in sorted({*first, *second}):
        before, after = first.get(file), second.get(file)
        if before != after:
            lines = difflib.unified_diff(
                (before or "").splitlines(),
                (after or "").splitlines(),
                f"A/{file}" if before is not None else "absent",
                f"B/{file}" if after is not None else "absent",
                lineterm="",
            )
            found[file] = "\n".join(map(_shown, lines))
    return found


def _shown(line: str) -> str:
    """Without what a terminal would take for an order."""
    return "".join(
        sign if sign.isprintable() or sign == "\t" else "\N{REPLACEMENT CHARACTER}" for sign in line
    )


def texts(logs: Path) -> dict[str, str]:
    """What a run's copies hold, by the names of the files; what can't be read is left out."""
    found = {}
    for file, entry in _noted(read_manifest(logs / MANIFEST)).items():
        try:
            found[file] = _read(logs, file, entry).data.decode("utf-8", "replace")
        except RunError:
            continue
    return found


def _noted(facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a manifest says of the copies, as far as it can be true."""
    code = facts.get(CODE)
    return {
        file: entry
        for file, entry in (code.items() if isinstance(code, dict) else ())
        if isinstance(entry, dict) and isinstance(entry.get("path"), str) and _is_below(file)
    }


def _is_below(file: str) -> bool:
    path = PurePosixPath(file)
    return not path.is_absolute() and ".." not in path.parts and path.suffix == ".py"


def _read(logs: Path, file: str, entry: Mapping[str, Any]) -> Copy:
    path = logs / CODE / file
    remedy = "use your own files as they are now: --code files"
    try:
        # No link is followed, and no pipe waited for: the run may be a stranger's.
        parts = [path, *list(path.parents)[: len(Path(file).parts)]]
        if any(part.is_symlink() for part in parts) or not stat.S_ISREG(os.stat(path).st_mode):
            raise RunError(f"{path} is no file of its own; {remedy}")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{path} cannot be read: {reason}; {remedy}") from None
    if hashlib.sha256(data).hexdigest() != entry.get("sha256"):
        raise RunError(f"{path} is not the copy that {logs.name} kept; {remedy}")
    modules = entry.get("modules")
    names = [name for name in modules if isinstance(name, str)] if isinstance(modules, list) else []
    return Copy(Path(entry["path"]), [name for name in names if name != "__main__"], data)


def _write(path: Path, data: bytes, logs: Path) -> None:
    """Write a copy, as a link to that of another run where there is the same: sweeps have many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    beside = [entry for entry in os.scandir(logs.parent) if entry.is_dir(follow_symlinks=False)]
    beside.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    others = (Path(entry) / path.relative_to(logs) for entry in beside[:_NEIGHBOURS])
    if not any(_linked(temporary, other, data) for other in others):
        temporary.write_bytes(data)
        temporary.chmod(0o444)  # one that is edited would be edited for all runs
    temporary.replace(path)
    temporary.unlink(missing_ok=True)  # of two links to one file none is replaced


def _linked(place: Path, copy: Path, data: bytes) -> bool:
    """Link to another run's copy if it holds the same; whether it does."""
    try:
        if same := read_regular(copy, len(data)) == data:
            os.link(copy, place)
        return same
    except OSError:  # there is none, or there are no links here
        return False
