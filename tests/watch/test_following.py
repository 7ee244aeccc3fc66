"""The newest checkpoint, read once, while another process writes, replaces and prunes."""

import shutil
import threading
from pathlib import Path

import pytest

from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.errors import CheckpointMismatchError
from gym_loop.watch.following import Follower


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run-1"


@pytest.fixture
def store(directory: Path) -> CheckpointStore:
    return CheckpointStore(directory, keep=2)


def follower_of(directory: Path) -> tuple[Follower, list[str]]:
    told: list[str] = []
    return Follower(directory, told.append), told


def save(store: CheckpointStore, step: int, value: int = 0) -> None:
    store.save(step, {"value": value}, {"episode": step // 10})


def test_there_may_be_none_yet(directory: Path, store: CheckpointStore) -> None:
    follower, told = follower_of(directory)
    assert follower.newer() is None
    directory.mkdir()
    assert follower.newer() is None
    save(store, 10)
    found = follower.newer()
    assert found is not None
    assert found.step == 10
    assert told == []


def test_each_is_given_once(directory: Path, store: CheckpointStore) -> None:
    follower, _ = follower_of(directory)
    steps = []
    for step in (10, 20, 30, 40):
        save(store, step)
        steps.append(follower.newer())
        assert follower.newer() is None
    assert [found and found.step for found in steps] == [10, 20, 30, 40]


def test_one_that_was_put_in_the_place_of_another_is_new(
    directory: Path, store: CheckpointStore
) -> None:
    follower, _ = follower_of(directory)
    for value in (1, 2):
        save(store, 10, value)
        found = follower.newer()
        assert found is not None
        assert found.tree == {"value": value}


def test_pruning_the_others_makes_the_same_one_no_newer(
    directory: Path, store: CheckpointStore
) -> None:
    save(store, 10)
    save(store, 20)
    follower, _ = follower_of(directory)
    assert follower.newer() is not None
    shutil.rmtree(store.path(10))
    assert follower.newer() is None


def test_a_run_that_went_back_is_followed(directory: Path, store: CheckpointStore) -> None:
    follower, _ = follower_of(directory)
    store.save(100, {"value": 1}, {"episode": 1}, best=True)
    assert follower.newer() is not None
    save(store, 50, 2)  # resumed from before it
    found = follower.newer()
    assert found is not None
    assert found.step == 50


def test_a_damaged_one_is_passed_over_and_said_once(
    directory: Path, store: CheckpointStore
) -> None:
    save(store, 10)
    save(store, 20)
    (store.path(20) / "state.json").write_text("{}")
    follower, told = follower_of(directory)
    found = follower.newer()
    assert found is not None
    assert found.step == 10
    (store.path(20) / "state.json").write_text("{ }")
    assert follower.newer() is None
    assert len(told) == 1


def test_all_damaged_is_none_until_a_whole_one_comes(
    directory: Path, store: CheckpointStore
) -> None:
    save(store, 10)
    (store.path(10) / "state.json").unlink()
    follower, _ = follower_of(directory)
    assert follower.newer() is None
    save(store, 20)
    found = follower.newer()
    assert found is not None
    assert found.step == 20


def test_one_of_a_newer_gym_loop_is_said(
    directory: Path, store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(store, 10)
    monkeypatch.setattr("gym_loop.checkpoints.files.FORMAT", 0)
    with pytest.raises(CheckpointMismatchError, match="use the version that wrote it"):
        follower_of(directory)[0].newer()


def test_a_writer_at_full_speed_is_never_seen_half_way(
    directory: Path, store: CheckpointStore
) -> None:
    done = threading.Event()

    def write() -> None:
        for turn in range(60):
            save(store, 10 * (turn // 3), turn)
        done.set()

    follower, told = follower_of(directory)
    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while not done.is_set():
        if (found := follower.newer()) is not None:
            seen.append(found.tree["value"])
    writer.join()
    if (found := follower.newer()) is not None:
        seen.append(found.tree["value"])
    assert seen == sorted(seen)
    assert seen[-1] == 59
    assert told == []
