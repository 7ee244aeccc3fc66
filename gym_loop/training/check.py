"""Everything that can be wrong before a training, found at once."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from gym_loop.checkpoints.seeding import Seeds
from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.envs.making import close_quietly
from gym_loop.errors import ConfigError, EnvError, GymLoopError
from gym_loop.runs import manifest
from gym_loop.runs.directory import directories, obstacle_to
from gym_loop.runs.metrics import logger_classes
from gym_loop.runs.training_run import TrainingRun
from gym_loop.schema.former import explained_call, explained_reset
from gym_loop.training.building import Experiment, check_saveable, check_visible


@dataclass(frozen=True)
class CheckResult:
    """One line of ``gym-loop check``.

    Args:
        level: ``ok``, ``warning`` or ``error``.
        subject: what was looked at.
        text: what was found.
    """

    level: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:<8} {self.subject}: {self.text}"


def check(
    source: str | Path | Mapping[str, Any], overrides: Iterable[str] | Mapping[str, Any] = ()
) -> list[CheckResult]:
    """Look at the file, the classes, the environment, the directories and the machine.

    Nothing is left on disk, and nothing that fails keeps the rest from being looked at.
    """
    try:
        config = load_config(source, overrides)
    except ConfigError as error:
        return [CheckResult("error", "config", str(finding)) for finding in error.findings]
    checker = _Checker(config.with_seed(config.seed or 0))
    with config.code_in_use():
        return [
            CheckResult("ok", "config", f"{config.path or 'the config'} is complete"),
            *checker.directories(),
            *checker.loggers(),
            *checker.classes_and_environment(),
            *checker.pictures(),
            _versions(),
        ]


def _versions() -> CheckResult:
    found = manifest.versions()
    return CheckResult("ok", "versions", ", ".join(f"{name} {found[name]}" for name in found))


class _Checker:
    """The parts of a check, each with its own results."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config

    def directories(self) -> Iterator[CheckResult]:
        """Each parent directory can be written, or made."""
        for name, path in directories(self.config.loop.parameters).items():
            if obstacle := obstacle_to(path):
                yield CheckResult("error", f"loop.parameters.{name}", obstacle)
            else:
                yield CheckResult("ok", f"loop.parameters.{name}", f"{path} can be written")

    def loggers(self) -> Iterator[CheckResult]:
        """The classes of further loggers, where the file names any."""
        if entries := self.config.loop.parameters.get("loggers"):
            find = partial(logger_classes, entries, self.config.env.search)
            with _collected() as results:
                _attempt(results, "loop.parameters.loggers", find)
            yield from results

    def classes_and_environment(self) -> Iterator[CheckResult]:
        """Environment and agent are made, reset, and play one step together."""
        run = TrainingRun(Seeds(self.config.seed or 0))
        made: list[Experiment] = []
        with _collected() as results:
            _attempt(
                results, "environment and agent", lambda: made.append(Experiment(self.config, run))
            )
        yield from results
        if not made:
            return
        experiment, env = made[0], made[0].env
        # Of a vector environment those of one copy: the bounds of all fill the screen.
        seen = getattr(env, "single_observation_space", env.observation_space)
        done = getattr(env, "single_action_space", env.action_space)
        yield CheckResult("ok", "spaces", f"observations {seen}, actions {done}")
        with _collected() as results:
            _attempt(results, "agent state", lambda: check_saveable(experiment))
            _attempt(results, "one step", lambda: _one_step(experiment))
            if "checkpoint_dir" in directories(self.config.loop.parameters):
                after = "agent state after it"
                _attempt(results, after, lambda: run.state_of(experiment.loop))
        problem = close_quietly(experiment.env)
        yield from results
        if problem:
            yield CheckResult("warning", "close", problem)

    def pictures(self) -> Iterator[CheckResult]:
        """A window opens and a frame is encoded, for what the file asks for."""
        parameters = self.config.loop.parameters
        for prefix in ("", "eval_"):
            render = bool(parameters.get(f"{prefix}render"))
            record = bool(parameters.get(f"{prefix}record"))
            if not render and not record:
                continue
            subject = " and ".join(
                name
                for name, wish in ((f"{prefix}render", render), (f"{prefix}record", record))
                if wish
            )
            look = partial(
                check_visible,
                self.config,
                render=render,
                record=record,
                evaluation=prefix == "eval_",
            )
            with _collected() as results:
                _attempt(results, subject, look)
            yield from results


