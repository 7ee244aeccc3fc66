"""Fixtures that many files share: an empty working directory, and the command line."""

import ast
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import gymnasium
import pytest

# `make test-all` installs no PyTorch, and EnvPool is not made for every Python: the tests that need
# them are left out where they are missing.
MISSING = [name for name in ("envpool", "torch") if find_spec(name) is None]
LOADING_TORCH_AGENTS = ("test_docs.py", "test_workbench.py")


def pytest_report_header() -> str | None:
    """Say at the top what is left out."""
    return f"not installed, its tests are left out: {', '.join(MISSING)}" if MISSING else None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the files that cannot be imported without a missing package."""
    if not MISSING or collection_path.suffix != ".py":
        return None
    if "torch" in MISSING and collection_path.name in LOADING_TORCH_AGENTS:
        return True
    modules: list[str] = []
    for statement in ast.parse(collection_path.read_bytes()).body:
        if isinstance(statement, ast.Import):
            modules += [one.name for one in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            modules.append(statement.module or "")
    return any(one.split(".")[0] in MISSING for one in modules) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that are marked as needing a missing package."""
    needing = [
        one for one in items if any(mark.args[0] in MISSING for mark in one.iter_markers("needs"))
    ]
    items[:] = [one for one in items if one not in needing]
    config.hook.pytest_deselected(items=needing)


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Ray keeps a file in the home directory: some users have none that they may write to."""
    if not os.access(os.path.expanduser("~"), os.W_OK):
        os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def import_path() -> Iterator[None]:
    """Loading a class from a file adds its directory to the import path: take it off again."""
    before = sys.path[:]
    yield
    sys.path[:] = before


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Environments that a test registers are gone after it."""
    before = dict(gymnasium.registry)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


@pytest.fixture(autouse=True)
def pretended_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are drawn into memory, as a user may ask for."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that is the working directory: runs leave their files in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Outcome(NamedTuple):
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def gym_loop_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Call the command line in this process: ``gym_loop_command("train", "-c", "run.yaml")``."""
    from gym_loop.cli.app import main

    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # main() changes it

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return Outcome(stop.value.code, out, err)

    return call
