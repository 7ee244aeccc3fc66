"""The copies of a user's files that a run keeps, loaded in place of the files as they are now."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from gym_loop.schema.files import expanded
from gym_loop.schema.sources import Source, SourceLoader


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
    """A context in which a run's copies are loaded in place of their originals.

    What the process had imported under their names is put back at the end.

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
        self.folders = {parent for name in self._by_name for parent in _parents(name)}
        self.folders -= self._by_name.keys()
        self.names = set(self._by_name)  # of the modules that are loaded from copies
        self._by_path = {one.path: file for file, one in files.items()}
        self._by_path |= {self.moved.get(one.path, one.path): f for f, one in files.items()}
        self._modules: dict[str, ModuleType] = {}
        self._registered: dict[str, Any] = {}
        self._outside: list[tuple[Copies | None, dict[str, ModuleType], dict[str, Any]]] = []

    def __reduce__(self) -> Any:
        return Copies, (self.logs, self.directory, self.files, self.moved)

    @property
    def run(self) -> str:
        """Id of the run."""
        return self.logs.name

    def original(self, file: str) -> Path:
        """Where the original of a copy is, as far as is known."""
        path = self.files[file].path
        return self.moved.get(path, path)

    def __enter__(self) -> Copies:
        if _Finder.copies is self:
            self._outside.append((self, {}, {}))
            return self
        self._outside.append((_Finder.copies, *self._swap(self._modules, self._registered)))
        _Finder.copies = self
        if _Finder not in sys.meta_path:
            sys.meta_path[:] = [_Finder, *sys.meta_path, _LastFinder]
        return self

    def __exit__(self, *_: object) -> None:
        before, modules, registered = self._outside.pop()
        if before is self:
            return
        self._modules, self._registered = self._swap(modules, registered)
        _Finder.copies = before
        if before is None:
            sys.meta_path.remove(_Finder)
            sys.meta_path.remove(_LastFinder)

    def _swap(
        self, modules: dict[str, ModuleType], registered: dict[str, Any]
    ) -> tuple[dict[str, ModuleType], dict[str, Any]]:
        """Put modules, and environments that they registered, in place of those of their names."""
        gymnasium = sys.modules.get("gymnasium")
        registry: dict[str, Any] = {} if gymnasium is None else gymnasium.registry
        environments = {name: one for name, one in registry.items() if self._is_ours(one)}
        for name in environments:
            del registry[name]
        registry.update(registered)
        found = {name: sys.modules.pop(name) for name in self.names if name in sys.modules}
        sys.modules.update(modules)
        return found, environments

    def _is_ours(self, environment: Any) -> bool:
        """Whether a registered environment is of one of the files, or of its copy."""
        entry = environment.entry_point
        name = entry.partition(":")[0] if isinstance(entry, str) else entry.__module__
        return Path(getattr(sys.modules.get(name), "__file__", None) or ".") in self._by_path

    def spec_of(self, name: str) -> importlib.machinery.ModuleSpec | None:
        """How to import a module of this name; None if there is no copy of it."""
        file = self._by_name.get(name)
        if file is None:
            return None
        original = self.original(file)
        source = Source(original, self.files[file].data, name, is_copy=True)
        place = self.directory / file
        return importlib.util.spec_from_file_location(
            name,
            place,
            loader=SourceLoader(source, place),
            # What is no copy, such as data files and compiled modules, is beside the original.
            submodule_search_locations=(
                [str(original.parent)] if original.name == "__init__.py" else None
            ),
        )

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
                    data = self.files[file].data
                    source = Source(self.original(file), data, None, is_copy=True)
                    return source, self.directory / file
        return None


class _Finder:
    """Finds the copies in use before anything else of their names."""

    copies: Copies | None = None

    @staticmethod
    def find_spec(
        name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """How to import a module, for the import system."""
        return None if _Finder.copies is None else _Finder.copies.spec_of(name)


class _LastFinder:
    """Finds packages without a file of their own, whose folder has gone, after anything else."""

    @staticmethod
    def find_spec(
        name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """An empty package, for the import system: its modules are copies."""
        copies = _Finder.copies
        if copies is None or name not in copies.folders:
            return None
        return importlib.machinery.ModuleSpec(name, None, is_package=True)


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


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
        if _Finder.copies is None:  # in the other process, to its end
            self.copies.__enter__()
        return self.make()
