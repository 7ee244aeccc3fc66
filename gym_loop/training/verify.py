"""The proof that a run resumes bit for bit: train with a kill, train straight, compare.

Each training is a process of its own; the first one is killed by SIGKILL some time after its
checkpoint, as a power cut would, and another one resumes what it left. Where the result differs
from that of a training without a stop, a second one of these shows what differs anyway: a wall
clock, or everything, where the same seed does not lead to the same run.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.vector import VectorEnv, VectorWrapper

from gym_loop.checkpoints.seeding import draw_seed
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.checkpoints.tree import capture_attributes, first_difference
from gym_loop.checkpoints.tree.comparing import parts_of
from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.errors import CheckpointMissingError, ContractError, GymLoopError
from gym_loop.runs.code import read_copies
from gym_loop.runs.console import Console
from gym_loop.runs.directory import RunDirectory
from gym_loop.runs.stopwatch import METRICS
from gym_loop.training.building import Experiment
from gym_loop.training.experiment import train_config
from gym_loop.training.own_code import find_copies

RUN = "run"
TIME_COLUMNS = ("seconds", "train/steps_per_second", "train/updates_per_second")
_NOT_COMPARED = ("logs", "run")  # positions in files, and seconds
# What a run is for: where these differ between equal runs, nothing else is worth a comparison.
_OUTCOMES = ("metrics train/", "metrics eval/", "metrics rows", "eval_logs")


@dataclass(frozen=True)
class Verification:
    """What came of a comparison.

    Args:
        steps: how many were trained.
        verdict: ``exact`` or ``approximate``: what the run itself says of its resume.
        differences: in the order they should be looked at; none when the runs are identical.
        notes: what is to be known besides: what was not restored but made no difference, what is
            not compared because two runs that were never stopped differ in it too, and what the
            environment's state leaves out.
        reason: why the run calls its resume approximate; empty if it does not.
    """

    steps: int
    verdict: str
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reason: str = ""

    @property
    def identical(self) -> bool:
        """Whether every array, random stream and logged value was equal."""
        return not self.differences


def verify_resume(
    source: str | Path | Mapping[str, Any] | RunConfig,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    steps: int = 2_000,
    code: str | None = None,
) -> Verification:
    """Compare a run that was killed and resumed with one that never stopped.

    Args:
        source: a run file, or its content.
        overrides: as in `gym_loop.train`.
        steps: length of the training, in environment steps; the checkpoint comes after half.
        code: as in `gym_loop.train`.

    Raises:
        ContractError: a training failed, or left no checkpoint to resume from.
    """
    config = load_config(source, overrides, code=find_copies(source, overrides, None, code))
    copies = str(config.copies.logs.resolve()) if config.copies else ""
    seed = config.seed if config.seed is not None else draw_seed()
    with tempfile.TemporaryDirectory(prefix="gym-loop-verify-") as place:
        straight, broken, again = (Path(place) / name for name in ("straight", "broken", "again"))
        for directory in (straight, broken, again):
            directory.mkdir()
            text = _shortened(config.with_seed(seed), directory, steps).portable().to_yaml()
            (directory / "verify.yaml").write_text(text, encoding="utf-8")
            (directory / "code").write_text(copies, encoding="utf-8")
        said = _child("killed", broken, steps)
        try:
            at = _store(broken).newest().step
        except CheckpointMissingError:
            raise ContractError(
                f"the training left no checkpoint to resume from:\n{said.strip()}"
            ) from None
        _child("straight", straight, steps, at)
        _child("resumed", broken, steps)
        lost, found = _lost_attributes(straight, broken), _differences(straight, broken)
        lost_anyway, anyway = {}, {}
        if lost or found:
            _child("straight", again, steps, at)
            lost_anyway, anyway = _lost_attributes(straight, again), _differences(straight, again)
        lost = {name: lost[name] for name in lost if name not in lost_anyway}
        return _judged(lost, found, anyway, _said(straight, steps, at))


def _judged(
    lost: dict[str, str], found: dict[str, str], anyway: dict[str, str], said: Verification
) -> Verification:
    """The verdict on a resumed run's differences, given those of a second straight one."""
    if unrepeatable := [text for place, text in anyway.items() if place.startswith(_OUTCOMES)]:
        first = f"the same seed does not give the same run, stopped or not: {unrepeatable[0]}"
        return replace(said, differences=[first])
    notes = said.notes + [
        f"not compared, as two runs that were never stopped differ in it too: {place}"
        for place in found
        if place in anyway
    ]
    firsts: dict[str, str] = {}  # of the metrics, of the agent, of the loop, and so on
    for place, text in found.items():
        if place not in anyway:
            firsts.setdefault(place.partition(" ")[0].partition(".")[0], text)
    if firsts:
        return replace(said, differences=[*lost.values(), *firsts.values()], notes=notes)
    unimportant = [f"{text} (it made no difference)" for text in lost.values()]
    return replace(said, notes=[*unimportant, *notes])


