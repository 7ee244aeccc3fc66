"""Which environments a server offers, and how they are made."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from gym_loop.envs.making import EnvSpec, describe, import_env_modules, load_creator
from gym_loop.envs.remote import ENVIRONMENTS
from gym_loop.errors import GymLoopError
from gym_loop.schema.class_strings import load_module
from gym_loop.wire.problems import EnvFailed, MalformedEnvId, UnknownEnvId

_LOG = logging.getLogger("gym_loop.serve")
_ID = re.compile(r"((?:[\w-]+/)?[\w.-]+?)-v(\d+)", re.ASCII)
_LONGEST_ID = 200
_NEEDED = ("reset", "step", "close", "observation_space", "action_space")


class Catalogue:
    """The environments that clients may have.

    A client names what the operator's registry, or ``make``, already knows; its text is never
    imported.

    Args:
        env: ids that may be had, as patterns.
        imports: modules or files that register environments.
        make: makes the environments instead of the registry; or its class string.
        replace_old_versions: serve an id whose version is gone by the newest of that name.

    Raises:
        ClassLoadError: an import, or the module of ``make``, cannot be loaded.
        EnvUnknownError: the module of ``make`` has no such function.
    """

    def __init__(
        self,
        *,
        env: tuple[str, ...] = ("*",),
        imports: tuple[str, ...] = (),
        make: str | Callable[..., Any] | None = None,
        replace_old_versions: bool = True,
    ) -> None:
        self._given = {"env": env, "imports": imports, "make": make}
        self._patterns = env
        self._replace = replace_old_versions
        self._replaced: set[tuple[str, str]] = set()
        for name in imports:
            load_module(name)
        self._make_hook = load_creator(EnvSpec(make)) if isinstance(make, str) else make

    def __reduce__(self) -> Any:
        """Another process imports and registers for itself."""
        given = {**self._given, "replace_old_versions": self._replace}
        return partial(Catalogue, **given), ()  # type: ignore[arg-type]

    @property
    def has_hook(self) -> bool:
        """Whether the operator's own function makes the environments."""
        return self._make_hook is not None

    def ids(self) -> list[str]:
        """The registered ids that may be asked for, sorted; with ``make`` there may be others."""
        return sorted(env_id for env_id in gym.registry if self._allows(env_id))

    def resolve(self, env_id: object) -> str:
        """The id that is served for the one asked for: the same, or its newest version.

        Raises:
            MalformedEnvId: it is no text, has no version, or names a module.
            UnknownEnvId: nothing is registered, or allowed, under it.
        """
        if not isinstance(env_id, str):
            raise MalformedEnvId(f"{env_id!r:.80} is no environment id, such as 'CartPole-v1'")
        if ":" in env_id:
            raise MalformedEnvId(f"{env_id!r:.80} names a module, which no client may import")
        if not env_id or len(env_id) > _LONGEST_ID:
            raise MalformedEnvId(f"{env_id!r:.80} is no environment id, such as 'CartPole-v1'")
        if self._make_hook is not None:
            if self._allows(env_id):
                return env_id
            raise UnknownEnvId(f"there is no environment {env_id} here")
        self._import_namespace(env_id)
        if env_id in gym.registry and self._allows(env_id):
            return env_id
        if not _ID.fullmatch(env_id):
            raise MalformedEnvId(f"{env_id!r} is no environment id: it has no version such as -v1")
        newest = self._newer(env_id)
        if newest is None:
            raise UnknownEnvId(f"there is no environment {env_id} here")
        return newest

    def make(
        self,
        env_id: object,
        seed: int | None = None,
        keywords: Mapping[str, Any] | None = None,
    ) -> Any:
        """Make an environment; this may take long.

        Args:
            env_id: what the client asked for.
            seed: for ``make``; the environments of the registry are seeded by their first reset.
            keywords: exactly those that it gets; None lets it give frames where it can.

        Raises:
            MalformedEnvId: see `resolve`.
            UnknownEnvId: see `resolve`.
            EnvFailed: it could not be made.
        """
        served = self.resolve(env_id)
        try:
            if self._make_hook is None:
                env = self._make_registered(served, keywords)
            elif keywords:
                raise EnvFailed(
                    f"environment {served} is made by this server's own function, which takes no"
                    f" {', '.join(keywords)}"
                )
            else:
                env = self._make_hook(served, seed=seed)
        except EnvFailed:
            raise
        except (Exception, SystemExit) as error:
            _LOG.warning("environment %s cannot be made", served, exc_info=error)
            raise EnvFailed(f"environment {served} cannot be made: {describe(error)}") from error
        missing = [name for name in _NEEDED if not hasattr(env, name)]
        if missing:
            raise EnvFailed(f"make gave a {type(env).__name__} for {served}: no {missing[0]} in it")
        return env

    def _allows(self, env_id: str) -> bool:
        if env_id in ENVIRONMENTS:  # a client of another server: only where the operator says so
            return env_id in self._patterns
        return any(fnmatchcase(env_id, pattern) for pattern in self._patterns)

    def _import_namespace(self, env_id: str) -> None:
        """Import the one well-known package that a namespace stands for, such as ALE's."""
        if not self._allows(env_id):
            return
        try:
            import_env_modules(EnvSpec(env_id))
        except GymLoopError as error:
            raise EnvFailed(str(error)) from error

    def _newer(self, env_id: str) -> str | None:
        """The newest allowed version of the same name, if newer than the one asked for."""
        found = _ID.fullmatch(env_id)
        if found is None or not self._replace:
            return None
        name, version = found[1], int(found[2])
        others = (_ID.fullmatch(known) for known in self.ids())
        versions = [int(one[2]) for one in others if one and one[1] == name]
        newest = max(versions, default=-1)
        if newest <= version:
            return None
        served = f"{name}-v{newest}"
        if (env_id, served) not in self._replaced:
            self._replaced.add((env_id, served))
            _LOG.warning("clients ask for %s, which is gone: they get %s", env_id, served)
        return served

    def _make_registered(self, env_id: str, keywords: Mapping[str, Any] | None) -> Any:
        try:
            return _make(env_id, keywords)
        except ImportError:  # registered still, but moved to another package
            newer = self._newer(env_id)
            if newer is None:
                raise
            return _make(newer, keywords)


def _make(env_id: str, given: Mapping[str, Any] | None) -> Any:
    # Not by gym.make(env_id): it warns of old versions, and of render modes that are absent.
    spec = gym.registry[env_id]
    entry = spec.entry_point
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    modes: Any = (getattr(creator, "metadata", None) or {}).get("render_modes") or ()
    keywords = given or {}
    if given is None and "rgb_array" in modes and "render_mode" not in spec.kwargs:
        keywords = {"render_mode": "rgb_array"}
    if "render_mode" in keywords:
        draw_into_memory()
    return gym.make(replace(spec, entry_point=creator), **keywords)


def draw_into_memory() -> None:
    """Frames need no display, and pygame complains about a missing one."""
    if not any(name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")):
        os.environ["SDL_VIDEODRIVER"] = "dummy"
