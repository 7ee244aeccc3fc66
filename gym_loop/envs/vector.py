"""Many copies of an environment as one: its own vector environment, or copies made here."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from gym_loop.envs.autoreset import skips_rows
from gym_loop.envs.making import (
    EnvSpec,
    check_registered,
    close_quietly,
    import_env_modules,
    is_class_string,
    load_creator,
    make_visible_env,
    refusals,
    registered,
)
from gym_loop.envs.ray_workers import ShardsEnv
from gym_loop.envs.spaces import with_lasting_spaces
from gym_loop.envs.step_results import WatchedCopy
from gym_loop.envs.workers import WorkerCopy, WorkersEnv
from gym_loop.errors import EnvError, EnvParametersError
from gym_loop.schema.arguments import as_asked
from gym_loop.schema.old_code import explained_kind
from gym_loop.schema.own_files import carried

MODES = ("auto", "native", "sync", "async", "ray")


def make_vector_env(
    spec: EnvSpec,
    n_envs: int,
    vectorization: str = "auto",
    *,
    longest: int | None = None,
    shards: int | None = None,
    render: bool = False,
    record: bool = False,
    autoreset: AutoresetMode = AutoresetMode.SAME_STEP,
) -> Any:
    """Make ``n_envs`` copies of an environment.

    Args:
        spec: what to make.
        n_envs: number of copies.
        vectorization: ``native`` takes the environment's own vector entry point, ``sync`` makes
            copies in this process, ``async`` copies in worker processes, ``ray`` in Ray's actors;
            ``auto`` is native where that is possible and gives the agent whole batches if it
            needs them, else sync.
        longest: cut an episode after so many steps; None for the environment's own limit.
        shards: number of Ray's actors; None for one a core.
        render: copy 0 shows itself in a window.
        record: copy 0 gives frames to a recorder.
        autoreset: how copies that are made here begin a new episode.

    Raises:
        EnvError: see `gym_loop.envs.making.make_env`.
        EnvParametersError: the environment cannot be vectorised in this way, or skips rows that the
            agent needs.
    """
    import_env_modules(spec)
    check_registered(spec)
    visible = render or record
    if is_class_string(spec.name):
        env = _from_class_string(spec, n_envs, vectorization, longest, visible)
        return _with_wanted_rows(spec, env)
    if visible and vectorization in ("async", "ray"):
        raise EnvParametersError(
            "a copy in a worker process cannot be shown or recorded; set vectorization to auto or"
            " sync, or render and record to false"
        )
    if vectorization in ("auto", "native"):
        obstacle = why_not_native(spec, longest, visible)
        if not obstacle:
            env = _native(spec, n_envs, longest)
            if vectorization == "native" or not spec.whole_batches or not skips_rows(env):
                return _with_wanted_rows(spec, env)
            close_quietly(env)
        elif vectorization == "native":
            raise EnvParametersError(
                f"{spec.name} cannot be vectorised natively: {obstacle};"
                " set vectorization to auto or sync"
            )
    if vectorization == "async":
        copy = WorkerCopy(carried(partial(make_copy, spec, longest)))
        return WorkersEnv([copy] * n_envs, spec.name, autoreset)
    if vectorization == "ray":
        create = carried(partial(make_copy, spec, longest))
        return ShardsEnv(create, n_envs, spec.name, autoreset, shards)
    shown = partial(make_copy, spec, longest, render=render, record=record)
    others = partial(make_copy, spec, longest)
    # What is recorded is looked at after a step, before the reset that follows it.
    mode = AutoresetMode.DISABLED if visible else autoreset
    return SyncVectorEnv([shown] + [others] * (n_envs - 1), copy=False, autoreset_mode=mode)


def check_whole_batches(env: Any) -> None:
    """Refuse a vector environment that gives no row of copies that it resets.

    Raises:
        EnvParametersError: it does.
    """
    if skips_rows(env):
        raise EnvParametersError(
            f"{type(env.unwrapped).__name__} skips the rows of copies that are being reset"
            " (autoreset mode NEXT_STEP), and the agent takes transitions of all copies only: set"
            " vectorization to auto or sync, with an environment's id as env.name, or let the agent"
            " read transition.env_ids and say so in its class: supports_partial_batch = True"
        )


def _with_wanted_rows(spec: EnvSpec, env: Any) -> Any:
    if spec.whole_batches:
        try:
            check_whole_batches(env)
        except EnvParametersError:
            close_quietly(env)
            raise
    return env


def make_copy(
    spec: EnvSpec, longest: int | None, *, render: bool = False, record: bool = False
) -> gymnasium.Env[Any, Any]:
    """Make one copy with its wrappers, and a time limit around them if ``longest`` asks for it."""
    env = make_visible_env(spec, render=render, record=record)
    limit = env.spec.max_episode_steps if env.spec is not None else None
    if longest is not None and (limit is None or limit > longest or spec.wrappers):
        env = gymnasium.wrappers.TimeLimit(env, longest)
    return WatchedCopy(env)


# -- the environment's own vector entry point --------------------------------------------------


def why_not_native(spec: EnvSpec, longest: int | None = None, visible: bool = False) -> str:
    """Why the environment's own vector entry point cannot be taken; empty if it can."""
    entry = registered(spec)
    if entry.vector_entry_point is None:
        return "it has no vector entry point"
    if spec.wrappers or entry.additional_wrappers:
        return "its wrappers are for single copies"
    if visible:
        return "a single copy of it cannot be shown or recorded"
    try:
        creator = _loaded(entry.vector_entry_point)
    except ImportError as error:
        return f"its vector entry point needs {error.name}"
    names = inspect.signature(creator).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in names.values()):
        return ""
    refused = [name for name in spec.parameters if name not in names]
    if refused:
        return f"its vector entry point does not take {', '.join(refused)}"
    if "max_episode_steps" not in names and _limit(spec, longest) != entry.max_episode_steps:
        return "its vector entry point takes no time limit"
    return ""


