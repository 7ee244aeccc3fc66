"""The options of a server, from a file and from the command line.

Each is declared once: what ``gym-loop serve ... --help`` says of it follows from its field.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from annotated_types import Interval
from pydantic import AfterValidator

from gym_loop.envs.remote.addresses import is_loopback
from gym_loop.errors import Finding, UsageError
from gym_loop.schema.class_strings import absolute_files
from gym_loop.schema.files import expanded
from gym_loop.schema.parameters import (
    Field,
    NonNegativeFloat,
    Parameters,
    PositiveFloat,
    PositiveInt,
)
from gym_loop.schema.reading import Reader
from gym_loop.schema.validation import Way, fields_of, words_of
from gym_loop.schema.yaml_file import Document, read_yaml_file

_LOG = logging.getLogger("gym_loop.serve")
_S = TypeVar("_S", bound=Parameters)
_ALIASES = {"import": "imports"}  # no field can have the option's own name
MOST_FPS = 60


def _checked_port(port: int) -> int:
    if not 0 <= port <= 65535:
        raise ValueError(f"{port} is not a port; use 0 (a free one) to 65535")
    return port


def _checked_token(token: str) -> str:
    if not (token and token.isascii()):
        raise ValueError("must be ASCII text that is not empty")
    return token


Hook = str | Callable[..., Any] | None


class ServeSettings(Parameters):
    """The options of ``gym-loop serve``, ``serve http`` and ``serve websocket``."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on; any but a loopback address demands a token.",
    )
    port: Annotated[int, AfterValidator(_checked_port)] = Field(
        default=5000, description="TCP port; 0 takes a free one."
    )
    env: tuple[str, ...] = Field(
        default=("*",),
        description="Ids that clients may ask for, as patterns such as ``CartPole-*``.",
    )
    imports: tuple[str, ...] = Field(
        default=(), description="Modules or ``.py`` files that register environments."
    )
    make: Hook = Field(
        default=None,
        description="Class string of ``get_env(env_id, seed=None)``, which makes the environments"
        " instead of Gymnasium's registry.",
    )
    process_step: Hook = Field(
        default=None,
        description="Class string of ``process_step(step)``, which makes the four values that a"
        " gymie client gets (observation, reward, done, info) out of the environment's five.",
    )
    token: Annotated[str, AfterValidator(_checked_token)] | None = Field(
        default=None,
        repr=False,
        description="Secret that clients must send as ``Authorization: Bearer`` or ``?token=``.",
    )
    serve_everyone_without_token: bool = Field(
        default=False,
        description="Listen on any address without a token: only in networks that nobody else can"
        " reach, such as those between containers.",
    )
    replace_old_versions: bool = Field(
        default=True, description="Serve an id whose version is gone by the newest of that name."
    )
    max_instances: PositiveInt = Field(default=1000, description="Environments open at once.")
    max_envs: PositiveInt = Field(
        default=4096,
        description="Environments that native clients may have at once, each copy in a vector"
        " environment counted.",
    )
    max_connections: PositiveInt = Field(default=1000, description="Connections at once.")
    max_message_bytes: PositiveInt = Field(default=1 << 20, description="Longest request in bytes.")
    max_requests_per_second: PositiveFloat | None = Field(
        default=None, description="Requests a second of one client; null is any number."
    )
    idle_lease: PositiveFloat = Field(
        default=900.0, description="Seconds without a request after which an environment is closed."
    )
    step_timeout: NonNegativeFloat = Field(
        default=30.0,
        description="Seconds after which a step, or another call of an environment, fails; 0 lets"
        " it take any time.",
    )
    isolate: bool = Field(
        default=False,
        description="Run every environment in a process of its own, for those that may crash, hang"
        " or hold the interpreter; they must be registered by ``imports`` or made by ``make``.",
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(),
        description="Web pages, such as ``https://example.org``, whose scripts may connect; ``*``"
        " allows all. Pages of the same machine always may.",
    )
    allow_parameters: tuple[str, ...] = Field(
        default=(),
        description="Keyword arguments that native clients may give to environments, by name, or"
        " as ``ID:NAME`` with patterns such as ``LunarLander-*:gravity``.",
    )
    compression: bool = Field(
        default=False,
        description="Offer permessage-deflate over WebSocket; it saves bytes of large observations"
        " and costs time.",
    )
    ping_interval: PositiveFloat | None = Field(
        default=20.0,
        description="Seconds between two pings of a WebSocket, which keep proxies from closing it;"
        " null never pings.",
    )
    monitor_root: str = Field(
        default="monitor",
        min_length=1,
        description="Directory below which clients may have their episodes recorded; what they"
        " name relatively begins there.",
    )
    any_monitor_directory: bool = Field(
        default=False,
        description="Let clients record into every directory that this user may write.",
    )
    page_fps: Annotated[float, Interval(ge=0, le=MOST_FPS)] = Field(
        default=10.0,
        description="Pictures a second that the page at ``/`` shows of an environment while"
        " somebody looks on; 0 shows none.",
    )
    allow_shutdown: bool = Field(
        default=False, description="Let a client end the server with ``POST /v1/shutdown/``."
    )
    json_logs: bool = Field(default=False, description="Write the log as one JSON object a line.")

    former_names: ClassVar[dict[str, str]] = {
        "own_threads": "is gone: every environment has a thread of its own now",
        "longest_stall": "is gone: see step_timeout",
    }


