"""From a class string to the class: ``package.module:Class`` or ``path/to/file.py:Class``.

"There is no such module", "the module broke while it was imported" and "it has no such
class" are three different errors, because they have three different remedies.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from gym_loop.errors import (
    ClassLoadError,
    ClassMissingError,
    ModuleBrokenError,
    ModuleMissingError,
    WrongClassError,
)
from gym_loop.schema import own_files
from gym_loop.schema.files import expanded
from gym_loop.schema.old_code import OLD_MODULES
from gym_loop.schema.own_files import (
    FILE_MODULE,
    Source,
    SourceLoader,
    copies_in_use,
    note_new,
)
from gym_loop.schema.suggestions import did_you_mean

# What to do about a module that is missing most often.
_REMEDIES = {
    **OLD_MODULES,
    "torch": '; pip install "gym-loop[torch]"',
}


_travelled: dict[Path, Path] = {}


def load_class(
    class_string: str,
    base: type | None = None,
    *,
    kind: str = "class",
    search: Sequence[Path] = (),
) -> type[Any]:
    """Import the class that a string names.

    Args:
        class_string: ``package.module:Class`` or ``path/to/file.py:Class``; ``~`` is the
            home directory.
        base: the class that the result must derive from; None takes any class.
        kind: what is looked for, for messages: "agent", "loop", "wrapper"...
        search: directories that a relative path is tried in, after the working directory.

    Raises:
        ClassLoadError: the string is not of either form.
        ModuleMissingError: no such module or file.
        ModuleBrokenError: the module raised while it was imported.
        ClassMissingError: the module has no such class.
        WrongClassError: it is not a class, or does not derive from ``base``.
    """
    module_name, colon, class_name = class_string.rpartition(":")
    if not colon or not module_name or not class_name.isidentifier():
        raise ClassLoadError(
            f"{class_string!r} does not name {_a(kind)}: write package.module:Class or"
            " path/to/file.py:Class"
        )
    module = load_module(module_name, search=search)
    found = getattr(module, class_name, None)
    if found is None:
        names = [name for name, value in vars(module).items() if inspect.isclass(value)]
        raise ClassMissingError(
            f"{module_name} has no class {class_name}{did_you_mean(class_name, names)}"
        )
    if not inspect.isclass(found):
        raise WrongClassError(f"{class_string} is a {type(found).__name__}, not a class")
    if base is not None and not issubclass(found, base):
        raise WrongClassError(
            f"{class_string} is not {_a(kind)}: it must derive from {public_name(base)}"
        )
    return found


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def use_instead(files: Mapping[Path, Path]) -> None:
    """Load other files in place of these: copies that came from another machine.

    Args:
        files: the copy of each absolute path.
    """
    _travelled.update(files)


def original_of(path: Path) -> Path:
    """Where a file comes from that `use_instead` named; any other one itself."""
    return next((was for was, now in _travelled.items() if now == path), path)


def load_module(name: str, *, search: Sequence[Path] = ()) -> ModuleType:
    """Import ``package.module``, or a ``.py`` file; see `load_class` for the errors."""
    return _load_file(name, search) if name.endswith(".py") else _load_installed(name)


def public_name(cls: type) -> str:
    """The name by which a user imports a class of ours: ``gym_loop.agents.BaseAgent``."""
    parent = cls.__module__.rpartition(".")[0]
    exported = getattr(sys.modules.get(parent), cls.__name__, None) is cls
    return f"{parent if exported else cls.__module__}.{cls.__name__}"


def class_string(cls: type) -> str:
    """The string by which another process finds a loaded class; a file's by its whole path."""
    module = sys.modules[cls.__module__]
    from_file = cls.__module__.startswith(FILE_MODULE)
    return f"{module.__file__ if from_file else cls.__module__}:{cls.__name__}"


def module_name(name: str) -> str:
    """A module's name, for comparison; of a file's, wherever the file is, the name of the file."""
    if not name.startswith(FILE_MODULE):
        return name
    return Path(getattr(sys.modules.get(name), "__file__", None) or name).name


def find_file(path: str, search: Sequence[Path]) -> Path | None:
    """The first existing file: as written, then below each directory of ``search``."""
    wanted = expanded(path)
    for directory in (Path.cwd(), *search):
        if (directory / wanted).is_file():
            return (directory / wanted).resolve()
    return None


