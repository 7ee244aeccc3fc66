"""Parameters of agents, loops, loggers, servers and files: declared, documented and checked.

A parameter is declared once, with its type, range, default and one line of description::

    class PPOParameters(Parameters):
        gamma: Fraction = Field(0.99, description="Discount of a reward one step later.")
        record: bool | PositiveInt = Field(False, description="true, or N for every N-th episode.")

    class PPO(BaseAgent):
        Parameters = PPOParameters      # get_default_parameters() follows from it

A user's class may as well return a plain dict from ``get_default_parameters()``: names and
defaults are its own, and types and texts those of its docstring, or follow from the defaults::

    Parameters:
        learning_rate (float): Step size of the optimizer.
        record (bool or int): true, or N for every N-th episode.
        device ("cpu" or "cuda"): Where the network lives.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar, Union

from annotated_types import Ge, Gt, Interval
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic.fields import FieldInfo

from gym_loop.schema.arguments import with_tuples
from gym_loop.schema.suggestions import unknown_names
from gym_loop.schema.validation import Way, branches_of, fields_of, problems_of, words_of

__all__ = [
    "Field",
    "Fraction",
    "NonNegativeFloat",
    "NonNegativeInt",
    "Parameters",
    "PositiveFloat",
    "PositiveInt",
    "Section",
    "check_parameters",
    "documentation",
]

Fraction = Annotated[float, Interval(ge=0, le=1)]
PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]

_M = TypeVar("_M", bound="Parameters")
_ENTRY = re.compile(r"^(\w+)(?: \(([^)]*)\))?: (.*)$")
_TYPES: dict[str, Any] = {
    **{"bool": bool, "int": int, "float": float, "str": str, "null": None},
    **{"list": list[Any] | tuple[Any, ...], "dict": dict[Any, Any]},
}


class Parameters(BaseModel):
    """Declares parameters: fields that each have a default and a ``description``.

    Values keep their types: only ``1e6`` becomes an integer, an integer a float, and a list a
    tuple, where the field asks for it.

    Attributes:
        former_names: what a name of the past is called now, or a sentence about it; those of base
            classes count too.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, protected_namespaces=())

    former_names: ClassVar[dict[str, str]] = {}

    def problems(self) -> dict[str, str]:
        """What is wrong with values that do not go together, by parameter; default none.

        A dotted name is a parameter's part, an empty one the whole mapping.
        """
        return {}

    @model_validator(mode="before")
    @classmethod
    def _converted(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        known = fields_of(cls)
        return {
            name: _without_loss(value, known[name]) if name in known else value
            for name, value in values.items()
        }


class Section(Parameters):
    """A mapping in a file; mappings and lists that are empty, or null, are as good as left out."""

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        fields = fields_of(cls)
        return {
            name: value
            for name, value in values.items()
            if name not in fields
            or value not in ([], {}, None)
            or not isinstance(fields[name].default, (list, dict, Section))
        }


class ParameterDoc(NamedTuple):
    """What is said of one parameter.

    Args:
        name: the parameter.
        types: such as ``"bool or int"``; empty where any will do.
        text: one paragraph.
    """

    name: str
    types: str
    text: str


def read(model: type[_M], values: Any) -> tuple[_M | None, dict[Way, str]]:
    """Parameters with these values, or None; and what is wrong by the way to the value."""
    try:
        made = model.model_validate(values)
    except ValidationError as error:
        return None, problems_of(error, model, values)
    return made, _problems_together(made)


def _problems_together(made: Parameters) -> dict[Way, str]:
    found: dict[Way, str] = {
        tuple(name.split(".")) if name else (): text for name, text in made.problems().items()
    }
    for name, value in values_of(made).items():
        if isinstance(value, Parameters):
            found |= {(name, *way): text for way, text in _problems_together(value).items()}
    return found


def defaults_of(model: type[Parameters]) -> dict[str, Any]:
    """The default of each parameter, as a dictionary of its own."""
    known = fields_of(model).items()
    return {name: field.get_default(call_default_factory=True) for name, field in known}


def values_of(made: Parameters) -> dict[str, Any]:
    """The value of each parameter by the name that files have for it."""
    fields = type(made).model_fields.items()
    return {field.alias or name: getattr(made, name) for name, field in fields}


def _declared(cls: Any) -> type[Parameters]:
    declared = getattr(cls, "Parameters", None)
    if inspect.isclass(declared) and issubclass(declared, Parameters):
        return declared
    return Parameters  # a user's class may mean something of its own by this name


def derive_defaults(cls: Any) -> None:
    """Let ``get_default_parameters()`` of a class follow from the ``Parameters`` that it names."""
    if "Parameters" in vars(cls) and "get_default_parameters" not in vars(cls):
        declared = _declared(cls)
        cls.get_default_parameters = staticmethod(lambda: defaults_of(declared))


def documentation(cls: Any) -> Mapping[str, ParameterDoc]:
    """What is said of each parameter of an agent, a loop or a logger, or by a declaration."""
    model = cls if issubclass(cls, Parameters) else declaration(cls)
    return {
        name: ParameterDoc(
            name, field.title or " or ".join(words_of(field.annotation)), field.description or ""
        )
        for name, field in fields_of(model).items()
    }


def check_parameters(cls: Any, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Check values against what a class declares, or documents, of its parameters.

    Returns:
        The defaults updated by the values, and the problems by parameter name.
    """
    defaults: dict[str, Any] = dict(cls.get_default_parameters())
    model = declaration(cls)
    # A subclass may have other defaults than the declaration of its base.
    inherited = fields_of(model).keys() & defaults.keys()
    made, found = read(model, {**{name: defaults[name] for name in inherited}, **values})
    problems = {".".join(map(str, way)): text for way, text in found.items() if text}
    left_out = fields_of(model).keys() - defaults.keys()
    problems |= unknown_names([name for name in values if name in left_out], defaults)
    if made is None or problems:
        return {**defaults, **values}, problems
    taken = values_of(made)
    merged = {**defaults, **{name: taken[name] for name in values}}
    return merged, cls.check_parameters(merged)


def declaration(cls: Any) -> type[Parameters]:
    """The parameters of a class: those it declares, with those it only has in its dictionary."""
    declared = _declared(cls)
    docs: dict[str, ParameterDoc] = {}
    for base in reversed(cls.__mro__):
        if "Parameters" in vars(base):
            docs.clear()
        elif method := vars(base).get("get_default_parameters"):
            docs |= _entries(inspect.getdoc(base))
            docs |= _entries(inspect.getdoc(getattr(method, "__func__", method)))
    fields: dict[str, Any] = {}
    for name, default in cls.get_default_parameters().items():
        if name in docs or name not in fields_of(declared):
            doc = docs.get(name, ParameterDoc(name, "", ""))
            field = Field(
                default_factory=lambda default=default: default,
                alias=name,
                title=doc.types or None,
                description=doc.text,
            )
            # Any name will do for a parameter, but not for an attribute.
            attribute = name if name in declared.model_fields else f"parameter_{len(fields)}"
            fields[attribute] = (_annotation(doc.types, default), field)
    if not fields:
        return declared
    return create_model(cls.__name__, __base__=declared, **fields)


def _annotation(types: str, default: Any) -> Any:
    """The type of a parameter by the words of a docstring, or else by its default."""
    if not types:
        for kind in (bool, int, float, str, list, dict):
            if isinstance(default, kind):
                return int | float if kind is int else kind  # 1 may well be a float's default
        return Any
    words = types.split(" or ")
    choices = tuple(word.strip("\"'") for word in words if word[:1] in "\"'")
    kinds = [_TYPES[word] for word in words if word in _TYPES]
    kinds += [Literal[choices]] if choices else []
    return Union[tuple(kinds)] if kinds else Any  # noqa: UP007 - made at run time


def _entries(docstring: str | None) -> dict[str, ParameterDoc]:
    """What a docstring says under ``Parameters:``."""
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
        if found and len(line) - len(line.lstrip()) <= 4:
            name = found[1]
            entries[name] = ParameterDoc(name, found[2] or "", found[3])
        elif name and line.strip():
            text = f"{entries[name].text} {line.strip()}"
            entries[name] = entries[name]._replace(text=text)
    return entries


def _without_loss(value: Any, field: FieldInfo) -> Any:
    """A whole float as an integer, and lists as tuples, where the field asks for these."""
    kinds = list(branches_of(field.annotation))
    if isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds:
        return int(value)
    default = field.get_default(call_default_factory=True)
    return with_tuples(with_tuples(value, default=default), field.annotation)
