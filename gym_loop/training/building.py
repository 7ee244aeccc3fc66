"""The environment, the agent and the loop of one config, made and seeded."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from gym_loop.checkpoints.seeding import seed_global_streams
from gym_loop.config.run_file import RunConfig
from gym_loop.envs.making import check_window, close_quietly, frame_source
from gym_loop.envs.spaces import describe_space
from gym_loop.envs.state.keeper import keep_state
from gym_loop.envs.state.layers import layers_of
from gym_loop.envs.state.proof import Verdict, prove
from gym_loop.errors import (
    ContractError,
    GymLoopError,
    ModuleMissingError,
    SpaceError,
    StateError,
)
from gym_loop.runs.compatibility import fresh_agent
from gym_loop.runs.directory import directories
from gym_loop.runs.training_run import TrainingRun
from gym_loop.schema.class_strings import import_summary
from gym_loop.schema.old_code import explained


class Experiment:
    """What a config describes, ready to be trained or evaluated.

    Args:
        config: a checked config with a seed.
        run: the services of the run.
        render: the environment shows itself in a window.
        record: the environment gives frames to a recorder.
        evaluation: the environment is the one that the loop evaluates in.

    Raises:
        EnvError: the environment cannot be made.
        SpaceError: the agent cannot be made for its spaces, or the loop for the two.
    """

    def __init__(
        self,
        config: RunConfig,
        run: TrainingRun,
        *,
        render: bool = False,
        record: bool = False,
        evaluation: bool = False,
    ) -> None:
        self.config = config
        self.run = run
        parameters = dict(config.loop.parameters)
        seed_global_streams(run.seeds)
        self.env = self.make_env(render, record, evaluation=evaluation)
        try:
            self.agent = self.make_agent()
            run.fresh = fresh_agent(self.agent)
            self.loop = self._make_loop(parameters)
        except BaseException:
            close_quietly(self.env)
            raise
        spaces = self._single_spaces()
        run.environment_info = {name: describe_space(space) for name, space in spaces.items()}

    def make_env(self, render: bool, record: bool, *, evaluation: bool = False) -> Any:
        """Make the loop's environment, or that of its evaluations, and seed its spaces."""
        env = _made(self.config, evaluation, render=render, record=record)
        core = layers_of(env)[-1]  # it may sample from its own, whatever its wrappers show
        for name in ("action_space", "observation_space"):
            single = getattr(env, f"single_{name}", None)
            for space in (getattr(core, name, None), getattr(env, name), single):
                if space is not None:
                    space.seed(self.run.seeds.integer(name))
        return env

    def make_agent(self, parameters: Mapping[str, Any] | None = None) -> Any:
        """Make the agent for the environment's spaces; with other parameters than the config's."""
        agent, spaces = self.config.agent, self._single_spaces()
        copies = getattr(self.env, "num_envs", 1)
        try:
            made = agent.cls(
                **(agent.parameters if parameters is None else parameters),
                **spaces,
                # An evaluation may have fewer copies than the training.
                n_envs=self.config.loop.parameters.get("n_envs", copies),
                seed=self.run.seeds.integer("agent"),
            )
            _check_parameters(made, agent.class_name)
            made._note_parameters()
            return made
        except GymLoopError:
            raise
        except ModuleNotFoundError as error:
            raise ModuleMissingError(f"{agent.class_name}: {import_summary(error)}") from error
        except Exception as error:
            what = f"the agent {agent.class_name} could not be made for"
            pair = f"{spaces['observation_space']} and {spaces['action_space']}"
            raise SpaceError(f"{what} {pair}:\n{_their_frames(error)}") from error

    def _make_loop(self, parameters: dict[str, Any]) -> Any:
        loop = self.config.loop
        try:
            return loop.cls(agent=self.agent, env=self.env, run=self.run, **parameters)
        except GymLoopError:
            raise
        except Exception as error:
            what = f"the loop {loop.class_name} could not be made"
            raise SpaceError(f"{what}:\n{_their_frames(error)}") from error

    def _single_spaces(self) -> dict[str, Any]:
        """The spaces of the environment, or of one copy where there are several."""
        names = ("observation_space", "action_space")
        return {one: getattr(self.env, f"single_{one}", getattr(self.env, one)) for one in names}

    def keep_environment_state(self, method: str | None = None) -> Verdict:
        """Find out how the environment's state can be saved, prove it, and arrange for it.

        Args:
            method: that a checkpoint was saved with; None for the best one that can be proved.
        """
        parameters = dict(self.config.loop.parameters)
        if parameters.get("n_envs", 1) > 2:
            parameters["n_envs"] = 2  # two copies prove as much as many, and start sooner
        verdict = prove(
            lambda: self.config.loop.cls.make_env(self.config.env, parameters),
            self.run.seeds.seed,
            method=method,
            tell=self.run.console.message,
        )
        state = keep_state(self.env, verdict.method)
        self.run.env_state, self.loop.env = state, state.env
        return verdict

    def check_saveable(self) -> None:
        """Find out before a training whether its checkpoints can be saved, if it is to have any.

        Raises:
            StateError: the agent's state, or the loop's, is no data, or it cannot be asked for yet.
        """
        if "checkpoint_dir" not in directories(self.config.loop.parameters):
            return
        without = "or train without checkpoints, with the line `checkpoint_dir: null` in"
        without += " loop.parameters"
        try:
            self.run.learnt_state(self.loop)
        except StateError as error:
            raise StateError(f"no checkpoint could be saved: {error}; {without}") from None
        except Exception as error:
            raise StateError(
                f"no checkpoint could be saved: state_dict() raised {type(error).__name__}: {error}"
                " before the first step, where a checkpoint needs it too: give what it reads a"
                f" value in __init__; {without}"
            ) from error


