"""The process that trains one seed of many: told what by a line, tells how it went in a file."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import warnings
from dataclasses import asdict
from io import RawIOBase
from pathlib import Path
from typing import Any

from gym_loop.agents.base_agent import BaseAgent
from gym_loop.config.run_file import ClassConfig, RunConfig, load_config
from gym_loop.envs.making import EnvSpec, WrapperSpec
from gym_loop.loops.base_loop import BaseLoop
from gym_loop.runs.code import read_copies
from gym_loop.runs.console import Console
from gym_loop.runs.directory import directories
from gym_loop.runs.origin import runs_from
from gym_loop.runs.results import TrainingResult
from gym_loop.schema.text import short_warning
from gym_loop.schema.yaml_file import read_yaml
from gym_loop.training.building import Experiment
from gym_loop.training.experiment import train_config


def main() -> None:
    """Read the job, train, reply; the exit status is 0 if the training came to its end."""
    orders = _take_input()
    job = json.loads(orders.readline())
    sys.argv[:] = job["argv"]  # what the user typed, for the manifest
    warnings.formatwarning = short_warning
    threading.Thread(target=_obey, args=(orders,), daemon=True).start()
    reply = Reply(Path(job["reply"]))
    try:
        result = train_job(job, reply)
    except KeyboardInterrupt:  # before the training, or for the second time
        sys.exit(128 + signal.SIGINT)
    except Exception as error:  # noqa: BLE001 - the agent's, the environment's or our own failure
        text = str(error).partition("\n")[0]
        reply.write(error=f"{type(error).__name__}: {text}" if text else type(error).__name__)
        sys.exit(1)
    values = {**asdict(result), "signal": result.signal}
    reply.write(run=result.run, result=values, evaluation=last_evaluation(result))


class Reply:
    """What this process has to say, kept in a file that is replaced in one step.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = {}

    def write(self, **entries: Any) -> None:
        """Add to what is said."""
        self.content.update(entries)
        temporary = self.path.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(self.content, default=str), "utf-8")
            temporary.replace(self.path)
        except OSError:  # whoever asked has gone, and the directory with him
            pass


def train_job(job: dict[str, Any], reply: Reply) -> TrainingResult:
    """Train what a job describes, exactly as ``gym-loop train --seed`` would."""
    config = load_config(
        described(job["config"], job["path"], job["overridden"], job["code"]),
        {"seed": job["seed"]},
        options={"seed": "--seeds"},
    )
    resume = run_of_seed(config) if job["resume"] else None

    def ready(experiment: Experiment) -> None:
        directory = experiment.run.directory
        assert directory is not None
        reply.write(run=directory.run_id)

    return train_config(config, Console(quiet=job["quiet"]), resume=resume or False, ready=ready)


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


def last_evaluation(result: TrainingResult) -> float | None:
    """Mean return of the newest periodic evaluation that the run has left."""
    directory = result.directories.get("eval_logdir")
    found = sorted(directory.glob("step-*.json")) if directory else []
    if not found:
        return None
    mean = json.loads(found[-1].read_text("utf-8"))["return"]["mean"]
    return math.nan if mean is None else float(mean)  # JSON has no NaN


def _take_input() -> RawIOBase:
    """The standard input for us alone; what is trained sees an empty one."""
    # Unbuffered: Python cannot end while a thread waits for a buffered line.
    orders = os.fdopen(os.dup(0), "rb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return orders


def _obey(orders: RawIOBase) -> None:
    """Take the signals that come as lines; whoever sends them has died when no more can come."""
    for line in orders:
        os.kill(os.getpid(), int(line))
    os.kill(os.getpid(), signal.SIGTERM)
