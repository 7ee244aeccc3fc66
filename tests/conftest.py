"""Fixtures that many files share: an empty working directory, and the command line."""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import gymnasium
import pytest


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
    from gym_loop.cli import main

    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # main() changes it

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return Outcome(stop.value.code, out, err)

    return call
