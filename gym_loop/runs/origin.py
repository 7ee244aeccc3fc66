"""Where a run came from, and how it is found again after it was moved or copied with its file.

Of a run, ``facts`` are its manifest and ``logs`` its own directory of logs. A ``run_file`` is None
for a config made in Python; a run's own resolved file stands for the file that it came from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gym_loop.runs.directory import MANIFEST, RUN_FILE, RunDirectory, run_ids
from gym_loop.runs.manifest import read_manifest


def own_run(run_file: Path | None) -> dict[str, Any]:
    """The manifest of the run whose own resolved file this is; empty for any other file."""
    if run_file is None or run_file.name != RUN_FILE:
        return {}
    facts = read_manifest(run_file.parent / MANIFEST)
    return facts if "run" in facts else {}


def stem(run_file: Path | None) -> str:
    """What ids of a file's runs begin with; a run's own file belongs to the file of that run."""
    facts = own_run(run_file)
    if isinstance(noted := facts.get("config"), str):
        return Path(noted).stem or "run"
    if facts and run_file is not None:  # made in Python
        return re.sub(r"-\d+$", "", run_file.resolve().parent.name)
    return run_file.stem if run_file else "run"


def inherited_overrides(run_file: Path | None) -> list[str]:
    """Keys that were set beside the file of the run whose own resolved file this is."""
    overrides = own_run(run_file).get("overrides")
    return list(overrides) if isinstance(overrides, dict) else []


def origin(run_file: Path | None, logs: Path) -> dict[str, str | None]:
    """What the manifest says of a run file: its path, and the way to it from the logs."""
    path = run_file.resolve() if run_file else None
    if path and (facts := own_run(path)):
        noted = origin_now(facts, path.parent)
        path = Path(noted) if noted else None
    return {
        "config": str(path) if path else None,
        "config_from_logs": os.path.relpath(path, logs.resolve()) if path else None,
    }


def is_from(facts: Mapping[str, Any], run_file: Path | None, logs: Path) -> bool:
    """Whether a run came from this file, also if both have been moved or copied together."""
    here = origin(run_file, logs)
    if facts.get("config") == here["config"]:
        return True
    return run_file is not None and facts.get("config_from_logs") == here["config_from_logs"]


def runs_from(run_file: Path | None, parents: Mapping[str, Path]) -> Iterator[RunDirectory]:
    """The runs below a directory of logs that came from a file, the newest first."""
    for run_id in reversed(run_ids(parents["logdir"])):
        run = RunDirectory(run_id, parents)
        if is_from(run.manifest(), run_file, run.logs):
            yield run


def origin_now(facts: Mapping[str, Any], logs: Path) -> str | None:
    """The file that a run came from: beside the logs where both were moved, else as noted."""
    noted, way = facts.get("config"), facts.get("config_from_logs")
    if not isinstance(noted, str) or not isinstance(way, str):
        return noted if isinstance(noted, str) else None
    moved = os.path.normpath(logs.resolve() / way)
    return moved if os.path.isfile(moved) else noted


def follow(content: Any, path: Path) -> Any:
    """Let a run's resolved file name the ``.py`` files that it was moved or copied with."""
    if path.name != RUN_FILE:
        return content
    facts = read_manifest(path.parent / MANIFEST)
    return _replaced(content, *_move(facts, path.parent))


def moved(facts: Mapping[str, Any], path: Path, logs: Path) -> Path:
    """Where a file of a run is now, or would be: moved with the run file, else as noted."""
    before, after = _move(facts, logs)
    if before == after or path.is_file() or not str(path).startswith(before):
        return Path(_replaced(str(path), before, after))
    return Path(after + str(path).removeprefix(before))


def _move(facts: Mapping[str, Any], logs: Path) -> tuple[str, str]:
    """What the names of a run's files began with, and what they begin with now."""
    now = origin_now(facts, logs)
    if now is None or now == facts["config"]:
        return "", ""
    before, after = Path(facts["config"]), Path(now)
    while before.name == after.name:
        before, after = before.parent, after.parent
    return os.path.join(before, ""), os.path.join(after, "")


def _replaced(value: Any, before: str, after: str) -> Any:
    """The same with another beginning of absolute paths, where that leads to a file."""
    if isinstance(value, dict):
        return {key: _replaced(item, before, after) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, before, after) for item in value]
    if not isinstance(value, str) or before == after or not value.startswith(before):
        return value
    new = after + value.removeprefix(before)
    file, colon, _ = new.partition(".py:")
    return new if os.path.isfile(f"{file}.py" if colon else new) else value
