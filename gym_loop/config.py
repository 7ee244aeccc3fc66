"""The run config: read, merge with defaults, check, override, write.

Defaults live in ``get_default_parameters()`` alone; a run file holds what differs from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import gymnasium

from gym_loop.agents.base_agent import BaseAgent
from gym_loop.class_loader import absolute_files, did_you_mean, load_class
from gym_loop.contract import RUNNER_PARAMETERS, check_contract, former_key, moved
from gym_loop.envs.making import EnvSpec, WrapperSpec, check_registered, import_env_modules
from gym_loop.errors import ClassLoadError, ConfigError, EnvError, Finding
from gym_loop.loops.base_loop import BaseLoop
from gym_loop.parameters import check_parameters, documentation
from gym_loop.runs.origin import follow, stem
from gym_loop.seeding import MAX_SEED
from gym_loop.yaml_file import Document, is_plain, plain, read_overrides, read_yaml_file, write_yaml

DEFAULT_AGENT = "gym_loop.agents.random_agent:RandomAgent"
DEFAULT_LOOP = "gym_loop.loops.default_loop:DefaultLoop"
DEFAULT_ENV = "Pendulum-v1"

_SECTIONS = ("agent", "env", "loop", "seed")
_CLASS_KEYS = ("class", "parameters")
_ENV_KEYS = ("imports", "max_episode_steps", "name", "parameters", "wrappers")
_COMMENTS = {
    ("agent",): "Who learns: package.module:Class or path/to/file.py:Class.",
    ("env",): "Where: any environment in Gymnasium's registry.",
    ("env", "imports"): "Modules or .py files that register environments.",
    ("env", "max_episode_steps"): "Time limit in steps; null keeps the registered one.",
    ("env", "name"): "Its id.",
    ("env", "parameters"): "Keyword arguments of the environment.",
    ("env", "wrappers"): "Wrappers, innermost first: a list of class and parameters.",
    ("loop",): "How: the class that drives the two.",
    ("seed",): "Decides every random number of the run; null draws one and writes it down.",
}


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
    """

    agent: ClassConfig
    env: EnvSpec
    loop: ClassConfig
    seed: int | None = None
    path: Path | None = None
    overridden: Sequence[str] = field(default_factory=tuple)

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
            imports=absolute(self.env.imports),
            parameters=absolute(self.env.parameters),
            wrappers=[
                WrapperSpec(absolute(one.class_name), absolute(one.parameters))
                for one in self.env.wrappers
            ],
        )
        return replace(self, agent=part(self.agent), loop=part(self.loop), env=env)

    def _comments(self) -> dict[tuple[Any, ...], str]:
        comments: dict[tuple[Any, ...], str] = dict(_COMMENTS)
        for section, part in (("agent", self.agent), ("loop", self.loop)):
            for doc in documentation(part.cls).values():
                comments[section, "parameters", doc.name] = doc.text
        return comments


def _class_section(part: ClassConfig) -> dict[str, Any]:
    return {
        "class": part.class_name,
        "parameters": {name: part.parameters[name] for name in sorted(part.parameters)},
    }


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def value_at(config: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return value


def default_config(
    agent: str | None = None, loop: str | None = None, env: str | None = None
) -> RunConfig:
    """The config that ``create-default`` writes: the defaults of the classes it names.

    Raises:
        ConfigError: a class or the environment cannot be found.
    """
    return load_config(
        {
            "agent": {"class": agent or DEFAULT_AGENT},
            "env": {"name": env or DEFAULT_ENV},
            "loop": {"class": loop or DEFAULT_LOOP},
        }
    )


def load_config(
    source: str | Path | Mapping[str, Any] | RunConfig,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    options: Mapping[str, str] | None = None,
) -> RunConfig:
    """Read, merge and check a run config.

    Args:
        source: path of a YAML file, or its content as nested mappings.
        overrides: ``dotted.key=value`` texts (the value in YAML syntax), or a mapping of
            dotted keys to values.
        options: what to call an override in messages, by its key; by default ``--set key``.

    Raises:
        ConfigError: with every finding, each with its file, line and dotted path.
    """
    if isinstance(source, RunConfig):
        if not overrides:
            return source
        path, document = source.path, Document(source.as_dict())
    elif isinstance(source, Mapping):
        path, document = None, Document(_copy(source))
    else:
        path = Path(source).expanduser()
        document = _read_file(path)
    before = source.overridden if isinstance(source, RunConfig) else ()
    reader = _Reader(document, path, options or {})
    overridden = reader.override(overrides)
    return reader.config([*before, *overridden])


def _read_file(path: Path) -> Document:
    if not path.exists():
        problem = "there is no such file; make one with gym-loop create-default"
        raise ConfigError([Finding("", problem, str(path))])
    document = read_yaml_file(path)
    document.data = follow(document.data, path)
    return document


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, PurePath):
        return str(value)
    return [_copy(item) for item in value] if isinstance(value, (list, tuple)) else value


