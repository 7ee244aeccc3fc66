"""Train or evaluate what a run config describes: the two functions that everything else serves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from gym_loop.checkpoints.seeding import Seeds, check_seed, draw_seed
from gym_loop.checkpoints.tree import saved_count
from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.envs.state.proof import Verdict
from gym_loop.errors import SeedsFailedError, UsageError
from gym_loop.runs.compatibility import NOT_HELD
from gym_loop.runs.console import Console
from gym_loop.runs.directory import RunDirectory, directories, refuse_obstacles
from gym_loop.runs.metrics import logger_classes
from gym_loop.runs.results import EvaluationResult, TrainingResult, write_evaluation
from gym_loop.runs.signals import stop_signals
from gym_loop.runs.training_run import TrainingRun
from gym_loop.training.building import Experiment, check_visible, shown
from gym_loop.training.many_seeds import check_seeds, train_seeds
from gym_loop.training.own_code import find_copies, tell_code
from gym_loop.training.resume import (
    find_run,
    lift_default_budget,
    refuse_without_checkpoints,
    resumed_config,
    trained_config,
)
from gym_loop.training.run_files import RunFiles

if TYPE_CHECKING:
    from gym_loop.checkpoints.store import Checkpoint

Source = str | Path | Mapping[str, Any] | RunConfig
Overrides = Iterable[str] | Mapping[str, Any]


@overload
def train(
    source: Source,
    overrides: Overrides = (),
    *,
    seed: int | None = None,
    name: str | None = None,
    resume: str | bool = False,
    code: str | None = None,
    quiet: bool = True,
) -> TrainingResult: ...


@overload
def train(
    source: Source,
    overrides: Overrides = (),
    *,
    seeds: Iterable[int],
    jobs: int | None = None,
    ray: str | None = None,
    resume: bool = False,
    code: str | None = None,
    quiet: bool = True,
) -> list[TrainingResult]: ...


def train(
    source: Source,
    overrides: Overrides = (),
    *,
    seed: int | None = None,
    seeds: Iterable[int] | None = None,
    jobs: int | None = None,
    ray: str | None = None,
    name: str | None = None,
    resume: str | bool = False,
    code: str | None = None,
    quiet: bool = True,
) -> TrainingResult | list[TrainingResult]:
    """Train the agent of a run config, once or with many seeds.

    Args:
        source: path of a run file, its content as nested mappings, or a loaded config.
        overrides: ``dotted.key=value`` texts, or a mapping of dotted keys.
        seed: in place of the config's.
        seeds: train one run a seed, each in a process of its own; a list of results in their
            order is returned. Without ``resume``, or with ``resume=True``, which continues the
            newest run of each seed.
        jobs: of the seeds, so many are trained at once; by default one a core.
        ray: address of a Ray cluster to train the seeds on; by default that of RAY_ADDRESS, else
            processes of this machine.
        name: the run's id; by default the file's stem and a number.
        resume: True continues the newest run of this file, an id that run.
        code: ``"run"`` loads the copies of your files that the run has kept (the one that is
            resumed, else the newest of this file), ``"files"`` the files as they are now; by
            default the copies where the file is a run's own ``run.yaml``, else the files.
        quiet: show warnings only.

    Raises:
        GymLoopError: the config cannot be used; nothing has been created then.
        SeedsFailedError: some of the seeds failed; its ``results`` are those of the others.
        Exception: whatever the agent or the environment raised, after a checkpoint was saved.
    """
    of_run = resume if isinstance(resume, str) else None
    config = load_config(source, overrides, code=find_copies(source, overrides, of_run, code))
    if seeds is not None:
        if seed is not None or name is not None or isinstance(resume, str):
            raise UsageError("seeds are many runs: seed, name, and a run to resume are for one")
        wanted = check_seeds(seeds)
        found = train_seeds(config, wanted, jobs=jobs, resume=resume, ray=ray, quiet=quiet)
        results = [one.result for one in found.outcomes if one.result is not None]
        failed = [f"seed {one.seed}: {one.error}" for one in found.outcomes if one.error]
        if failed:
            raise SeedsFailedError("\n".join(failed), results)
        return results
    if jobs is not None or ray is not None:
        what = "ray" if jobs is None else "jobs"
        raise UsageError(f"{what} is for many seeds: give seeds as well")
    if seed is not None:
        config = load_config(config, {"seed": seed}, options={"seed": "--seed"})
    return train_config(config, Console(quiet=quiet), name=name, resume=resume)


def train_config(
    config: RunConfig,
    console: Console,
    *,
    name: str | None = None,
    resume: str | bool = False,
    ready: Callable[[Experiment], None] | None = None,
) -> TrainingResult:
    """Begin or resume the run of a loaded config; see `train`.

    Args:
        config: the config.
        console: what a person sees.
        name: the run's id.
        resume: True for the newest run, an id for that one.
        ready: called right before the first step.
    """
    if not resume:
        if config.seed is None:
            config = config.with_seed(draw_seed())
        config = lift_default_budget(config, config.overridden, console.message)
        return _train(config, console, None, name=name, ready=ready)
    if name is not None:
        raise UsageError("--name and --resume exclude each other: a resumed run keeps its id")
    directory = find_run(config, None if resume is True else resume)
    refuse_without_checkpoints(directory)
    refuse_obstacles(map(directory.path, directory.parents), "make it writable, or resume a copy")
    directory.lock()
    try:
        config, changed = resumed_config(config, directory, console.message)
        return _train(config, console, directory, changed=changed, ready=ready)
    finally:
        directory.unlock()


def _train(
    config: RunConfig,
    console: Console,
    directory: RunDirectory | None,
    *,
    name: str | None = None,
    changed: Sequence[str] = (),
    ready: Callable[[Experiment], None] | None,
) -> TrainingResult:
    """Build, create or reopen the run's files, train, and finish them whatever happens.

    Args:
        config: with a seed.
        console: what a person sees.
        directory: of an existing run to resume, locked; None creates one.
        name: id of the new run.
        changed: keys of the config that differ from those the run was trained with so far.
        ready: called right before the first step.
    """
    parameters, resumed = config.loop.parameters, directory is not None
    run = TrainingRun(Seeds(config.seed or 0), console=console)
    with config.code_in_use(), ExitStack() as at_the_end:
        experiment = Experiment(config, run, **shown(config))
        at_the_end.callback(run.close_env, experiment.env)
        # Whatever the user can have got wrong comes first: nothing has been created yet.
        verdict = _verdict(experiment, directory, changed)
        check_visible(config)
        if parameters.get("episodes_per_eval"):
            check_visible(config, evaluation=True)
        logger_classes(parameters.get("loggers", []), config.env.search)
        if directory is None:
            experiment.check_saveable()
            directory = RunDirectory.create(config.stem, directories(parameters), name=name)
        at_the_end.callback(directory.unlock)
        try:
            files = RunFiles(experiment, verdict, directory, changed)
            files.begin(resumed)
        except BaseException:
            if not resumed:
                directory.discard()
            raise
        if ready is not None:
            ready(experiment)
        return files.train()


def _verdict(
    experiment: Experiment, directory: RunDirectory | None, changed: Sequence[str]
) -> Verdict:
    """Whether the run can go on exactly, by the method of its checkpoints where it has some."""
    if "checkpoint_dir" not in directories(experiment.config.loop.parameters):
        return Verdict(False, "restart", "checkpoint_dir is null: nothing is saved", "")
    method = None
    if directory is not None and not any(key.startswith("env.") for key in changed):
        method = (directory.manifest().get("resume") or {}).get("method")
    return experiment.keep_environment_state(method if isinstance(method, str) else None)


def evaluate(
    source: Source,
    overrides: Overrides = (),
    *,
    run: str | None = None,
    checkpoint: str | Path = "latest",
    episodes: int | None = None,
    record: bool | None = None,
    render: bool | None = None,
    seed: int | None = None,
    untrained: bool = False,
    code: str | None = None,
    quiet: bool = True,
) -> EvaluationResult:
    """Evaluate the agent of a run config: no ``memorize``, no ``update``, no exploration.

    Ctrl-C ends it with those episodes that are over; ``signal`` of the result says so.

    Args:
        source: as in `train`.
        overrides: as in `train`.
        run: id of the run whose agent is loaded; by default the newest of this file.
        checkpoint: ``"latest"``, ``"best"`` or a checkpoint's path.
        episodes: in place of the loop's ``eval_episodes``.
        record: in place of ``eval_record`` (true: every episode).
        render: in place of ``eval_render``.
        seed: leads to the seeds of the episodes; by default the config's, or the run's.
        untrained: the agent as it is made, and no run's.
        code: as in `train`; the run is the one that is evaluated.
        quiet: show warnings only.

    Raises:
        GymLoopError: the config, the run or the checkpoint cannot be used; nothing has been created
            then. An agent that learns nothing needs no checkpoint.
    """
    wishes = {
        "eval_episodes": ("--episodes", episodes),
        "eval_record": ("--record", int(record) if record is not None else None),
        "eval_render": ("--render", render),
    }
    is_path = str(checkpoint) not in ("latest", "best")
    of_run = run or (Path(checkpoint).resolve().parent.name if is_path else None)
    config = load_config(source, overrides, code=find_copies(source, overrides, of_run, code))
    for name, (option, wish) in wishes.items():
        if wish is not None:
            key = f"loop.parameters.{name}"
            config = load_config(config, {key: wish}, options={key: option})
    console = Console(quiet=quiet)
    config, directory, found = trained_config(
        config, run, checkpoint, console.warning, untrained=untrained
    )
    if seed is not None or config.seed is None:
        config = config.with_seed(check_seed(seed, "--seed") if seed is not None else draw_seed())
    with config.code_in_use():
        return _evaluate(config, directory, found, console)


def _evaluate(
    config: RunConfig,
    directory: RunDirectory | None,
    found: Checkpoint | None,
    console: Console,
) -> EvaluationResult:
    """Play what `evaluate` has decided on, and write it down."""
    assert config.seed is not None
    parameters = config.loop.parameters
    check_visible(config, evaluation=True)
    training_run = TrainingRun(Seeds(config.seed), console=console)
    visible = shown(config, evaluation=True)
    experiment = Experiment(config, training_run, **visible, evaluation=True)
    try:
        tell_code(config, directory, console)
        if found is not None:
            training_run.check_fits(experiment.loop, found)
            training_run.load_agent(experiment.agent, found)
            _tell_not_held(directory, console)
            with found.loading():
                experiment.loop.episode = saved_count(found.info, "episode")
            experiment.loop.steps = found.step
        training_run.directory = directory or RunDirectory(
            f"{config.stem}-untrained", directories(parameters)
        )
        recorded = parameters.get("eval_record", False)
        training_run.prepare_evaluation(lambda: experiment.env, recorded)
        with stop_signals(training_run.request_stop):
            played = experiment.loop.evaluate()
        complete = _finish_videos(training_run)
        result = EvaluationResult(
            played,
            run=directory.run_id if directory else None,
            checkpoint=str(found.path) if found else None,
            signal=training_run.stop_signal,
        )
        if result.signal is not None:  # not the evaluation that was asked for: a report reads those
            console.warning(
                f"stopped after {len(played)} episodes: what they came to is written to no file"
            )
        else:
            complete &= _write(training_run, result)
        return replace(result, complete=complete)
    finally:
        training_run.close("finished")
        training_run.close_env(experiment.env)


def _tell_not_held(directory: RunDirectory | None, console: Console) -> None:
    """Say what the agent may have learnt that its checkpoints do not hold."""
    reason = str(directory.manifest().get("resume", {}).get("reason", "")) if directory else ""
    if reason.startswith(NOT_HELD):
        console.warning(f"{reason}: the agent plays with what __init__ and the file make of it")


def _finish_videos(run: TrainingRun) -> bool:
    """Say where they are; False if one could not be written."""
    recorder = run.evaluation_recorder
    if recorder is None or run.directory is None:
        return True
    recorder.close()
    if not recorder.failed:
        run.console.message(f"videos: {run.directory.path('eval_record_dir')}")
    return not recorder.failed


def _write(run: TrainingRun, result: EvaluationResult) -> bool:
    """Leave the evaluation beside those of the training, under the next free number."""
    if run.directory is None or "eval_logdir" not in run.directory.parents:
        return True
    directory = run.directory.path("eval_logdir")
    number = 1
    while os.path.exists(directory / f"evaluate-{number}.json"):
        number += 1
    path = directory / f"evaluate-{number}.json"
    return write_evaluation(path, result, run.console.warning)
