"""The proof that a run resumes bit for bit: train straight, train with a kill, compare.

Each training is a process of its own; the one in the middle is killed by SIGKILL some time
after its checkpoint, as a power cut would, and a third one resumes what it left.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gym_loop.building import Experiment
from gym_loop.config import RunConfig, load_config
from gym_loop.errors import ContractError, RunError
from gym_loop.resume import find_run, resumed_config
from gym_loop.runs.checkpoint import CheckpointStore
from gym_loop.runs.console import Console
from gym_loop.runs.directory import RunDirectory
from gym_loop.runs.stopwatch import METRICS
from gym_loop.seeding import draw_seed
from gym_loop.session import train_prepared
from gym_loop.state_tree import capture_attributes, first_difference

RUN = "run"
TIME_COLUMNS = ("seconds", "train/steps_per_second", "train/updates_per_second")
_NOT_COMPARED = ("logs", "run")  # positions in files, and seconds


@dataclass(frozen=True)
class Verification:
    """What came of a comparison.

    Args:
        steps: how many were trained.
        verdict: ``exact`` or ``approximate``: what the run itself says of its environment.
        differences: in the order they should be looked at; none when the runs are identical.
        notes: attributes of the agent that were not restored, but made no difference.
    """

    steps: int
    verdict: str
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def identical(self) -> bool:
        """Whether every array, random stream and logged value was equal."""
        return not self.differences


def verify_resume(
    source: str | Path | Mapping[str, Any] | RunConfig,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    steps: int = 2_000,
) -> Verification:
    """Compare a run that was killed and resumed with one that never stopped.

    Args:
        source: a run file, or its content.
        overrides: as in `gym_loop.train`.
        steps: length of the training, in environment steps; the checkpoint comes after half.

    Raises:
        ContractError: a training failed, or left no checkpoint to resume from.
    """
    config = load_config(source, overrides)
    seed = config.seed if config.seed is not None else draw_seed()
    with tempfile.TemporaryDirectory(prefix="gym-loop-verify-") as place:
        straight, broken = Path(place) / "straight", Path(place) / "broken"
        for directory in (straight, broken):
            directory.mkdir()
            text = _shortened(config.with_seed(seed), directory, steps).portable().to_yaml()
            (directory / "verify.yaml").write_text(text, encoding="utf-8")
        _child("straight", straight, steps)
        _child("killed", broken, steps)
        _child("resumed", broken, steps)
        return _compare(straight, broken, steps)


def _shortened(config: RunConfig, directory: Path, steps: int) -> RunConfig:
    """The config for a training of so many steps, with its files in ``directory``."""
    wanted: dict[str, Any] = {
        "episodes_per_checkpoint": None,
        "eval_record": False,
        "eval_render": False,
        "loggers": [],
        "max_episodes": None,
        "max_steps": steps,
        "record": False,
        "render": False,
        "steps_per_checkpoint": max(1, steps // 2),
        "time_per_checkpoint": None,
    }
    known = config.loop.parameters
    wanted = {name: value for name, value in wanted.items() if name in known}
    wanted.update({name: str(directory / name) for name in known if name.endswith("dir")})
    return load_config(config, {f"loop.parameters.{name}": wanted[name] for name in wanted})


def _child(role: str, directory: Path, steps: int) -> None:
    """Train in a process of its own, and make sure that it ended the way it was meant to."""
    done = subprocess.run(
        [sys.executable, "-m", "gym_loop.verification", role, str(directory), str(steps)],
        capture_output=True,
        text=True,
        check=False,
    )
    expected = -signal.SIGKILL if role == "killed" else 0
    if done.returncode == expected:
        return
    if role == "killed" and done.returncode == 0:
        raise ContractError(
            f"the training ended before it had made {steps} steps: use more --steps"
        )
    raise ContractError(f"the {role} training failed:\n{done.stderr.strip()}")


def _compare(straight: Path, broken: Path, steps: int) -> Verification:
    lost = _lost_attributes(straight, broken)
    differences = [*_metric_differences(straight, broken), *_state_differences(straight, broken)]
    manifest = RunDirectory(RUN, {"logdir": straight / "logdir"}).manifest()
    verdict = str(manifest.get("resume", {}).get("verdict", "?"))
    if differences:
        return Verification(steps, verdict, [*lost, *differences])
    return Verification(steps, verdict, [], lost)


def _lost_attributes(straight: Path, broken: Path) -> list[str]:
    """Attributes of the agent that the resume did not put back."""
    before = CheckpointStore(straight / "agent").newest().tree
    after = CheckpointStore(broken / "agent").newest().tree
    return [
        f"right after the resume, the agent's attribute {name} differs:"
        f" {first_difference(before.get(name), after.get(name), name)}"
        "; does state_dict() carry it, and load_state_dict() put it back?"
        for name in sorted({*before, *after})
        if first_difference(before.get(name), after.get(name))
    ]


def _metric_differences(straight: Path, broken: Path) -> list[str]:
    """The first logged value that differs, times apart."""
    tables = [_rows(directory / "logdir" / RUN / "metrics.csv") for directory in (straight, broken)]
    for number, (want, have) in enumerate(zip(*tables, strict=False), 2):
        for name in want:
            is_time = name in TIME_COLUMNS or name.startswith(METRICS)
            if not is_time and want[name] != have.get(name):
                return [
                    f"metrics.csv, line {number}, step {want['step']}: {name} is"
                    f" {have.get(name)} instead of {want[name]}"
                ]
    if len(tables[0]) != len(tables[1]):
        return [f"metrics.csv has {len(tables[1])} rows instead of {len(tables[0])}"]
    return []


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _state_differences(straight: Path, broken: Path) -> list[str]:
    """What differs at the end: the agent first, then the loop, the environment, the streams."""
    stores = [CheckpointStore(one / "checkpoint_dir" / RUN) for one in (straight, broken)]
    want, have = (store.newest() for store in stores)
    if want.step != have.step:
        return [f"the resumed run ended at step {have.step} instead of {want.step}"]
    return [
        f"at the end, {found}"
        for part in want.tree
        if part not in _NOT_COMPARED
        and (found := first_difference(want.tree[part], have.tree.get(part), part))
    ]


# -- inside the child processes -------------------------------------------------------------


def _train(role: str, directory: Path, steps: int) -> None:
    config = load_config(directory / "verify.yaml")
    ready = {
        "straight": lambda made: _note_at_checkpoint(made, directory / "agent"),
        "killed": lambda made: _kill_later(made, max(1, steps // 2) + max(1, steps // 4)),
        "resumed": lambda made: _note_attributes(made, directory / "agent"),
    }[role]
    if role != "resumed":
        train_prepared(config, None, Console(quiet=True), name=RUN, ready=ready)
        return
    run = find_run(config, RUN)
    run.lock()
    config, _ = resumed_config(config, run)
    train_prepared(config, run, Console(quiet=True), ready=ready)


def _note_at_checkpoint(experiment: Experiment, place: Path) -> None:
    """Write the agent's attributes down when the first checkpoint is saved."""
    save = experiment.run.save

    def note_and_save(*arguments: Any, **options: Any) -> bool:
        experiment.run.save = save  # type: ignore[method-assign]
        _note_attributes(experiment, place)
        return save(*arguments, **options)

    experiment.run.save = note_and_save  # type: ignore[method-assign]


def _note_attributes(experiment: Experiment, place: Path) -> None:
    attributes = capture_attributes(
        experiment.agent, exclude=("parameters",), on_unsaveable=lambda where, why: None
    )
    store = CheckpointStore(place)
    store.save(experiment.loop.steps, attributes, {})


def _kill_later(experiment: Experiment, at_step: int) -> None:
    """Die by SIGKILL in the middle of a step, when the checkpoint is on disk and outdated."""
    env, copies = experiment.loop.env, getattr(experiment.loop.env, "num_envs", 1)
    step: Callable[[Any], Any] = env.step
    taken = 0

    def count_and_step(action: Any) -> Any:
        nonlocal taken
        taken += copies
        if taken >= at_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(action)

    env.step = count_and_step


def main(arguments: list[str]) -> None:
    """Run one of the trainings: ``straight``, ``killed`` or ``resumed``."""
    role, directory, steps = arguments
    try:
        _train(role, Path(directory), int(steps))
    except RunError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main(sys.argv[1:])