def _made(config: RunConfig, evaluation: bool, **shown: bool) -> Any:
    """The environment of a config's loop, or that of its evaluations."""
    cls, parameters = config.loop.cls, dict(config.loop.parameters)
    make = cls.make_evaluation_env if evaluation else cls.make_env
    return make(config.env, parameters, **shown)


def shown(config: RunConfig, *, evaluation: bool = False) -> dict[str, bool]:
    """Whether a config wants to ``render`` and to ``record``, in training or in evaluation."""
    prefix = "eval_" if evaluation else ""
    wishes = ("render", "record")
    return {one: bool(config.loop.parameters.get(prefix + one)) for one in wishes}


def check_visible(config: RunConfig, *, evaluation: bool = False) -> None:
    """Show and encode one frame of a fresh environment, as far as the config wants to.

    Raises:
        RenderError: there is no display, or no frames.
        RecordingError: no video can be encoded.
    """
    from gym_loop.runs.recording import check_recording

    wishes = shown(config, evaluation=evaluation)
    if not any(wishes.values()):
        return
    env = _made(config, evaluation, **wishes)
    try:
        if wishes["render"]:
            check_window(env, config.env.name)
        if wishes["record"]:
            env.reset()
            check_recording(frame_source(env))
    finally:
        close_quietly(env)


def _check_parameters(agent: Any, class_name: str) -> None:
    if not isinstance(found := getattr(agent, "parameters", None), dict):
        what = "a method" if callable(found) else f"{found!r:.60}"
        raise ContractError(
            f"{class_name}: self.parameters is {what}, not the agent's dictionary of parameters;"
            " call BaseAgent.__init__(self, **params) in __init__, and keep a network in an"
            " attribute, since torch.nn.Module has a method of that name"
        )


def _their_frames(error: BaseException) -> str:
    """The traceback of a user's class, without our own first frame."""
    tail = error.__traceback__.tb_next if error.__traceback__ else None
    text = "".join(traceback.format_exception(type(error), error, tail)).rstrip()
    hint = explained(error)
    return f"{text}\n{hint}" if hint else text
