"""The loop contract: everything that the runner knows about a loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gym_loop.checkpoints.tree.entries import saved_count
from gym_loop.envs.making import EnvSpec, make_visible_env
from gym_loop.runs.results import EpisodeResult
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

    def state_dict(self) -> dict[str, Any]:
        """Where the loop stands, as data; the agent and the environment are saved beside it."""
        return {"episode": self.episode, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where `state_dict` was called.

        Raises:
            StateError: the state is damaged.
        """
        self.episode = saved_count(state, "episode")
        self.steps = saved_count(state, "steps")

    def begin_new_episode(self) -> None:
        """Give up the episode under way: called after a resume where it cannot be continued."""
