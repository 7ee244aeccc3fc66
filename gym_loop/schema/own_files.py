"""The user's own source files: what they held when they were loaded, and copies in their place.

A user's own are those outside the standard library, the installed packages and gym-loop.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from gym_loop.schema.files import expanded

FILE_MODULE = "gym_loop_file_"  # what names of modules that are files begin with
_INSTALLED = ("site-packages", "dist-packages")
_NOT_OURS_TO_KEEP = tuple(
    {
        *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        str(Path(__file__).resolve().parents[1]),
    }
)


@dataclass(frozen=True)
class Source:
    """A file as it was when it was imported.

    Args:
        path: absolute; of a run's copy, that of its original.
        data: its content.
        module: the name that it is imported by; None if it was loaded by its path.
        is_copy: whether a run's copy was loaded in its place.
    """

    path: Path
    data: bytes
    module: str | None
    is_copy: bool = False


class SourceLoader(importlib.abc.InspectLoader):
    """Runs what it was given, never bytecode of another version of the file.

    Args:
        source: the module's.
        place: of the file that was read, for tracebacks.
    """

    def __init__(self, source: Source, place: Path) -> None:
        self.source, self.place = source, place

    def is_package(self, fullname: str) -> bool:
        """Whether it is the file of a package."""
        return self.source.path.name == "__init__.py"

    def get_source(self, fullname: str) -> str:
        """The text of the file."""
        return importlib.util.decode_source(self.source.data)

    def get_code(self, fullname: str) -> Any:
        """The file, compiled."""
        return self.source_to_code(self.source.data, str(self.place))

    def exec_module(self, module: ModuleType) -> None:
        """Run it; data files beside the original are found by its ``__file__``."""
        module.__file__ = str(self.source.path)
        _noted[module.__name__] = (module, self.source)
        super().exec_module(module)


# -- what was loaded ---------------------------------------------------------------------------

_noted: dict[str, tuple[ModuleType, Source | None]] = {}  # what each module was made from
_loaded_by: dict[str, set[str]] = {}  # own modules that came with another one


def note_new(before: set[str], owner: str) -> None:
    """Read the user's files among the modules that came with another one.

    Args:
        before: names of the modules that were there already.
        owner: the module that brought them.
    """
    for name in [name for name in sys.modules if name not in before]:
        if name != owner and source_of(name) is not None:
            _loaded_by.setdefault(owner, set()).add(name)


def source_of(name: str) -> Source | None:
    """What an imported module was made from; None if it is not the user's, or not imported."""
    module = sys.modules.get(name)
    if module is None:
        return None
    noted = _noted.get(name)
    if noted is None or noted[0] is not module:
        noted = _noted[name] = (module, _read(getattr(module, "__file__", None), name))
    return noted[1]


def sources_of(roots: Iterable[str]) -> list[Source]:
    """The user's files among modules and all that they import, now or later.

    Args:
        roots: names of modules.
    """
    found: list[Source] = []
    waiting, seen = list(roots), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if parent := name.rpartition(".")[0]:
            waiting.append(parent)
        source = source_of(name) if name in sys.modules else _not_yet_imported(name)
        if source is not None:
            found.append(source)
            waiting += [*_imports(name, source), *_loaded_by.get(name, ())]
    return found


def is_own(file: str) -> bool:
    """Whether a file is the user's: no part of Python, of an installed package or of gym-loop."""
    if file.startswith(tuple(f"{place}/" for place in _NOT_OURS_TO_KEEP)):
        return False
    return not any(part in _INSTALLED for part in Path(file).parts)


def _read(file: Any, name: str) -> Source | None:
    if not isinstance(file, str) or not file.endswith(".py") or not is_own(file):
        return None
    path = Path(file).resolve()
    try:
        module = None if name.startswith(FILE_MODULE) else name
        return Source(path, path.read_bytes(), module) if is_own(str(path)) else None
    except OSError:  # it has gone meanwhile
        return None


def _not_yet_imported(name: str) -> Source | None:
    """The file that an import would find; nothing is imported."""
    if _Finder.copies is not None and (copy := _Finder.copies.source(name)) is not None:
        return copy[0]
    package, _, last = name.rpartition(".")
    parts, places = name.split("."), sys.path
    if (inside := getattr(sys.modules.get(package), "__path__", None)) is not None:
        parts, places = [last], [*inside]
    for place in [] if parts[0] in sys.stdlib_module_names else places:
        path = Path(place, *parts)
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return _read(str(file), name)
    return None


def _imports(name: str, source: Source) -> Iterator[str]:
    """Names of modules that a file may import, wherever in it."""
    try:
        tree = ast.parse(source.data)
    except (SyntaxError, ValueError, RecursionError):
        return
    package = name if source.path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            written = "." * node.level + (node.module or "")
            try:
                base = importlib.util.resolve_name(written, package)
            except ImportError:  # above the top of a package
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


# -- a run's copies in their place -------------------------------------------------------------


@dataclass(frozen=True)
class Copy:
    """One copy.

    Args:
        path: of the original, when the copy was made.
        modules: names that it was imported by; none if it was loaded by its path.
        data: its content.
    """

    path: Path
    modules: Sequence[str]
    data: bytes


