"""What the NATS system side can be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gym_loop.serve.native.settings import NativeNatsSettings, load_native
from gym_loop.serve.nats.connection import NatsConnection
from gym_loop.serve.settings import load_settings
from gym_loop.wire.gym_nats import prefix_problem, subjects

_OWN = (
    *("env", "url", "user", "password", "token", "credentials", "tls_ca", "embedded", "imports"),
    *("make", "seed", "timeout", "queue", "replace_old_versions"),
)


@dataclass(frozen=True, kw_only=True)
class NatsSettings(NatsConnection):
    """The options of ``gym-loop serve nats``.

    Args:
        env: ids of the environments to serve, each alone or as ``PREFIX=ID``: the prefix and a
            dot are put before its subjects, so that several can be served at once.
        imports: modules or ``.py`` files that register environments.
        make: class string of ``get_env(env_id, seed=None)``, which makes the environments
            instead of Gymnasium's registry.
        seed: of the first episode; drawn where none is given.
        queue: refused; see the documentation for why a system has no queue group.
        replace_old_versions: serve an id whose version is gone by the newest of that name.
        native: serve the native protocol instead of gym-nats; ``env`` then holds patterns.
        subject: that requests are answered on, with ``native``.
        allow_parameters: keyword arguments that clients may give, with ``native``.
        max_envs: environments at once, with ``native``.
    """

    own_options: ClassVar[tuple[str, ...]] = _OWN

    env: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    make: str | Callable[..., Any] | None = None
    seed: int | None = None
    queue: str | None = None
    replace_old_versions: bool = True
    native: bool = False
    subject: str | None = None
    allow_parameters: tuple[str, ...] = ()
    max_envs: int | None = None

    @classmethod
    def load(
        cls, file: str | Path | None = None, overrides: Mapping[str, Any] | None = None
    ) -> NatsSettings | NativeNatsSettings:
        """Read the options, those of the native server where they ask for it.

        Raises:
            ConfigError: with every finding.
        """
        native = load_native(NativeNatsSettings, file, overrides or {}, cls)
        return load_settings(cls, file, overrides) if native is None else native

    def problems(self) -> dict[str, str]:
        """What is wrong with the values, by option."""
        found = super().problems()
        prefixes = [prefix for prefix, _ in self.systems()]
        updates = {subjects(prefix).update for prefix in prefixes}
        if not self.env:
            found["env"] = "names no environment; write --env CartPole-v1, say"
        elif bad := next(filter(None, map(prefix_problem, prefixes)), ""):
            found["env"] = bad
        elif len(updates) < len(prefixes):
            found["env"] = (
                "several environments on the same subjects; give each a prefix: a=CartPole-v1"
            )
        if self.queue is not None:
            found["queue"] = (
                f"{self.queue!r} is refused: in a queue group each request of an episode may reach"
                " another member, and every member holds a different state; serve several"
                " systems under prefixes instead"
            )
        if self.seed is not None and self.seed < 0:
            found["seed"] = f"{self.seed} is no seed; use an integer from 0 on"
        return found

    def systems(self) -> list[tuple[str, str]]:
        """Prefix and environment id of each."""
        parts = [one.rpartition("=") for one in self.env]
        return [(prefix, env_id) for prefix, _, env_id in parts]
