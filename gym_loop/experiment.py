"""From a run config to a trained or evaluated agent."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gym_loop.config import RunConfig, flatten, load_config, value_at
from gym_loop.envs.making import close_quietly, frame_source
from gym_loop.envs.state import Verdict, keep_state, prove
from gym_loop.errors import GymLoopError, RunError, SpaceError
from gym_loop.loops.upkeep import write_evaluation
from gym_loop.results import EvaluationResult, TrainingResult
from gym_loop.runs import manifest
from gym_loop.runs.checkpoint import Checkpoint, CheckpointStore
from gym_loop.runs.console import Console
from gym_loop.runs.directory import RUN_FILE, RunDirectory
from gym_loop.runs.metrics import Metrics, make_loggers
from gym_loop.runs.signals import stop_signals
from gym_loop.runs.training_run import TrainingRun, directories
from gym_loop.seeding import Seeds, check_seed, draw_seed, seed_global_streams

Source = str | Path | Mapping[str, Any] | RunConfig
Overrides = Iterable[str] | Mapping[str, Any]


class Experiment:
    """The environment, the agent and the loop of one config, made and seeded.

    Args:
        config: a checked config with a seed.
        run: the services of the run.
        render: the environment shows itself in a window.
        record: the environment gives frames to a recorder.

    Raises:
        EnvError: the environment cannot be made.
        SpaceError: the agent cannot be made for its spaces.
    """

    def __init__(
        self, config: RunConfig, run: TrainingRun, *, render: bool = False, record: bool = False
    ) -> None:
        assert config.seed is not None
        self.config = config
        self.run = run
        parameters = dict(config.loop.parameters)
        seed_global_streams(run.seeds)
        self.env = self.make_env(render, record)
        try:
            self.agent = self.make_agent()
            self.loop = config.loop.cls(agent=self.agent, env=self.env, run=run, **parameters)
        except BaseException:
            close_quietly(self.env)
            raise
        run.environment_info = {
            "observation_space": str(self.env.observation_space),
            "action_space": str(self.env.action_space),
        }

    def make_env(self, render: bool, record: bool) -> Any:
        """Make the loop's environment and seed its spaces."""
        parameters = dict(self.config.loop.parameters)
        env = self.config.loop.cls.make_env(
            self.config.env, parameters, render=render, record=record
        )
        env.action_space.seed(self.run.seeds.integer("action_space"))
        env.observation_space.seed(self.run.seeds.integer("observation_space"))
        return env

    def make_agent(self) -> Any:
        """Make the agent for the environment's spaces."""
        env, agent = self.env, self.config.agent
        spaces = {
            "observation_space": getattr(env, "single_observation_space", env.observation_space),
            "action_space": getattr(env, "single_action_space", env.action_space),
        }
        try:
            return agent.cls(
                **agent.parameters,
                **spaces,
                n_envs=getattr(env, "num_envs", 1),
                seed=self.run.seeds.integer("agent"),
            )
        except GymLoopError:
            raise
        except Exception as error:
            raise SpaceError(
                f"the agent {agent.class_name} could not be made for {spaces['observation_space']}"
                f" and {spaces['action_space']}:\n{_own_frames(error)}"
            ) from error

    def keep_environment_state(self) -> Verdict:
        """Find out how the environment's state can be saved, prove it, and arrange for it."""
        parameters = dict(self.config.loop.parameters)
        verdict = prove(
            lambda: self.config.loop.cls.make_env(self.config.env, parameters), self.run.seeds.seed
        )
        state = keep_state(self.env, verdict.method)
        self.run.env_state, self.loop.env = state, state.env
        return verdict


def train(
    source: Source,
    overrides: Overrides = (),
    *,
    seed: int | None = None,
    name: str | None = None,
    resume: str | bool = False,
    quiet: bool = True,
) -> TrainingResult:
    """Train the agent of a run config.

    Args:
        source: path of a run file, its content as nested mappings, or a loaded config.
        overrides: ``dotted.key=value`` texts, or a mapping of dotted keys.
        seed: in place of the config's.
        name: the run's id; by default the file's stem and a number.
        resume: True continues the newest run of this file, an id that run.
        quiet: show warnings only.

    Raises:
        GymLoopError: the config cannot be used; nothing has been created then.
        Exception: whatever the agent or the environment raised, after a checkpoint was saved.
    """
    from gym_loop.resume import find_run, resumed_config

    overrides = _with_seed(overrides, seed)
    config = load_config(source, overrides)
    console = Console(quiet=quiet)
    if resume:
        if name is not None:
            raise RunError("--name and --resume exclude each other: a resumed run keeps its id")
        directory = find_run(config, None if resume is True else resume)
        directory.lock()
        try:
            config = resumed_config(config, directory)
            return train_prepared(config, directory, console, resumed=True)
        finally:
            directory.unlock()
    if config.seed is None:
        config = config.with_seed(draw_seed())
    return train_prepared(config, None, console, name=name)


