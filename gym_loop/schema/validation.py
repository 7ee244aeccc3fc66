"""What pydantic finds wrong with values, in plain words: one problem a value, also for a union."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gym_loop.schema.suggestions import did_you_mean, unknown_names

Way: TypeAlias = "tuple[Any, ...]"  # keys and indices that lead to a value

_WORDS: dict[Any, str] = {
    **{bool: "bool", int: "int", float: "float", str: "str", types.NoneType: "null"},
    **{list: "list", tuple: "list", dict: "dict", Mapping: "dict"},
}


@dataclass(frozen=True)
class Wording:
    """Says what a value must be, where its type and limits would not say enough.

    In the annotation of a field: ``Annotated[int, Wording("is not a port; use 1 to 65535")]``.

    Args:
        text: goes behind the value.
    """

    text: str


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


def is_model(annotation: Any) -> bool:
    """Whether a type is a declaration of parameters."""
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def words_of(annotation: Any) -> list[str]:
    """The types that an annotation allows as people write them: ``bool``, ``null``, ``"auto"``."""
    words: list[str] = []
    for one in branches_of(annotation):
        origin = typing.get_origin(one) or one
        if origin is Literal:
            words += [f'"{choice}"' for choice in typing.get_args(one)]
        elif is_model(origin) or origin in _WORDS:
            words.append(_WORDS.get(origin, "dict"))
    return list(dict.fromkeys(words))


def problems_of(error: ValidationError, model: type[BaseModel], data: Any) -> dict[Way, str]:
    """What is wrong, by the way to the value; of very many unknown names most get an empty text.

    Args:
        error: what pydantic found.
        model: that the data was to become; its ``former_names`` are told by the new ones.
        data: as a file has it.
    """
    found: list[tuple[Way, ErrorDetails]] = []
    unions: dict[Way, dict[Any, list[tuple[Way, ErrorDetails]]]] = {}
    for one in error.errors(include_url=False):
        way, union, branch = _located(one, data)
        if union is None:
            found.append((way, one))
        else:
            unions.setdefault(union, {}).setdefault(branch, []).append((way, one))
    problems: dict[Way, str] = {}
    for place, branches in unions.items():
        # A value is of one of the types: what is wrong with it as that type.
        fitting = [
            errors
            for errors in branches.values()
            if not any(way == place and _is_of_type(one) for way, one in errors)
        ]
        if len(fitting) == 1:
            found += fitting[0]
        else:
            value = next(iter(branches.values()))[0][1]["input"]
            problems[place] = _Place.at(model, place).type_problem(value)
    unknown: dict[Way, list[Any]] = {}
    for way, one in found:
        if one["type"] in ("extra_forbidden", "invalid_key"):
            unknown.setdefault(way[:-1], []).append(way[-1])
    for above, names in unknown.items():
        inner = _Place.at(model, above).model
        said = unknown_names(names, fields_of(inner))
        for name in names:
            way = (*above, name)
            problems[way] = _former(inner, name) or said.get(name, "")
    for way, one in found:
        # What is missing may be what is misspelt.
        if way[:-1] not in unknown or one["type"] not in ("extra_forbidden", "missing"):
            problems.setdefault(way, _Place.at(model, way).problem(one))
    return problems


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


def _former(model: type[BaseModel], name: Any) -> str:
    for base in model.__mro__:
        if (new := vars(base).get("former_names", {}).get(name)) is not None:
            return new if " " in new else f"is called {new} now"
    return ""


def _is_of_type(error: ErrorDetails) -> bool:
    return error["type"].endswith("_type") or error["type"] == "literal_error"


@dataclass(frozen=True)
class _Place:
    """What is declared of the value at a place."""

    annotation: Any
    metadata: list[Any] = field(default_factory=list)
    description: str = ""

    @staticmethod
    def at(model: type[BaseModel], way: Way) -> _Place:
        place = _Place(model)
        for step in way:
            place = place.inside(step)
        return place

    def inside(self, step: Any) -> _Place:
        for one in branches_of(self.annotation):
            if is_model(one) and step in (known := fields_of(one)):
                inner = known[step]
                metadata = [*inner.metadata, *_metadata(inner.annotation)]
                return _Place(inner.annotation, metadata, inner.description or "")
            if typing.get_origin(one) in (list, tuple, dict):
                inside = typing.get_args(one)[-1 if typing.get_origin(one) is dict else 0]
                return _Place(inside, _metadata(inside))
        return _Place(Any)

    @property
    def model(self) -> type[BaseModel]:
        """The declaration of the mapping that is at this place."""
        found: type[BaseModel] = next(filter(is_model, branches_of(self.annotation)))
        return found

    def problem(self, error: ErrorDetails) -> str:
        value, details = error["input"], error.get("ctx", {})
        if error["type"] == "missing":
            return "is missing"
        if error["type"] == "value_error":
            return str(details["error"])
        if _is_of_type(error):
            return self.type_problem(value)
        if self.wording:
            return f"{value!r} {self.wording}"
        least, most = self._limit("ge"), self._limit("le")
        if least is not None and most is not None:
            return f"{value} must be from {least:g} to {most:,g}"
        for name, words in (("ge", "small; it must be at least"), ("gt", "small; it must be above"),
                            ("le", "large; it must be at most")):  # fmt: skip
            if name in details:
                return f"{value} is too {words} {details[name]:g}"
        message = error["msg"].removeprefix("Input ")
        return f"{value!r}: {message[:1].lower()}{message[1:]}"

    @property
    def wording(self) -> str:
        return next((one.text for one in self.metadata if isinstance(one, Wording)), "")

    def _limit(self, name: str) -> Any:
        found = (getattr(one, name, None) for one in self.metadata)
        return next((one for one in found if one is not None), None)

    def type_problem(self, value: Any) -> str:
        """What to say of a value of none of the types that are allowed."""
        if self.wording:
            return f"{value!r} {self.wording}"
        kinds = [one for one in branches_of(self.annotation) if one is not types.NoneType]
        words = words_of(self.annotation)
        if (kinds and all(is_model(one) for one in kinds)) or words == ["dict"]:
            keys = ", ".join({name: 0 for one in kinds if is_model(one) for name in fields_of(one)})
            shown = "a list" if isinstance(value, (list, tuple)) else repr(value)
            return f"must be a mapping{f' (with the keys {keys})' if keys else ''}, not {shown}"
        choices = [word.strip('"') for word in words if word[:1] == '"']
        wanted = " or ".join(words) or "a function"
        if isinstance(value, str) and choices:
            return f"{value!r} must be {wanted}{did_you_mean(value, choices)}"
        # What is in a mapping is said nowhere else.
        hint = f" ({self.description.rstrip('.')})" if "dict" in words and self.description else ""
        kind = _WORDS.get(type(value), type(value).__name__)
        return f"{value!r} is {kind}, but must be {wanted}{hint}"


def _metadata(annotation: Any) -> list[Any]:
    """The constraints in an annotation, and in those that its union is of."""
    if typing.get_origin(annotation) is Annotated:
        return [*annotation.__metadata__, *_metadata(annotation.__origin__)]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [one for branch in typing.get_args(annotation) for one in _metadata(branch)]
    return []
