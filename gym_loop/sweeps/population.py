"""Population-based training: members of a population, and how their values change."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gym_loop.checkpoints.seeding import Seeds
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.checkpoints.tree import capture, restore
from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.envs.making import close_quietly
from gym_loop.errors import ConfigError, Finding
from gym_loop.runs.training_run import TrainingRun
from gym_loop.sweeps.space import Parameter, Random, Space, Values
from gym_loop.training.building import Experiment

META = "members.json"
_COPY = re.compile(r"\.e\d+(r\d+)?$")  # the end of a copy's id
FACTORS = (0.8, 1.25)  # that a number is multiplied by


def check_may_change(config: RunConfig, space: Space, source: str) -> None:
    """Find out whether an agent goes on with other values than it has begun with.

    Raises:
        ConfigError: with every parameter whose values its state does not survive.
    """
    findings = []
    for one in space.parameters:
        if not one.path.startswith("agent.parameters."):
            findings.append(
                Finding(one.path, "pbt changes parameters of the agent alone: leave it out", source)
            )
            continue
        try:
            _load_under_other_values(config, one)
        except Exception as error:  # noqa: BLE001 - whatever the agent's loading raises
            text = str(error).partition("\n")[0]
            problem = (
                "pbt changes it while the agent trains, but a state that was saved with"
                f" {one.values[0]!r} does not load with {one.values[-1]!r}:"
                f" {type(error).__name__}: {text}"
            )
            findings.append(Finding(one.path, problem, source))
    if findings:
        raise ConfigError(findings)


def _load_under_other_values(config: RunConfig, one: Parameter) -> None:
    state: Any = None
    for value in (one.values[0], one.values[-1]):
        changed = load_config(config, {one.path: value}).with_seed(0)
        experiment = Experiment(changed, TrainingRun(Seeds(0)))
        try:
            if state is not None:
                experiment.agent.load_state_dict(restore(None, state))
            state = capture(experiment.agent.state_dict())
        finally:
            close_quietly(experiment.env)


def explored(space: Space, values: Mapping[str, Any], resample: float, rng: Random) -> Values:
    """Values near those of a good member.

    Each is drawn anew with probability ``resample``; else a number is multiplied by one of
    `FACTORS`, within its range, and a choice moves to a neighbour in its list, or stays.

    Source: Jaderberg et al., Population Based Training of Neural Networks, 2017.
    """
    found = {}
    for one in space.parameters:
        value = values[one.path]
        found[one.path] = one.draw(rng) if rng.random() < resample else _near(one, value, rng)
    return found


def _near(one: Parameter, value: Any, rng: Random) -> Any:
    if one.kind == "choice":
        index = next(i for i, other in enumerate(one.values) if other == value)
        moved = index + int(rng.integers(-1, 2))
        return one.values[min(max(moved, 0), len(one.values) - 1)]
    low, high = one.values
    near = value * FACTORS[int(rng.integers(2))]
    return int(np.clip(round(near), low, high)) if one.is_integer else float(
        np.clip(near, low, high)
    )  # fmt: skip


def copy_of(run: str, when: int, resumes: int) -> str:
    """The id of what a run becomes as a copy of another: no other copy has ever had it.

    Args:
        run: the run, which may be a copy itself.
        when: number of evaluations of what is copied.
        resumes: how often the sweep was resumed: what was cut off may be made once more.
    """
    return f"{original(run)}.e{when}" + (f"r{resumes}" if resumes else "")


def original(run: str) -> str:
    """The id that a run had before it became a copy."""
    return _COPY.sub("", run)


def save_members(place: Path, runs: Mapping[int, str], checkpoints: Path, when: int) -> None:
    """Copy the newest checkpoint of each run, and say which runs they are.

    Args:
        place: an empty directory.
        runs: id of the run of each seed.
        checkpoints: parent directory of their checkpoints.
        when: number of evaluations so far.
    """
    for seed, run in runs.items():
        newest = CheckpointStore(checkpoints / run).newest().path
        shutil.copytree(newest, place / str(seed) / newest.name)
    content = {"runs": dict(runs), "evaluation": when}
    (place / META).write_text(json.dumps(content), "utf-8")


def load_members(place: Path) -> tuple[dict[int, str], dict[int, Path], int]:
    """What `save_members` wrote: runs, checkpoint of each seed, number of evaluations."""
    content = json.loads((place / META).read_text("utf-8"))
    runs = {int(seed): run for seed, run in content["runs"].items()}
    checkpoints = {seed: next((place / str(seed)).iterdir()) for seed in runs}
    return runs, checkpoints, content["evaluation"]