def _said(straight: Path, steps: int, at: int) -> Verification:
    """What the run itself says of its resume, and what the comparison cannot show."""
    resume = RunDirectory(RUN, {"logdir": straight / "logdir"}).manifest().get("resume", {})
    notes = [
        f"not in the environment's state, being no data: {name}"
        for name in resume.get("left_out", [])
    ]
    evaluates = _load(straight).loop.parameters.get("episodes_per_eval")
    rows = _rows(straight)
    if evaluates and not any(int(row["step"]) > at for row in rows if row.get("eval/return_mean")):
        notes.append("no evaluation was due after the resume: more --steps compare them too")
    verdict = str(resume.get("verdict", "?"))
    reason = str(resume.get("reason", "")) if verdict != "exact" else ""
    return Verification(steps, verdict, [], notes, reason)


def _load(directory: Path) -> RunConfig:
    """The config of one of the trainings, with the code that all of them use."""
    logs = (directory / "code").read_text(encoding="utf-8")
    copies = read_copies(Path(logs)) if logs else None
    return load_config(directory / "verify.yaml", code=copies or False)


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


def _child(role: str, directory: Path, steps: int, at: int = -1) -> str:
    """Train in a process of its own, and make sure that it ended the way it was meant to.

    Returns:
        What it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, role, str(directory), str(steps), str(at)],
        capture_output=True,
        text=True,
        check=False,
    )
    expected = -signal.SIGKILL if role == "killed" else 0
    if done.returncode == expected:
        return done.stderr
    if role == "killed" and done.returncode == 0:
        raise ContractError(
            f"the training ended before it had made {steps} steps: use more --steps"
        )
    raise ContractError(f"the {role} training failed:\n{done.stderr.strip()}")


def _differences(straight: Path, other: Path) -> dict[str, str]:
    """What differs, in words by its place, in the order in which to look at it."""
    want, have = _evaluations(straight), _evaluations(other)
    return {
        **_metric_differences(_rows(straight), _rows(other)),
        **{
            f"eval_logs {name}": f"the evaluation {name} differs"
            for name in sorted({*want, *have})
            if want.get(name) != have.get(name)
        },
        **_state_differences(straight, other, "latest", "at the end, "),
        **_state_differences(straight, other, "best", "in the best checkpoint, "),
    }


def _evaluations(directory: Path) -> dict[str, str]:
    files = (directory / "eval_logdir" / RUN).glob("*.json")
    return {path.name: path.read_text("utf-8") for path in files}


def _rows(directory: Path) -> list[dict[str, str]]:
    path = directory / "logdir" / RUN / "metrics.csv"
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _store(directory: Path) -> CheckpointStore:
    return CheckpointStore(directory / "checkpoint_dir" / RUN)


def _lost_attributes(straight: Path, broken: Path) -> dict[str, str]:
    """Attributes of the agent that the resume did not put back."""
    try:
        want, have = (CheckpointStore(one / "agent").newest().tree for one in (straight, broken))
    except CheckpointMissingError:  # another loop's checkpoints need not come at the same steps
        return {}
    pairs = {name: (want.get(name), have.get(name)) for name in sorted({*want, *have})}
    return {
        name: f"right after the resume, the agent's attribute {name} differs: {difference}"
        "; does state_dict() carry it, and load_state_dict() put it back?"
        for name, pair in pairs.items()
        if (difference := first_difference(*pair, name))
    }


def _metric_differences(
    straight: list[dict[str, str]], other: list[dict[str, str]]
) -> dict[str, str]:
    """The first logged value that differs, of each column, times apart."""
    found: dict[str, str] = {}
    for number, (want, have) in enumerate(zip(straight, other, strict=False), 2):
        for name in want:
            is_time = name in TIME_COLUMNS or name.startswith(METRICS)
            if not is_time and want[name] != have.get(name):
                found.setdefault(
                    f"metrics {name}",
                    f"metrics.csv, line {number}, step {want['step']}: {name} is"
                    f" {have.get(name)} instead of {want[name]}",
                )
    if len(straight) != len(other):
        found["metrics rows"] = f"metrics.csv has {len(other)} rows instead of {len(straight)}"
    return found


def _state_differences(straight: Path, broken: Path, which: str, when: str) -> dict[str, str]:
    """What differs in a checkpoint: the agent first, the loop, the environment, the streams."""
    stores = [_store(one) for one in (straight, broken)]
    try:
        want, have = (store.find(which) for store in stores)
    except CheckpointMissingError:  # nothing was evaluated
        return {}
    if want.step != have.step:
        return {which: f"{when}the resumed run stands at step {have.step}, not {want.step}"}
    return {
        f"{part} {which} {place}": when + text
        for part in want.tree
        if part not in _NOT_COMPARED
        for place, text in _leaves(want.tree[part], have.tree.get(part), part).items()
    }


def _leaves(want: Any, have: Any, place: str) -> dict[str, str]:
    """All that differs below a place of two trees, in words by its own place.

    A list of numbers is one place, and so is a random stream: some of two clocks' readings may
    agree by chance.
    """
    text = first_difference(want, have, place)
    below: list[tuple[str, Any, Any]] = []
    if getattr(want, "kind", "") == "generator":
        below = []
    elif isinstance(want, dict) and isinstance(have, dict) and want.keys() == have.keys():
        below = parts_of(want, have, place)
    elif isinstance(want, list) and all(isinstance(one, dict) for one in want):
        same = isinstance(have, list) and len(want) == len(have)
        pairs = zip(want, have, strict=True) if same else ()
        below = [(f"{place}[{i}]", *pair) for i, pair in enumerate(pairs)]
    if not text or not below:
        return {place: text} if text else {}
    return {at: found for one in below for at, found in _leaves(one[1], one[2], one[0]).items()}


# -- inside the child processes -------------------------------------------------------------


def _train(role: str, directory: Path, steps: int, at: int) -> None:
    config = _load(directory)
    note_or_kill: Callable[[Experiment], None] = {
        "straight": lambda made: _note_at_checkpoint(made, directory / "agent", at),
        "killed": lambda made: _kill_later(made, max(1, steps // 2) + max(1, steps // 4)),
        "resumed": lambda made: _note_attributes(made, directory / "agent"),
    }[role]

    def ready(made: Experiment) -> None:
        made.loop.checkpoint_schedule.seconds_allowed = float("inf")  # all save at the same steps
        note_or_kill(made)

    which: dict[str, Any] = {"resume": RUN} if role == "resumed" else {"name": RUN}
    train_config(config, Console(quiet=True), ready=ready, **which)


def _note_at_checkpoint(experiment: Experiment, place: Path, at: int) -> None:
    """Write the agent's attributes down when the checkpoint of this step is saved."""
    save = experiment.run.save

    def note_and_save(*arguments: Any, **options: Any) -> bool:
        if experiment.loop.steps == at:
            _note_attributes(experiment, place)
        return save(*arguments, **options)

    experiment.run.save = note_and_save  # type: ignore[method-assign]


