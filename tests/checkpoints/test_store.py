"""Checkpoints that are kept, found, pruned and replaced."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from gym_loop.checkpoints import files
from gym_loop.checkpoints.store import CheckpointStore, read_checkpoint
from gym_loop.checkpoints.tree import capture, restore
from gym_loop.errors import CheckpointMissingError, StateError


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> CheckpointStore:
    return CheckpointStore(tmp_path / "run-1", keep=2, warn=warnings.append)


def state(value: float) -> dict[str, Any]:
    return {"agent": {"weights": np.full(3, value)}, "loop": {"steps": int(value)}}


def save(store: CheckpointStore, step: int, **options: Any) -> None:
    store.save(step, state(step), {"run": "run-1"}, **options)


def test_what_was_saved_is_read(store: CheckpointStore, warnings: list[str]) -> None:
    save(store, 12_000)
    found = store.newest()
    assert found.path.name == "step-000012000"
    assert (found.step, found.info) == (12_000, {"run": "run-1"})
    assert found.tree["agent"]["weights"].tolist() == [12_000] * 3
    assert found.tree["loop"] == {"steps": 12_000}
    assert store.find("latest").path == store.find(found.path).path == found.path
    assert read_checkpoint(found.path / "state.json").step == 12_000
    assert sorted(path.name for path in found.path.iterdir()) == [
        "arrays.safetensors",
        "state.json",
    ]
    assert warnings == []


def test_both_files_can_be_read_without_us(store: CheckpointStore) -> None:
    store.save(5, {"agent": {"weights": np.ones(3), "rate": float("nan")}}, {"a": 1})
    path = store.newest().path
    arrays = safetensors.numpy.load_file(path / "arrays.safetensors")
    assert {name: array.tolist() for name, array in arrays.items()} == {"agent.weights": [1, 1, 1]}
    document = json.loads((path / "state.json").read_text())
    assert (document["format"], document["step"], document["info"]) == (2, 5, {"a": 1})
    assert document["tree"]["agent"] == {
        "weights": {"$a": ["<f8", [3], "agent.weights"]},
        "rate": {"$f": "nan"},
    }
    assert document["arrays.safetensors"]["bytes"] == (path / "arrays.safetensors").stat().st_size


def test_a_captured_object_goes_through_a_checkpoint(store: CheckpointStore) -> None:
    value = {(1, 2): [np.float32(3), {4}], "rng": np.random.default_rng(5)}
    store.save(1, {"agent": capture(value)}, {})
    again = restore(None, store.newest().tree["agent"])
    assert again[(1, 2)] == [np.float32(3), {4}]
    assert again["rng"].random() == value["rng"].random()  # type: ignore[attr-defined]


def test_the_last_ones_and_the_best_are_kept(store: CheckpointStore) -> None:
    for step in range(1, 6):
        save(store, step, best=step == 2)
    assert store.steps() == [2, 4, 5]
    assert (store.newest().step, store.best().step) == (5, 2)
    save(store, 6, best=True)
    assert store.steps() == [5, 6]
    assert store.find("best").step == store.newest().step == 6


@pytest.mark.parametrize(("keep", "kept"), [({}, 3), ({"keep": 1}, 1), ({"keep": 0}, 1)])
def test_how_many_are_kept(tmp_path: Path, keep: dict[str, Any], kept: int) -> None:
    store = CheckpointStore(tmp_path, **keep)
    for step in range(5):
        save(store, step)
    assert store.steps() == list(range(5 - kept, 5))


def test_directories_above_are_made(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints" / "run-1")
    save(store, 1)
    assert store.steps() == [1]


def test_one_that_was_replaced_stands_in_only_where_the_new_one_is_missing(
    store: CheckpointStore,
) -> None:
    new, old = (store.directory / f"{start}step-000000007" for start in ("", ".replaced-"))
    assert store.path(7) == new
    old.mkdir(parents=True)
    assert store.path(7) == old
    new.mkdir()
    assert store.path(7) == new


def test_names_sort_beyond_nine_digits(store: CheckpointStore) -> None:
    for step in (999_999_999, 1_000_000_000):
        save(store, step)
    assert store.newest().step == 1_000_000_000


def test_the_same_step_again_replaces_it(store: CheckpointStore) -> None:
    save(store, 7, best=True)
    store.save(7, {"agent": {"new": True}}, {})
    assert store.newest().tree == {"agent": {"new": True}}
    assert store.best().tree == {"agent": {"new": True}}
    assert sorted(path.name for path in store.directory.iterdir()) == [
        "best.json",
        "step-000000007",
    ]


def test_a_run_that_went_back_drops_the_future_it_left(store: CheckpointStore) -> None:
    for step in (10, 20, 30):
        save(store, step, best=step == 30)
    again = CheckpointStore(store.directory, keep=3)
    save(again, 15)  # resumed from step 10
    assert again.steps() == [15, 30]  # the best one is never deleted
    assert (again.newest().step, again.best().step) == (15, 30)
    for step in (25, 35):
        save(again, step)
    assert again.steps() == [25, 30, 35]
    assert again.newest().step == 35


def test_the_future_that_was_left_is_the_last_resort(
    store: CheckpointStore, warnings: list[str]
) -> None:
    for step in (10, 20):
        save(store, step, best=step == 20)
    save(store, 15)  # resumed from step 10
    for step in (10, 15):
        (store.path(step) / "state.json").write_text("")
    assert store.newest().step == 20
    assert len(warnings) == 2


def test_a_best_note_that_is_damaged_is_no_note(store: CheckpointStore) -> None:
    save(store, 1, best=True)
    for content in ("", "[]", '{"step": "1"}', "[" * 100_000):
        (store.directory / "best.json").write_text(content)
        with pytest.raises(CheckpointMissingError, match="kept as the best"):
            store.best()


@pytest.mark.parametrize(
    ("which", "remedy"),
    [
        ("latest", "there is no such directory; train first, or give another run"),
        ("best", "set loop.parameters.episodes_per_eval, or ask for the latest"),
        ("step-000000009", "give latest, best, or a step-... directory"),
    ],
)
def test_nothing_there_is_said_with_a_remedy(
    store: CheckpointStore, which: str, remedy: str
) -> None:
    with pytest.raises(CheckpointMissingError, match=f"{remedy}$"):
        store.find(which)
    assert store.steps() == []
    assert not store.directory.exists()


def test_a_best_one_that_was_deleted_is_missed(store: CheckpointStore) -> None:
    save(store, 1, best=True)
    shutil.rmtree(store.best().path)
    with pytest.raises(CheckpointMissingError, match="no such checkpoint"):
        store.best()


def test_other_files_are_left_alone(store: CheckpointStore) -> None:
    store.directory.mkdir()
    for name in ("notes.txt", "step-000000001.bak", "step-1"):
        (store.directory / name).write_text("mine")
    for step in (1, 2, 3):
        save(store, step)
    assert store.steps() == [2, 3]
    assert (store.directory / "step-1").read_text() == "mine"


def test_a_large_state_is_streamed(store: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SMALL", 100)
    weights = np.arange(1000.0)
    store.save(1, {"weights": weights, "strided": weights[::3]}, {})
    weights += 1
    found = store.newest()
    assert found.tree["weights"].tolist() == list(range(1000))
    assert found.tree["strided"].tolist() == list(range(0, 1000, 3))
    assert "weights" not in (found.path / "state.json").read_text().partition('"tree"')[0]


def test_what_is_no_data_is_an_error_and_nothing_is_written(store: CheckpointStore) -> None:
    with pytest.raises(StateError, match=r"agent\.file: "):
        store.save(1, {"agent": {"file": object()}}, {})
    with pytest.raises(StateError, match=r"versions is an array"):
        store.save(1, {}, {"versions": np.ones(2)})
    assert store.steps() == []
