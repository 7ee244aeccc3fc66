"""Whatever breaks, the checkpoints before it stay usable, and nothing damaged is loaded."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gym_loop.checkpoints.store import CheckpointStore, read_checkpoint
from gym_loop.errors import (
    CheckpointCorruptError,
    CheckpointMismatchError,
    CheckpointMissingError,
)
from tests import forging

STATE, ARRAYS = "state.json", "arrays.safetensors"


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> CheckpointStore:
    """Two checkpoints, of the steps 1 and 2."""
    store = CheckpointStore(tmp_path / "run-1", warn=warnings.append)
    for step in (1, 2):
        save(store, step)
    return store


def save(store: CheckpointStore, step: int, **options: Any) -> None:
    tree = {"agent": {"weights": np.full(30, step), "note": "a state"}}
    store.save(step, tree, {"step": step}, **options)


def cut_to(fraction: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(len(data) * fraction)]


# -- damaged files ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [STATE, ARRAYS])
@pytest.mark.parametrize(
    "damage",
    [
        cut_to(0),
        cut_to(0.05),
        cut_to(0.5),
        lambda data: data[:-1],
        lambda data: data[:-2],
        lambda data: data + b" ",
        lambda data: data[::-1],
        lambda data: bytes(len(data)),
        lambda data: data.replace(b"a", b"b"),
    ],
    ids=["empty", "start", "half", "last", "last two", "longer", "reversed", "zeros", "altered"],
)
def test_a_damaged_file_is_named_and_passed_over(
    store: CheckpointStore, warnings: list[str], name: str, damage: Callable[[bytes], bytes]
) -> None:
    path = store.directory / "step-000000002" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointCorruptError, match=f"step-000000002/{name} "):
        read_checkpoint(path.parent)
    assert store.newest().step == 1
    assert len(warnings) == 1
    assert f"step-000000002/{name} " in warnings[0]
    assert "passed over" in warnings[0]


@pytest.mark.parametrize("name", [STATE, ARRAYS])
def test_a_missing_file_is_named(store: CheckpointStore, name: str) -> None:
    (store.directory / "step-000000002" / name).unlink()
    with pytest.raises(CheckpointCorruptError, match=f"{name} is missing"):
        store.find(store.directory / "step-000000002")
    assert store.newest().step == 1


def test_a_directory_in_the_place_of_a_file(store: CheckpointStore) -> None:
    path = store.directory / "step-000000002" / STATE
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointCorruptError, match="cannot be read"):
        read_checkpoint(path.parent)


def put_in_place(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("no checkpoint")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to({"loop of links": path.name, "link to nowhere": "nowhere"}[kind])


@pytest.mark.parametrize("kind", ["file", "fifo", "loop of links", "link to nowhere"])
def test_what_is_no_checkpoint_is_passed_over_and_makes_way(
    store: CheckpointStore, warnings: list[str], kind: str
) -> None:
    path = store.directory / "step-000000002"
    shutil.rmtree(path)
    put_in_place(path, kind)
    for name in (".saving-step-000000003", ".replaced-step-000000002", "step-000000000"):
        put_in_place(store.directory / name, kind)
    assert store.newest().step == 1
    assert "passed over" in warnings[0]
    warnings.clear()
    again = CheckpointStore(store.directory, keep=1, warn=warnings.append)
    save(again, 2)
    save(again, 3)
    assert again.newest().step == 3
    assert sorted(path.name for path in store.directory.iterdir()) == ["step-000000003"]
    assert warnings == []


@pytest.mark.parametrize("name", [STATE, ARRAYS])
def test_a_fifo_in_the_place_of_a_file_is_not_waited_for(store: CheckpointStore, name: str) -> None:
    path = store.directory / "step-000000002" / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointCorruptError, match=name):
        read_checkpoint(path.parent)
    assert store.newest().step == 1


def test_a_state_that_is_too_long_is_not_read(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gym_loop.checkpoints.files.LARGEST_STATE", 100)
    with pytest.raises(CheckpointCorruptError, match="100 are allowed"):
        read_checkpoint(store.directory / "step-000000002")


def test_a_bool_of_2_is_refused(store: CheckpointStore) -> None:
    store.save(3, {"flags": np.array([1, 0], bool).repeat(3)}, {})
    path = store.directory / "step-000000003" / ARRAYS
    data = path.read_bytes()[:-1] + b"\x02"
    path.write_bytes(data)
    forging.forge(path.parent, lambda one: one[ARRAYS].update(crc32=f"{zlib.crc32(data):08x}"))
    with pytest.raises(CheckpointCorruptError, match="neither 0 nor 1"):
        read_checkpoint(path.parent)


def test_all_damaged_is_said(store: CheckpointStore, warnings: list[str]) -> None:
    for path in store.directory.glob(f"*/{STATE}"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointMissingError, match="all 2 of them are damaged"):
        store.newest()
    assert len(warnings) == 2


@given(st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_cut_and_any_changed_byte_is_found(store: CheckpointStore, data: st.DataObject) -> None:
    source = store.directory / "step-000000002"
    copy = store.directory / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy)
    path = copy / data.draw(st.sampled_from([STATE, ARRAYS]))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[position:]
    else:
        content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(CheckpointCorruptError):
        read_checkpoint(copy)


def forge(store: CheckpointStore, change: Callable[[dict[str, Any]], Any]) -> Path:
    return forging.forge(store.directory / "step-000000002", change)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("format"),
        lambda d: d.pop("tree"),
        lambda d: d.pop(ARRAYS),
        lambda d: d.update(step="2"),
        lambda d: d.update(tree=[]),
        lambda d: d.update(info=None),
        lambda d: d["tree"].update(x={"$a": ["<f8", [1], "not there"]}),
        lambda d: d["tree"].update(x={"$s": ["|O", 1]}),
        lambda d: d[ARRAYS].update(bytes=10**30),
        lambda d: d[ARRAYS].update(bytes=None),
        lambda d: d[ARRAYS].update(crc32="00000000"),
    ],
)
def test_a_forged_state_is_refused(store: CheckpointStore, change: Any) -> None:
    with pytest.raises(CheckpointCorruptError):
        read_checkpoint(forge(store, change))


def test_nesting_without_end_is_refused(store: CheckpointStore) -> None:
    path = store.directory / "step-000000002" / STATE
    body = b'{"format": 2, "tree": ' + b"[" * 200_000 + b",\n  "
    path.write_bytes(body + f'"checksum": "{zlib.crc32(body):08x}"\n}}\n'.encode())
    with pytest.raises(CheckpointCorruptError, match="no valid JSON"):
        read_checkpoint(path.parent)


def test_a_newer_format_is_no_damage(store: CheckpointStore) -> None:
    path = forge(store, lambda document: document.update(format=3))
    with pytest.raises(CheckpointMismatchError, match=r"has the format 3, this version .* reads 2"):
        store.find(path)


# -- interrupted and failing writes ----------------------------------------------------------------


class KilledError(BaseException):
    """Stands for the death of the process: nothing may catch it."""


@pytest.mark.parametrize("stage", range(8))
@pytest.mark.parametrize("step", [3, 2], ids=["new", "same step again"])
def test_death_at_any_stage_leaves_a_usable_store(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch, stage: int, step: int
) -> None:
    calls = 0

    def mortal(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > stage:  # the dead do not tidy up either
                raise KilledError
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("rename", "fsync", "replace"):
            patch.setattr(os, name, mortal(getattr(os, name)))
        patch.setattr(shutil, "rmtree", mortal(shutil.rmtree))
        with pytest.raises(KilledError):
            save(store, step, best=True)
    warnings: list[str] = []
    again = CheckpointStore(store.directory, warn=warnings.append)
    assert again.newest().step in (2, step)
    assert again.newest().tree["agent"]["weights"][0] == again.newest().step
    save(again, 4)
    assert again.newest().step == 4
    assert {2, 4} <= set(again.steps())
    assert not [path for path in again.directory.iterdir() if path.name[0] == "."]
    assert warnings == []


@pytest.mark.parametrize("name", ["fsync", "rename", "replace"])
def test_a_failing_disk_costs_a_warning(
    store: CheckpointStore, warnings: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        save(store, 3, best=True)
    assert warnings == [
        f"the checkpoint of step 3 could not be written to {store.directory} (No space left on"
        " device); the training goes on and the earlier checkpoints are intact, but make room"
        " there, or this one's progress may be lost"
    ]
    assert not [path for path in store.directory.iterdir() if path.name.startswith(".saving")]
    assert store.newest().step in (2, 3)
    save(store, 4)
    assert store.newest().step == 4
    assert len(warnings) == 1


def test_a_replacement_that_fails_leaves_the_old_one(
    store: CheckpointStore, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def fail(source: Path, target: Path) -> None:
        if source.name.startswith(".saving"):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    save(store, 2)
    assert "Input/output error" in warnings[0]
    assert store.steps() == [1, 2]
    assert store.newest().info == {"step": 2}


def test_a_directory_that_cannot_be_made_is_warned_about(
    tmp_path: Path, warnings: list[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    store = CheckpointStore(tmp_path / "file" / "run-1", warn=warnings.append)
    store.save(1, {}, {})
    assert len(warnings) == 1
    assert "Not a directory" in warnings[0]
    with pytest.warns(RuntimeWarning, match="could not be written"):
        CheckpointStore(tmp_path / "file" / "run-1").save(1, {}, {})


@pytest.mark.parametrize("small", [True, False])
def test_a_full_disk_stops_no_training(tmp_path: Path, small: bool) -> None:
    program = f"""
        import resource, sys
        import numpy as np
        from pathlib import Path
        from gym_loop.checkpoints import files, store
        if not {small}:
            files.SMALL = 0
        store = store.CheckpointStore(Path(sys.argv[1]), warn=print)
        store.save(1, {{"a": np.arange(10)}}, {{}})
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        store.save(2, {{"a": np.arange(100_000)}}, {{}})
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        store.save(3, {{"a": np.arange(100_000)}}, {{}})
        print(store.steps(), store.newest().tree["a"].sum())
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    first, last = result.stdout.splitlines()
    assert "step 2 could not be written" in first
    assert "File too large" in first
    assert last == f"[1, 3] {sum(range(100_000))}"
    assert result.stderr == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000001", "step-000000003"]


