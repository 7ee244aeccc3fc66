"""From what a client wishes for to an environment, or to many copies of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gymnasium.vector import AutoresetMode, SyncVectorEnv

from gym_loop.envs.making import EnvSpec, close_quietly, describe
from gym_loop.envs.state.proof import Verdict, prove
from gym_loop.envs.vector import make_vector_env, why_not_native
from gym_loop.errors import GymLoopError
from gym_loop.serve.catalogue import Catalogue, draw_into_memory
from gym_loop.wire.problems import EnvFailed, Problem

VECTORIZATIONS = ("auto", "native", "sync")
MODES = {mode.name.lower(): mode for mode in AutoresetMode}
_STEPS = 32  # of a proof
_PROOFS = 1024  # remembered


@dataclass(frozen=True)
class Wish:
    """What a client asks for.

    Args:
        env_id: under which it is served.
        parameters: keyword arguments of the environment, plain data that the operator allows.
        num_envs: copies of a vector environment; None for a single environment.
        vectorization: "auto", "native" or "sync".
        autoreset: how copies begin a new episode; None takes what the environment does, and
            SAME_STEP for copies that are made here.
        max_episode_steps: time limit in steps; None keeps the registered one.
        render_mode: None or "rgb_array".
        keep_state: the client wants to save and restore the environment.
    """

    env_id: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    num_envs: int | None = None
    vectorization: str = "auto"
    autoreset: AutoresetMode | None = None
    max_episode_steps: int | None = None
    render_mode: str | None = None
    keep_state: bool = False

    @property
    def size(self) -> int:
        """Environments, copies counted."""
        return self.num_envs or 1


def make_wished(catalogue: Catalogue, wish: Wish) -> Any:
    """Make what a client wishes for; this may take long.

    Raises:
        Problem: it is not served, or cannot be made.
    """
    if wish.render_mode is not None:
        draw_into_memory()
    try:
        if wish.num_envs is None:
            return catalogue.make(wish.env_id, keywords=_keywords(wish, limit=True))
        return _make_copies(catalogue, wish, wish.num_envs)
    except Problem:
        raise
    except GymLoopError as error:
        raise EnvFailed(str(error)) from error
    except (Exception, SystemExit) as error:
        raise EnvFailed(f"environment {wish.env_id} cannot be made: {describe(error)}") from error


def _keywords(wish: Wish, *, limit: bool) -> dict[str, Any]:
    keywords = dict(wish.parameters)
    if wish.render_mode is not None:
        keywords["render_mode"] = wish.render_mode
    if limit and wish.max_episode_steps is not None:
        keywords["max_episode_steps"] = wish.max_episode_steps
    return keywords


def _make_copies(catalogue: Catalogue, wish: Wish, count: int) -> Any:
    mode = wish.autoreset or AutoresetMode.SAME_STEP
    served = catalogue.resolve(wish.env_id)
    if catalogue.has_hook:
        make = partial(catalogue.make, served, keywords=_keywords(wish, limit=True))
        return SyncVectorEnv([make] * count, copy=False, autoreset_mode=mode)
    spec = EnvSpec(
        served,
        parameters=_keywords(wish, limit=False),
        max_episode_steps=wish.max_episode_steps,
    )
    vectorization = wish.vectorization
    if vectorization == "auto":
        obstacle = why_not_native(spec, visible=wish.render_mode is not None)
        vectorization = "sync" if obstacle else "native"
    env = make_vector_env(spec, count, vectorization, autoreset=mode)
    if wish.autoreset not in (None, env.metadata.get("autoreset_mode")):
        close_quietly(env)
        if wish.vectorization == "native":
            raise EnvFailed(
                f"{served}'s own vector environment knows no autoreset mode"
                f" {mode.name.lower()}; ask for vectorization sync"
            )
        env = make_vector_env(spec, count, "sync", autoreset=mode)
    return env


class Proofs:
    """How the state of each kind of environment can be kept; proved once for all clients.

    Args:
        catalogue: makes the environments.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._verdicts: dict[str, Verdict] = {}
        self._lock = threading.Lock()  # a proof plays with the global random streams

    def verdict(self, wish: Wish) -> Verdict:
        """The best method, and whether it is exact; this may take long.

        Raises:
            Problem: the environment cannot be made.
        """
        if wish.num_envs is not None:  # two copies prove as much as many
            wish = replace(wish, num_envs=min(wish.num_envs, 2))
        make: Callable[[], Any] = partial(make_wished, self._catalogue, wish)
        key = repr(wish)
        with self._lock:
            if key not in self._verdicts:
                if len(self._verdicts) >= _PROOFS:
                    self._verdicts.clear()
                self._verdicts[key] = prove(make, seed=0, steps=_STEPS)
            return self._verdicts[key]
