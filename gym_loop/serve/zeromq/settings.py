"""What ``gym-loop serve zmq`` can be told beside its configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gym_loop.schema.yaml_file import read_overrides
from gym_loop.serve.native.settings import NativeZmqSettings, load_native
from gym_loop.serve.settings import load_settings
from gym_loop.serve.zeromq.config import load_config
from gym_loop.serve.zeromq.sections import ZeroMQConfig

# By option: the keys of the configuration that it sets.
_KEYS = {
    "env": ("Env.env",),
    "imports": ("Env.imports",),
    "host": ("ObservationSender.host", "RewardSender.host"),
    "render": ("Env.render",),
    "speed": ("EnvRunner.speed",),
}


@dataclass(frozen=True, kw_only=True)
class ZeroMQSettings:
    """The options of ``gym-loop serve zmq``, which win over the configuration file.

    Args:
        env: id of the environment.
        imports: modules or ``.py`` files that register it.
        host: address that both streams listen on; any but a loopback address demands CURVE keys.
        render: show the environment in a window.
        speed: "real" steps by the clock; "max" makes one step a command, as fast as they come.
        set: value of the configuration, such as ``EnvRunner.update_interval=0.05``.
        native: serve the native protocol instead of gymz; the file then holds its options, and
            ``env`` may be a pattern.
        port: TCP port, with ``native``; 0 takes a free one.
        secret_key: file of the server's CURVE pair, with ``native``.
        client_keys: files of the public keys of clients, with ``native``.
        allow_parameters: keyword arguments that clients may give, with ``native``.
        max_envs: environments at once, with ``native``.
    """

    own_options: ClassVar[tuple[str, ...]] = (*_KEYS, "set")

    env: str | None = None
    imports: tuple[str, ...] = ()
    host: str | None = None
    render: bool | None = None
    speed: str | None = None
    set: tuple[str, ...] = ()
    native: bool = False
    port: int | None = None
    secret_key: str | None = None
    client_keys: tuple[str, ...] = ()
    allow_parameters: tuple[str, ...] = ()
    max_envs: int | None = None

    def problems(self) -> dict[str, str]:
        """What is wrong with the values, by option; the configuration checks them."""
        return {}

    @classmethod
    def load(
        cls, file: str | Path | None = None, overrides: Mapping[str, Any] | None = None
    ) -> ZeroMQConfig | NativeZmqSettings:
        """Read the configuration file, which has gymz's sections, and put the options over it.

        With ``native`` it has the options of the native server instead.

        Args:
            file: JSON or YAML; None takes the defaults.
            overrides: values by option; None stands for "not given".

        Raises:
            ConfigError: with every finding.
        """
        given = {name: value for name, value in (overrides or {}).items() if value is not None}
        native = load_native(NativeZmqSettings, file, given, cls)
        if native is not None:
            return native
        options = load_settings(cls, None, given)
        values = {
            key: list(value) if isinstance(value, tuple) else value
            for name, keys in _KEYS.items()
            if (value := getattr(options, name)) not in (None, ())
            for key in keys
        }
        return load_config(file, {**dict(read_overrides(options.set)), **values})
