"""The options of a server, from a file and from the command line.

A protocol's settings derive from `ServerSettings` and add its own fields; the ``Args`` of the
docstrings are what ``gym-loop serve ... --help`` says.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gym_loop.envs.remote.addresses import is_loopback
from gym_loop.errors import ConfigError, Finding, UsageError
from gym_loop.schema.class_strings import absolute_files, did_you_mean
from gym_loop.schema.files import expanded
from gym_loop.schema.parameters import ParameterDoc, check_value
from gym_loop.schema.yaml_file import Document, read_yaml_file

_S = TypeVar("_S", bound="Settings")
_WORDS = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null"}
_ALIASES = {"import": "imports"}  # no field can have the option's own name
_ENTRY = re.compile(r"^    (\w+): (.*)$")


class Settings(typing.Protocol):
    """A frozen dataclass of options whose docstring says in ``Args`` what each does."""

    __dataclass_fields__: typing.ClassVar[dict[str, Any]]

    def problems(self) -> dict[str, str]:
        """What is wrong with the values, by option."""


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What every server can be told.

    Args:
        host: address to listen on; any but a loopback address demands a token.
        port: TCP port; 0 takes a free one.
        env: ids that clients may ask for, as patterns such as ``CartPole-*``.
        imports: modules or ``.py`` files that register environments.
        make: class string of ``get_env(env_id, seed=None)``, which makes the environments
            instead of Gymnasium's registry.
        token: secret that clients must send as ``Authorization: Bearer`` or ``?token=``.
        replace_old_versions: serve an id whose version is gone by the newest of that name.
        max_instances: environments open at once.
        max_message_bytes: longest request in bytes.
        idle_lease: seconds without a request after which an environment is closed.
        max_requests_per_second: requests a second of one client; null is any number.
        allowed_origins: web pages, such as ``https://example.org``, whose scripts may connect;
            ``*`` allows all. Pages of the same machine always may.
        own_threads: keep every environment in a thread of its own from make to close, for
            environments that are bound to a thread or that may hang.
        longest_stall: seconds after which an environment that was fast so far, and now holds up
            all clients, is interrupted: its step fails.
        json_logs: write the log as one JSON object a line.
    """

    host: str = "127.0.0.1"
    port: int = 5000
    env: tuple[str, ...] = ("*",)
    imports: tuple[str, ...] = ()
    make: str | Callable[..., Any] | None = None
    token: str | None = field(default=None, repr=False)
    replace_old_versions: bool = True
    max_instances: int = 1000
    max_message_bytes: int = 1 << 20
    idle_lease: float = 900.0
    max_requests_per_second: float | None = None
    allowed_origins: tuple[str, ...] = ()
    own_threads: bool = False
    longest_stall: float = 5.0
    json_logs: bool = False

    def problems(self) -> dict[str, str]:
        """What is wrong with the values, by option; a subclass adds its own."""
        found = {}
        if not 0 <= self.port <= 65535:
            found["port"] = f"{self.port} is no port; use 0 (a free one) to 65535"
        if self.token is not None and not (self.token and self.token.isascii()):
            found |= {"token": "must be ASCII text that is not empty"}
        for name in ("max_instances", "max_message_bytes"):
            if getattr(self, name) < 1:
                found[name] = f"{getattr(self, name)} is too small; use at least 1"
        for name in ("idle_lease", "max_requests_per_second", "longest_stall"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                found[name] = f"{value} must be greater than 0"
        return found


@dataclass(frozen=True)
class Option:
    """One option, as the command line shows it.

    Args:
        name: the field, with underscores.
        words: the types it takes: "bool", "int", "float", "str", "list", "null".
        default: its value where none is given.
        text: what it does, one paragraph.
        takes_function: from Python, a function as well; from a file, its class string.
    """

    name: str
    words: tuple[str, ...]
    default: Any
    text: str
    takes_function: bool = False


def options(cls: type[Settings]) -> dict[str, Option]:
    """Every option of a settings class by its name, with what its docstring says."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        texts.update(_arguments(inspect.getdoc(base) if "__doc__" in vars(base) else None))
    hints = typing.get_type_hints(cls)
    known = {}
    for one in dataclasses.fields(cls):
        kinds = _kinds(hints[one.name])
        function = any(typing.get_origin(kind) is collections.abc.Callable for kind in kinds)
        text = texts.get(one.name, "")
        known[one.name] = Option(one.name, _words(kinds), one.default, text, function)
    return known


def _arguments(docstring: str | None) -> dict[str, str]:
    _, _, section = (docstring or "").partition("Args:\n")
    texts: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        if found := _ENTRY.match(line):
            name, texts[found[1]] = found[1], found[2]
        elif name and line.strip():
            texts[name] += f" {line.strip()}"
    return texts


def _kinds(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _words(kinds: tuple[Any, ...]) -> tuple[str, ...]:
    named = ("list" if typing.get_origin(one) is tuple else _WORDS.get(one, "") for one in kinds)
    return tuple(filter(None, named))


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
    reader = _Reader(options(cls), Document(None) if path is None else read_yaml_file(path))
    values = reader.from_file([path.resolve().parent] if path else [])
    values.update(reader.given(overrides or {}))
    settings, whole = cls(**values), not reader.findings
    for name, problem in settings.problems().items():
        if whole or name in values:  # else it may come of a value that was left out
            reader.find(name, problem)
    if reader.findings:
        raise ConfigError(sorted(reader.findings, key=lambda one: one.line or 0))
    return settings


class _Reader:
    """Checks the values of a file and of the command line, noting every finding."""

    def __init__(self, known: Mapping[str, Option], document: Document) -> None:
        self.known = known
        self.document = document
        self.findings: list[Finding] = []
        self.overridden: set[str] = set()
        self.keys: dict[str, str] = {}  # by option: the key as the file writes it

    def find(self, name: str, problem: str) -> None:
        if name in self.overridden:
            self.findings.append(Finding("", problem, f"--{name.replace('_', '-')}"))
        else:
            key = self.keys.get(name, name)
            line = self.document.line((key,))
            self.findings.append(Finding(key, problem, self.document.source, line))

    def from_file(self, search: list[Path]) -> dict[str, Any]:
        data = {} if self.document.data is None else self.document.data
        if not isinstance(data, dict):
            self.find("", "a mapping of options belongs here, such as port: 5000")
            return {}
        values = {}
        for key, value in data.items():
            name = str(key).replace("-", "_")
            name = _ALIASES.get(name, name)
            if name in self.keys:
                self.find(str(key), f"says the same option as {self.keys[name]}; keep one")
                continue
            self.keys[name] = key
            code = name == "imports" or (name in self.known and self.known[name].takes_function)
            values[name] = absolute_files(value, search) if code else value
        return self.checked(values)

    def given(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        values = {
            _ALIASES.get(name, name): value
            for name, value in overrides.items()
            if value is not None
        }
        self.overridden.update(values)
        return self.checked(values)

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        good = {}
        for name, value in values.items():
            if name not in self.known:
                hint = did_you_mean(name, self.known) or f"; known are {', '.join(self.known)}"
                self.find(name, f"unknown{hint}")
                continue
            checked, problem = _check(self.known[name], value)
            if problem:
                self.find(name, problem)
            else:
                good[name] = checked
        return good


def _check(option: Option, value: Any) -> tuple[Any, str]:
    if option.takes_function and callable(value):
        return value, ""
    if "list" not in option.words:
        doc = ParameterDoc(option.name, " or ".join(option.words), "")
        return check_value(value, option.default, doc)
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(one, str) for one in items):
        return value, f"{value!r} must be a list of texts"
    return tuple(items), ""


def demand_token(settings: ServerSettings) -> None:
    """Refuse to serve other machines without a secret.

    Raises:
        UsageError: the host is no loopback address and there is no token.
    """
    if settings.token is None and not is_loopback(settings.host):
        raise UsageError(
            f"host {settings.host} can be reached from other machines, whose users could run"
            " environments here: set a token (--token), or keep the host 127.0.0.1"
        )
