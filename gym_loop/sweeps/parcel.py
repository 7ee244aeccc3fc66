"""The files of the user that a sweep's workers need, as a package that Ray takes to them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gym_loop.config.run_file import RunConfig
from gym_loop.errors import SweepError
from gym_loop.sweeps.trainable import CONTENTS, PARCEL

MOST_BYTES = 20_000_000


def named_files(config: RunConfig) -> list[Path]:
    """Every ``.py`` file that the config names, absolute."""
    found: list[Path] = []
    _collect(config.portable().as_dict(), found)
    return list(dict.fromkeys(found))


def _collect(value: Any, found: list[Path]) -> None:
    if isinstance(value, dict):
        for item in value.values():
            _collect(item, found)
    elif isinstance(value, list):
        for item in value:
            _collect(item, found)
    elif isinstance(value, str):
        file = f"{value.partition('.py:')[0]}.py" if ".py:" in value else value
        if file.endswith(".py") and Path(file).is_file():
            found.append(Path(file))


def pack(files: Iterable[Path], place: Path) -> Path:
    """Copy files, and the modules beside them that they may import, into a package.

    Args:
        files: absolute.
        place: an empty directory.

    Raises:
        SweepError: there is too much of it.
    """
    parcel = place / PARCEL
    parcel.mkdir(parents=True)
    (parcel / "__init__.py").touch()
    contents, size = {}, 0
    for number, folder in enumerate(dict.fromkeys(file.parent for file in files)):
        for file in _modules(folder):
            size += file.stat().st_size
            if size > MOST_BYTES:
                raise SweepError(
                    f"the .py files beside those of the run file, such as {file}, are more than"
                    f" {MOST_BYTES // 1_000_000} MB: move yours to a folder of their own"
                )
            copy = Path(f"files{number}") / file.relative_to(folder)
            (parcel / copy).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, parcel / copy)
            contents[str(file)] = str(copy)
    (parcel / CONTENTS).write_text(json.dumps(contents), "utf-8")
    return parcel


def _modules(folder: Path) -> Iterator[Path]:
    """The modules of a folder, and of the packages in it."""
    yield from sorted(folder.glob("*.py"))
    for inner in sorted(folder.iterdir()):
        if (inner / "__init__.py").is_file():
            yield from _modules(inner)
