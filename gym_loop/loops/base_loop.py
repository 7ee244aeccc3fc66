"""The loop contract: everything that the runner knows about a loop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

from gym_loop.checkpoints.tree import saved_count
from gym_loop.envs.making import EnvSpec, make_visible_env
from gym_loop.loops.checkpoint_schedule import CheckpointSchedule
from gym_loop.loops.episode_log import EpisodeLog
from gym_loop.loops.progress import Progress
from gym_loop.runs.results import (
    EpisodeResult,
    EvaluationResult,
    evaluation_scalars,
    is_better,
    write_evaluation,
)
from gym_loop.runs.training_run import TrainingRun
from gym_loop.schema import parameters as schema
from gym_loop.schema.parameter_values import ParameterValues


class BaseLoop:
    """A loop brings an agent and an environment together.

    Write ``train`` and ``evaluate``; this is what the runner does with them::

        env = MyLoop.make_env(spec, parameters, render=False, record=False)
        agent = AgentClass(**agent_parameters)
        loop = MyLoop(agent=agent, env=env, run=run, **loop_parameters)
        loop.load_state_dict(state)         # only when a run is resumed
        loop.train()                        # until it is done, or run.stop_requested
        loop.state_dict()                   # for the last checkpoint

    What is due between steps is here for every loop that wants it: see `start`.

    Args:
        agent: an instance of a `gym_loop.agents.BaseAgent`.
        env: the environment, or the vector environment, that `make_env` made.
        run: logs, checkpoints, progress and the wish to stop; by default one that keeps no files.
        parameters: the defaults of `get_default_parameters`, updated by the run file.

    Attributes:
        Parameters: a declaration that `get_default_parameters` follows from; None where that
            method is written itself.
        parameters: by key and by attribute: ``self.parameters["logdir"]``, or
            ``self.parameters.logdir``.
        episode: episodes finished so far, over the whole training.
        steps: environment steps so far, likewise.
        episode_log: writes the rows of the logs; ``episode_log.last_returns`` has the last 100.
        checkpoint_schedule: says when a checkpoint is due.
        progress: shows how far the training is, and measures its speed.
    """

    Parameters: ClassVar[type[schema.Parameters] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        schema.derive_defaults(cls)

    def __init__(
        self, agent: Any, env: Any, run: TrainingRun | None = None, **parameters: Any
    ) -> None:
        self.agent = agent
        self.env = env
        self.run = run if run is not None else TrainingRun()
        self.parameters = ParameterValues(self.get_default_parameters(), **parameters)
        self.episode = 0
        self.steps = 0
        copies = getattr(env, "num_envs", None)  # of a vector environment alone
        self.progress = Progress(self.run.console, self.parameters, copies or 1)
        self.episode_log = EpisodeLog(self.run, agent, self.progress, copies)
        self.checkpoint_schedule = CheckpointSchedule(self.parameters)
        self._attention_at_episode: float = 0
        self._evaluation_pending = False  # one was cut short
        self.run.on_stop(self._look_up_soon)

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """Name every parameter that a run file may set, with its default value.

        Describe them under ``Parameters:`` in this docstring, one a line, as
        ``name (type): text``; or declare them once and for all in ``Parameters``.
        """
        return {}

    @staticmethod
    def check_parameters(parameters: dict[str, Any]) -> dict[str, str]:
        """Name what is wrong with the values of a run file: ``{name: problem}``, default none."""
        return {}

    @staticmethod
    def make_env(
        spec: EnvSpec, parameters: dict[str, Any], *, render: bool = False, record: bool = False
    ) -> Any:
        """Make the environment that this loop drives; one copy by default.

        Args:
            spec: the ``env`` section of the run file.
            parameters: the loop's.
            render: it is to show itself in a window.
            record: it is to give frames to a recorder.
        """
        return make_visible_env(spec, render=render, record=record)

    @classmethod
    def make_evaluation_env(
        cls,
        spec: EnvSpec,
        parameters: dict[str, Any],
        *,
        render: bool = False,
        record: bool = False,
    ) -> Any:
        """Make the environment that evaluations are played in; by default one of `make_env`."""
        return cls.make_env(spec, parameters, render=render, record=record)

    def train(self) -> None:
        """Train the agent until the budget is used up or ``self.run.stop_requested``."""
        raise NotImplementedError(f"{type(self).__name__} must define train()")

    def evaluate(self, seeds: Sequence[int] | None = None) -> list[EpisodeResult]:
        """Play episodes without learning, inside ``agent.evaluating()``.

        Args:
            seeds: one an episode; by default ``eval_episodes`` of them from the run's seed.
        """
        raise NotImplementedError(f"{type(self).__name__} must define evaluate()")

    def evaluation_seeds(self, seeds: Sequence[int] | None) -> Sequence[int]:
        """The given seeds, or ``eval_episodes`` of them from the run's seed."""
        if seeds is not None:
            return seeds
        return self.run.seeds.integers("evaluation", self.parameters["eval_episodes"])

    def state_dict(self) -> dict[str, Any]:
        """Where the loop stands, as data; the agent and the environment are saved beside it."""
        return {
            "episode": self.episode,
            "steps": self.steps,
            "episode_log": self.episode_log.state_dict(),
            "evaluation_pending": self._evaluation_pending,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where `state_dict` was called.

        Raises:
            StateError: the state is damaged.
        """
        self.episode = saved_count(state, "episode")
        self.steps = saved_count(state, "steps")
        self.episode_log.load_state_dict(state["episode_log"])
        self._evaluation_pending = bool(state["evaluation_pending"])
        self.checkpoint_schedule.saved(self.steps, self.episode)

    def begin_new_episode(self) -> None:
        """Give up the episode under way: called after a resume where it cannot be continued."""

    # -- what is due between steps and between episodes ---------------------------------------

    def start(self) -> None:
        """Begin to measure time, and do what was due when the run was stopped.

        A loop that wants logs, progress, checkpoints, evaluations and budgets as the parameters
        of the run file ask for them trains like this::

            self.start()
            while self.wants_more():
                while self.steps < self.attention_at:
                    ...                                 # a step; self.steps += 1
                    if over:
                        self.episode += 1
                        self.episodes_finished([episode_return], length)
                self.look_up()
            self.finish()
        """
        self.progress.start(self.steps)
        self.checkpoint_schedule.start(self.steps, self.episode)
        self._plan_episodes()
        self._plan_look_up()
        if self._evaluation_pending:
            self.evaluate_periodically()

    def wants_more(self) -> bool:
        """Whether the training is to go on: budget left, and nobody asked to stop."""
        return not self.run.stop_requested and self.limit() is None

    def limit(self) -> str | None:
        """The parameter whose budget is used up; None while there is some left of both."""
        most_steps = self.parameters.get("max_steps")
        if most_steps is not None and self.steps >= most_steps:
            return "max_steps"
        most_episodes = self.parameters.get("max_episodes")
        if most_episodes is not None and self.episode >= most_episodes:
            return "max_episodes"
        return None

    def look_up(self) -> None:
        """Between two steps: show the progress, and save if it is time."""
        now, progress = time.monotonic(), self.progress
        if self.steps < progress.attention_at and not progress.is_due(now):
            return
        progress.look(self.steps, now)
        progress.show(self.steps, self.episode, self.episode_log.last_returns, now)
        if self.checkpoint_schedule.due(self.steps, self.episode, now):
            self.save("periodic")
        self._plan_look_up()

    def episodes_finished(self, returns: Sequence[float], length: int) -> None:
        """Log the episodes that ended in one step; evaluate and save if it is time.

        Args:
            returns: one an episode; ``self.episode`` counts them already.
            length: of all of them together, in steps.
        """
        self.episode_log.add(self.steps, self.episode, returns, length)
        if self.episode >= self._attention_at_episode:
            self._after_episodes(len(returns))

    def _after_episodes(self, ended: int) -> None:
        """Evaluate and save if one of the episodes that just ended is the one to do it after."""
        every = self.parameters.get("episodes_per_eval")
        if every and self.episode // every != (self.episode - ended) // every:
            self.episode_log.write_row()
            self.evaluate_periodically()
        if self.checkpoint_schedule.due(self.steps, self.episode, time.monotonic()):
            self.save("periodic")
        if self.limit() is not None:
            self._look_up_soon()
        self._plan_episodes()

    def evaluate_periodically(self) -> None:
        """Evaluate the agent as it is now; keep its checkpoint if it is the best so far."""
        run = self.run
        self._evaluation_pending = True
        seeds = run.seeds.integers("periodic_evaluation", self.parameters["eval_episodes"])
        started = time.monotonic()
        episodes = run.timed("evaluation", self.evaluate)(seeds)
        if run.stop_requested:  # cut short: a resumed run evaluates again
            return
        self._evaluation_pending = False
        result = EvaluationResult(episodes)
        run.log(self.steps, evaluation_scalars(result))
        if run.directory is not None and "eval_logdir" in run.directory.parents:
            # Named by step, so that a resumed run writes it again.
            path = run.directory.path("eval_logdir") / f"step-{self.steps:09d}.json"
            write_evaluation(path, result, run.console.warning)
        mean = result.returns.mean
        if is_better(mean, run.best_evaluation):
            run.best_evaluation = mean
            self.save("periodic", best=True)
        pause = time.monotonic() - started
        self.progress.skip(pause)
        self.checkpoint_schedule.skip(pause)
        run.tell_evaluation(result)

    def save(self, reason: str, *, best: bool = False) -> None:
        """Write a checkpoint, unless the last one was made at this very step.

        Args:
            reason: ``periodic``, ``finished``, ``stopped`` or ``failed``.
            best: the agent has just evaluated better than ever.
        """
        schedule = self.checkpoint_schedule
        if schedule.is_saved(self.steps, self.episode) and not best:
            schedule.saved(self.steps, self.episode)
            return
        started = time.monotonic()
        self.run.timed("checkpoints", self.run.save)(self, best=best, reason=reason)
        schedule.saved(self.steps, self.episode, time.monotonic() - started)

    def finish(self) -> None:
        """Show how far the training has come."""
        # A run that was stopped, or is given a larger budget, goes on with the row it has begun.
        if self.limit() is not None:
            metrics = self.run.metrics
            metrics.leave_to_end(self.episode_log.write_row)
            if self.run.checkpoints is None:
                metrics.write_what_was_left()
        now = time.monotonic()
        self.progress.look(self.steps, now)
        returns = self.episode_log.last_returns
        self.progress.show(self.steps, self.episode, returns, now, last=True)

    @property
    def attention_at(self) -> float:
        """The step count at which the loop calls `look_up` next."""
        return self.progress.attention_at

    def _look_up_soon(self) -> None:
        self.progress.attention_at = 0

    def _plan_look_up(self) -> None:
        most = self.parameters.get("max_steps")
        self.progress.attention_at = min(
            self.steps + self.progress.chunk,
            self.checkpoint_schedule.next_step(self.steps),
            float("inf") if most is None else most,
        )
        if self.run.stop_requested:  # a signal may have come meanwhile
            self._look_up_soon()

    def _plan_episodes(self) -> None:
        """Note the number of the episode after which something is due."""
        every = self.parameters.get("episodes_per_eval")
        most = self.parameters.get("max_episodes")
        self._attention_at_episode = min(
            self.checkpoint_schedule.next_episode(self.episode),
            (self.episode // every + 1) * every if every else float("inf"),
            float("inf") if most is None else most,
        )