def _native(spec: EnvSpec, n_envs: int, longest: int | None) -> Any:
    keywords = as_asked(_loaded(registered(spec).vector_entry_point), spec.parameters)
    if (limit := _limit(spec, longest)) is not None:
        keywords["max_episode_steps"] = limit
    with refusals(spec):
        return with_lasting_spaces(
            gymnasium.make_vec(spec.id, n_envs, vectorization_mode="vector_entry_point", **keywords)
        )


def _loaded(entry_point: Any) -> Callable[..., Any]:
    creator: Callable[..., Any] = (
        load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    )
    return creator


def _limit(spec: EnvSpec, longest: int | None) -> int | None:
    """The time limit of an episode that follows from the registry, the file and the loop."""
    own = spec.max_episode_steps or registered(spec).max_episode_steps
    limits = [one for one in (own, longest) if one is not None]
    return min(limits) if limits else None


# -- vector environments by class string -------------------------------------------------------


def _from_class_string(
    spec: EnvSpec, n_envs: int, vectorization: str, longest: int | None, visible: bool
) -> Any:
    """What the class or function gives when it is called with ``num_envs``."""
    obstacles = {
        "set vectorization to auto": vectorization in ("sync", "async", "ray"),
        "leave env.wrappers out": bool(spec.wrappers),
        "set render and record to false": visible,
        "set env.max_episode_steps in place of max_episode_len": longest is not None,
    }
    if wishes := [wish for wish, stands in obstacles.items() if stands]:
        raise EnvParametersError(
            f"env.name: {spec.name} makes all copies by itself: {'; '.join(wishes)}"
        )
    creator = load_creator(spec)
    keywords = as_asked(creator, spec.parameters)
    if spec.max_episode_steps is not None:
        keywords["max_episode_steps"] = spec.max_episode_steps
    create = partial(creator, **{**keywords, "num_envs": n_envs})
    if (getattr(creator, "__module__", None) or "").partition(".")[0] == "envpool":
        create = partial(EnvPoolEnv, create)
    with refusals(spec):
        env = create()
    if not isinstance(env, VectorEnv):
        close_quietly(env)
        kind = explained_kind(env)
        raise EnvError(
            f"env.name: {spec.name}: {kind}"
            if kind
            else f"env.name: {spec.name} gave a {type(env).__name__}, which is no"
            " gymnasium.vector.VectorEnv; register single environments and name their id"
        )
    if env.num_envs != n_envs:
        close_quietly(env)
        raise EnvError(
            f"env.name: {spec.name} gave {env.num_envs} copies when it was asked for {n_envs};"
            " it must take num_envs"
        )
    return with_lasting_spaces(env)


class EnvPoolEnv(VectorWrapper):  # type: ignore[misc]
    """EnvPool's Gymnasium interface with batched spaces and a seeded reset.

    EnvPool takes a seed only when it is made: a seeded reset makes it anew.

    Args:
        create: calls ``envpool.make_gymnasium``.
    """

    not_state = ("_create",)
    env: Any

    def __init__(self, create: Callable[..., Any]) -> None:
        self._create = create
        super().__init__(self._created())
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _created(self, **seed: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the precision of its spaces
            env = self._create(**seed)
            # Its spaces are made when they are first asked for.
            _ = env.single_observation_space, env.single_action_space
        return env

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all copies."""
        if seed is not None:
            self.env.close()
            self.env = self._created(seed=int(seed) % 2**31)
        result: tuple[Any, dict[str, Any]] = self.env.reset(options=options)
        return result