def _with_seed(overrides: Overrides, seed: int | None) -> dict[str, Any] | list[str]:
    if isinstance(overrides, Mapping):
        return {**overrides, **({"seed": seed} if seed is not None else {})}
    return [*overrides, *([f"seed={seed}"] if seed is not None else [])]


def train_prepared(
    config: RunConfig,
    directory: RunDirectory | None,
    console: Console,
    *,
    name: str | None = None,
    resumed: bool = False,
    ready: Callable[[Experiment], None] | None = None,
) -> TrainingResult:
    """Build, create or reopen the run's files, train, and finish them whatever happens.

    Args:
        config: with a seed.
        directory: of an existing run, locked; None creates one.
        console: what a person sees.
        name: id of the new run.
        resumed: go back to the newest checkpoint first.
        ready: called right before the first step.
    """
    parameters = config.loop.parameters
    run = TrainingRun(Seeds(config.seed or 0), console=console)
    experiment = Experiment(
        config, run, render=bool(parameters.get("render")), record=bool(parameters.get("record"))
    )
    try:
        verdict = experiment.keep_environment_state()
        _check_recording(config, experiment)
        if directory is None:
            directory = RunDirectory.create(config.stem, directories(parameters), name=name)
        try:
            _open_files(experiment, directory, resumed)
            checkpoint = run.checkpoints.newest() if resumed and run.checkpoints else None
            _begin(experiment, verdict, checkpoint)
            if ready is not None:
                ready(experiment)
            return _finish(experiment, _run_loop(experiment))
        finally:
            directory.unlock()
    finally:
        close_quietly(experiment.env)


def _open_files(experiment: Experiment, directory: RunDirectory, resumed: bool) -> None:
    """Attach loggers, checkpoints and recorders to the run."""
    config, run = experiment.config, experiment.run
    parameters = config.loop.parameters
    loggers = make_loggers(
        directory.logs, directory.run_id, parameters.get("loggers", []), config.env.search
    )
    run.directory = directory
    run.metrics = Metrics(loggers, run.console.warning)
    if "checkpoint_dir" in directory.parents:
        run.checkpoints = CheckpointStore(
            directory.path("checkpoint_dir"),
            keep=parameters.get("keep_checkpoints", 3),
            warn=run.console.warning,
        )
    if parameters.get("record"):
        run.record_training(experiment.env, parameters["record"])
    run.prepare_evaluation(
        lambda: experiment.make_env(
            bool(parameters.get("eval_render")), bool(parameters.get("eval_record"))
        ),
        parameters.get("eval_record", False),
    )
    if not resumed:
        (directory.logs / RUN_FILE).write_text(config.portable().to_yaml(), encoding="utf-8")


def _begin(experiment: Experiment, verdict: Verdict, checkpoint: Checkpoint | None) -> None:
    """Write the manifest, start the loggers, and go back to the checkpoint if there is one."""
    config, run = experiment.config, experiment.run
    assert run.directory is not None
    facts = {
        "status": "running",
        "exit_reason": None,
        "ended": None,
        "resume": {
            "verdict": "exact" if verdict.exact else "approximate",
            "method": verdict.method,
            "reason": verdict.reason,
            "remedy": verdict.remedy,
        },
    }
    if checkpoint is None:
        run.directory.note(
            run=run.directory.run_id,
            command=sys.argv,
            config=str(config.path.resolve()) if config.path else None,
            agent=config.agent.class_name,
            loop=config.loop.class_name,
            env=config.env.name,
            seed=config.seed,
            started=manifest.now(),
            overrides=_overrides(config),
            resumes=[],
            **facts,
        )
        run.console.message(f"{run.directory.run_id}: seed {config.seed}, {run.directory.logs}")
    else:
        earlier = run.directory.manifest().get("resumes", [])
        again = {"at": manifest.now(), "step": checkpoint.step, "command": sys.argv}
        run.directory.note(**facts, overrides=_overrides(config), resumes=[*earlier, again])
        run.load(experiment.loop, checkpoint)
        (run.directory.logs / RUN_FILE).write_text(config.portable().to_yaml(), encoding="utf-8")
        run.console.message(f"{run.directory.run_id}: resumed at step {checkpoint.step:,}")
        upkeep = getattr(experiment.loop, "upkeep", None)
        if upkeep is not None and upkeep.is_used_up():
            run.console.message(
                "nothing is left to train: raise the budget with"
                " --set loop.parameters.max_episodes=N (or max_steps)"
            )
    if not verdict.exact:
        run.console.warning(f"resuming will be approximate: {verdict.reason}; {verdict.remedy}")
    run.metrics.start(_hyperparameters(config))
    _note_surroundings(run.directory, config)


