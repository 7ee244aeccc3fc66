"""Trainings that are killed and resumed, and trainings that are not; and the comparison."""

from __future__ import annotations

import csv
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.checkpoints.tree import first_difference
from gym_loop.runs.manifest import read_manifest
from gym_loop.training.verify import TIME_COLUMNS

RUN = "run-1"
PATIENCE = 60.0  # seconds that a child may take to begin its training


def write_run_file(directory: Path, config: dict[str, Any]) -> Path:
    """Write a config whose directories all lie in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    parameters = {
        **config.get("loop", {}).get("parameters", {}),
        **{
            name: str(directory / name)
            for name in ("checkpoint_dir", "eval_logdir", "eval_record_dir", "logdir", "record_dir")
        },
    }
    loop = {**config.get("loop", {}), "parameters": parameters}
    path = directory / "run.yaml"
    path.write_text(yaml.safe_dump({**config, "loop": loop}), encoding="utf-8")
    return path


def train_straight(directory: Path, config: dict[str, Any]) -> float:
    """Train without a stop, in a process of its own; returns the seconds it trained."""
    path = write_run_file(directory, config)
    done = subprocess.run(_command(path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["seconds"]


def train_killed(
    directory: Path, config: dict[str, Any], seconds: float, kills: int, rng: random.Random
) -> list[int]:
    """Train, be killed at random moments, resume each time; the steps each resume began at."""
    path = write_run_file(directory, config)
    killed = 0
    for _ in range(5 + 5 * kills):  # a child may finish before its moment comes
        if killed == kills:
            break
        resume = ["--resume"] if (directory / "logdir" / RUN / "manifest.json").exists() else []
        killed += _train_and_kill(directory, path, resume, rng.uniform(0.0, seconds / kills))
        if (directory / "logdir" / RUN).exists() and _status(directory) == "finished":
            if killed:
                break
            shutil.rmtree(directory)  # the machine is less busy than it was: begin again
            write_run_file(directory, config)
            seconds /= 4
    assert killed, "no child lived long enough to be killed"
    done = subprocess.run(_command(path, "--resume"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    resumes = read_manifest(directory / "logdir" / RUN / "manifest.json")
    return [one["step"] for one in resumes["resumes"]]


def _train_and_kill(directory: Path, path: Path, resume: list[str], delay: float) -> bool:
    before = _marks(directory)
    child = subprocess.Popen(_command(path, *resume), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while _marks(directory) == before and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(delay)
    child.send_signal(signal.SIGKILL)
    return child.wait() == -signal.SIGKILL


def _marks(directory: Path) -> Any:
    """What changes when a training begins or is resumed."""
    try:
        manifest = json.loads((directory / "logdir" / RUN / "manifest.json").read_text())
    except (OSError, ValueError):
        return None
    return len(manifest["resumes"])


def _status(directory: Path) -> str:
    try:
        text = (directory / "logdir" / RUN / "manifest.json").read_text()
    except OSError:
        return "not begun"
    return json.loads(text)["status"]


def _command(path: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "gym_loop", "train", "-c", str(path), "--json", *options]


def differences(one: Path, other: Path) -> list[str]:
    """Whatever the two runs left that is not equal: arrays byte for byte, state, metrics."""
    want, have = (CheckpointStore(path / "checkpoint_dir" / RUN).newest() for path in (one, other))
    found = []
    arrays = [point.path.joinpath("arrays.safetensors").read_bytes() for point in (want, have)]
    if arrays[0] != arrays[1]:
        found.append("arrays.safetensors differs")
    for tree in (want.tree, have.tree):
        del tree["run"]["seconds"], tree["logs"]  # times, and names made of them
    if difference := first_difference(want.tree, have.tree):
        found.append(difference)
    rows = [_metrics(path / "logdir" / RUN / "metrics.csv") for path in (one, other)]
    if rows[0] != rows[1]:
        found.append("metrics.csv differs")
    return found


def _metrics(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return [
            {name: value for name, value in row.items() if name not in TIME_COLUMNS}
            for row in csv.DictReader(file)
        ]
