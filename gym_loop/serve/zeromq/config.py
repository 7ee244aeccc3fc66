"""Reading the configuration of a ZeroMQ server: JSON or YAML, over the defaults."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from gym_loop.envs.remote.addresses import is_loopback
from gym_loop.errors import ConfigError, Finding, UsageError
from gym_loop.schema.files import expanded
from gym_loop.schema.parameters import ParameterDoc, check_value
from gym_loop.schema.yaml_file import Document, read_overrides, read_text, read_yaml
from gym_loop.serve.zeromq.sections import SECTIONS, Section, ZeroMQConfig, nearest

_WORDS = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}
# What Python's json module writes, and YAML would take for text.
_JSON_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def load_config(
    file: str | Path | None = None, overrides: Iterable[str] | Mapping[str, Any] = ()
) -> ZeroMQConfig:
    """Read a configuration; gymz's own files are read unchanged.

    Args:
        file: JSON or YAML; None takes the defaults.
        overrides: ``Section.key=value`` texts, or such a mapping, which win over the file.

    Raises:
        ConfigError: with every finding, each with file, line and the nearest valid name.
    """
    path = None if file is None else expanded(file)
    document = Document(None) if path is None else _read(path)
    overridden = set()
    for key, value in read_overrides(overrides):
        document.set(key, value)
        overridden.add(key)
    reader = _Reader(document, overridden)
    values = reader.sections()
    if reader.findings:
        raise ConfigError(sorted(reader.findings, key=lambda one: one.line or 0))
    return ZeroMQConfig(**values, directory=path.resolve().parent if path else Path.cwd())


def demand_keys(config: ZeroMQConfig) -> None:
    """Refuse to listen beyond this machine without keys.

    Raises:
        UsageError: a stream's host is no loopback address, and there are no keys.
    """
    for name, sender in (
        ("ObservationSender", config.observation_sender),
        ("RewardSender", config.reward_sender),
    ):
        if not is_loopback(sender.host) and not config.security.secret_key:
            raise UsageError(
                f"{name}.host: {sender.host} can be reached from other machines: name the files of"
                " CURVE keys in Security.secret_key and Security.agent_key, or keep the host"
                " 127.0.0.1"
            )


def _read(path: Path) -> Document:
    text = read_text(path)
    if path.suffix.lower() != ".json":
        return read_yaml(text, str(path))
    # JSON is YAML, but for tabs and the names of three numbers.
    document = read_yaml(text.expandtabs(2), str(path))
    document.data = _with_json_numbers(document.data)
    return document


def _with_json_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_json_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_json_numbers(item) for item in value]
    return _JSON_NUMBERS.get(value, value) if isinstance(value, str) else value


class _Reader:
    """Checks the sections one by one, noting every finding."""

    def __init__(self, document: Document, overridden: set[str]) -> None:
        self.document = document
        self.overridden = overridden
        self.findings: list[Finding] = []

    def find(self, place: str, problem: str) -> None:
        if place in self.overridden:
            self.findings.append(Finding("", problem, f"--set {place}"))
        else:
            line = self.document.line(tuple(place.split(".")))
            self.findings.append(Finding(place, problem, self.document.source, line))

    def sections(self) -> dict[str, Any]:
        data = {} if self.document.data is None else self.document.data
        if not isinstance(data, dict):
            self.find("", f"the sections {', '.join(SECTIONS)} belong here")
            return {}
        values: dict[str, Any] = {}
        for name, content in data.items():
            if name not in SECTIONS:
                self.find(str(name), f"unknown section{nearest(name, SECTIONS)}")
            elif not isinstance(content, (dict, types.NoneType)):
                self.find(name, "a mapping of keys belongs here")
            else:
                attribute, cls = SECTIONS[name]
                section = self.section(name, cls, content or {})
                if section is not None:
                    values[attribute] = section
        return values

    def section(self, name: str, cls: type[Section], content: dict[str, Any]) -> Section | None:
        known = key_types(cls)
        before = len(self.findings)
        good: dict[str, Any] = {}
        for key, value in content.items():
            place = f"{name}.{key}"
            if key not in known:
                self.find(place, f"unknown{nearest(key, known)}")
                continue
            if "reward" in key and isinstance(value, (list, dict)):
                self.find(place, f"{value!r} must be one number: rewards are scalars")
                continue
            good[key], problem = check_value(value, None, ParameterDoc(key, known[key], ""))
            if problem:
                self.find(place, problem)
        if len(self.findings) > before:
            return None
        section = cls(**good)
        for key, problem in section.problems():
            self.find(f"{name}.{key}", problem)
        return section


def key_types(cls: type[Section]) -> dict[str, str]:
    """The types of each key of a section, such as ``"float or null"``."""
    hints = typing.get_type_hints(cls)
    return {one.name: " or ".join(_words(hints[one.name])) for one in dataclasses.fields(cls)}


def _words(hint: Any) -> Iterator[str]:
    for one in typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,):
        if typing.get_origin(one) is Literal:
            yield from (f'"{choice}"' for choice in typing.get_args(one))
        else:
            yield "null" if one is types.NoneType else _WORDS[typing.get_origin(one) or one]
