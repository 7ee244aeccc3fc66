"""The manifest is written whole or not at all, and says where a run was made."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from gym_loop import __version__
from gym_loop.runs import manifest


def test_write_and_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    manifest.write_manifest(path, {"run": "run-1", "seed": 3})
    manifest.write_manifest(path, {"run": "run-1", "seed": 4})
    assert manifest.read_manifest(path) == {"run": "run-1", "seed": 4}
    assert path.read_text().count("\n") > 2  # for people
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]


def test_what_cannot_be_read_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    assert manifest.read_manifest(path) == {}
    for text in ("", "{", "[1]", "\x00"):
        path.write_text(text)
        assert manifest.read_manifest(path) == {}
    path.write_bytes(b"\xff")
    assert manifest.read_manifest(path) == {}


def test_failed_write_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    manifest.write_manifest(path, {"seed": 3})
    try:
        manifest.write_manifest(path, {"seed": object()})
    except TypeError:
        pass
    assert manifest.read_manifest(path) == {"seed": 3}
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]


def test_now_sorts() -> None:
    times = [manifest.now() for _ in range(50)]
    assert times == sorted(times)
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", time) for time in times
    )


def test_versions() -> None:
    found = manifest.versions()
    assert found["gym-loop"] == __version__
    assert found["numpy"] == np.__version__
    assert found["python"] == ".".join(str(part) for part in sys.version_info[:3])


def test_hardware() -> None:
    facts = manifest.hardware()
    assert facts["cores"] >= 1
    assert facts["memory_gib"] > 0
    assert facts["processor"]
    json.dumps(facts)


def test_git_state(tmp_path: Path) -> None:
    assert manifest.git_state(tmp_path) is None
    assert manifest.git_state(tmp_path / "missing") is None

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert manifest.git_state(tmp_path) is None  # no commit yet
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD")
    (tmp_path / "untracked").write_text("")
    assert manifest.git_state(tmp_path) == {"commit": commit, "uncommitted_changes": False}
    (tmp_path / "a").write_text("2")
    assert manifest.git_state(tmp_path) == {"commit": commit, "uncommitted_changes": True}
