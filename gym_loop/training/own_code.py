"""The user's files that a config leads to: kept with each run, compared when it is used again."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gymnasium

from gym_loop.config.run_file import RunConfig
from gym_loop.envs.making import is_class_string
from gym_loop.errors import RunError, UsageError
from gym_loop.runs import code
from gym_loop.runs.console import Console
from gym_loop.runs.directory import RunDirectory, run_ids
from gym_loop.runs.origin import origin, own_run, runs_from
from gym_loop.schema.class_strings import file_module
from gym_loop.schema.files import expanded
from gym_loop.schema.overrides import read_overrides
from gym_loop.schema.own_files import Copies, Source, source_of, sources_of
from gym_loop.schema.yaml_file import read_yaml_file


def own_sources(config: RunConfig, also: Iterable[str] = ()) -> list[Source]:
    """The user's files that the classes of a config come from, with all that they import.

    Args:
        config: whose code is in use.
        also: names of further modules.
    """
    classes = (config.agent.cls, config.loop.cls)
    names = {cls.__module__ for base in classes for cls in base.__mro__}
    named = {_named(text, config.env.search) or "" for text in _texts(config.as_dict())}
    names.update(named & sys.modules.keys(), config.env.imports, also)
    if not is_class_string(config.env.name):
        names.update(_registered(config.env.name))
    return sources_of(names)


def _texts(value: Any) -> Iterator[str]:
    """The texts in a config that may name a module: class strings and files."""
    if isinstance(value, str) and (":" in value or value.endswith(".py")):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _named(text: str, search: Any) -> str | None:
    """The module that a text would name."""
    file, colon, _ = text.rpartition(".py:")
    if colon or text.endswith(".py"):
        return file_module(f"{file}.py" if colon else text, search)
    return text.partition(":")[0]


def _registered(name: str) -> Iterator[str]:
    """Modules of what Gymnasium's registry has under a name."""
    spec = gymnasium.registry.get(name.rpartition(":")[2])
    if spec is None:
        return
    wrappers = [one.entry_point for one in spec.additional_wrappers]
    for entry in (spec.entry_point, spec.vector_entry_point, *wrappers):
        text = isinstance(entry, str)
        if module := entry.partition(":")[0] if text else getattr(entry, "__module__", ""):
            yield module


class CodeKeeper:
    """Keeps the user's files of one training.

    Args:
        config: whose code is in use.
        directory: of the run, locked.
        console: what a person sees.
    """

    def __init__(self, config: RunConfig, directory: RunDirectory, console: Console) -> None:
        self.config, self.directory, self.console = config, directory, console
        self._before = set(sys.modules)
        self._seen = len(sys.modules)

    def begin(self, step: int | None) -> None:
        """Keep what has been loaded; say where it is not what the user may think.

        Args:
            step: that a resumed run goes on from; None for a new run.
        """
        sources = own_sources(self.config)
        before = None if step is None else self.directory
        if tell_code(self.config, before, self.console, sources):
            code.set_aside(self.directory, step or 0)
        self._keep(sources)
        for cls in (self.config.agent.cls, self.config.loop.cls):
            if cls.__module__ == "__main__" and source_of("__main__") is None:
                self.console.message(f"{cls.__name__} is in no file: no copy of it can be kept")

    def look_again(self) -> None:
        """Keep what has been imported since the training began."""
        if len(sys.modules) != self._seen:
            self._seen = len(sys.modules)
            self._keep(own_sources(self.config, [*sys.modules.keys() - self._before]))

    def _keep(self, sources: Iterable[Source]) -> None:
        try:
            code.keep(self.directory, sources, _root_of(self.config))
        except OSError as error:
            place = self.directory.logs / code.CODE
            self.console.warning(f"{place}: the code cannot be kept: {error.strerror}")


def _root_of(config: RunConfig) -> Path:
    """The directory that names of a run's copies are relative to: that of its run file."""
    path = origin(config.path, Path.cwd())["config"]
    return Path(path).parent if path else Path.cwd()


def tell_code(
    config: RunConfig,
    directory: RunDirectory | None,
    console: Console,
    sources: list[Source] | None = None,
) -> bool:
    """Say in a line each where the code is not what one may think.

    Args:
        config: whose code is in use.
        directory: of the run that was trained before; None if there is none.
        console: what a person sees.
        sources: from `own_sources`, if they are known.

    Returns:
        Whether files are not those that the run was trained with.
    """
    sources, root = own_sources(config) if sources is None else sources, _root_of(config)
    if (copies := config.copies) is not None:
        text = f"the code is that of {copies.run}: the copies in {copies.logs / code.CODE}"
        if before := code.earlier(copies.logs):
            text += f" (it was trained with other code first: {', '.join(before)})"
        if missing := {code.file_of(one, root) for one in sources if not one.is_copy}:
            text += f", but for {_listed(missing)}, which it did not keep"
        console.message(text)
    elif stale := {code.file_of(one, root) for one in sources if _is_stale(one)}:
        console.warning(
            f"{_listed(stale)}: edited after it was imported here, and used as it was"
            " before; start a new process to use it as it is now"
        )
    files = code.changed(directory.manifest(), sources, root) if directory else []
    if directory is not None and files:
        verb = "differs" if len(files) == 1 else "differ"
        console.warning(
            f"{_listed(files)} {verb} from what {directory.run_id} was trained with; --code run"
            f" uses the copies in {directory.logs / code.CODE}"
        )
    return bool(files)


def _is_stale(source: Source) -> bool:
    """Whether a file was edited after this process imported it: in a notebook, say."""
    try:
        return source.path.read_bytes() != source.data
    except OSError:
        return False


def _listed(found: Iterable[str]) -> str:
    files = sorted(found)
    return ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")


def find_copies(source: Any, overrides: Any, run: str | None, wanted: str | None) -> Copies | bool:
    """What `gym_loop.config.run_file.load_config` takes as ``code``.

    Nothing is loaded for it: the files themselves may be broken, or gone.

    Args:
        source: the run file.
        overrides: of the config.
        run: id of the run whose copies are wanted; None for the newest of the file.
        wanted: ``"run"`` for a run's copies, ``"files"`` for the files as they are now; None for
            the copies where the file is a run's own, else the files.

    Raises:
        RunError: there is no such run, or it has kept none.
    """
    if wanted in (None, "files"):
        return wanted is None
    if wanted != "run":
        raise UsageError(f"--code {wanted}: write run or files")
    path = expanded(source) if isinstance(source, (str, Path)) else None
    if path is not None and run is None and own_run(path):
        logs = path.parent
    else:
        logdir = _logdir(path, source, overrides)
        newest = next(runs_from(path, {"logdir": logdir}), None) if run is None else None
        found = newest.run_id if newest else run
        if found not in run_ids(logdir):
            raise RunError(f"--code run: there is no run {run or f'of {path}'} in {logdir}")
        logs = logdir / found
    copies = code.read_copies(logs)
    if copies is None:
        raise RunError(f"--code run: {logs.name} has kept no code; it loaded no file of yours")
    return copies


def _logdir(path: Path | None, source: Any, overrides: Any) -> Path:
    value: Any = read_yaml_file(path).data if path is not None and path.is_file() else source
    for key in ("loop", "parameters", "logdir"):
        value = value.get(key) if isinstance(value, dict) else None
    value = dict(read_overrides(overrides)).get("loop.parameters.logdir", value)
    return expanded(value) if isinstance(value, str) else Path("logs")
