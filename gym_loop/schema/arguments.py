"""Tuples or arrays for lists, where whoever is called asks for them: YAML has lists alone."""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

_TAKES_LISTS = re.compile(r"\b([Ll]ist|Sequence|Iterable|Collection|Any|object|ArrayLike)\b")


def as_asked(callee: Callable[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for a class or a function, with tuples where it asks for them.

    Its annotations say so, ``tuple[int, int]`` or ``int | tuple[int, ...]``; where there is none,
    a default value that is a tuple does. Where a list will do, a list stays. An array is made of it
    where the annotation is ``np.ndarray``.
    """
    if not any(isinstance(value, (list, dict)) for value in parameters.values()):
        return dict(parameters)
    asked = _asked(callee)
    return {
        name: with_tuples(value, *asked.get(name, (Any, None)))
        for name, value in parameters.items()
    }


def with_tuples(value: Any, annotation: Any = Any, default: Any = None) -> Any:
    """A value with tuples for the lists in it where an annotation, or else a default, asks so."""
    if not isinstance(value, (list, dict)):
        return value
    if isinstance(annotation, str):  # it names what can't be found where the callee is
        asks = re.search(r"\b[Tt]uple\b", annotation) and not _TAKES_LISTS.search(annotation)
        return tuple(value) if asks and isinstance(value, list) else value
    if annotation in (Any, object, inspect.Parameter.empty):
        return _like(value, default)
    annotation = _option(without_constraints(annotation), type(value))
    kind, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if isinstance(value, dict):
        of = inner[1] if len(inner) == 2 else Any
        return {key: with_tuples(item, of) for key, item in value.items()}
    if _is_array(kind):
        return sys.modules["numpy"].array(value)
    if kind is not tuple:
        of = inner[0] if len(inner) == 1 else Any
        return [with_tuples(item, of) for item in value]
    if len(inner) == 2 and inner[1] is ...:
        inner = (inner[0],) * len(value)
    each = inner if len(inner) == len(value) else (Any,) * len(value)
    return tuple(with_tuples(item, of) for item, of in zip(value, each, strict=True))


def _like(value: Any, default: Any) -> Any:
    """The lists in a value as tuples where a default has tuples."""
    if isinstance(value, dict) and isinstance(default, Mapping):
        return {key: _like(item, default.get(key)) for key, item in value.items()}
    if not isinstance(value, list) or not isinstance(default, (list, tuple)):
        return value
    last = default[-1] if default else None
    items = [
        _like(item, default[index] if index < len(default) else last)
        for index, item in enumerate(value)
    ]
    return tuple(items) if isinstance(default, tuple) else items


def _option(annotation: Any, kind: type) -> Any:
    """Of a union the option that takes a list (or a mapping) as it is; else the tuple's."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation
    options = [without_constraints(one) for one in typing.get_args(annotation) if one is not None]
    for one in options:
        origin = typing.get_origin(one) or one
        if one is Any or (inspect.isclass(origin) and _takes(origin, kind)):
            return one
    for one in options if kind is list else ():
        origin = typing.get_origin(one) or one
        if origin is tuple or _is_array(origin):
            return one
    return Any


def without_constraints(annotation: Any) -> Any:
    """The type itself of ``Annotated[type, ...]``."""
    is_annotated = typing.get_origin(annotation) is typing.Annotated
    return typing.get_args(annotation)[0] if is_annotated else annotation


def _is_array(kind: Any) -> bool:
    """Whether it is ``np.ndarray``; NumPy is not loaded to find out, for run files need it not."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and kind is numpy.ndarray


def _takes(origin: type, kind: type) -> bool:
    try:
        return issubclass(kind, origin)
    except TypeError:  # a protocol that can't be asked
        return False


def _asked(callee: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Annotation and default of each keyword; of a class also those that it hands to its bases."""
    functions: list[Any] = [callee]
    if inspect.isclass(callee):
        functions = [vars(one)["__init__"] for one in callee.__mro__ if "__init__" in vars(one)]
    asked: dict[str, tuple[Any, Any]] = {}
    for function in functions:
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            break
        try:
            hints = typing.get_type_hints(function)
        except Exception:  # noqa: BLE001 - a name that only a type checker knows; the text is left
            hints = {}
        for name, one in parameters.items():
            default = None if one.default is inspect.Parameter.empty else one.default
            asked.setdefault(name, (hints.get(name, one.annotation), default))
        if all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
            break
    return asked
