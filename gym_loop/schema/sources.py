"""The user's own source files among what is imported: which they are, and what they held then.

A user's own are those outside the standard library, the installed packages and gym-loop.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

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
        note(module, self.source)
        super().exec_module(module)


_noted: dict[str, tuple[ModuleType, Source | None]] = {}
_loaded_by: dict[str, set[str]] = {}  # own modules that came with another one


def note(module: ModuleType, source: Source | None) -> None:
    """Remember what a module was made from."""
    _noted[module.__name__] = (module, source)


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
        noted = (module, _read(getattr(module, "__file__", None), name))
        _noted[name] = noted
    return noted[1]


def sources_of(roots: Iterable[str]) -> dict[str, Source]:
    """The user's files among modules and all that they import, now or later, by module name.

    Args:
        roots: names of modules.
    """
    found: dict[str, Source] = {}
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
            found[name] = source
            waiting += [*_imports(name, source), *_loaded_by.get(name, ())]
    return found


def _read(file: Any, name: str) -> Source | None:
    if not isinstance(file, str) or not file.endswith(".py") or not is_own(file):
        return None
    path = Path(file).resolve()
    if not is_own(str(path)):
        return None
    try:
        data = path.read_bytes()
    except OSError:  # it has gone meanwhile
        return None
    module = None if name.startswith(FILE_MODULE) else name
    return Source(path, data, module)


def is_own(file: str) -> bool:
    """Whether a file is the user's: no part of Python, of an installed package or of gym-loop."""
    if file.startswith(tuple(f"{place}/" for place in _NOT_OURS_TO_KEEP)):
        return False
    return not any(part in _INSTALLED for part in Path(file).parts)


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
            base = _base(package, node)
            if base is not None:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)


def _base(package: str, node: ast.ImportFrom) -> str | None:
    """The module that names are imported from; None above the top of a package."""
    if not node.level:
        return node.module
    parents = package.split(".") if package else []
    if len(parents) < node.level:
        return None
    above = parents[: len(parents) - node.level + 1]
    return ".".join([*above, node.module] if node.module else above)


def _not_yet_imported(name: str) -> Source | None:
    """The file that an import would find; nothing is imported."""
    spec = _find(name)
    if spec is None:
        return None
    return spec.loader.source if isinstance(spec.loader, SourceLoader) else _read(spec.origin, name)


def _find(name: str) -> importlib.machinery.ModuleSpec | None:
    parent, _, _ = name.rpartition(".")
    if name.partition(".")[0] in sys.stdlib_module_names:
        return None
    places = _places(parent) if parent else None
    if parent and places is None:
        return None
    try:
        found = (finder.find_spec(name, places) for finder in sys.meta_path)
        return next((spec for spec in found if spec is not None), None)
    except (ImportError, ValueError, AttributeError, KeyError):  # of a finder that we do not know
        return None


def _places(package: str) -> Sequence[str] | None:
    """Where the modules of a user's package are; None of any other module."""
    module = sys.modules.get(package)
    if module is not None:
        file = getattr(module, "__file__", None)
        own = file is None or is_own(str(file))
        return [*module.__path__] if own and hasattr(module, "__path__") else None
    spec = _find(package)
    return None if spec is None else spec.submodule_search_locations
