"""The environment of a server: one tick after another, as the messages of both streams."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from gym_loop.envs.making import (
    EnvSpec,
    check_window,
    close_quietly,
    describe,
    import_env_modules,
    make_visible_env,
    registered_versions,
)
from gym_loop.errors import BridgeError, ConfigError, GymLoopError, UsageError
from gym_loop.serve.zeromq.config import Env, MonitorArgs, ZeroMQConfig
from gym_loop.serve.zeromq.report import Report
from gym_loop.wire.gymz import SpaceCodec, encode_reward
from gym_loop.wire.problems import Problem

log = logging.getLogger(__name__)
UNHURRIED = 1_000_000  # frames a second
ALMOST_NOTHING = 1e-10  # a last reward below this is a missing one

Messages = tuple[str, str]


class World:
    """An environment that ticks: steps, and between two episodes the inter-trial observation.

    Args:
        config: of the server.

    Attributes:
        actions: of the environment, as commands.
        report: notes every step; None notes nothing.

    Raises:
        EnvError: the environment cannot be made.
        SpaceError: its spaces cannot be streamed.
        ConfigError: the inter-trial observation has another shape than the observations.
    """

    def __init__(self, config: ZeroMQConfig) -> None:
        self._config = config.env
        self.report: Report | None = None
        self._seed = None if config.all.seed is None or config.all.seed < 0 else config.all.seed
        self._env = _make(config)
        try:
            self.actions = SpaceCodec(self._env.action_space)
            self._observations = SpaceCodec(self._env.observation_space)
            self._between = _inter_trial(self._config, self._observations)
        except GymLoopError:
            close_quietly(self._env)
            raise
        self._first: Messages | None = None  # of the next episode, while in between two
        self._over = False
        # Only in lock-step, which is ours: gymz's own streams do not tell.
        self._tells_end = config.env_runner.speed == "max"

    @property
    def between_trials(self) -> bool:
        """The inter-trial observation is what the streams carry now."""
        return self._first is not None

    def start(self) -> Messages:
        """The first observation of all."""
        return self._reset(seed=self._seed)

    def tick(self, action: Any) -> Messages:
        """What the streams carry from this tick on.

        Raises:
            BridgeError: the environment raised, or returned what is not in its space.
        """
        if self._first is not None:
            messages, self._first = self._first, None
            return messages
        if self._over:
            if self.report:
                self.report.finish()
            self._over = False
            self._first = self._reset()
            if self.report:
                self.report.begin()
            return self._between, self._first[1]
        return self._step(action)

    def close(self) -> None:
        """Close the environment, and write the report as far as it has come."""
        if self.report:
            self.report.close()
        close_quietly(self._env)

    def _reset(self, seed: int | None = None) -> Messages:
        try:
            observation, _ = self._env.reset(seed=seed)
            message = self._observations.encode(observation)
        except Exception as error:
            raise self._failed("reset", error) from error
        return message, self._reward_message(self._config.initial_reward)

    def _step(self, action: Any) -> Messages:
        try:
            observation, reward, terminated, truncated, _ = self._env.step(action)
            message = self._observations.encode(observation)
            reward = float(reward)
        except Exception as error:
            raise self._failed(f"step with action {action}", error) from error
        self._over = bool(terminated or truncated)
        value: float | None = self._last_reward(reward) if self._over else reward
        if self.report:
            self.report.add(observation, value)
        end = ("terminated" if terminated else "truncated") if self._over else ""
        return message, self._reward_message(value, end if self._tells_end else "")

    def _last_reward(self, reward: float) -> float | None:
        if self._config.final_reward is not None:
            return self._config.final_reward
        return self._config.final_reward_null if abs(reward) < ALMOST_NOTHING else reward

    def _reward_message(self, value: float | None, end: str = "") -> str:
        return encode_reward(self._config.min_reward, self._config.max_reward, value, end)

    def _failed(self, what: str, error: Exception) -> BridgeError:
        return BridgeError(f"{self._config.env} failed in {what}: {describe(error)}")


def _inter_trial(config: Env, codec: SpaceCodec) -> str:
    given = config.inter_trial_observation
    if not isinstance(given, list):  # one value for all
        return codec.encode_values([given] * math.prod(codec.shape))
    try:
        values = np.array(given, dtype=np.float64)
        shape: Any = values.shape
    except (ValueError, TypeError):
        shape = "that is none of numbers"
    if shape != codec.shape:
        wanted = f"the shape {codec.shape}" if codec.shape else "one number"
        raise ConfigError(
            f"Env.inter_trial_observation: {given} has shape {shape}, but the observations of"
            f" {config.env} have {wanted}; write as many numbers as they have"
        )
    return codec.encode_values(np.array(given, dtype=object).ravel().tolist())


def _make(config: ZeroMQConfig) -> Any:
    """The environment, with its window and its monitor."""
    env = config.env
    spec = EnvSpec(
        name=env.env,
        imports=env.imports,
        parameters=env.env_params.kwargs or {},
        max_episode_steps=env.env_params.max_episode_steps,
        search=[config.directory],
    )
    import_env_modules(spec)
    spec = replace(spec, name=_served(env.env))
    if env.render:
        window = make_visible_env(spec, render=True)
        try:
            check_window(window, env.env)
        finally:
            close_quietly(window)
    if not env.monitor:
        if env.monitor_args != MonitorArgs():
            log.warning("Env.monitor_args is given, but Env.monitor is false: nothing is recorded")
        made = make_visible_env(spec, render=env.render)
        return _unhurried(made) if env.render else made
    recorded = _Recorded(config, make_visible_env(spec, record=True))
    if not env.render:
        return recorded
    return gymnasium.wrappers.HumanRendering(_unhurried(recorded))


def _served(name: str) -> str:
    """The id that is asked for, or the newest of its versions where that one is gone."""
    versions = registered_versions(name)
    if name in gymnasium.registry or not versions:
        return name
    log.warning("%s is gone: %s is streamed in its place", name, versions[-1])
    return versions[-1]


def _unhurried(env: Any) -> Any:
    """Keep the window from waiting for its own frame rate: here, the server's clock paces."""
    env.unwrapped.metadata = {**env.unwrapped.metadata, "render_fps": UNHURRIED}
    return env


class _Recorded(gymnasium.Wrapper):  # type: ignore[misc]  # gymnasium is untyped here
    """An environment whose episodes are recorded as the old Gym's monitor did."""

    def __init__(self, config: ZeroMQConfig, env: Any) -> None:
        from gym_loop.serve.monitor import Monitor, prepare_directory

        super().__init__(env)
        arguments = config.env.monitor_args
        directory = config.prefix / config.env.monitor_dir
        video = arguments.video_callable
        try:
            prepare_directory(
                directory,
                force=bool(arguments.force),
                resume=bool(arguments.resume),
            )
            every = True if video is None else video
            self._monitor = Monitor(env, directory, config.env.env, every, log.warning)
        except Problem as problem:
            close_quietly(env)
            raise UsageError(f"Env.monitor_dir: {problem.message}") from None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self._monitor.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result: tuple[Any, Any, bool, bool, dict[str, Any]] = self.env.step(action)
        self._monitor.count(float(result[1]), bool(result[2] or result[3]))
        return result

    def close(self) -> None:
        self._monitor.close()
