"""One training with the files of its run: begun or resumed, and finished whatever happens."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gym_loop.checkpoints.seeding import capture_global_streams, restore_global_streams
from gym_loop.config.run_config import hyperparameters, overrides_of
from gym_loop.envs.state.proof import Verdict
from gym_loop.errors import CheckpointMissingError, GymLoopError, RunError
from gym_loop.runs import manifest
from gym_loop.runs.directory import RUN_FILE, RunDirectory
from gym_loop.runs.metrics import Metrics, make_loggers
from gym_loop.runs.origin import origin, origin_now
from gym_loop.runs.results import TrainingResult
from gym_loop.runs.signals import stop_signals
from gym_loop.runs.stopwatch import Stopwatch
from gym_loop.runs.system_info import Surroundings
from gym_loop.schema.old_code import explained
from gym_loop.schema.printable import encodable
from gym_loop.training.building import Experiment
from gym_loop.training.own_code import CodeKeeper
from gym_loop.training.resume import with_new_parameters

if TYPE_CHECKING:
    from gym_loop.checkpoints.store import Checkpoint


class RunFiles:
    """The files of one training, from opening to closing.

    Args:
        experiment: what is trained.
        verdict: on the state of its environment.
        directory: of the run, locked.
        changed: keys of the config that differ from those the run was trained with so far.
    """

    def __init__(
        self,
        experiment: Experiment,
        verdict: Verdict,
        directory: RunDirectory,
        changed: Sequence[str],
    ) -> None:
        self.experiment = experiment
        self.config, self.run, self.loop = experiment.config, experiment.run, experiment.loop
        self.verdict, self.directory, self.changed = verdict, directory, changed
        run, parameters, path = self.run, self.config.loop.parameters, self.config.path
        place = path.resolve().parent if path else Path.cwd()
        self.surroundings = Surroundings(directory, place, run.console.warning)
        self.code = CodeKeeper(self.config, directory, run.console)
        run.on_save = self.code.look_again
        run.directory = directory
        if parameters.get("profile"):
            run.stopwatch = Stopwatch()
        self._saves = "checkpoint_dir" in directory.parents
        if self._saves:
            checkpoints = directory.path("checkpoint_dir")
            run.keep_checkpoints(checkpoints, parameters.get("keep_checkpoints", 3))
        if parameters.get("record"):
            run.record_training(experiment.env, parameters["record"])
        render, record = bool(parameters.get("eval_render")), parameters.get("eval_record", False)
        run.prepare_evaluation(
            lambda: experiment.make_env(render, bool(record), evaluation=True),
            record,
            in_windows=render and bool(parameters.get("render")),
        )
        self.loop.evaluate = run.each_by_itself(self.loop.evaluate)

    # -- the beginning -------------------------------------------------------------------

    def begin(self, resumed: bool) -> None:
        """Go back to the newest checkpoint, write the manifest, start the loggers.

        Whatever can be refused comes before the first byte is written: a run that is resumed in
        vain stays as it was.
        """
        checkpoint = self._newest() if resumed else None
        if checkpoint is not None:
            self._go_back(checkpoint)
        elif resumed:
            self.experiment.check_saveable()
        logs = self.directory.logs
        new = logs / f".{RUN_FILE}.{os.getpid()}"
        try:
            new.write_text(self.config.portable().to_yaml(), "utf-8")  # finds a full disk
            self._start_loggers(checkpoint)
            self._note_beginning(resumed, checkpoint)
            new.replace(logs / RUN_FILE)
        except OSError as error:
            reason = f"{error.strerror}; make room, or choose another loop.parameters.logdir"
            raise RunError(f"{logs} cannot be written: {reason}") from None
        finally:
            new.unlink(missing_ok=True)
        step = checkpoint.step if checkpoint is not None else 0
        self.code.begin(step if resumed else None)
        if checkpoint is not None:
            self._forget_evaluations_after(checkpoint.step)
        elif resumed:
            self._start_over()
        self._warn_of_limits()
        self.surroundings.start()

    def _start_loggers(self, checkpoint: Checkpoint | None) -> None:
        run, parameters, directory = self.run, self.config.loop.parameters, self.directory
        streams = capture_global_streams()
        loggers = make_loggers(
            directory.logs,
            encodable(directory.run_id),
            parameters.get("loggers", []),
            self.config.env.search,
        )
        run.metrics = Metrics(loggers, run.console.warning)
        logs = None if checkpoint is None else checkpoint.tree["logs"]
        run.metrics.start(hyperparameters(self.config), logs)
        restore_global_streams(streams)  # a logger may have drawn from them

    def _newest(self) -> Checkpoint | None:
        """The newest checkpoint; None for a run that has not come to its first."""
        store = self.run.checkpoints
        assert store is not None
        try:
            return store.newest()
        except CheckpointMissingError:
            # Where they are damaged or have been there, starting over would delete the logs.
            finished = self.directory.manifest().get("status") == "finished"
            if finished or store.steps() or store.obstacle():
                raise
            return None

    def _start_over(self) -> None:
        """Begin a run again that was killed before its first checkpoint; the seed is its own."""
        self.run.console.warning(
            f"{self.directory.run_id} has no checkpoint yet: it starts again from step 0"
        )
        for pattern in ("metrics.csv", "events.out.tfevents.*"):
            for path in self.directory.logs.glob(pattern):
                path.unlink()

    def _note_beginning(self, resumed: bool, checkpoint: Checkpoint | None) -> None:
        config, directory = self.config, self.directory
        facts: dict[str, Any] = {
            "status": "running",
            "exit_reason": None,
            "ended": None,
            "overrides": overrides_of(config),
            "resume": {
                "verdict": self.verdict.word if self._saves else "impossible",
                "method": self.verdict.method,
                "reason": self.verdict.reason,
                "remedy": self.verdict.remedy,
                "left_out": list(self.verdict.left_out),
            },
        }
        if resumed:
            step = checkpoint.step if checkpoint else 0
            again = {"at": manifest.now(), "step": step, "command": sys.argv}
            before = directory.manifest()
            resumes = before.get("resumes")
            facts["resumes"] = [*(resumes if isinstance(resumes, list) else ()), again]
            facts["config"] = origin_now(before, directory.logs)  # as run.yaml is written anew
            directory.note(**facts)
            self.run.console.message(f"{directory.run_id}: resumed at step {step:,}")
            return
        directory.note(
            run=directory.run_id,
            command=sys.argv,
            **origin(config.path, directory.logs),
            agent=config.agent.class_name,
            loop=config.loop.class_name,
            env=config.env.name,
            seed=config.seed,
            started=manifest.now(),
            resumes=[],
            **facts,
        )
        self.run.console.message(f"{directory.run_id}: seed {config.seed}, {directory.logs}")

    def _go_back(self, checkpoint: Checkpoint) -> None:
        if checkpoint.info.get("reason") == "failed":
            self.run.console.warning(
                f"{checkpoint.path} was saved in the middle of a step that failed: what follows is"
                " close to, but not exactly, what would have been"
            )
        checkpoint = with_new_parameters(self.experiment, checkpoint, self.directory, self.changed)
        other_env = any(key.startswith("env.") for key in self.changed)
        self.run.load(self.loop, checkpoint, environment=not other_env)
        if other_env:
            self.run.console.warning("the environment has changed: it begins a new episode")
        if (limit := self._limit()) is not None:
            self.run.console.message(
                f"nothing is left to train, {limit} is reached: raise it with"
                f" --set loop.parameters.{limit.partition('=')[0]}=N"
            )

    def _limit(self) -> str | None:
        """The budget that is used up, such as ``max_steps=20000``."""
        name = self.loop.limit()
        return f"{name}={self.config.loop.parameters[name]}" if name else None

    def _forget_evaluations_after(self, step: int) -> None:
        """Drop the periodic evaluations of a future that the run has gone back before."""
        if "eval_logdir" not in self.directory.parents:
            return
        for path in self.directory.path("eval_logdir").glob("step-*.json"):
            if path.stem.removeprefix("step-").isdigit() and int(path.stem[5:]) > step:
                path.unlink()

    def _warn_of_limits(self) -> None:
        """Say now, not when it is too late, what has no end or will not come back in a resume."""
        console, parameters = self.run.console, self.config.loop.parameters
        limits = [parameters[name] for name in ("max_episodes", "max_steps") if name in parameters]
        if limits and not any(limits):
            console.message("neither max_episodes nor max_steps is set: it trains until Ctrl-C")
        if not self._saves:
            console.message("checkpoint_dir is null: nothing that is learnt here will be kept")
        elif not self.verdict.exact:
            console.warning(
                f"resuming will be approximate: {self.verdict.reason}; {self.verdict.remedy}"
            )
        elif self.verdict.left_out:
            console.message(self.verdict.omission)

    # -- training, and the end --------------------------------------------------------------

    def train(self) -> TrainingResult:
        """Run the loop. Whatever it raises is written down, saved after, and raised again."""
        run, loop = self.run, self.loop
        try:
            with stop_signals(run.request_stop):
                loop.train()
                reason = "stopped" if run.stop_requested else "finished"
                complete = run.save(loop, reason=reason)
                run.metrics.write_what_was_left()
        except Exception as error:
            self._fail(error)
            raise
        except BaseException:  # a second Ctrl-C
            run.console.warning("stopped at once: what came after the last checkpoint is lost")
            self._end("killed")
            raise
        self._end(reason)
        return self._result(reason, complete)

    def _fail(self, error: Exception) -> None:
        """Save what can be saved of a training that raised, and write down why."""
        run, loop = self.run, self.loop
        hint = f"; {explained(error)}" if explained(error) else ""
        run.console.warning(
            f"training failed at step {loop.steps:,}: {type(error).__name__}: {error}{hint}"
        )
        try:
            run.save(loop, reason="failed")
        except Exception as second:  # noqa: BLE001 - the first error is the one to raise
            run.console.warning(f"and its checkpoint could not be saved: {second}")
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._end("failed", traceback=text)
        if isinstance(error, GymLoopError):
            error.exit_status = 1  # it is no bad input that stopped a training under way

    def _end(self, reason: str, **facts: Any) -> None:
        run, loop = self.run, self.loop
        run.close(reason)
        self.code.look_again()
        self.surroundings.finish()
        try:
            self.directory.note(
                status=reason,
                exit_reason=self._exit_reason(reason),
                ended=manifest.now(),
                seconds=round(run.seconds, 3),
                steps=loop.steps,
                episodes=loop.episode,
                **facts,
            )
        except OSError as error:
            run.console.warning(f"the manifest could not be written: {error}")

    def _exit_reason(self, reason: str) -> str:
        if self.run.stop_signal:
            return signal.Signals(self.run.stop_signal).name
        return (self._limit() or reason) if reason == "finished" else reason

    def _result(self, reason: str, complete: bool) -> TrainingResult:
        run, loop, directory = self.run, self.loop, self.directory
        returns = list(loop.episode_log.last_returns)
        saved = run.checkpoints.steps() if run.checkpoints is not None else []
        return TrainingResult(
            run=directory.run_id,
            exit_reason=reason,
            episodes=loop.episode,
            steps=loop.steps,
            seconds=run.seconds,
            mean_return=sum(returns) / len(returns) if returns else None,
            best_evaluation=run.best_evaluation,
            directories={
                name: directory.path(name)
                for name in directory.parents
                if directory.path(name).is_dir()
            },
            checkpoint=run.checkpoints.path(saved[-1]) if run.checkpoints and saved else None,
            signal=run.stop_signal,
            complete=complete,
            limit=self._limit() if reason == "finished" else None,
        )