def _note_surroundings(directory: RunDirectory, config: RunConfig) -> None:
    """Add versions, git commit and hardware in the background: they take a while to find out."""

    def work() -> None:
        code = config.path.resolve().parent if config.path else Path.cwd()
        facts = {
            "versions": manifest.versions(),
            "hardware": manifest.hardware(),
            "git": manifest.git_state(code),
        }
        try:
            directory.note(**facts)
        except OSError:
            pass  # the directory has gone, or the disk is full: the run itself will say so

    threading.Thread(target=work, name="manifest").start()


def _overrides(config: RunConfig) -> dict[str, Any]:
    """What was set beside the file, so that a resume or an evaluation need not repeat it."""
    return {key: value_at(config.as_dict(), key) for key in config.overridden}


def _hyperparameters(config: RunConfig) -> dict[str, bool | int | float | str]:
    """The config as flat scalars; what is no scalar is left to run.yaml."""
    flat = flatten(config.as_dict())
    return {key: value for key, value in flat.items() if isinstance(value, (bool, int, float, str))}


def _run_loop(experiment: Experiment) -> str:
    """Train; returns the exit reason. Whatever is raised is noted, saved and raised again."""
    run, loop = experiment.run, experiment.loop
    try:
        with stop_signals(run.request_stop):
            loop.train()
            reason = "stopped" if run.stop_requested else "finished"
            run.save(loop, wait=True, reason=reason)
        return reason
    except Exception as error:
        _note_failure(experiment, error)
        raise
    except BaseException:
        _end(experiment, "killed", steps=loop.steps)
        raise


def _note_failure(experiment: Experiment, error: Exception) -> None:
    """Save what can be saved of a training that raised, and write down why."""
    run, loop = experiment.run, experiment.loop
    run.console.warning(f"training failed at step {loop.steps:,}: {type(error).__name__}: {error}")
    try:
        run.save(loop, wait=True, reason="failed")
    except Exception as second:  # noqa: BLE001 - the first error is the one to raise
        run.console.warning(f"and its checkpoint could not be saved: {second}")
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    _end(experiment, "failed", steps=loop.steps, traceback=text)


def _end(experiment: Experiment, reason: str, **facts: Any) -> None:
    run, loop = experiment.run, experiment.loop
    run.close(reason)
    assert run.directory is not None
    try:
        run.directory.note(
            status=reason,
            exit_reason=signal.Signals(run.stop_signal).name if run.stop_signal else reason,
            ended=manifest.now(),
            seconds=round(run.seconds, 3),
            episodes=loop.episode,
            **facts,
        )
    except OSError as error:
        run.console.warning(f"the manifest could not be written: {error}")


def _finish(experiment: Experiment, reason: str) -> TrainingResult:
    run, loop = experiment.run, experiment.loop
    _end(experiment, reason, steps=loop.steps)
    assert run.directory is not None
    returns = list(getattr(getattr(loop, "upkeep", None), "last_returns", []))
    steps = run.checkpoints.steps() if run.checkpoints else []
    return TrainingResult(
        run=run.directory.run_id,
        exit_reason=reason,
        episodes=loop.episode,
        steps=loop.steps,
        seconds=run.seconds,
        mean_return=sum(returns) / len(returns) if returns else None,
        best_evaluation=run.best_evaluation,
        directories={
            key: path for key in run.directory.parents if (path := run.directory.path(key)).is_dir()
        },
        checkpoint=run.checkpoints.path(steps[-1]) if run.checkpoints and steps else None,
        signal=run.stop_signal,
    )


