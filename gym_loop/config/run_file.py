"""The run config: read, merge with defaults, check, override, write.

Defaults live in ``get_default_parameters()`` alone; a run file holds what differs from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import gymnasium

from gym_loop.agents.base_agent import BaseAgent
from gym_loop.checkpoints.seeding import MAX_SEED
from gym_loop.config.contract import RUNNER_PARAMETERS, check_contract, former_key, moved
from gym_loop.config.run_config import ClassConfig, RunConfig, flatten, value_at
from gym_loop.envs.making import EnvSpec, WrapperSpec, check_registered, import_env_modules
from gym_loop.errors import ClassLoadError, ConfigError, EnvError, Finding
from gym_loop.loops.base_loop import BaseLoop
from gym_loop.runs.code import read_copies
from gym_loop.runs.origin import follow, own_run
from gym_loop.schema.class_strings import load_class, unknown_names
from gym_loop.schema.copies import Copies
from gym_loop.schema.files import expanded
from gym_loop.schema.parameters import as_integer, check_parameters
from gym_loop.schema.yaml_file import Document, is_plain, read_overrides, read_yaml_file

__all__ = ["ClassConfig", "RunConfig", "default_config", "flatten", "load_config", "value_at"]

DEFAULT_AGENT = "gym_loop.agents.random_agent:RandomAgent"
DEFAULT_LOOP = "gym_loop.loops.default_loop:DefaultLoop"
DEFAULT_ENV = "Pendulum-v1"

_SECTIONS = ("agent", "env", "loop", "seed")
_CLASS_KEYS = ("class", "parameters")
_ENV_KEYS = ("imports", "max_episode_steps", "name", "parameters", "wrappers")


def default_config(
    agent: str | None = None,
    loop: str | None = None,
    env: str | None = None,
    *,
    imports: Sequence[str] = (),
) -> RunConfig:
    """The config that ``create-default`` writes: the defaults of the classes it names.

    Args:
        agent: class string.
        loop: class string.
        env: id of the environment.
        imports: modules or ``.py`` files that register it.

    Raises:
        ConfigError: a class or the environment cannot be found.
    """
    return load_config(
        {
            "agent": {"class": agent or DEFAULT_AGENT},
            "env": {"name": env or DEFAULT_ENV, "imports": list(imports)},
            "loop": {"class": loop or DEFAULT_LOOP},
        }
    )


def load_config(
    source: str | Path | Mapping[str, Any] | RunConfig,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    options: Mapping[str, str] | None = None,
    code: Copies | bool = True,
) -> RunConfig:
    """Read, merge and check a run config.

    Args:
        source: path of a YAML file, or its content as nested mappings.
        overrides: ``dotted.key=value`` texts (the value in YAML syntax), or a mapping of
            dotted keys to values.
        options: what to call an override in messages, by its key; by default ``--set key``.
        code: copies to load in place of the user's files; True takes those of the run whose own
            resolved file this is, False none.

    Raises:
        RunError: a copy is missing, or is not what the run kept.
        ConfigError: with every finding, each with its file, line and dotted path.
    """
    if isinstance(source, RunConfig):
        if not overrides:
            return source
        path, document = source.path, Document(source.as_dict())
    elif isinstance(source, Mapping):
        path, document = None, Document(_copy(source))
    else:
        path = expanded(source)
        document = _read_file(path)
    before = source.overridden if isinstance(source, RunConfig) else ()
    if document.data is None and not overrides:
        command = f"gym-loop create-default -c {path} -f"
        problem = f"is empty; name at least an agent and an environment, or write it with {command}"
        raise ConfigError([Finding("", problem, str(path))])
    if isinstance(source, RunConfig):
        copies = source.copies
    elif isinstance(code, bool):
        copies = read_copies(path.parent) if code and path and own_run(path) else None
    else:
        copies = code
    reader = _Reader(document, path, options or {})
    overridden = reader.override(overrides)
    with copies or nullcontext():
        return replace(reader.config([*before, *overridden]), copies=copies)


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
        given = data.get("seed")
        seed = as_integer(given)
        if given is not None and (seed is None or not 0 <= seed <= MAX_SEED):
            self.find(
                ("seed",), f"{given!r} is no seed; use an integer from 0 to {MAX_SEED}, or null"
            )
        if self.findings or agent is None or env is None or loop is None:
            raise ConfigError(sorted(self.findings, key=lambda one: one.line or 0))
        env = replace(env, whole_batches=not agent.cls.supports_partial_batch)
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
        for key in self.overridden:
            above = f"{key}.".startswith(f"{place}.") and place not in self._in_file
            if above or f"{place}.".startswith(f"{key}."):
                return key
        return None

    @cached_property
    def _in_file(self) -> set[str]:
        """The places that the file itself has."""
        return {".".join(str(part) for part in path) for path in self.document.lines}

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
        for key, problem in unknown_names(data, known).items():
            if "\N{NO-BREAK SPACE}" in str(key):
                problem = "unknown; before it stand no-break spaces, write plain ones"
            self.find((*path, key), former_key((*path, key)) or problem)
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
        given = section.get("max_episode_steps")
        limit = as_integer(given)
        if given is not None and (limit is None or limit < 1):
            self.find(("env", "max_episode_steps"), f"{given!r} must be a number of steps, or null")
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
