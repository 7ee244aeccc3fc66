"""What a checked run file says: the classes, the environment, the seed; and how it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gym_loop.config.sections import EnvSection, RunFile
from gym_loop.envs.making import EnvSpec, WrapperSpec
from gym_loop.runs.origin import inherited_overrides, stem
from gym_loop.schema.class_strings import absolute_files
from gym_loop.schema.own_files import Copies
from gym_loop.schema.parameters import documentation
from gym_loop.schema.printable import encodable
from gym_loop.schema.yaml_file import as_json, plain, write_yaml


@dataclass(frozen=True)
class ClassConfig:
    """A class of the run file: its string, the class itself, and all its parameters."""

    class_name: str
    cls: type[Any]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class RunConfig:
    """A checked run file, merged with the defaults of its classes.

    Args:
        agent: the agent's class and parameters.
        env: what makes the environment.
        loop: the loop's class and parameters.
        seed: of all random streams; None means that one is to be drawn.
        path: the file that it was read from, if any.
        overridden: dotted paths that were set beside the file.
        copies: of a run, that its classes were loaded from in place of the user's files.
    """

    agent: ClassConfig
    env: EnvSpec
    loop: ClassConfig
    seed: int | None = None
    path: Path | None = None
    overridden: Sequence[str] = field(default_factory=tuple)
    copies: Copies | None = None

    def code_in_use(self) -> AbstractContextManager[Any]:
        """A context in which the user's files are those that the classes were loaded from."""
        return self.copies.in_use() if self.copies else nullcontext()

    @property
    def stem(self) -> str:
        """What run ids begin with: the name, without its ending, of the file or of its origin."""
        return stem(self.path)

    def with_seed(self, seed: int) -> RunConfig:
        """The same run from another seed."""
        return replace(self, seed=seed)

    def as_dict(self) -> dict[str, Any]:
        """Every value, in the shape of a run file."""
        return {
            "agent": _class_section(self.agent),
            "env": {
                "imports": list(self.env.imports),
                "max_episode_steps": self.env.max_episode_steps,
                "name": self.env.name,
                "parameters": dict(self.env.parameters),
                "wrappers": [
                    {"class": wrapper.class_name, "parameters": dict(wrapper.parameters)}
                    for wrapper in self.env.wrappers
                ],
            },
            "loop": _class_section(self.loop),
            "seed": self.seed,
        }

    def to_yaml(self, *, comments: bool = False) -> str:
        """The run file with all defaults written out, optionally with a comment for each."""
        return write_yaml(self.as_dict(), self._comments() if comments else None)

    def portable(self) -> RunConfig:
        """The same config with absolute file names: it can be read from any directory."""

        def absolute(value: Any) -> Any:
            return absolute_files(plain(value), self.env.search)

        def part(one: ClassConfig) -> ClassConfig:
            return ClassConfig(absolute(one.class_name), one.cls, absolute(one.parameters))

        env = replace(
            self.env,
            name=absolute(self.env.name),
            imports=absolute(self.env.imports),
            parameters=absolute(self.env.parameters),
            wrappers=[
                WrapperSpec(absolute(one.class_name), absolute(one.parameters))
                for one in self.env.wrappers
            ],
        )
        return replace(self, agent=part(self.agent), loop=part(self.loop), env=env)

    def _comments(self) -> dict[tuple[Any, ...], str]:
        comments: dict[tuple[Any, ...], str] = {}
        for name, doc in documentation(RunFile).items():
            comments[name,] = doc.text
        for key, doc in documentation(EnvSection).items():
            comments["env", key] = doc.text
        for section, part in (("agent", self.agent), ("loop", self.loop)):
            for doc in documentation(part.cls).values():
                comments[section, "parameters", doc.name] = doc.text
        return comments


def _class_section(part: ClassConfig) -> dict[str, Any]:
    return {
        "class": part.class_name,
        "parameters": {name: part.parameters[name] for name in sorted(part.parameters)},
    }


def flatten(config: Mapping[str, Any], prefix: str = "", *, lists: bool = False) -> dict[str, Any]:
    """Nested mappings as one, with dotted keys.

    Args:
        config: the mappings.
        prefix: of the keys.
        lists: lists of mappings, such as wrappers, become keys too, item by item; else all stay
            values.
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if lists and isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            value = {str(index): one for index, one in enumerate(value)}
        # Keys that are no text, 1 beside "1" say, can't be told apart in a dotted key.
        if isinstance(value, Mapping) and value and all(isinstance(one, str) for one in value):
            flat.update(flatten(value, f"{prefix}{key}.", lists=lists))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def value_at(config: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; items of a list by number.

    Raises:
        LookupError, TypeError, ValueError: there is nothing.
    """
    value: Any = config
    for part in key.split("."):
        step: Any = int(part) if isinstance(value, list) else part
        if isinstance(value, Mapping) and part not in value:
            step = next((one for one in value if str(one) == part), part)
        value = value[step]
    return value


def overrides_of(config: RunConfig) -> dict[str, Any]:
    """What was set beside the file, and beside the file of the run that this one repeats."""
    values, found = config.as_dict(), {}
    for key in [*inherited_overrides(config.path), *config.overridden]:
        try:
            found[key] = as_json(value_at(values, key))
        except (LookupError, TypeError, ValueError):  # a parameter of a class that was replaced
            continue
    return found


def hyperparameters(config: RunConfig) -> dict[str, bool | int | float | str]:
    """The config as flat scalars, for loggers; what is no scalar is left to run.yaml."""
    return {
        encodable(key): encodable(value) if isinstance(value, str) else value
        for key, value in flatten(config.as_dict()).items()
        if isinstance(value, (bool, int, float, str))
    }
