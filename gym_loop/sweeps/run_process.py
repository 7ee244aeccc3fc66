"""One run of a trial, in a process of its own: train, evaluate at the end, tell by a socket."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.errors import RunError, RunLockedError
from gym_loop.runs.console import Console
from gym_loop.runs.directory import RUN_FILE, RunDirectory, directories
from gym_loop.runs.results import EvaluationResult, TrainingResult, evaluation_scalars
from gym_loop.schema.class_strings import use_instead
from gym_loop.schema.text import short_warning
from gym_loop.sweeps.forking import fork_run
from gym_loop.training.building import Experiment
from gym_loop.training.experiment import evaluate, train_config
from gym_loop.training.seed_worker import described

LOCK_PATIENCE = 60.0  # seconds that the run's last process, on another node, has to save and end


class Talk:
    """The two-way line to the trial: JSON lines, from here what happens, to here what to do.

    Args:
        line: the socket; when it closes, whoever listened has died.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._go_on = threading.Semaphore(0)
        threading.Thread(target=self._obey, daemon=True).start()

    def send(self, **message: Any) -> None:
        """Say something."""
        try:
            self._line.sendall(json.dumps(message, default=str).encode() + b"\n")
        except OSError:  # nobody listens: the thread has seen it too
            pass

    def wait(self) -> None:
        """Wait until the run may go on, or is to stop."""
        self._go_on.acquire()

    def _obey(self) -> None:
        with self._line.makefile("rb") as orders:
            for order in orders:
                if json.loads(order) != "go":
                    break
                self._go_on.release()
        os.kill(os.getpid(), signal.SIGTERM)
        self._go_on.release()


def train_run(job: dict[str, Any], line: socket.socket) -> None:
    """Train what a job describes, and say how it went; see `Run.job` in ``trial.py``."""
    sys.argv[:] = job["argv"]
    warnings.formatwarning = short_warning
    talk = Talk(line)
    try:
        os.chdir(job["directory"])
        use_instead({Path(was): Path(now) for was, now in job["files"].items()})
        _train(job, talk)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:  # noqa: BLE001 - the agent's, the environment's or our own failure
        text = str(error).partition("\n")[0]
        talk.send(error=f"{type(error).__name__}: {text}" if text else type(error).__name__)
        sys.exit(f"{type(error).__name__}: {error}")


def _train(job: dict[str, Any], talk: Talk) -> None:
    config = load_config(
        described(job["config"], job["path"], job["overridden"], job["code"]),
        {"seed": job["seed"]},
        options={"seed": "seeds"},
    )
    parents = directories(config.loop.parameters)

    def ready(experiment: Experiment) -> None:
        loop, run = experiment.loop, experiment.run
        talk.send(run=job["run"], steps=loop.steps, history=history(job["run"], parents))

        def tell(result: EvaluationResult) -> None:
            talk.send(steps=loop.steps, scalars=evaluation_scalars(result))
            if job["in_step"] and loop.limit() is None:
                loop.save("periodic")
                talk.send(saved=loop.steps)
                talk.wait()

        run.on_evaluation(tell)

    result = _train_patiently(job, config, ready)
    talk.send(trained=result.exit_reason, steps=result.steps, seconds=result.seconds)
    if result.exit_reason == "finished":
        talk.send(steps=result.steps, final=_final_evaluation(job, config, result))


def _train_patiently(job: dict[str, Any], config: RunConfig, ready: Any) -> TrainingResult:
    """Begin the run, or go on with it; a process of a node that was lost may still hold it."""
    until = time.monotonic() + LOCK_PATIENCE
    parents = directories(config.loop.parameters)
    origin = job["origin"]
    if origin is not None and not _has_begun(job["run"], parents):
        fork_run(origin["run"], job["run"], Path(origin["checkpoint"]), parents)
    while True:
        has_begun = _has_begun(job["run"], parents)
        try:
            return train_config(
                config,
                Console(quiet=True),
                name=None if has_begun else job["run"],
                resume=job["run"] if has_begun else False,
                ready=ready,
            )
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


def history(run_id: str, parents: dict[str, Path]) -> list[dict[str, Any]]:
    """The periodic evaluations that the run has left so far, in their order."""
    if "eval_logdir" not in parents:
        return []
    found = []
    for path in sorted((parents["eval_logdir"] / run_id).glob("step-*.json")):
        try:
            scalars = _scalars(json.loads(path.read_text("utf-8")))
        except (ValueError, KeyError, TypeError):  # cut off in the middle: it comes again
            continue
        found.append({"steps": int(path.stem.removeprefix("step-")), "scalars": scalars})
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


def _final_evaluation(
    job: dict[str, Any], config: RunConfig, result: TrainingResult
) -> dict[str, float]:
    if result.checkpoint is None:
        raise RunError(
            f"{result.run} could not save its agent (see its output), so the trained agent cannot"
            " be evaluated: give it a state_dict() of plain data"
        )
    found = evaluate(config, run=job["run"])
    if found.signal is not None:  # the sweep is to stop: it is evaluated when it goes on
        sys.exit(128 + found.signal)
    return evaluation_scalars(found)