def absolute_files(value: Any, search: Sequence[Path]) -> Any:
    """Make names of existing ``.py`` files, and of classes in them, absolute, wherever they are."""
    if isinstance(value, dict):
        return {key: absolute_files(item, search) for key, item in value.items()}
    if isinstance(value, list):
        return [absolute_files(item, search) for item in value]
    if not isinstance(value, str) or not (value.endswith(".py") or ".py:" in value):
        return value
    file, colon, class_name = value.partition(".py:")
    found = find_file(f"{file}.py" if colon else value, search)
    return value if found is None else f"{found}:{class_name}" if colon else str(found)


def file_module(name: str, search: Sequence[Path] = ()) -> str | None:
    """The name of the module that a ``.py`` file is loaded as; None if there is no such file."""
    found = _find_source(name, search)
    return None if found is None else found[0]


def _find_source(name: str, search: Sequence[Path]) -> tuple[str, Path, Source | None] | None:
    """Of a file: the name of its module, where it is, and what it holds if it is a run's copy."""
    copies = copies_in_use()
    if copies is not None and (found := copies.find(name, (Path.cwd(), *search))) is not None:
        copy, place = found
        return _unique(place, copy.data), place, copy
    path = _travelled.get(Path(name)) or find_file(name, search)
    return None if path is None else (_unique(path), path, None)


def _unique(path: Path, data: bytes = b"") -> str:
    # By the path, so that a user's random.py can never stand in for an installed module.
    digest = hashlib.sha1(os.fsencode(path) + data, usedforsecurity=False).hexdigest()
    return f"{FILE_MODULE}{digest[:12]}"


def _load_file(name: str, search: Sequence[Path]) -> ModuleType:
    found = _find_source(name, search)
    if found is None:
        places = ", ".join(dict.fromkeys(str(place) for place in (Path.cwd(), *search)))
        raise ModuleMissingError(f"there is no file {name} (looked in {places})")
    unique, place, source = found
    if unique in sys.modules:
        return sys.modules[unique]
    if source is not None and (copies := copies_in_use()) is not None:
        copies.names.add(unique)
    if source is None:
        source = Source(place, _read(name, place), None)
    _make_importable(source.path.parent)
    spec = importlib.util.spec_from_file_location(
        unique, place, loader=SourceLoader(source, place), submodule_search_locations=None
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = {*sys.modules, unique}
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[unique]
        raise _broken(name, error, str(place)) from error
    note_new(before, unique)
    return module


def _read(name: str, place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError as error:
        raise ModuleMissingError(f"{name} cannot be read: {error.strerror}") from None


def _load_installed(name: str) -> ModuleType:
    if name.startswith("."):
        raise ModuleMissingError(f"there is no module {name}: write its full name, package.module")
    _make_importable(Path.cwd())
    before = set(sys.modules)
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            raise ModuleMissingError(
                f"there is no module {name}{_nearest_module(name)}"
                " (install its package, or name a file: path/to/file.py)"
            ) from None
        raise _broken(name, error, name) from error
    note_new(before, name)
    return module


def _broken(name: str, error: BaseException, place: str) -> ModuleBrokenError:
    return ModuleBrokenError(
        f"{name} failed while it was imported: {import_summary(error)}",
        _own_traceback(error, place),
    )


def _make_importable(directory: Path) -> None:
    """Let a file import its neighbours; last in the path, so that nothing installed is shadowed."""
    if str(directory) not in sys.path:
        sys.path.append(str(directory))


def import_summary(error: BaseException) -> str:
    """What was raised by an import, and for some modules that are missing what to install."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return f"{type(error).__name__}: {error}{_REMEDIES.get(missing or '', '')}"


def _own_traceback(error: BaseException, place: str) -> str:
    """The traceback without the frames of the import machinery and of our own."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if frame.filename not in (__file__, own_files.__file__)
        and not frame.filename.startswith("<frozen importlib")
        and "importlib" not in Path(frame.filename).parts
    ]
    return "".join(
        [
            f"Traceback of {place} (most recent call last):\n",
            *traceback.format_list(own),
            *traceback.format_exception_only(error),
        ]
    )


def _nearest_module(name: str) -> str:
    """Suggest a neighbour of a misspelt last part, where the package itself exists."""
    import pkgutil

    parent, _, last = name.rpartition(".")
    try:
        package = importlib.import_module(parent) if parent else None
    except ImportError:
        return ""
    if package is None or not hasattr(package, "__path__"):
        return ""
    siblings = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return did_you_mean(last, siblings)
