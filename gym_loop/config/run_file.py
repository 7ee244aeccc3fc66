"""The run config: read, merge with defaults, check, override, write.

Defaults live in ``get_default_parameters()`` alone; a run file holds what differs from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium

from gym_loop.agents.base_agent import BaseAgent
from gym_loop.config.class_checks import RUNNER_PARAMETERS, check_contract
from gym_loop.config.run_config import ClassConfig, RunConfig, flatten, value_at
from gym_loop.config.sections import AgentSection, EnvSection, LoopSection, RunFile, WrapperSection
from gym_loop.envs.making import EnvSpec, WrapperSpec, check_registered, import_env_modules
from gym_loop.errors import ClassLoadError, ConfigError, EnvError, Finding
from gym_loop.loops.base_loop import BaseLoop
from gym_loop.runs.code import read_copies
from gym_loop.runs.origin import follow, own_run
from gym_loop.schema.class_strings import load_class
from gym_loop.schema.files import expanded
from gym_loop.schema.old_code import moved
from gym_loop.schema.own_files import Copies
from gym_loop.schema.parameters import check_parameters
from gym_loop.schema.reading import Reader, unshared
from gym_loop.schema.yaml_file import Document, is_plain, read_yaml_file

__all__ = ["ClassConfig", "RunConfig", "default_config", "flatten", "load_config", "value_at"]


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
    named = {"agent": {"class": agent}, "env": {"name": env}, "loop": {"class": loop}}
    given: dict[str, Any] = {
        section: {key: value for key, value in keys.items() if value is not None}
        for section, keys in named.items()
    }
    given["env"]["imports"] = list(imports)
    return load_config(given)


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
        path, document = None, Document(unshared(source))
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
    reader = _RunReader(document, overrides, options)
    with copies.in_use() if copies else nullcontext():
        return replace(reader.config(path, before), copies=copies)


def _read_file(path: Path) -> Document:
    if not path.exists():
        problem = "there is no such file; make one with gym-loop create-default"
        raise ConfigError([Finding("", problem, str(path))])
    document = read_yaml_file(path)
    document.data = follow(document.data, path)
    return document


class _RunReader(Reader):
    """Turns a document into a `RunConfig`, collecting every finding on the way."""

    def config(self, path: Path | None, overridden: Sequence[str]) -> RunConfig:
        self.search = [path.resolve().parent] if path else []
        file = self.read(RunFile)
        agent = self._class("agent", file.agent, BaseAgent)
        env = self._env(file.env)
        loop = self._class("loop", file.loop, BaseLoop)
        self.finish()
        assert agent is not None
        assert loop is not None
        env = replace(env, whole_batches=not agent.cls.supports_partial_batch)
        return RunConfig(agent, env, loop, file.seed, path, (*overridden, *self.overridden))

    def _class(
        self, kind: str, section: AgentSection | LoopSection, base: type
    ) -> ClassConfig | None:
        values = dict(self._plain(section.parameters, kind))
        if self.is_wrong(kind, "class"):
            return None
        try:
            cls = check_contract(load_class(section.class_, base, kind=kind, search=self.search))
        except ClassLoadError as error:
            self.find((kind, "class"), f"{error}{moved(section.class_)}")
            return None
        for name in RUNNER_PARAMETERS if kind == "agent" else ():
            if values.pop(name, None) is not None:
                self.find((kind, "parameters", name), "is given by the runner; leave it out")
        merged, problems = check_parameters(cls, values)
        for name, problem in problems.items():
            self.find((kind, "parameters", name), problem)
        return ClassConfig(section.class_, cls, merged)

    def _env(self, section: EnvSection) -> EnvSpec:
        wrappers = [self._wrapper(one, index) for index, one in enumerate(section.wrappers)]
        spec = EnvSpec(
            name=section.name,
            imports=section.imports,
            parameters=self._plain(section.parameters, "env"),
            wrappers=wrappers,
            max_episode_steps=section.max_episode_steps,
            search=self.search,
        )
        try:
            import_env_modules(spec)
        except (ClassLoadError, EnvError) as error:
            self.find(("env", "imports"), str(error))
            return spec
        try:
            check_registered(spec)
        except (ClassLoadError, EnvError) as error:
            self.find(("env", "name"), str(error))
        return spec

    def _wrapper(self, given: str | WrapperSection, index: int) -> WrapperSpec:
        way = ("env", "wrappers", index)
        if isinstance(given, str):
            name, parameters = given, {}
        else:
            name, parameters = given.class_, self._plain(given.parameters, *way)
        if name:
            try:
                load_class(name, gymnasium.Wrapper, kind="wrapper", search=self.search)
            except ClassLoadError as error:
                self.find((*way, "class"), str(error))
        elif not self.is_wrong(*way):
            self.find((*way, "class"), "is missing")
        return WrapperSpec(name, parameters)

    def _plain(self, parameters: dict[Any, Any], *section: Any) -> dict[Any, Any]:
        for name, value in parameters.items():
            if not is_plain(value):
                self.find(
                    (*section, "parameters", name), f"{value!r} can't be written in a run file"
                )
        return parameters
