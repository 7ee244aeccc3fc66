"""Everything that can be wrong before a training, found at once."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from gym_loop.agents.transition import Transition, VectorTransition
from gym_loop.checkpoints.seeding import Seeds
from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.envs.autoreset import Copies
from gym_loop.envs.making import close_quietly
from gym_loop.envs.step_results import as_flags, as_reward
from gym_loop.errors import ConfigError, EnvError, GymLoopError
from gym_loop.runs import manifest
from gym_loop.runs.directory import directories, obstacle_to
from gym_loop.runs.metrics import logger_classes
from gym_loop.runs.training_run import TrainingRun
from gym_loop.schema.old_code import explained_call, explained_reset
from gym_loop.training.building import Experiment, check_visible, shown


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
    config = config.with_seed(config.seed or 0)
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions().items())
    with config.code_in_use():
        return [
            CheckResult("ok", "config", f"{config.path or 'the config'} is complete"),
            *_directories(config),
            *_loggers(config),
            *_classes_and_environment(config),
            *_pictures(config),
            CheckResult("ok", "versions", versions),
        ]


def _directories(config: RunConfig) -> Iterator[CheckResult]:
    """Each parent directory can be written, or made."""
    for name, path in directories(config.loop.parameters).items():
        if obstacle := obstacle_to(path):
            yield CheckResult("error", f"loop.parameters.{name}", obstacle)
        else:
            yield CheckResult("ok", f"loop.parameters.{name}", f"{path} can be written")


def _loggers(config: RunConfig) -> list[CheckResult]:
    """The classes of further loggers, where the file names any."""
    if not (entries := config.loop.parameters.get("loggers")):
        return []
    return _attempts(
        {"loop.parameters.loggers": partial(logger_classes, entries, config.env.search)}
    )


def _classes_and_environment(config: RunConfig) -> Iterator[CheckResult]:
    """Environment and agent are made, reset, and play one step together."""
    run = TrainingRun(Seeds(config.seed or 0))
    made: list[Experiment] = []
    make = lambda: made.append(Experiment(config, run))  # noqa: E731
    yield from _attempts({"environment and agent": make})
    if not made:
        return
    experiment, env = made[0], made[0].env
    # Of a vector environment those of one copy: the bounds of all fill the screen.
    seen = getattr(env, "single_observation_space", env.observation_space)
    done = getattr(env, "single_action_space", env.action_space)
    yield CheckResult("ok", "spaces", f"observations {seen}, actions {done}")
    work: dict[str, Callable[[], Any]] = {
        "agent state": experiment.check_saveable,
        "one step": lambda: _one_step(experiment),
    }
    if "checkpoint_dir" in directories(config.loop.parameters):
        work["agent state after it"] = lambda: run.state_of(experiment.loop)
    results = _attempts(work)
    problem = close_quietly(env)
    yield from results
    if problem:
        yield CheckResult("warning", "close", problem)


def _pictures(config: RunConfig) -> Iterator[CheckResult]:
    """A window opens and a frame is encoded, for what the file asks for."""
    for evaluation in (False, True):
        prefix = "eval_" if evaluation else ""
        wishes = shown(config, evaluation=evaluation)
        if any(wishes.values()):
            subject = " and ".join(prefix + name for name, wish in wishes.items() if wish)
            look = partial(check_visible, config, evaluation=evaluation)
            yield from _attempts({subject: look})


def _one_step(experiment: Experiment) -> None:
    """What a loop does in its first step, without an update."""
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


def _attempts(work: Mapping[str, Callable[[], Any]]) -> list[CheckResult]:
    """Do each piece of work, by its subject; the warnings raised meanwhile are results too."""
    results = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for subject, attempt in work.items():
            try:
                attempt()
            except GymLoopError as error:
                results.append(CheckResult("error", subject, str(error)))
            except Exception as error:  # noqa: BLE001 - whatever a user's class raises is a finding
                text = explained_call(error) or traceback.format_exc().rstrip()
                results.append(CheckResult("error", subject, text))
            else:
                results.append(CheckResult("ok", subject, "works"))
    seen = dict.fromkeys(str(one.message) for one in caught)
    return results + [CheckResult("warning", "said meanwhile", text) for text in seen]
