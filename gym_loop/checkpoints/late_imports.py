"""What has to be done once a package is imported, by whomever and whenever that is.

gym-loop never imports torch on its own account, and yet torch has a random stream that is to be
seeded. An agent, an environment or a wrapper may import it in the middle of an episode.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from typing import Any

_waiting: dict[str, list[Callable[[], None]]] = {}


def when_imported(name: str, do: Callable[[], None]) -> None:
    """Call ``do`` now if the package is loaded, else right after its first import.

    Args:
        name: of a top-level package.
        do: takes nothing; it is called once, before whoever imports the package goes on.
    """
    if loaded(name) is not None:
        do()
        return
    waiting = _waiting.setdefault(name, [])
    if do not in waiting:
        waiting.append(do)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def loaded(name: str) -> Any:
    """The package, if it is loaded; None while its first import is under way too."""
    return None if name in _waiting else sys.modules.get(name)


class _Finder:
    """Stands before the real finders: it lets them find a package and adds what waits for it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        if name not in _waiting:
            return None
        found = (
            finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self
        )
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            _add_what_waits(name, spec.loader)
        return spec


def _add_what_waits(name: str, loader: Any) -> None:
    execute = loader.exec_module

    def execute_and_go_on(module: Any) -> None:
        execute(module)  # if it fails, the next import is the first
        for do in _waiting.pop(name, ()):
            do()
        if not _waiting and _finder in sys.meta_path:
            sys.meta_path.remove(_finder)

    loader.exec_module = execute_and_go_on


_finder = _Finder()
