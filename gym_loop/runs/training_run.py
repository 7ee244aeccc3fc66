"""What a loop leaves traces with: logs, checkpoints, videos, progress, and the wish to stop."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gym_loop.checkpoints.seeding import (
    Seeds,
    capture_global_streams,
    draw_seed,
    restore_global_streams,
    seed_global_streams,
)
from gym_loop.checkpoints.tree import (
    capture,
    capture_with_inventory,
    refuse_parts,
    restore,
    saved_number,
)
from gym_loop.checkpoints.tree.classes import known_to
from gym_loop.envs.fresh import made_again
from gym_loop.envs.making import close_quietly, frame_source
from gym_loop.errors import StateError
from gym_loop.runs.compatibility import check_fits, near, spaces_of
from gym_loop.runs.console import Console
from gym_loop.runs.manifest import differing_versions, versions_in_use
from gym_loop.runs.metrics import Metrics

if TYPE_CHECKING:
    from gym_loop.checkpoints.store import Checkpoint, CheckpointStore
    from gym_loop.runs.compatibility import FreshAgent
    from gym_loop.runs.directory import RunDirectory
    from gym_loop.runs.recording import VideoRecorder
    from gym_loop.runs.results import EvaluationResult
    from gym_loop.runs.stopwatch import Stopwatch


class TrainingRun:
    """The services of one run, handed to the loop as ``loop.run``.

    A loop made by hand gets one that keeps nothing on disk; the runner gives it one with
    everything.

    Args:
        seeds: the random streams of the run; drawn by default.
        directory: where the run's files are; None keeps no files.
        metrics: where scalars go.
        checkpoints: where states go; None saves none, until `keep_checkpoints` is called.
        console: what a person sees; silent by default.
    """

    def __init__(
        self,
        seeds: Seeds | None = None,
        *,
        directory: RunDirectory | None = None,
        metrics: Metrics | None = None,
        checkpoints: CheckpointStore | None = None,
        console: Console | None = None,
    ) -> None:
        self.seeds = seeds or Seeds(draw_seed())
        self.directory = directory
        self.console = console or Console(quiet=True)
        self.metrics = metrics or Metrics([], self.console.warning)
        self._open_checkpoints: Callable[[], CheckpointStore] | None = None
        self._checkpoints = checkpoints
        self.recorder: VideoRecorder | None = None  # of training
        self.evaluation_recorder: VideoRecorder | None = None
        self.env_state: Any = None  # gym_loop.envs.state.methods.EnvState of the loop's environment
        self.environment_info: dict[str, Any] = {}  # noted in every checkpoint, compared at load
        self.on_save: Callable[[], None] = lambda: None  # called before each checkpoint
        self.stopwatch: Stopwatch | None = None  # where the time goes is to be measured
        self.stop_signal: int | None = None
        self.best_evaluation: float | None = None
        self._make_evaluation_env: Callable[[], Any] | None = None
        self._evaluation_record: bool | int = False
        self._evaluation_env: Any = None
        self._evaluation_env_is_due = True
        self._in_windows = False
        self._used_envs: list[Any] = []  # of evaluations, to be closed at the end
        self._wake: list[Callable[[], None]] = []
        self._told: list[Callable[[EvaluationResult], None]] = []
        self.fresh: FreshAgent | None = None  # the agent as it was made
        self._said_unsaveable = self._said_approximate = False
        self._said_unclosable = False
        self._closed: weakref.ref[Any] | None = None  # the environment that was closed last
        self._seconds_before = 0.0
        self._started = time.monotonic()

    # -- time and stopping ---------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Seconds spent training, those before a resume counted in."""
        return self._seconds_before + time.monotonic() - self._started

    @property
    def stop_requested(self) -> bool:
        """A signal asked the run to finish its step, save and end."""
        return self.stop_signal is not None

    def request_stop(self, signum: int) -> None:
        """Ask the loop to stop after the step under way (called by the signal handler)."""
        self.stop_signal = signum
        for wake in self._wake:
            wake()

    def on_stop(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` when the run is asked to stop; it may run in the middle of a step."""
        self._wake.append(wake)

    # -- logging --------------------------------------------------------------------------

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write scalars to every logger, at an environment step."""
        self.timed("logging", self.metrics.log)(step, scalars, self.seconds)

    def timed(self, part: str, function: Any) -> Any:
        """A function whose time is counted to a part of the training, if that is measured."""
        return function if self.stopwatch is None else self.stopwatch.timed(part, function)

    # -- evaluation and videos --------------------------------------------------------------

    def prepare_evaluation(
        self, make_env: Callable[[], Any], record: bool | int, *, in_windows: bool = False
    ) -> None:
        """Say how the environment of evaluations is made, and which episodes are recorded.

        Args:
            make_env: makes one.
            record: as in the run file.
            in_windows: both the training and its evaluations show themselves.
        """
        self._make_evaluation_env = make_env
        self._evaluation_record = record
        self._in_windows = in_windows

    def evaluation_env(self) -> Any:
        """The environment of the evaluation under way, or of the next one; None without one.

        It is made for each evaluation, as the training's was: nothing that it keeps from episode
        to episode outlasts an evaluation, so that there is nothing to save, and a resumed run
        evaluates as one that was never stopped.
        """
        if self._make_evaluation_env is None or not self._evaluation_env_is_due:
            return self._evaluation_env
        streams = capture_global_streams()
        try:
            seed_global_streams(self.seeds)
            # pygame closes all windows with the first, that of the training too.
            close = self._used_envs.append if self._in_windows else self.close_env
            self._evaluation_env = made_again(
                self._evaluation_env, self._make_evaluation_env, close
            )
        finally:
            restore_global_streams(streams)
        self._evaluation_env_is_due = False
        if self.evaluation_recorder is not None:
            self.evaluation_recorder.film(frame_source(self._evaluation_env))
        elif self._evaluation_record:
            self.evaluation_recorder = self._recorder(
                self._evaluation_env, "eval_record_dir", self._evaluation_record
            )
        return self._evaluation_env

    def each_by_itself(self, evaluate: Callable[..., Any]) -> Callable[..., Any]:
        """A loop's ``evaluate``, after which `evaluation_env` gives another environment."""

        def evaluate_once(*arguments: Any, **options: Any) -> Any:
            try:
                return evaluate(*arguments, **options)
            finally:
                self._evaluation_env_is_due = True

        return evaluate_once

    def on_evaluation(self, tell: Callable[[EvaluationResult], None]) -> None:
        """Call ``tell`` after every periodic evaluation, in whose place the loop waits for it."""
        self._told.append(tell)

    def tell_evaluation(self, result: EvaluationResult) -> None:
        """Pass on a periodic evaluation (called by the loop between two steps)."""
        for tell in self._told:
            tell(result)

    def record_training(self, env: Any, record: bool | int) -> None:
        """Record episodes of training; ``env`` renders the frames."""
        self.recorder = self._recorder(env, "record_dir", record)

    def _recorder(self, env: Any, parameter: str, record: bool | int) -> VideoRecorder | None:
        from gym_loop.runs.recording import VideoRecorder

        if self.directory is None or parameter not in self.directory.parents:
            return None
        return VideoRecorder(
            frame_source(env), self.directory.path(parameter), record, self.console.warning
        )

    # -- checkpoints ------------------------------------------------------------------------

    def keep_checkpoints(self, directory: Path, keep: int) -> None:
        """Save states below ``directory``, and keep so many of them."""

        def open_store() -> CheckpointStore:
            from gym_loop.checkpoints.store import CheckpointStore

            return CheckpointStore(directory, keep=keep, warn=self.console.warning)

        self._open_checkpoints = open_store

    @property
    def checkpoints(self) -> CheckpointStore | None:
        """Where states go, opened when it is first asked for; None saves none."""
        if self._checkpoints is None and self._open_checkpoints is not None:
            self._checkpoints = self._open_checkpoints()
        return self._checkpoints

    def save(self, loop: Any, *, best: bool = False, reason: str = "periodic") -> bool:
        """Write a checkpoint of the agent, the loop and everything random.

        Args:
            loop: the loop, between two steps.
            best: the agent has just evaluated better than ever.
            reason: ``periodic``, ``finished``, ``stopped`` or ``failed``.

        A training whose state has come to hold what is no data goes on without checkpoints; that is
        warned about once.

        Returns:
            False if it could not be written: the disk refused it, or the state is no data.
        """
        if self.checkpoints is None:
            return True
        self.on_save()
        info = {
            "run": self.directory.run_id if self.directory else None,
            "reason": reason,
            "episode": loop.episode,
            "agent": type(loop.agent).__qualname__,
            "loop": type(loop).__qualname__,
            "versions": versions_in_use(),
            **self.environment_info,
        }
        try:
            state = self.state_of(loop)
        except StateError as error:
            if not self._said_unsaveable:
                self._said_unsaveable = True
                self.console.warning(f"no checkpoint can be saved any more: {error}")
            return False
        return self.checkpoints.save(loop.steps, state, info, best=best)

    def learnt_state(self, loop: Any) -> dict[str, Any]:
        """The agent's and the loop's part of a checkpoint: what a user's class may get wrong.

        Raises:
            StateError: there is no data in it, or what a resumed run could not put back.
        """
        kind = type(loop.agent)
        agent, now = capture_with_inventory(loop.agent.state_dict(), kind, path="agent")
        if self.fresh is not None:
            self.fresh.refuse(now)
            if reason := self.fresh.name_left_out(now, self.console.warning):
                self._note_approximate(reason)
        own, found = capture_with_inventory(loop.state_dict(), *near(loop), path="loop")
        refuse_parts(found)
        return {"agent": agent, "loop": own}

    def _note_approximate(self, reason: str) -> None:
        """Write down that a resume will not be exact, as was thought at the start."""
        if self.directory is not None:
            facts = {"verdict": "approximate", "reason": reason}
            before = self.directory.manifest().get("resume", {})
            self.directory.note(resume={**before, **facts})

    def state_of(self, loop: Any) -> dict[str, Any]:
        """Everything that decides how the run goes on, as data."""
        return {
            **self.learnt_state(loop),
            "environment": self._environment_state(),
            "logs": self.metrics.state_dict(),
            "run": {"seconds": self.seconds, "best_evaluation": self.best_evaluation},
            "spaces": [capture(space) for space in spaces_of(loop)],
            "streams": capture_global_streams(),
        }

    def _environment_state(self) -> Any:
        """The environment's part; None, and a warning, if it has come to hold what is no data."""
        try:
            return None if self.env_state is None else self.env_state.snapshot()
        except StateError as error:
            if not self._said_approximate:
                self._said_approximate = True
                self.console.warning(
                    f"the environment's state cannot be saved any more: {error}; a run that is"
                    " resumed from such a checkpoint begins a new episode"
                )
                with suppress(OSError):  # a full disk: the checkpoint says so
                    self._note_approximate(str(error))
            return None

    def load(self, loop: Any, checkpoint: Checkpoint, *, environment: bool = True) -> None:
        """Put everything back that `save` noted but the logs; the random streams last.

        Nothing on the disk is changed: what is refused here leaves the run as it was.

        Args:
            loop: freshly made.
            checkpoint: what to go back to.
            environment: False leaves the environment as it is, to begin a new episode.

        Raises:
            CheckpointMismatchError: the checkpoint was made by another agent, loop or environment.
            StateError: the state does not fit.
        """
        self.check_fits(loop, checkpoint)
        self.load_agent(loop.agent, checkpoint)
        with checkpoint.loading():
            self._load(loop, checkpoint.tree, environment)

    def _is_known(self, tree: dict[str, Any] | None) -> bool:
        """Whether a checkpoint has the environment's state, in a form that is proved now too."""
        state = self.env_state
        unproved = state is not None and not state.continues
        return tree is not None and not (unproved and tree["method"] != state.method)

    def _load(self, loop: Any, tree: dict[str, Any], environment: bool) -> None:
        loop.load_state_dict(restore(None, tree["loop"], tuple_types=known_to(*near(loop))))
        if self.env_state is not None and not (environment and self._is_known(tree["environment"])):
            # Nothing is known of its random stream either: a reset by a seed makes one.
            loop.env.reset(seed=self.seeds.integers("environment", 1, loop.steps)[0])
            loop.begin_new_episode()
        elif self.env_state is not None:
            self.env_state.restore(tree["environment"])
            if not self.env_state.continues:
                loop.begin_new_episode()
        seconds, best = saved_number(tree["run"], "seconds"), tree["run"]["best_evaluation"]
        if not 0 <= seconds < math.inf:
            raise StateError(f"seconds was saved as {seconds}")
        if best is not None:
            best = saved_number(tree["run"], "best_evaluation")
        self.best_evaluation, self._seconds_before = best, seconds
        self._started = time.monotonic()
        for space, state in zip(spaces_of(loop), tree["spaces"], strict=True):
            restore(space, state)
        restore_global_streams(tree["streams"])

    def load_agent(self, agent: Any, checkpoint: Checkpoint) -> None:
        """Put back the agent alone, as an evaluation does; what its code has gained is named."""
        with checkpoint.loading():
            tree = checkpoint.tree["agent"]
            if self.fresh is not None:
                self.fresh.name_gained(tree, str(checkpoint.path), self.console.warning)
            agent.load_state_dict(restore(None, tree, tuple_types=known_to(type(agent))))

    def check_fits(self, loop: Any, checkpoint: Checkpoint) -> None:
        """See `gym_loop.runs.compatibility.check_fits`; other versions than its are warned of."""
        check_fits(checkpoint, loop, self.environment_info)
        if other := differing_versions(checkpoint.info.get("versions")):
            self.console.warning(
                f"{checkpoint.path} was made with {', '.join(other)}:"
                " what follows may differ in the last bits"
            )

    def close_env(self, env: Any) -> None:
        """Close an environment once; that one cannot be closed is said once."""
        if self._closed is not None and self._closed() is env:
            return
        self._closed = weakref.ref(env)
        problem = close_quietly(env)
        if problem and not self._said_unclosable:
            self._said_unclosable = True
            self.console.warning(problem)

    def close(self, exit_reason: str) -> None:
        """Finish the files: logs, checkpoints, videos, the evaluation's environment."""
        for recorder in (self.recorder, self.evaluation_recorder):
            if recorder is not None:
                recorder.close()
        self.metrics.close(exit_reason)
        for env in [*self._used_envs, self._evaluation_env]:
            if env is not None:
                self.close_env(env)
        self._evaluation_env = None
        self.console.close()
