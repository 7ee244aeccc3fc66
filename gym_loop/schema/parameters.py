"""The parameters of an agent or a loop: their documentation and the checks that follow from it.

Names and defaults live in ``get_default_parameters()``; text and types in its docstring::

    Parameters:
        learning_rate (float): Step size of the optimiser.
        record (bool or int): true, or N for every N-th episode.
        device ("cpu" or "cuda"): Where the network lives.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gym_loop.schema.arguments import with_tuples
from gym_loop.schema.class_strings import did_you_mean, unknown_names

_ENTRY = re.compile(r"^(\w+)(?: \(([^)]*)\))?: (.*)$")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "int": int,
    "float": (int, float),
    "str": str,
    "list": list,
    "dict": dict,
    "null": type(None),
}


@dataclass(frozen=True)
class ParameterDoc:
    """What the docstring says of one parameter.

    Args:
        name: the parameter.
        types: such as ``"bool or int"``; empty where none is written.
        text: one paragraph.
    """

    name: str
    types: str
    text: str


def documentation(cls: Any) -> Mapping[str, ParameterDoc]:
    """Read the ``Parameters:`` sections of a class, those of its bases first."""
    docs: dict[str, ParameterDoc] = {}
    for base in reversed(cls.__mro__):
        method = vars(base).get("get_default_parameters")
        docs.update(_entries(inspect.getdoc(base) if method else None))
        docs.update(_entries(inspect.getdoc(getattr(method, "__func__", method))))
    return docs


def _entries(docstring: str | None) -> dict[str, ParameterDoc]:
    lines = iter((docstring or "").splitlines())
    for line in lines:
        if line.strip() == "Parameters:":
            break
    entries: dict[str, ParameterDoc] = {}
    name = ""
    for line in lines:
        if line and not line.startswith(" "):
            break
        found = _ENTRY.match(line.strip())
        indent = len(line) - len(line.lstrip())
        if found and indent <= 4:
            name = found[1]
            entries[name] = ParameterDoc(name, found[2] or "", found[3])
        elif name and line.strip():
            known = entries[name]
            entries[name] = ParameterDoc(name, known.types, f"{known.text} {line.strip()}")
    return entries


def check_parameters(cls: type, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Check values against a class's defaults and documentation.

    Returns:
        The defaults updated by the values (a whole float is taken where an integer is
        wanted, ``1e6`` for example, and a list where the default is a tuple), and the problems
        by parameter name.
    """
    defaults: dict[str, Any] = dict(cls.get_default_parameters())  # type: ignore[attr-defined]
    docs = documentation(cls)
    merged, problems = dict(defaults), unknown_names(values, defaults)
    for name in [name for name in values if name in defaults]:
        value, problem = check_value(values[name], defaults[name], docs.get(name))
        merged[name] = with_tuples(value, default=defaults[name])
        if problem:
            problems[name] = problem
    if not problems:
        problems.update(cls.check_parameters(merged))  # type: ignore[attr-defined]
    return merged, problems


def check_value(value: Any, default: Any, doc: ParameterDoc | None) -> tuple[Any, str]:
    """Return the value, converted where that loses nothing, and what is wrong with it or ``""``."""
    words = doc.types.split(" or ") if doc and doc.types else _types_like(default)
    choices = [word.strip("\"'") for word in words if word[:1] in "\"'"]
    kinds = [word for word in words if word in _TYPES]
    if not choices and not kinds:
        return value, ""
    if value in choices and isinstance(value, str):
        return value, ""
    for kind in kinds:
        if isinstance(value, bool) and kind != "bool":
            continue
        if kind == "float" and isinstance(value, (int, float)):
            return float(value), ""
        if isinstance(value, _TYPES[kind]):
            return value, ""
    if "int" in kinds and (whole := as_integer(value)) is not None:
        return whole, ""
    wanted = " or ".join([*kinds, *(f'"{choice}"' for choice in choices)])
    hint = did_you_mean(value, choices) if isinstance(value, str) and choices else ""
    if "dict" in kinds and doc and doc.text:  # what is in it is said nowhere else
        hint += f" ({doc.text.rstrip('.')})"
    return value, f"{value!r} is {_kind_of(value)}, but must be {wanted}{hint}"


def as_integer(value: Any) -> int | None:
    """An integer, or a float without a fraction such as ``1e6``, as an integer; None for others."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# -- ranges, for the `check_parameters` of agents and loops; null is in all of them --------------


def too_small(parameters: Mapping[str, Any], **least: float) -> dict[str, str]:
    """What is wrong with numbers that are below the least that is given for each."""
    return {
        name: f"{value} is too small; it must be at least {low}"
        for name, low in least.items()
        if (value := parameters.get(name)) is not None and not value >= low
    }


def not_positive(parameters: Mapping[str, Any], *names: str) -> dict[str, str]:
    """What is wrong with numbers that are not above 0."""
    return {
        name: f"{value} is too small; it must be above 0"
        for name in names
        if (value := parameters.get(name)) is not None and not value > 0
    }


def not_fraction(parameters: Mapping[str, Any], *names: str) -> dict[str, str]:
    """What is wrong with numbers that are not from 0 to 1."""
    return {
        name: f"{value} must be from 0 to 1"
        for name in names
        if (value := parameters.get(name)) is not None and not 0 <= value <= 1
    }


def _types_like(default: Any) -> list[str]:
    """The types that an undocumented parameter takes, to judge by its default."""
    if isinstance(default, bool):
        return ["bool"]
    if isinstance(default, int):
        return ["int", "float"]
    for kind in ("float", "str", "list", "dict"):
        if isinstance(default, _TYPES[kind]):
            return [kind]
    return []


def _kind_of(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