def test_what_a_killed_run_left_is_put_away(store: CheckpointStore, warnings: list[str]) -> None:
    left = store.directory / ".saving-step-000000003"
    left.mkdir()
    (left / ARRAYS).write_bytes(b"half of it")
    os.rename(store.directory / "step-000000002", store.directory / ".replaced-step-000000002")
    (store.directory / ".replaced-step-000000001").mkdir()
    again = CheckpointStore(store.directory, warn=warnings.append)
    assert again.steps() == [1, 2]
    assert again.newest().step == 2  # readers find it under its other name
    assert left.exists()  # and leave alone what another process may be writing
    save(again, 3)
    assert sorted(path.name for path in again.directory.iterdir()) == [
        f"step-00000000{step}" for step in (1, 2, 3)
    ]
    assert warnings == []


def test_memory_limits_are_not_needed_to_read(store: CheckpointStore) -> None:
    """A header that promises terabytes is refused by its arithmetic, not by running out."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = store.directory / "step-000000002" / ARRAYS
    header = json.dumps({"a": {"dtype": "F64", "shape": [1 << 40], "data_offsets": [0, 1 << 43]}})
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    data = path.read_bytes()

    def change(document: dict[str, Any]) -> None:
        document[ARRAYS] = {"bytes": len(data), "crc32": f"{zlib.crc32(data):08x}"}

    with pytest.raises(CheckpointCorruptError, match="describes the array 'a' wrongly"):
        read_checkpoint(forge(store, change))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