def _check_recording(config: RunConfig, experiment: Experiment) -> None:
    """Find out before the training, not in the middle of it, whether it can be seen and recorded."""
    parameters = config.loop.parameters
    wishes = {
        (bool(parameters.get("render")), bool(parameters.get("record"))),
        (bool(parameters.get("eval_render")), bool(parameters.get("eval_record")))
        if parameters.get("episodes_per_eval")
        else (False, False),
    }
    for render, record in wishes - {(False, False)}:
        check_visible(config, render=render, record=record)


def check_visible(config: RunConfig, *, render: bool, record: bool) -> None:
    """Show and encode one frame of a fresh environment.

    Raises:
        RenderError: there is no display, or no frames.
        RecordingError: no video can be encoded.
    """
    from gym_loop.envs.making import check_window
    from gym_loop.runs.recording import check_recording

    parameters = dict(config.loop.parameters)
    env = config.loop.cls.make_env(config.env, parameters, render=render, record=record)
    try:
        if render:
            check_window(env, config.env.name)
        if record:
            env.reset()
            check_recording(frame_source(env))
    finally:
        close_quietly(env)


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
    quiet: bool = True,
) -> EvaluationResult:
    """Evaluate the agent of a run config: no ``memorize``, no ``update``, no exploration.

    Args:
        source: as in `train`.
        overrides: as in `train`.
        run: id of the run whose agent is loaded; by default the newest of this file.
        checkpoint: ``"latest"``, ``"best"`` or a checkpoint's path.
        episodes: in place of the loop's ``eval_episodes``.
        record: in place of ``eval_record`` (true: every episode).
        render: in place of ``eval_render``.
        seed: leads to the seeds of the episodes; by default the config's, or the run's.
        quiet: show warnings only.

    Raises:
        GymLoopError: the config, the run or the checkpoint cannot be used.
    """
    from gym_loop.resume import trained_config

    changes: dict[str, Any] = {
        "loop.parameters.eval_episodes": episodes,
        "loop.parameters.eval_record": int(record) if record is not None else None,
        "loop.parameters.eval_render": render,
    }
    config = load_config(source, overrides)
    config = load_config(
        config, {key: value for key, value in changes.items() if value is not None}
    )
    console = Console(quiet=quiet)
    config, directory, found = trained_config(config, run, checkpoint, console.warning)
    if seed is not None or config.seed is None:
        config = config.with_seed(check_seed(seed) if seed is not None else draw_seed())
    assert config.seed is not None
    parameters = config.loop.parameters
    visible = {
        "render": bool(parameters.get("eval_render")),
        "record": bool(parameters.get("eval_record")),
    }
    if any(visible.values()):
        check_visible(config, **visible)
    training_run = TrainingRun(Seeds(config.seed), console=console)
    experiment = Experiment(config, training_run, **visible)
    try:
        if found is not None:
            training_run.check_fits(experiment.loop, found)
            training_run.load_agent(experiment.agent, found)
            experiment.loop.episode, experiment.loop.steps = found.info["episode"], found.step
        training_run.directory = directory or RunDirectory(
            f"{config.stem}-untrained", directories(parameters)
        )
        training_run.prepare_evaluation(
            lambda: experiment.env, parameters.get("eval_record", False)
        )
        played = experiment.loop.evaluate()
        result = EvaluationResult(
            played,
            run=directory.run_id if directory else None,
            checkpoint=str(found.path) if found else None,
        )
        _write_evaluation(training_run, result)
        return result
    finally:
        training_run.close("finished")
        close_quietly(experiment.env)


def _write_evaluation(run: TrainingRun, result: EvaluationResult) -> None:
    assert run.directory is not None
    if "eval_logdir" not in run.directory.parents:
        return
    directory = run.directory.path("eval_logdir")
    number = 1
    while (directory / f"evaluate-{number}.json").exists():
        number += 1
    write_evaluation(directory / f"evaluate-{number}.json", result, run.console.warning)


def _own_frames(error: BaseException) -> str:
    """The traceback of a user's class, without our own first frame."""
    tail = error.__traceback__.tb_next if error.__traceback__ else None
    return "".join(traceback.format_exception(type(error), error, tail)).rstrip()
