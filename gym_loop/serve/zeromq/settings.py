"""What ``gym-loop serve zmq`` can be told beside its configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gym_loop.schema.overrides import read_overrides
from gym_loop.schema.parameters import Field, Parameters
from gym_loop.serve.settings import load_settings
from gym_loop.serve.zeromq.config import ZeroMQConfig, load_config

# By option: the keys of the configuration that it sets.
_KEYS = {
    "env": ("Env.env",),
    "imports": ("Env.imports",),
    "host": ("ObservationSender.host", "RewardSender.host"),
    "render": ("Env.render",),
    "speed": ("EnvRunner.speed",),
}


class ZeroMQSettings(Parameters):
    """The options of ``gym-loop serve zmq``, which win over the configuration file."""

    env: str | None = Field(default=None, description="Id of the environment.")
    imports: tuple[str, ...] = Field(
        default=(), description="Modules or ``.py`` files that register it."
    )
    host: str | None = Field(
        default=None,
        description="Address that both streams listen on; any but a loopback address demands CURVE"
        " keys.",
    )
    render: bool | None = Field(default=None, description="Show the environment in a window.")
    speed: str | None = Field(
        default=None,
        description='"real" steps by the clock; "max" makes one step a command, as fast as they'
        " come.",
    )
    set: tuple[str, ...] = Field(
        default=(),
        description="Value of the configuration, such as ``EnvRunner.update_interval=0.05``.",
    )

    @classmethod
    def load(
        cls, file: str | Path | None = None, overrides: Mapping[str, Any] | None = None
    ) -> ZeroMQConfig:
        """Read the configuration file, which has gymz's sections, and put the options over it.

        Args:
            file: JSON or YAML; None takes the defaults.
            overrides: values by option; None stands for "not given".

        Raises:
            ConfigError: with every finding.
        """
        given = {name: value for name, value in (overrides or {}).items() if value is not None}
        options = load_settings(cls, None, given)
        values = {
            key: list(value) if isinstance(value, tuple) else value
            for name, keys in _KEYS.items()
            if (value := getattr(options, name)) not in (None, ())
            for key in keys
        }
        return load_config(file, {**dict(read_overrides(options.set)), **values})
