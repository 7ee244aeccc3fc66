"""The process that trains one run of many: told what by a line, tells how it goes by others."""

from __future__ import annotations

import importlib
import json
import math
import os
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from io import RawIOBase
from pathlib import Path
from typing import Any

from gym_loop.agents.base_agent import BaseAgent
from gym_loop.config.run_file import ClassConfig, RunConfig, load_config
from gym_loop.envs.making import EnvSpec, WrapperSpec
from gym_loop.errors import RunError, RunLockedError
from gym_loop.loops.base_loop import BaseLoop
from gym_loop.runs.code import read_copies
from gym_loop.runs.console import Console
from gym_loop.runs.directory import RUN_FILE, RunDirectory, directories
from gym_loop.runs.origin import runs_from
from gym_loop.runs.results import EvaluationResult, TrainingResult, evaluation_scalars
from gym_loop.schema.class_strings import use_instead
from gym_loop.schema.printable import short_warning
from gym_loop.schema.yaml_file import read_yaml
from gym_loop.training.building import Experiment
from gym_loop.training.experiment import evaluate, train_config

# What runs import when they need it; the process has time for it before its job comes.
LATER = (
    "gym_loop.training.resume",
    "gym_loop.checkpoints.files",
    "gym_loop.checkpoints.store",
    "gym_loop.loops.default_loop",
    "gym_loop.runs.loggers.csv_logger",
    "gym_loop.runs.loggers.tensorboard_logger",
    "gym_loop.runs.recording",
    "gymnasium.envs.classic_control",
    "tensorboard.compat.proto.event_pb2",
    "tensorboard.plugins.hparams.plugin_data_pb2",
    "importlib.metadata",
    "numpy.ma",
    "threadpoolctl",
)
LOCK_PATIENCE = 60.0  # seconds that the run's last process, on another node, has to save and end


def main() -> None:
    """Wait for the job, train, and tell; the exit status is 0 if the training came to its end."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # Ray's processes block SIGINT
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it only comes as a line
    orders, messages = _take_input(), Messages(os.dup(1))
    os.dup2(2, 1)
    for module in LATER:
        importlib.import_module(module)
    if not (line := orders.readline()):
        return
    job = json.loads(line)
    sys.argv[:] = job["argv"]  # what the user typed, for the manifest
    os.environ.update(job.get("environment", {}))
    warnings.formatwarning = short_warning
    threading.Thread(target=_obey, args=(orders,), daemon=True).start()
    try:
        os.chdir(job["directory"])
        _redirect(job.get("output"))
        use_instead({Path(was): Path(now) for was, now in job.get("files", {}).items()})
        train_job(job, messages)
    except KeyboardInterrupt:  # before the training, or for the second time
        sys.exit(128 + signal.SIGINT)
    except Exception as error:  # noqa: BLE001 - the agent's, the environment's or our own failure
        text = str(error).partition("\n")[0]
        messages.send(error=f"{type(error).__name__}: {text}" if text else type(error).__name__)
        sys.exit(1)


class Messages:
    """JSON lines to whoever began this process.

    Args:
        handle: file descriptor to write to.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def send(self, **message: Any) -> None:
        """Say something."""
        data = json.dumps(message, default=str).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._handle, data) :]
        except OSError:  # nobody listens any more: the end of the orders says so too
            pass


def train_job(job: Mapping[str, Any], messages: Messages) -> None:
    """Train what a job describes, exactly as ``gym-loop train --seed`` would.

    Args:
        job: what `pool.describe` says, and ``seed``; ``name``: the run's id, which is begun or
            gone on with; without one, ``resume``: whether the newest run of the seed goes on;
            ``evaluate``: whether the final agent is evaluated; ``output``: the file that takes
            what the run prints; ``quiet``.
        messages: are told the run's id and its evaluations, what its training came to, and the
            evaluation of the final agent.
    """
    config = load_config(
        described(job["config"], job["path"], job["overridden"], job["code"]),
        {"seed": job["seed"]},
        options={"seed": "--seeds"},
    )
    parents = directories(config.loop.parameters)

    def ready(experiment: Experiment) -> None:
        directory, loop = experiment.run.directory, experiment.loop
        assert directory is not None
        messages.send(
            run=directory.run_id,
            steps=loop.steps,
            evaluations=history(directory.run_id, parents),
        )

        def tell(result: EvaluationResult) -> None:
            evaluation = {**evaluation_scalars(result), "steps": loop.steps}
            messages.send(steps=loop.steps, evaluations=[evaluation])

        experiment.run.on_evaluation(tell)

    console = Console(quiet=job["quiet"])
    if "name" in job:
        result = _train_patiently(config, console, job["name"], ready)
    else:
        resume = run_of_seed(config) if job["resume"] else None
        result = train_config(config, console, resume=resume or False, ready=ready)
    values = {**asdict(result), "signal": result.signal}
    messages.send(run=result.run, steps=result.steps, result=values)
    if job.get("evaluate") and result.exit_reason == "finished":
        messages.send(final=_final_evaluation(config, result))


