"""Which runs are meant: ids, run files, stems, directories and patterns become directories."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gym_loop.errors import RunError
from gym_loop.runs.directory import MANIFEST, RUN_FILE, run_ids
from gym_loop.runs.manifest import read_manifest
from gym_loop.runs.origin import is_from
from gym_loop.schema.files import expanded
from gym_loop.schema.suggestions import did_you_mean
from gym_loop.schema.yaml_file import read_yaml_file

LOGDIR = Path("logs")
_METRICS = "metrics.csv"
_NUMBER = re.compile(r"-\d+$")
_TRIAL = re.compile(r"\.[0-9a-f]+\.\d+$")  # cell and seed, in the id of a sweep's run


def select_runs(wanted: Sequence[str], logdir: Path = LOGDIR) -> list[Path]:
    """The directories of logs of the runs that are wanted, each once, in the order asked for.

    Args:
        wanted: each a run id, the stem of a run file (``run`` for ``run-1``, ``run-2``, ...), a
            sweep or one of its cells, a run file, a directory of one run or of many, or a pattern
            of ids or directories.
        logdir: where ids, stems and patterns of ids are looked for.

    Raises:
        RunError: there is no such run; the message names the nearest.
    """
    found: dict[Path, Path] = {}
    for text in wanted:
        for path in _find(text, logdir):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def stem_of(run_id: str) -> str:
    """What a run's id was made of: the stem of its run file, or the sweep it belongs to."""
    sweep = _TRIAL.sub("", run_id)
    return sweep if sweep != run_id else _NUMBER.sub("", run_id)


def is_run(path: Path) -> bool:
    """Whether a directory holds a run's logs."""
    return any((path / name).is_file() for name in (MANIFEST, _METRICS, RUN_FILE))


def _find(text: str, logdir: Path) -> list[Path]:
    path = expanded(text)
    if path.is_dir():
        return [path] if is_run(path) else _runs_below(path)
    if path.is_file():
        return _runs_of_file(path)
    known = _known(logdir)
    for is_meant in (
        lambda run_id: run_id == text,
        lambda run_id: stem_of(run_id) == text or run_id.startswith(f"{text}."),
        lambda run_id: fnmatch.fnmatchcase(run_id, text),
    ):
        if chosen := [logdir / run_id for run_id in known if is_meant(run_id)]:
            return chosen
    if any(sign in text for sign in "*?[") and (matching := _matching(path)):
        return matching
    names = sorted({*known, *map(stem_of, known)})
    hint = did_you_mean(text, names)
    if not hint:
        hint = f"; there are {', '.join(names[:8])}" if names else "; there are no runs there"
    raise RunError(f"there is no run, run file or directory {text} (runs were looked for in"
                   f" {logdir}{hint})")  # fmt: skip


def _known(logdir: Path) -> list[str]:
    """Ids of the runs in a directory, oldest first; those that lost their manifest at the end."""
    try:
        entries = sorted(entry.name for entry in logdir.iterdir() if is_run(entry))
    except OSError:
        entries = []
    return list(dict.fromkeys([*run_ids(logdir), *entries]))


def _runs_below(directory: Path) -> list[Path]:
    found = [directory / run_id for run_id in _known(directory)]
    if not found:
        raise RunError(f"there are no runs in {directory}; name a logdir, or the logs of one run")
    return found


def _runs_of_file(path: Path) -> list[Path]:
    """Every run that a run file was trained as."""
    if path.name == RUN_FILE and (path.parent / MANIFEST).is_file():
        return [path.parent]  # the run's own resolved file
    if path.suffix not in (".yaml", ".yml"):
        raise RunError(f"{path} is neither a run file (.yaml) nor a directory of runs")
    logdir = _logdir_of(path)
    found = []
    for run_id in _known(logdir):
        facts = read_manifest(logdir / run_id / MANIFEST)
        unknown = facts.get("config") is None
        if is_from(facts, path, logdir / run_id) or (unknown and stem_of(run_id) == path.stem):
            found.append(logdir / run_id)
    if not found:
        raise RunError(f"there is no run of {path} in {logdir}; train one first")
    return found


def _logdir_of(path: Path) -> Path:
    data: Any = read_yaml_file(path).data
    for key in ("loop", "parameters", "logdir"):
        data = data.get(key) if isinstance(data, dict) else None
    return expanded(data) if isinstance(data, str) else LOGDIR


def _matching(pattern: Path) -> list[Path]:
    """Runs among the directories of a pattern; of a directory of runs, all of them."""
    start, relative = Path(pattern.anchor), str(pattern.relative_to(pattern.anchor))
    found = []
    for path in sorted(start.glob(relative)):
        if path.is_dir():
            found += [path] if is_run(path) else [path / run_id for run_id in _known(path)]
    return found