class Copies:
    """The copies of a user's files that a run keeps.

    Args:
        logs: the run's own directory of logs.
        directory: that the copies are in.
        files: by their paths below it.
        moved: where an original is now.
    """

    def __init__(
        self,
        logs: Path,
        directory: Path,
        files: Mapping[str, Copy],
        moved: Mapping[Path, Path] | None = None,
    ) -> None:
        self.logs, self.directory, self.files = logs, directory, dict(files)
        self.moved = dict(moved or {})
        self._by_name = {name: file for file, one in files.items() for name in one.modules}
        # Packages that have no file of their own.
        self._folders = {p for name in self._by_name for p in _parents(name)} - self._by_name.keys()
        self.names = set(self._by_name)  # of the modules that are loaded from copies
        self._by_path = {one.path: file for file, one in files.items()}
        self._by_path |= {self.moved.get(one.path, one.path): f for f, one in files.items()}
        self._modules: dict[str, ModuleType] = {}
        self._registered: dict[str, Any] = {}

    def __reduce__(self) -> Any:
        return Copies, (self.logs, self.directory, self.files, self.moved)

    @property
    def run(self) -> str:
        """Id of the run."""
        return self.logs.name

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """A context in which the copies are loaded in place of their originals.

        What the process had imported under their names is put back at the end.
        """
        before = _Finder.copies
        if before is self:
            yield
            return
        outside = self._swap(self._modules, self._registered)
        _Finder.copies = self
        if before is None:
            sys.meta_path.insert(0, _Finder)
        try:
            yield
        finally:
            self._modules, self._registered = self._swap(*outside)
            _Finder.copies = before
            if before is None:
                sys.meta_path.remove(_Finder)

    def _swap(
        self, modules: dict[str, ModuleType], registered: dict[str, Any]
    ) -> tuple[dict[str, ModuleType], dict[str, Any]]:
        """Put modules, and environments that they registered, in place of those of their names."""
        gymnasium = sys.modules.get("gymnasium")
        registry: dict[str, Any] = {} if gymnasium is None else gymnasium.registry
        ours = [name for name, one in registry.items() if self._is_ours(one)]
        environments = {name: registry.pop(name) for name in ours}
        registry.update(registered)
        found = {name: sys.modules.pop(name) for name in self.names if name in sys.modules}
        sys.modules.update(modules)
        return found, environments

    def _is_ours(self, environment: Any) -> bool:
        """Whether a registered environment is of one of the files, or of its copy."""
        entry = environment.entry_point
        name = entry.partition(":")[0] if isinstance(entry, str) else entry.__module__
        return Path(getattr(sys.modules.get(name), "__file__", None) or ".") in self._by_path

    def source(self, name: str) -> tuple[Source, Path] | None:
        """The copy of a module, and where it is; None if there is none."""
        file = self._by_name.get(name)
        return None if file is None else self._source(file, name)

    def find(self, name: str, places: Sequence[Path]) -> tuple[Source, Path] | None:
        """The copy of a file that a run file names, and where it is; None if there is none.

        Args:
            name: absolute, or relative to one of the places.
            places: directories.
        """
        wanted = expanded(name)
        for directory in places:
            path = Path(os.path.normpath(directory / wanted))
            for candidate in (path, path.resolve()):
                if (file := self._by_path.get(candidate)) is not None:
                    return self._source(file, None)
        return None

    def _source(self, file: str, module: str | None) -> tuple[Source, Path]:
        copy = self.files[file]
        original = self.moved.get(copy.path, copy.path)
        return Source(original, copy.data, module, is_copy=True), self.directory / file

    def spec_of(self, name: str, path: Any) -> ModuleSpec | None:
        """How to import a module of this name, for the import system; None if there is no copy."""
        found = self.source(name)
        if found is None:
            if name not in self._folders:
                return None
            # Of a package without a file the folder, or nothing: its modules are copies.
            folder = PathFinder.find_spec(name, path)
            return folder or ModuleSpec(name, None, is_package=True)
        source, place = found
        # What is no copy, such as data files and compiled modules, is beside the original.
        beside = [str(source.path.parent)] if source.path.name == "__init__.py" else None
        loader = SourceLoader(source, place)
        return importlib.util.spec_from_file_location(
            name, place, loader=loader, submodule_search_locations=beside
        )


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


class _Finder:
    """Finds the copies in use before anything else of their names."""

    copies: Copies | None = None

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """See `Copies.spec_of`."""
        return None if _Finder.copies is None else _Finder.copies.spec_of(name, path)


def copies_in_use() -> Copies | None:
    """The copies that are loaded in place of their originals now."""
    return _Finder.copies


def carried(make: Callable[[], Any]) -> Callable[[], Any]:
    """The same for another process, which is to load the copies in use too."""
    return make if _Finder.copies is None else _Carried(_Finder.copies, make)


@dataclass(frozen=True)
class _Carried:
    copies: Copies
    make: Callable[[], Any]

    def __call__(self) -> Any:
        if _Finder.copies is None:
            _to_the_end.enter_context(self.copies.in_use())
        return self.make()


_to_the_end = ExitStack()  # of the other process