def _train_patiently(config: RunConfig, console: Console, name: str, ready: Any) -> TrainingResult:
    """Begin the run, or go on with it; a process of a node that was lost may still hold it."""
    until = time.monotonic() + LOCK_PATIENCE
    while True:
        has_begun = _has_begun(name, directories(config.loop.parameters))
        who = {"resume": name} if has_begun else {"name": name}
        try:
            return train_config(config, console, ready=ready, **who)
        except RunLockedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def _has_begun(run_id: str, parents: dict[str, Path]) -> bool:
    """Whether there is a run to go on with; what was killed while it was made is taken away."""
    if not (parents["logdir"] / run_id).is_dir():
        return False
    if (parents["logdir"] / run_id / RUN_FILE).is_file():
        return True
    run = RunDirectory(run_id, parents)
    run.lock()
    try:
        for parent in parents.values():
            shutil.rmtree(parent / run_id, ignore_errors=True)
    finally:
        run.unlock()
    return False


def _final_evaluation(config: RunConfig, result: TrainingResult) -> dict[str, float]:
    if result.checkpoint is None:
        raise RunError(
            f"{result.run} could not save its agent (see its output), so the trained agent cannot"
            " be evaluated: give it a state_dict() of plain data"
        )
    found = evaluate(config, run=result.run)
    if found.signal is not None:  # it is evaluated when the run goes on
        sys.exit(128 + found.signal)
    return evaluation_scalars(found)


def described(
    text: str, path: str | None, overridden: list[str], code: str | None = None
) -> RunConfig:
    """The config that another process had; its classes are still to be loaded.

    Args:
        text: the run file.
        path: of the run file.
        overridden: keys that were set beside it.
        code: the run whose copies are to be used, by its directory of logs.
    """
    data = read_yaml(text, path or "").data
    agent, env, loop = data["agent"], data["env"], data["loop"]
    wrappers = [WrapperSpec(one["class"], one["parameters"]) for one in env["wrappers"]]
    return RunConfig(
        ClassConfig(agent["class"], BaseAgent, agent["parameters"]),
        EnvSpec(**{**env, "wrappers": wrappers}),
        ClassConfig(loop["class"], BaseLoop, loop["parameters"]),
        path=Path(path) if path else None,
        overridden=overridden,
        copies=None if code is None else read_copies(Path(code)),
    )


def run_of_seed(config: RunConfig) -> str | None:
    """The newest run of this file that has the config's seed."""
    parents = directories(config.loop.parameters)
    runs = runs_from(config.path, parents)
    return next((run.run_id for run in runs if run.manifest().get("seed") == config.seed), None)


def history(run_id: str, parents: Mapping[str, Path]) -> list[dict[str, float]]:
    """The periodic evaluations that the run has left so far, in their order."""
    if "eval_logdir" not in parents:
        return []
    found = []
    for path in sorted((parents["eval_logdir"] / run_id).glob("step-*.json")):
        try:
            values = _scalars(json.loads(path.read_text("utf-8")))
        except (ValueError, KeyError, TypeError):  # cut off in the middle: it comes again
            continue
        found.append({**values, "steps": int(path.stem.removeprefix("step-"))})
    return found


def _scalars(content: dict[str, Any]) -> dict[str, float]:
    """`evaluation_scalars`, from the file of an evaluation."""
    returns, lengths = content["return"], content["length"]
    names = ("mean", "std", "median", "min", "max")
    return {  # in JSON, NaN is null
        **{
            f"eval/return_{name}": math.nan if returns[name] is None else returns[name]
            for name in names
        },
        "eval/length_mean": lengths["mean"],
    }


def _take_input() -> RawIOBase:
    """The standard input for us alone; what is trained sees an empty one."""
    # Unbuffered: Python cannot end while a thread waits for a buffered line.
    orders = os.fdopen(os.dup(0), "rb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return orders


def _redirect(output: str | None) -> None:
    """Let a file take what is printed."""
    if output is not None:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.close(handle)


def _obey(orders: RawIOBase) -> None:
    """Take the signals that come as lines; whoever sends them has died when no more can come."""
    for line in orders:
        os.kill(os.getpid(), int(line))
    os.kill(os.getpid(), signal.SIGTERM)
