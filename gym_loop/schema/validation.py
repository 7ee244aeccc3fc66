"""What pydantic finds wrong with values, in plain words: one problem a value, also for a union."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from annotated_types import Ge, Interval, Le
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gym_loop.schema.class_strings import did_you_mean, unknown_names

Way: TypeAlias = "tuple[Any, ...]"  # keys and indices that lead to a value

_WORDS: dict[Any, str] = {
    **{bool: "bool", int: "int", float: "float", str: "str", types.NoneType: "null"},
    **{list: "list", tuple: "list", dict: "dict", Mapping: "dict"},
}


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the names that files have for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def branches_of(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, each without its constraints."""
    if typing.get_origin(annotation) is Annotated:
        yield from branches_of(typing.get_args(annotation)[0])
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for one in typing.get_args(annotation):
            yield from branches_of(one)
    else:
        yield annotation


def words_of(annotation: Any) -> list[str]:
    """The types that an annotation allows as people write them: ``bool``, ``null``, ``"auto"``."""
    words: list[str] = []
    for one in branches_of(annotation):
        origin = typing.get_origin(one) or one
        if origin is Literal:
            words += [f'"{choice}"' for choice in typing.get_args(one)]
        elif inspect.isclass(origin) and issubclass(origin, BaseModel):
            words.append("dict")
        elif origin in _WORDS:
            words.append(_WORDS[origin])
    return list(dict.fromkeys(words))


def type_problem(value: Any, annotation: Any, description: str | None = None) -> str:
    """What to say of a value of none of the types that are allowed."""
    kinds = [one for one in branches_of(annotation) if one is not types.NoneType]
    if all(inspect.isclass(one) and issubclass(one, BaseModel) for one in kinds):
        keys = ", ".join(dict.fromkeys(name for one in kinds for name in fields_of(one)))
        shown = "a list" if isinstance(value, (list, tuple)) else repr(value)
        return f"must be a mapping (with the keys {keys}), not {shown}"
    words = words_of(annotation)
    choices = [word.strip('"') for word in words if word[:1] == '"']
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    if "dict" in words and description:  # what is in it is said nowhere else
        hint += f" ({description.rstrip('.')})"
    kind = _WORDS.get(type(value), type(value).__name__)
    return f"{value!r} is {kind}, but must be {' or '.join(words) or 'a function'}{hint}"


def problems_of(
    error: ValidationError, model: type[BaseModel], data: Any, former: Former
) -> dict[Way, str]:
    """What is wrong, by the way to the value.

    Args:
        error: what pydantic found.
        model: that the data was to become.
        data: as a file has it.
        former: what to say of a name that is not known, by the model and the name; or ``""``.
    """
    problems: dict[Way, str] = {}
    unions: dict[Way, dict[Any, list[tuple[Way, ErrorDetails]]]] = {}
    unknown: dict[Way, list[Any]] = {}
    for one in error.errors(include_url=False):
        way, union, branch = _located(one, data)
        if union is not None:
            unions.setdefault(union, {}).setdefault(branch, []).append((way, one))
        elif one["type"] == "extra_forbidden":
            unknown.setdefault(way[:-1], []).append(way[-1])
        else:
            problems[way] = _problem(one, model, way)
    for above, names in unknown.items():
        inner = _field_at(model, above)[0]
        known = fields_of(inner)
        for name, problem in unknown_names(names, known).items():
            problems[(*above, name)] = former(inner, name) or problem
    for place, found in unions.items():
        # The value is of one type alone: what is wrong with it as that type.
        fitting = [
            errors
            for errors in found.values()
            if not any(way == place and _is_of_type(one) for way, one in errors)
        ]
        if len(fitting) == 1:
            problems |= {way: _problem(one, model, way) for way, one in fitting[0]}
        else:
            annotation, field = _field_at(model, place)
            value = next(iter(found.values()))[0][1]["input"]
            problems[place] = type_problem(value, annotation, field and field.description)
    return problems


Former: TypeAlias = Callable[[type[BaseModel], Any], str]


def _located(error: ErrorDetails, data: Any) -> tuple[Way, Way | None, Any]:
    """The way to a value; the way to the union around it, if there is one, and its branch."""
    steps, way = list(error["loc"]), []
    missing = [steps.pop()] if error["type"] == "missing" else []
    union, branch, here = None, None, data
    for step in steps:
        sequence = isinstance(here, (list, tuple)) and isinstance(step, int)
        if sequence or (isinstance(here, dict) and step in here):
            here = here[step]
            way.append(step)
        elif union is None:  # pydantic names the branch of a union in the way
            union, branch = tuple(way), step
    return (*way, *missing), union, branch


def _is_of_type(error: ErrorDetails) -> bool:
    return error["type"].endswith("_type") or error["type"] == "literal_error"


def _problem(error: ErrorDetails, model: type[BaseModel], way: Way) -> str:
    value, details = error["input"], error.get("ctx", {})
    annotation, field = _field_at(model, way)
    if error["type"] == "missing":
        return "is missing"
    if _is_of_type(error):
        return type_problem(value, annotation, field and field.description)
    if error["type"] == "value_error":
        return str(details["error"])
    limits = _limits(annotation) | _limits_in(field.metadata if field else ())
    if {"ge", "le"} <= limits.keys() and error["type"].endswith("than_equal"):
        return f"{value} must be from {limits['ge']:g} to {limits['le']:g}"
    if "ge" in details:
        return f"{value} is too small; it must be at least {details['ge']:g}"
    if "gt" in details:
        return f"{value} is too small; it must be above {details['gt']:g}"
    if "le" in details:
        return f"{value} is too large; it must be at most {details['le']:g}"
    message = error["msg"].removeprefix("Input ")
    return f"{value!r}: {message[:1].lower()}{message[1:]}"


def _limits(annotation: Any) -> dict[str, Any]:
    """Both ends of a range that an annotation, or one in its union, asks for."""
    found = {}
    if typing.get_origin(annotation) is Annotated:
        found = _limits_in(annotation.__metadata__)
    for one in typing.get_args(annotation):
        found |= _limits(one)
    return found


def _limits_in(metadata: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in metadata:
        if isinstance(one, (Ge, Interval)) and one.ge is not None:
            found["ge"] = one.ge
        if isinstance(one, (Le, Interval)) and one.le is not None:
            found["le"] = one.le
    return found


def _field_at(model: type[BaseModel], way: Way) -> tuple[Any, FieldInfo | None]:
    """The annotation of a value, and the nearest field around it."""
    annotation: Any = model
    field: FieldInfo | None = None
    for step in way:
        found: Any = Any
        for one in branches_of(annotation):
            if inspect.isclass(one) and issubclass(one, BaseModel):
                if step in (known := fields_of(one)):
                    field = known[step]
                    found = field.annotation
            elif typing.get_args(one):
                found = typing.get_args(one)[-1 if typing.get_origin(one) is dict else 0]
        annotation = found
    return annotation, field