class _Reader:
    """Turns a document into a `RunConfig`, collecting every finding on the way."""

    def __init__(self, document: Document, path: Path | None, options: Mapping[str, str]) -> None:
        self.document = document
        self.options = options
        self.path = path
        self.search = [path.resolve().parent] if path else []
        self.findings: list[Finding] = []
        self.overridden: list[str] = []

    def config(self, overridden: Sequence[str]) -> RunConfig:
        data = self._mapping(self.document.data, (), _SECTIONS)
        agent = self._class(data, "agent", BaseAgent, DEFAULT_AGENT)
        env = self._env(data)
        loop = self._class(data, "loop", BaseLoop, DEFAULT_LOOP)
        seed = data.get("seed")
        if seed is not None and (
            isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED
        ):
            self.find(
                ("seed",), f"{seed!r} is no seed; use an integer from 0 to {MAX_SEED}, or null"
            )
        if self.findings or agent is None or env is None or loop is None:
            raise ConfigError(sorted(self.findings, key=lambda one: one.line or 0))
        return RunConfig(agent, env, loop, seed, self.path, tuple(overridden))

    # -- findings ------------------------------------------------------------------------

    def find(self, path: tuple[Any, ...], problem: str) -> None:
        place = ".".join(str(part) for part in path)
        if option := self._option(place):
            name = self.options.get(option, f"--set {option}")
            self.findings.append(Finding(place, problem, name))
        else:
            source = self.document.source
            self.findings.append(Finding(place, problem, source, self.document.line(path)))

    def _option(self, place: str) -> str | None:
        """The override that a place was set by, or that alone put it there."""
        from_file = {".".join(str(part) for part in path) for path in self.document.lines}
        for key in self.overridden:
            above = f"{key}.".startswith(f"{place}.") and place not in from_file
            if above or f"{place}.".startswith(f"{key}."):
                return key
        return None

    def override(self, overrides: Iterable[str] | Mapping[str, Any]) -> list[str]:
        """Put values into the document; they are checked with the rest."""
        for key, value in read_overrides(overrides):
            self.overridden.append(key)
            self.document.set(key, _copy(value))
        return self.overridden

    def _mapping(self, data: Any, path: tuple[Any, ...], known: Sequence[str]) -> dict[str, Any]:
        """The mapping itself, with unknown keys noted; empty if it is none."""
        if data is None:
            data = {}
        if not isinstance(data, dict):
            kind = "a list" if isinstance(data, list) else repr(data)
            what = f"{kind} stands where a mapping belongs"
            self.find(path, f"{what} (with the keys {', '.join(known)})")
            return {}
        for key in data:
            if key not in known:
                hint = did_you_mean(str(key), known) or f"; known are {', '.join(known)}"
                if "\N{NO-BREAK SPACE}" in str(key):
                    hint = "; before it stand no-break spaces, write plain ones"
                self.find((*path, key), former_key((*path, key)) or f"unknown{hint}")
        return data

    def _parameters(self, section: Mapping[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
        parameters = section.get("parameters")
        if parameters is None:
            return {}
        if not isinstance(parameters, dict):
            kind = "a list" if isinstance(parameters, list) else repr(parameters)
            self.find((*path, "parameters"), f"{kind} stands where a mapping of parameters belongs")
            return {}
        for name, value in parameters.items():
            if not is_plain(value):
                self.find((*path, "parameters", name), f"{value!r} can't be written in a run file")
        return parameters

    # -- sections ------------------------------------------------------------------------

    def _class(
        self, data: Mapping[str, Any], kind: str, base: type, default: str
    ) -> ClassConfig | None:
        section = self._mapping(data.get(kind), (kind,), _CLASS_KEYS)
        values = self._parameters(section, (kind,))
        class_name = section.get("class", default)
        if not isinstance(class_name, str):
            self.find((kind, "class"), f"{class_name!r} is no class string (package.module:Class)")
            return None
        try:
            cls = check_contract(load_class(class_name, base, kind=kind, search=self.search))
        except ClassLoadError as error:
            self.find((kind, "class"), f"{error}{moved(class_name)}")
            return None
        ours = [name for name in RUNNER_PARAMETERS if kind == "agent" and name in values]
        for name in ours:
            self.find((kind, "parameters", name), "is given by the runner; leave it out")
        given = {name: values[name] for name in values if name not in ours}
        merged, problems = check_parameters(cls, given)
        for name, problem in problems.items():
            self.find((kind, "parameters", name), problem)
        return ClassConfig(class_name, cls, merged)

    def _env(self, data: Mapping[str, Any]) -> EnvSpec | None:
        section = self._mapping(data.get("env"), ("env",), _ENV_KEYS)
        name = section.get("name", DEFAULT_ENV)
        if not isinstance(name, str) or not name:
            self.find(("env", "name"), f"{name!r} is no environment id, such as {DEFAULT_ENV}")
            return None
        limit = section.get("max_episode_steps")
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, int) or limit < 1
        ):
            self.find(("env", "max_episode_steps"), f"{limit!r} must be a number of steps, or null")
        spec = EnvSpec(
            name=name,
            imports=self._imports(section),
            parameters=self._parameters(section, ("env",)),
            wrappers=self._wrappers(section),
            max_episode_steps=limit,
            search=self.search,
        )
        self._find_env(spec)
        return spec

    def _find_env(self, spec: EnvSpec) -> None:
        try:
            import_env_modules(spec)
        except (ClassLoadError, EnvError) as error:
            self.find(("env", "imports"), str(error))
            return
        try:
            check_registered(spec)
        except (ClassLoadError, EnvError) as error:
            self.find(("env", "name"), str(error))

    def _imports(self, section: Mapping[str, Any]) -> list[str]:
        imports = section.get("imports") or []
        if not isinstance(imports, list) or not all(isinstance(one, str) for one in imports):
            self.find(("env", "imports"), f"{imports!r} must be a list of modules or .py files")
            return []
        return imports

    def _wrappers(self, section: Mapping[str, Any]) -> list[WrapperSpec]:
        given = section.get("wrappers") or []
        if not isinstance(given, list):
            self.find(("env", "wrappers"), "must be a list, each with class and parameters")
            return []
        wrappers = []
        for index, one in enumerate(given):
            path = ("env", "wrappers", index)
            one = {"class": one} if isinstance(one, str) else self._mapping(one, path, _CLASS_KEYS)
            class_name = one.get("class")
            if class_name is None and not set(one) <= set(_CLASS_KEYS):
                continue  # a misspelt key has been found already
            if not isinstance(class_name, str):
                self.find((*path, "class"), f"{class_name!r} is no class string")
                continue
            wrappers.append(WrapperSpec(class_name, self._parameters(one, path)))
            self._check_wrapper(class_name, (*path, "class"))
        return wrappers

    def _check_wrapper(self, class_name: str, path: tuple[Any, ...]) -> None:
        try:
            load_class(class_name, gymnasium.Wrapper, kind="wrapper", search=self.search)
        except ClassLoadError as error:
            self.find(path, str(error))
