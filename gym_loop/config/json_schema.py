"""The run file as a JSON Schema, by which editors complete and check it."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import PydanticOmit

from gym_loop.agents.base_agent import BaseAgent
from gym_loop.config.sections import RunFile
from gym_loop.errors import UsageError
from gym_loop.loops.base_loop import BaseLoop
from gym_loop.schema.files import expanded
from gym_loop.schema.parameters import Parameters, declaration

SCHEMA_FILE = "run.schema.json"
# A relative path goes on to hold where the two files are moved together, and on other machines.
SCHEMA_LINE = f"# yaml-language-server: $schema={SCHEMA_FILE}\n"
TITLE = "A run file of gym-loop"
_HEAD = {"$schema": "http://json-schema.org/draft-07/schema#"}  # which every editor knows


class _Plain(GenerateJsonSchema):
    """Without the titles that repeat the names of the fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def callable_schema(self, schema: Any) -> Any:
        """No file can hold a function."""
        raise PydanticOmit


def classes_in(package: str, base: type[Any]) -> list[type[Any]]:
    """The public classes below ``base`` that the modules of a package define."""
    modules = pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")
    return [
        value
        for module in modules
        for value in vars(importlib.import_module(module.name)).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value is not base
        and not inspect.isabstract(value)
        and value.__module__ == module.name
        and not value.__name__.startswith("_")
    ]


def built_in_classes() -> dict[str, list[type[Any]]]:
    """The agents and the loops that come with gym-loop, by section of the run file."""
    return {
        "agent": classes_in("gym_loop.agents", BaseAgent),
        "loop": classes_in("gym_loop.loops", BaseLoop),
    }


def run_schema() -> dict[str, Any]:
    """A JSON Schema of the run file: parameters by class, of all that come with gym-loop.

    What a user's own class takes is left open.
    """
    classes = built_in_classes()
    models = {cls: declaration(cls) for found in classes.values() for cls in found}
    wanted: Any = [(model, "validation") for model in (RunFile, *models.values())]
    by_model, whole = models_json_schema(wanted, schema_generator=_Plain)
    definitions = whole["$defs"]
    run = definitions.pop(by_model[RunFile, "validation"]["$ref"].rpartition("/")[2])
    for section, found in classes.items():
        definition = definitions[f"{section.title()}Section"]
        default = definition["properties"]["class"]["default"]
        definition["properties"]["class"]["examples"] = [
            f"{cls.__module__}:{cls.__name__}" for cls in found
        ]
        definition["allOf"] = [
            {
                "if": _names(f"{cls.__module__}:{cls.__name__}", default),
                "then": {"properties": {"parameters": by_model[models[cls], "validation"]}},
            }
            for cls in found
        ]
    return {**_HEAD, **run, "title": TITLE, "$defs": definitions}


def model_schema(model: type[Parameters], title: str) -> dict[str, Any]:
    """A JSON Schema of another file."""
    return {**_HEAD, **model.model_json_schema(schema_generator=_Plain), "title": title}


def write_schema(directory: Path) -> None:
    """Write the schema beside a run file, where `SCHEMA_LINE` leads; another's file stays.

    Raises:
        UsageError: it cannot be written.
    """
    path = expanded(directory) / SCHEMA_FILE
    try:
        if path.exists() and TITLE not in path.read_text(encoding="utf-8", errors="replace"):
            return
        path.write_text(json.dumps(run_schema(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def _names(class_name: str, default: str) -> dict[str, Any]:
    """The condition that a section names a class, if only by leaving it out."""
    condition: dict[str, Any] = {"properties": {"class": {"const": class_name}}}
    return condition if class_name == default else {**condition, "required": ["class"]}