def _note_attributes(experiment: Experiment, place: Path) -> None:
    attributes = capture_attributes(
        experiment.agent,
        exclude=("training", "_first_parameters"),
        on_unsaveable=lambda where, why: None,
        hidden=True,
    )
    store = CheckpointStore(place)
    store.save(experiment.loop.steps, attributes, {})


def _kill_later(experiment: Experiment, at_step: int) -> None:
    """Die by SIGKILL in the middle of a step, when the checkpoint is on disk and outdated."""
    env, copies = experiment.loop.env, getattr(experiment.loop.env, "num_envs", 1)
    taken = 0

    def count_and_step(self: Any, action: Any) -> Any:
        nonlocal taken
        taken += copies
        if taken >= at_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.env.step(action)

    # A layer around those whose state is saved: nothing of it is in a checkpoint.
    kind = VectorWrapper if isinstance(env, VectorEnv) else gymnasium.Wrapper
    experiment.loop.env = type("Dying", (kind,), {"step": count_and_step})(env)


def main(arguments: list[str]) -> None:
    """Run one of the trainings: ``straight``, ``killed`` or ``resumed``."""
    role, directory, steps, at = arguments
    try:
        _train(role, Path(directory), int(steps), int(at))
    except GymLoopError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main(sys.argv[1:])