def _one_step(experiment: Experiment) -> None:
    """What a loop does in its first step, without an update."""
    from gym_loop.agents.transition import Transition, VectorTransition
    from gym_loop.envs.answers import as_flags, as_reward
    from gym_loop.envs.autoreset import Copies

    env, agent = experiment.env, experiment.agent
    seed = experiment.run.seeds.integer("environment")
    ob, info = env.reset(seed=seed)
    if sentence := explained_reset(info):
        raise EnvError(sentence)
    for place, space, part in _misfits(env.observation_space, ob, "the first observation"):
        beyond = _beyond_bounds(space, part)
        if not beyond:
            raise ConfigError(f"{place} is not in {space}: {' '.join(repr(part).split())[:200]}")
        warnings.warn(f"{place} {beyond}", UserWarning, stacklevel=2)  # it can be trained on
    action = agent.act(ob, 0)
    if not env.action_space.contains(action):
        raise ConfigError(f"the agent's action is not in {env.action_space}: {action!r}")
    if hasattr(env, "num_envs"):
        next_ob, reward, terminated, truncated, info, *_ = Copies(env).step(action)
        info = {"env_ids": np.arange(env.num_envs), **info}
        told = VectorTransition(ob, action, reward, terminated, truncated, next_ob, info)
        told.env_ids = np.arange(env.num_envs)
        agent.observe(told)
        return
    next_ob, reward, terminated, truncated, info = env.step(action)
    flags = as_flags(terminated, truncated)
    agent.observe(Transition(ob, action, as_reward(reward), *flags, next_ob, info))


def _misfits(space: Any, part: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """The innermost parts of an observation that are not in their spaces."""
    if space.contains(part):
        return
    parts: Any = getattr(space, "spaces", None)
    keys: Any = ()
    if isinstance(parts, Mapping) and isinstance(part, Mapping) and parts.keys() == part.keys():
        keys = parts.keys()
    elif isinstance(parts, tuple) and isinstance(part, tuple) and len(parts) == len(part):
        keys = range(len(parts))
    if not keys:
        yield place, space, part
    for key in keys:
        yield from _misfits(parts[key], part[key], f"{place}[{key!r}]")


def _beyond_bounds(space: Any, part: Any) -> str:
    """What of an array is beyond the bounds of its Box; empty if something else is wrong."""
    fits = isinstance(space, Box) and isinstance(part, np.ndarray) and part.shape == space.shape
    if not fits or not np.can_cast(part.dtype, space.dtype) or np.isnan(part).any():
        return ""
    where = np.argwhere(~((part >= space.low) & (part <= space.high)))
    if not len(where):
        return ""
    first = tuple(int(index) for index in where[0])
    bounds = f"the bounds {space.low[first]:g} to {space.high[first]:g}"
    return f"has {len(where)} values beyond {bounds}, such as {part[first]!s} at {list(first)}"


@contextmanager
def _collected() -> Iterator[list[CheckResult]]:
    """Gather results, the warnings raised meanwhile among them."""
    results: list[CheckResult] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield results
    seen = dict.fromkeys(str(one.message) for one in caught)
    results.extend(CheckResult("warning", "said meanwhile", text) for text in seen)


def _attempt(results: list[CheckResult], subject: str, work: Callable[[], Any]) -> None:
    try:
        work()
    except GymLoopError as error:
        results.append(CheckResult("error", subject, str(error)))
    except Exception as error:  # noqa: BLE001 - whatever a user's class raises is a finding
        text = explained_call(error) or traceback.format_exc().rstrip()
        results.append(CheckResult("error", subject, text))
    else:
        results.append(CheckResult("ok", subject, "works"))