def load_settings(
    cls: type[_S], file: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> _S:
    """Read a server's options.

    Args:
        cls: the settings class of the protocol.
        file: YAML file whose keys are the names of the options; None reads none.
        overrides: values by option that win over the file's; None stands for "not given".

    Raises:
        ConfigError: with every finding, each with its file and line or its option.
    """
    path = None if file is None else expanded(file)
    document = Document(None) if path is None else read_yaml_file(path)
    reader = _SettingsReader(document, cls, [path.resolve().parent] if path else [])
    for name, value in (overrides or {}).items():
        if value is not None:
            reader.override(_name(name), value)
    made = reader.read(cls)
    reader.finish()
    return made


class _SettingsReader(Reader):
    """Reads options whose names the file may also write with hyphens."""

    def __init__(self, document: Document, cls: type[Parameters], search: list[Path]) -> None:
        super().__init__(document)
        self.cls = cls
        self.keys: dict[str, str] = {}  # by option: the key as the file writes it
        if not isinstance(document.data, dict):
            return
        values: dict[Any, Any] = {}
        for key, value in document.data.items():
            name = _name(key)
            if name in values:
                self.find((key,), f"says the same option as {self.keys[name]}; keep one")
                continue
            self.keys[name] = key
            found = absolute_files(value, search) if _is_code(cls, name) else value
            values[name] = _as_list(cls, name, found)
        document.data = values

    def override(self, name: str, value: Any) -> None:
        """Put the value of a command-line option over the file's."""
        if isinstance(self.document.data, dict) or self.document.data is None:
            data = self.document.data = self.document.data or {}
            data[name] = _as_list(self.cls, name, value)
            self.overridden.append(name)

    def find(self, way: Way, problem: str) -> None:
        """Note what is wrong, by the name of the option."""
        name = str(way[0]) if way else ""
        if name in self.overridden:
            self.findings.append(Finding("", problem, f"--{name.replace('_', '-')}"))
        else:
            super().find((self.keys.get(name, name), *way[1:]) if way else (), problem)


def _name(key: Any) -> str:
    name = str(key).replace("-", "_")
    return _ALIASES.get(name, name)


def _is_code(cls: type[Parameters], name: str) -> bool:
    field = fields_of(cls).get(name)
    return name == "imports" or (field is not None and field.annotation == Hook)


def _as_list(cls: type[Parameters], name: str, value: Any) -> Any:
    """One text where several may be given is a list of it."""
    field = fields_of(cls).get(name)
    if field is None or not isinstance(value, str):
        return value
    return (value,) if words_of(field.annotation) == ["list"] else value


def demand_token(settings: ServeSettings) -> None:
    """Refuse to serve other machines without a secret.

    Raises:
        UsageError: the host is no loopback address and there is no token.
    """
    if settings.token is not None or is_loopback(settings.host):
        return
    if not settings.serve_everyone_without_token:
        raise UsageError(
            f"host {settings.host} can be reached from other machines, whose users could run"
            " environments here: set a token (--token), or keep the host 127.0.0.1"
        )
    _LOG.warning(
        "host %s is served without a token (serve_everyone_without_token): whoever reaches this"
        " port may run environments here",
        settings.host,
    )
