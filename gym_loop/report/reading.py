"""One run read from disk, thinned at once: a report of many runs never holds all their rows."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gym_loop.errors import ConfigError
from gym_loop.runs.bootstrap import Floats
from gym_loop.runs.directory import MANIFEST, RUN_FILE, status_of
from gym_loop.runs.listing import as_float
from gym_loop.runs.manifest import read_manifest
from gym_loop.schema.files import open_regular, read_regular
from gym_loop.schema.yaml_file import read_yaml

BINS = 200
RETURN = "train/episode_return"
EVALUATION = "eval/return_mean"
JUDGED = (RETURN, EVALUATION)  # what a score is made of
EPISODES = "train/episodes"
TIME = "time/"
LAST_EPISODES = 100
NAN = math.nan
LARGEST = 1e100  # what is beyond counts as infinite: nothing overflows
MOST_STEPS = 1e15
_LONGEST_RUN_FILE = 16 << 20  # bytes
_TAIL = 1 << 16  # bytes in which a file's last row is looked for


class Curve(NamedTuple):
    """A metric in bins of equal width: NaN in a bin without a value."""

    # ``[BINS]``, linear between the bins that have values; the last value holds until the run's
    # last step, and the first of ``train/...`` from the start
    mean: Floats
    low: Floats  # ``[BINS]``, the lowest value in each bin
    high: Floats  # ``[BINS]``, the highest


@dataclass
class RunData:
    """What a report knows of one run."""

    run: str  # its id
    logs: Path  # its directory of logs
    # flat, with dotted keys; empty if it cannot be read
    config: Mapping[str, Any] = field(default_factory=dict)
    agent: str = "?"  # class string
    env: str = "?"  # id of the environment
    seed: int | None = None  # of the run
    # ``running``, ``finished``, ``stopped``, ``failed``, ``killed`` or ``unknown``
    status: str = "unknown"
    started: str = ""  # when, ISO 8601
    steps: int = 0  # environment steps that were logged
    seconds: float = 0.0  # of training
    episodes: int = 0  # that were logged
    curves: dict[str, Curve] = field(default_factory=dict)  # by metric
    final_return: float = math.nan  # mean return of the last 100 episodes
    evaluation: float = math.nan  # mean return of the last periodic evaluation
    best_evaluation: float = math.nan  # the highest of any
    # mean return and number of episodes of the newest ``gym-loop evaluate``
    evaluated: tuple[float, int] = (math.nan, 0)
    # the same mean, of the newest one that evaluated the final agent
    final_evaluation: float = math.nan
    # where the time went, by part; empty if it was not measured
    seconds_of: dict[str, float] = field(default_factory=dict)
    videos: list[Path] = field(default_factory=list)  # files, oldest first
    problems: list[str] = field(default_factory=list)  # what was wrong with its files

    @property
    def steps_per_second(self) -> float:
        """Speed of the whole training."""
        return self.steps / self.seconds if self.seconds > 0 else math.nan


def read_runs(paths: Sequence[Path]) -> tuple[list[RunData], dict[str, float]]:
    """Read runs, and thin their metrics to bins that all runs of an environment share.

    Returns:
        The runs, and by environment the step at which the last bin ends.
    """
    runs = [_read_facts(path) for path in paths]
    ends: dict[str, float] = {}
    for run in runs:
        last = max(run.steps, _last_step(run.logs / "metrics.csv"))
        ends[run.env] = max(ends.get(run.env, 1.0), last)
    for run in runs:
        _read_metrics(run, ends[run.env])
    return runs, ends


def centres(end: float) -> Floats:
    """The middle of each bin, in steps."""
    return np.asarray((np.arange(BINS) + 0.5) * (end / BINS), np.float64)


# -- facts -------------------------------------------------------------------------------------


def _read_facts(logs: Path) -> RunData:
    manifest = read_manifest(logs / MANIFEST)
    run = RunData(logs.resolve().name, logs)
    if not manifest:
        run.problems.append("its manifest.json is missing or cannot be read")
    run.config = _config(run)
    run.agent = _text(manifest.get("agent")) or _text(run.config.get("agent.class")) or "?"
    run.env = _text(manifest.get("env")) or _text(run.config.get("env.name")) or "?"
    seed = manifest.get("seed", run.config.get("seed"))
    run.seed = seed if type(seed) is int else None
    run.started = _text(manifest.get("started"))
    run.status = status_of(logs, manifest) or "unknown"
    run.steps = int(_number(manifest.get("steps")))
    run.episodes = int(_number(manifest.get("episodes")))
    run.seconds = _number(manifest.get("seconds"))
    run.videos = _videos(run)
    _read_evaluations(run)
    return run


def _config(run: RunData) -> dict[str, Any]:
    """The resolved run file, flat; nothing that it names is imported."""
    path = run.logs / RUN_FILE
    try:
        text = read_regular(path, _LONGEST_RUN_FILE).decode("utf-8-sig")
        data = read_yaml(text, str(path)).data
    except (ConfigError, OSError, ValueError):
        run.problems.append("its run.yaml is missing or cannot be read")
        return {}
    return _flat(data) if isinstance(data, Mapping) else {}


def _flat(data: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _videos(run: RunData) -> list[Path]:
    """Videos of training and of evaluation; nothing else that happens to be in their places.

    The run file names the directories, and may be a stranger's: what is taken from them has the
    name and the first bytes of a recording, and is no link.
    """
    directories = [_directory(run, name) for name in ("record_dir", "eval_record_dir")]
    found = [path for one in directories if one for path in sorted(one.glob("*.mp4"))]
    videos = [path for path in found if _is_recording(path)]
    if len(videos) < len(found):
        run.problems.append("among its videos are links, or files that are no recordings: left out")
    return videos


def _is_recording(path: Path) -> bool:
    try:
        with open(path, "rb", opener=open_regular) as file:
            is_film = file.read(8)[4:] == b"ftyp"
    except OSError:
        return False
    # The logs were resolved: a link can only be on the way that the run file names.
    is_here = path.parent.resolve() == Path(os.path.abspath(path.parent))
    return is_film and is_here and "episode" in path.name


def _read_evaluations(run: RunData) -> None:
    """What ``gym-loop evaluate`` has left: of whichever checkpoint, and of the final one."""
    directory = _directory(run, "eval_logdir")
    found = {}
    for path in directory.glob("evaluate-*.json") if directory else ():
        if (number := path.stem.removeprefix("evaluate-")).isdecimal():
            found[int(number)] = read_manifest(path)
    newest = [content for _, content in sorted(found.items(), reverse=True)]
    last = f"step-{run.steps:09}"
    final = [one for one in newest if Path(_text(one.get("checkpoint"))).name == last]
    if newest:
        run.evaluated = _mean_and_episodes(newest[0])
    if final:
        run.final_evaluation, _ = _mean_and_episodes(final[0])


def _mean_and_episodes(content: Mapping[str, Any]) -> tuple[float, int]:
    returns = content.get("return")
    mean = returns.get("mean") if isinstance(returns, Mapping) else None
    if isinstance(mean, bool) or not isinstance(mean, (int, float)) or abs(mean) > LARGEST:
        return NAN, 0
    return float(mean), int(_number(content.get("episodes")))


def _directory(run: RunData, name: str) -> Path | None:
    """Another directory of the run, found from where its logs are."""
    logdir, parent = (run.config.get(f"loop.parameters.{one}") for one in ("logdir", name))
    if not isinstance(logdir, str) or not isinstance(parent, str):
        return None
    way = os.path.relpath(os.path.expanduser(parent), os.path.expanduser(logdir))
    return run.logs.resolve().parent / way / run.run


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= MOST_STEPS else 0.0


# -- metrics -----------------------------------------------------------------------------------


def _last_step(path: Path) -> float:
    """The step of the last whole row; 0 without one."""
    try:
        with open(path, "rb", opener=open_regular) as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return 0.0
    steps = (as_float(line.split(b",", 1)[0]) for line in reversed(lines[:-1]))
    return next((step for step in steps if 0 <= step <= MOST_STEPS), 0.0)


def _read_metrics(run: RunData, end: float) -> None:
    columns = _columns(run)
    step = columns.pop("step", np.zeros(0))
    valid = (step >= 0) & (step <= MOST_STEPS)
    if not valid.any():
        run.problems.append("it has no metrics yet")
        return
    step = step[valid]
    seconds, weights = (
        _within(columns.pop(name, np.full(len(valid), NAN))[valid])
        for name in ("seconds", EPISODES)
    )
    run.steps = max(run.steps, int(step.max()))
    run.seconds = max(run.seconds, float(seconds.max()))
    where = np.minimum(step * (BINS / end), BINS - 1).astype(np.int64)
    last = min(BINS - 1, int(run.steps * BINS / end))
    for name, column in columns.items():
        values = column[valid]
        if name.startswith(TIME):
            run.seconds_of[name[len(TIME) :]] = float(_within(values).sum())
            continue
        good = np.abs(values) <= LARGEST
        if not good.any():
            continue
        counts = np.ones(int(good.sum()))
        if name.startswith("train/"):
            counts = np.maximum(weights[good], 1.0)
        run.curves[name] = _binned(
            where[good], values[good], counts, last, name.startswith("train/")
        )
        if name == RETURN:
            run.final_return = _mean_of_last(values[good], counts)
            run.episodes = max(run.episodes, int(counts.sum()))
        elif name == EVALUATION:
            run.evaluation = float(values[good][-1])
            run.best_evaluation = float(values[good].max())


def _within(values: Floats) -> Floats:
    """Counts and seconds; 0 for what is neither."""
    return np.where((values >= 0) & (values <= MOST_STEPS), values, 0.0)


def _columns(run: RunData) -> dict[str, Floats]:
    """Every column as floats; an empty cell, or one that is no number, is NaN."""
    try:
        path = run.logs / "metrics.csv"
        with open(path, encoding="utf-8", errors="replace", opener=open_regular) as file:
            text = file.read()
    except OSError:
        return {}
    whole = text[: text.rfind("\n") + 1]  # the last row may be being written
    rows = csv.reader(whole.splitlines())
    try:
        names = next(rows, [])
        body = list(rows)
    except csv.Error as error:
        run.problems.append(f"its metrics.csv cannot be read: {error}")
        return {}
    kept = [row for row in body if len(row) == len(names)]
    if len(kept) < len(body):
        run.problems.append(f"{len(body) - len(kept)} rows of its metrics.csv are damaged")
    columns = list(zip(*kept, strict=True)) if kept else [() for _ in names]
    judged = [column for name, column in zip(names, columns, strict=True) if name in JUDGED]
    if any(text in column for column in judged for text in ("nan", "inf", "-inf")):
        run.problems.append("returns or evaluations that are no finite numbers are left out")
    return {name: _floats(column) for name, column in zip(names, columns, strict=True)}


def _floats(cells: Sequence[str]) -> Floats:
    try:
        if "" not in cells:  # as a rule: a fifth faster
            return np.array(list(map(float, cells)))
        return np.array([float(cell) if cell else NAN for cell in cells])
    except ValueError:
        return np.array([as_float(cell) for cell in cells])


def _binned(where: Any, values: Floats, counts: Floats, last: int, from_start: bool) -> Curve:
    total = np.bincount(where, counts, BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(where, counts * values, BINS) / total
    low, high = np.full(BINS, np.inf), np.full(BINS, -np.inf)
    np.minimum.at(low, where, values)
    np.maximum.at(high, where, values)
    known = np.flatnonzero(total > 0)
    inside = np.arange(0 if from_start else known[0], last + 1)
    mean[inside] = np.interp(inside, known, mean[known])
    empty = total == 0
    low[empty], high[empty] = mean[empty], mean[empty]
    return Curve(mean, low, high)


def _mean_of_last(values: Floats, counts: Floats) -> float:
    """Mean over the last episodes, of rows that stand for several each."""
    values, counts = values[: -LAST_EPISODES - 1 : -1], counts[: -LAST_EPISODES - 1 : -1]
    before = np.cumsum(counts) - counts  # episodes after each row
    return float(np.average(values, weights=np.clip(LAST_EPISODES - before, 0, counts)))
