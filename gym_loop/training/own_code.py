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
from gym_loop.runs.origin import is_from, origin, own_run
from gym_loop.schema.class_strings import file_module
from gym_loop.schema.copies import Copies
from gym_loop.schema.files import expanded
from gym_loop.schema.sources import Source, source_of, sources_of
from gym_loop.schema.yaml_file import read_overrides, read_yaml_file


def own_sources(config: RunConfig, also: Iterable[str] = ()) -> list[Source]:
    """The user's files that the classes of a config come from, with all that they import.

    Args:
        config: whose code is in use.
        also: names of further modules.
    """
    classes = (config.agent.cls, config.loop.cls)
    names = {cls.__module__ for base in classes for cls in base.__mro__}
    names.update(_named(config.as_dict(), config.env.search), config.env.imports, also)
    if not is_class_string(config.env.name):
        names.update(_registered(config.env.name))
    return [*sources_of(names).values()]


def _named(value: Any, search: Any) -> Iterator[str]:
    """Modules that the values of a config name: classes, functions and files."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _named(item, search)
    elif isinstance(value, str) and (":" in value or value.endswith(".py")):
        file, colon, _ = value.rpartition(".py:")
        if colon or value.endswith(".py"):
            module = file_module(f"{file}.py" if colon else value, search)
            if module in sys.modules:
                yield module
        elif (name := value.partition(":")[0]) in sys.modules:
            yield name


def _registered(name: str) -> Iterator[str]:
    """Modules of what Gymnasium's registry has under a name."""
    spec = gymnasium.registry.get(name.rpartition(":")[2])
    if spec is None:
        return
    wrappers = [one.entry_point for one in spec.additional_wrappers]
    for entry in (spec.entry_point, spec.vector_entry_point, *wrappers):
        if isinstance(entry, str):
            yield entry.partition(":")[0]
        elif entry is not None:
            yield str(getattr(entry, "__module__", ""))


def root_of(config: RunConfig) -> Path:
    """The directory that names of a run's copies are relative to: that of its run file."""
    path = origin(config.path, Path.cwd())["config"]
    return Path(path).parent if path else Path.cwd()


class CodeKeeper:
    """Keeps the user's files of one training.

    Args:
        config: whose code is in use.
        directory: of the run, locked.
        console: what a person sees.
    """

    def __init__(self, config: RunConfig, directory: RunDirectory, console: Console) -> None:
        self.config, self.directory, self.console = config, directory, console
        self.root = root_of(config)
        self._before = set(sys.modules)
        self._seen = len(sys.modules)

    def begin(self, step: int | None) -> None:
        """Keep what has been loaded; say where it is not what the user may think.

        Args:
            step: that a resumed run goes on from; None for a new run.
        """
        config, sources = self.config, own_sources(self.config)
        resumed = None if step is None else self.directory
        if tell_code(config, resumed, self.console, sources):
            code.set_aside(self.directory, step or 0)
        self._keep(sources)
        for name in ("agent", "loop"):
            cls = getattr(config, name).cls
            if cls.__module__ == "__main__" and source_of("__main__") is None:
                self.console.message(f"{cls.__name__} is in no file: no copy of it can be kept")

    def look_again(self) -> None:
        """Keep what has been imported since the training began."""
        if len(sys.modules) != self._seen:
            self._seen = len(sys.modules)
            self._keep(own_sources(self.config, [*sys.modules.keys() - self._before]))

    def _keep(self, sources: Iterable[Source]) -> None:
        try:
            code.keep(self.directory, sources, self.root)
        except OSError as error:
            place = self.directory.logs / code.CODE
            self.console.warning(f"{place}: the code cannot be kept: {error.strerror}")


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
    sources, root = own_sources(config) if sources is None else sources, root_of(config)
    if config.copies is not None:
        console.message(_in_place_of(config.copies, sources, root))
    else:
        _warn_of_stale(sources, root, console)
    files = code.changed(directory.manifest(), sources, root) if directory else []
    if directory is not None and files:
        verb = "differs" if len(files) == 1 else "differ"
        console.warning(
            f"{_listed(files)} {verb} from what {directory.run_id} was trained with; --code run"
            f" uses the copies in {directory.logs / code.CODE}"
        )
    return bool(files)


def _in_place_of(copies: Copies, sources: Iterable[Source], root: Path) -> str:
    """Which copies are in use, and which files none was kept of."""
    text = f"the code is that of {copies.run}: the copies in {copies.logs / code.CODE}"
    if before := code.earlier(copies.logs):
        text += f" (it was trained with other code first: {', '.join(before)})"
    missing = sorted({code.file_of(one, root) for one in sources if not one.is_copy})
    return f"{text}, but for {_listed(missing)}, which it did not keep" if missing else text


def _warn_of_stale(sources: Iterable[Source], root: Path, console: Console) -> None:
    """What was edited after this process imported it is used as it was: in a notebook, say."""
    stale = set()
    for source in sources:
        try:
            if source.path.read_bytes() != source.data:
                stale.add(code.file_of(source, root))
        except OSError:
            continue
    if stale:
        console.warning(
            f"{_listed(sorted(stale))}: edited after it was imported here, and used as it was"
            " before; start a new process to use it as it is now"
        )


def _listed(files: list[str]) -> str:
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
    if wanted is None:
        return True
    if wanted == "files":
        return False
    if wanted != "run":
        raise UsageError(f"--code {wanted}: write run or files")
    path = expanded(source) if isinstance(source, (str, Path)) else None
    logs = path.parent if path is not None and run is None and own_run(path) else None
    if logs is None:
        logdir = _logdir(path, source, overrides)
        ids = run_ids(logdir)
        directories = [RunDirectory(one, {"logdir": logdir}) for one in reversed(ids)]
        found = [
            one
            for one in directories
            if one.run_id == run or (run is None and is_from(one.manifest(), path, one.logs))
        ]
        if not found:
            raise RunError(f"--code run: there is no run {run or f'of {path}'} in {logdir}")
        logs = found[0].logs
    copies = code.read_copies(logs)
    if copies is None:
        raise RunError(f"--code run: {logs.name} has kept no code; it loaded no file of yours")
    return copies


def _logdir(path: Path | None, source: Any, overrides: Any) -> Path:
    value: Any = read_yaml_file(path).data if path is not None and path.is_file() else source
    for key in ("loop", "parameters", "logdir"):
        value = value.get(key) if isinstance(value, dict) else None
    for key, one in read_overrides(overrides):
        if key == "loop.parameters.logdir":
            value = one
    return expanded(value) if isinstance(value, str) else Path("logs")
