"""Reads a user's file, and what overrides it, as declared parameters: every finding at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import PurePath
from typing import Any, TypeVar

from gym_loop.errors import ConfigError, Finding
from gym_loop.schema.overrides import read_overrides
from gym_loop.schema.parameters import Parameters, read
from gym_loop.schema.validation import Way
from gym_loop.schema.yaml_file import Document

_M = TypeVar("_M", bound=Parameters)


class Reader:
    """A document on its way to a checked configuration.

    Args:
        document: what a file holds.
        overrides: ``dotted.key=value`` texts, or a mapping of dotted keys to values, that win.
        options: what to call an override in messages, by its key; by default ``--set key``.

    Attributes:
        findings: what is wrong so far.
        overridden: keys of the overrides.
    """

    def __init__(
        self,
        document: Document,
        overrides: Iterable[str] | Mapping[str, Any] = (),
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.document, self.options = document, options or {}
        self.findings: list[Finding] = []
        self.overridden: list[str] = []
        self._wrong: set[Way] = set()
        for key, value in read_overrides(overrides):
            self.overridden.append(key)
            document.set(key, unshared(value))

    def read(self, model: type[_M]) -> _M:
        """The document as parameters; values that are wrong are found, and left out."""
        data = {} if self.document.data is None else self.document.data
        made, problems = read(model, data)
        for way, problem in problems.items():
            self.find(way, problem)
        if made is None or problems:
            for way in problems:
                data = _without(data, way)
            made, others = read(model, data)
            for way in others.keys() - problems.keys():
                # What comes of a value that was left out is no mistake of the user's.
                if not any(one[:-1] == way[:-1] for one in problems):
                    self.find(way, others[way])
        return made or model()

    def find(self, way: Way, problem: str) -> None:
        """Note what is wrong with the value at a place; an empty text is nothing to tell."""
        self._wrong.add(way)
        if not problem:
            return
        place = ".".join(str(part) for part in way)
        if option := self._option(place):
            name = self.options.get(option, f"--set {option}")
            self.findings.append(Finding(place, problem, name))
        else:
            line = self.document.line(way)
            self.findings.append(Finding(place, problem, self.document.source, line))

    def is_wrong(self, *way: Any) -> bool:
        """Whether something was found at a place, around it or in it."""
        return any(one[: len(way)] == way[: len(one)] for one in self._wrong)

    def finish(self) -> None:
        """Raise what has been found.

        Raises:
            ConfigError: there is something.
        """
        if self.findings:
            raise ConfigError(sorted(self.findings, key=lambda one: one.line or 0))

    def _option(self, place: str) -> str | None:
        """The override that a place was set by, or that alone put it there."""
        for key in self.overridden:
            above = f"{key}.".startswith(f"{place}.") and place not in self._in_file
            if above or f"{place}.".startswith(f"{key}."):
                return key
        return None

    @cached_property
    def _in_file(self) -> set[str]:
        """The places that the file itself has."""
        return {".".join(str(part) for part in way) for way in self.document.lines}


def unshared(value: Any) -> Any:
    """Values of a caller as a document has them: mappings and lists of its own, paths as text."""
    if isinstance(value, Mapping):
        return {key: unshared(item) for key, item in value.items()}
    if isinstance(value, PurePath):
        return str(value)
    return [unshared(item) for item in value] if isinstance(value, (list, tuple)) else value


def _without(data: Any, way: Way) -> Any:
    """The same without the value at a place, or without the list that it is an item of."""
    if not way or (isinstance(data, dict) and way[0] not in data):
        return data if way else {}
    first, rest = way[0], way[1:]
    inner = data[first]
    is_left_out = not rest or (isinstance(inner, list) and len(rest) == 1)
    if isinstance(data, list):
        return [*data[:first], _without(inner, rest), *data[first + 1 :]]
    others = {key: value for key, value in data.items() if key != first}
    return others if is_left_out else others | {first: _without(inner, rest)}
