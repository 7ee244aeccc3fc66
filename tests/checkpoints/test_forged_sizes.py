"""Nothing is allocated for a number that a state merely states."""

from __future__ import annotations

import collections
import tracemalloc
from typing import Any

import numpy as np
import pytest

from gym_loop.checkpoints import files
from gym_loop.checkpoints.tree import capture, restore
from gym_loop.errors import StateError
from gym_loop.wire.values import Node
from tests.checkpoints.state_things import same

MANY = 60_000_000
MOST = 12 << 20  # bytes: far less than any of these would take, more than the few that are allowed


def peak_of(work: Any) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def columns(kind: str, **column: Any) -> Node:
    return Node("columns", count=MANY, items={"kind": kind, **column})


NOTHING = np.zeros((MANY, 0))
FORGED: dict[str, Any] = {
    "objects": Node("objects", items=[], shape=[MANY]),
    "objects of columns": Node("objects", items=columns("none"), shape=[MANY]),
    "objects of more": Node("objects", items=[1], shape=[1, MANY]),
    "objects of a negative shape": Node("objects", items=[1], shape=[-1, -1]),
    "none": columns("none"),
    "few bytes": columns("none", backing=np.zeros(9, np.uint8)),
    "empty lists": columns("list", parts=[]),
    "empty tuples": columns("tuple", parts=[]),
    "empty dictionaries": columns("dict", parts=[], keys=[]),
    "lists of nothing": columns("list", parts=[{"kind": "none"}]),
    "lists of few": columns("list", parts=[{"kind": "int", "data": np.zeros(3, np.int64)}]),
    "nested": columns("list", parts=[{"kind": "dict", "parts": [], "keys": []}]),
    "empty arrays": columns("array", data=NOTHING),
    "empty arrays told apart": Node(
        "columns",
        count=1,
        items={"kind": "array", "data": NOTHING, "at": np.zeros(1, np.int64)},
    ),
    "empty rows of numbers": columns("float", data=NOTHING),
    "empty rows of scalars": columns("scalar", data=NOTHING),
    "mixed": columns("mixed", which=np.zeros(3, np.uint8), parts=[{"kind": "none"}]),
    "more kinds than there can be": columns(
        "mixed", which=np.zeros(MANY, np.uint8), parts=[{"kind": "none"}] * 257
    ),
    "a negative number": Node("columns", count=-1, items={"kind": "none"}),
    "a number in words": Node("columns", count="many", items={"kind": "none"}),
    "a tensor": Node(
        "tensor",
        data=np.zeros(0, np.float32),
        dtype="float32",
        device="cpu",
        shape=[MANY],
        requires_grad=False,
        parameter=False,
    ),
    "a view": {
        "a": np.zeros(1),
        "v": Node("view", of=["a"], dtype="<f8", shape=[MANY], offset=0, strides=[0]),
    },
    "a pool": Node("seed_sequence", entropy=1, spawn_key=[], pool_size=MANY, spawned=0),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_size_is_refused_before_it_is_allocated(name: str) -> None:
    def refused() -> None:
        with pytest.raises(StateError) as caught:
            restore(None, [FORGED[name]])
        assert "\n" not in str(caught.value)

    assert peak_of(refused) < MOST


def test_children_that_were_never_spawned_are_not_counted_out() -> None:
    live = np.random.SeedSequence(1)
    saved = Node("seed_sequence", capture(live), spawned=4_000_000_000)
    assert peak_of(lambda: restore(live, saved)) < MOST
    assert restore(live, saved).n_children_spawned == 4_000_000_000


@pytest.mark.parametrize(
    "document",
    [
        {"$a": ["<U0", [MANY], "none"]},
        {"$a": ["|V0", [MANY], "none"]},
        {"$a": [[], [MANY], "none"]},
        {"$a": [[["a", "<f4", [MANY]]], [1], "none"]},
        {"$a": [[["a", "<f4", [MANY]]], [0], "none"]},
        {"$a": ["<U60000000", [0], "none"]},
        {"$o": [[MANY], []]},
        {"$s": ["|S1", MANY]},
        {"$s": ["<U1", MANY]},
        {"$s": ["<f8", [1.0]]},
        [{"$a": ["<f8", [1 << 20], "large"]}, {"$a": ["<f8", [1 << 20], "large"]}],
    ],
)
def test_a_forged_document_is_refused_before_it_is_allocated(document: Any) -> None:
    arrays: dict[str, Any] = {"none": np.zeros(0, np.uint8), "large": np.zeros(1 << 20)}

    def refused() -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - several sentences
            files.decode(document, arrays)

    assert peak_of(refused) < MOST


@pytest.mark.parametrize(
    "value",
    [
        [None] * 1_000_000,
        [{} for _ in range(100_000)],
        [() for _ in range(100_000)],
        [[[], None] for _ in range(100_000)],
        [np.zeros((0, 2)) for _ in range(100_000)],
        collections.deque(({"info": {}}, None, True) for _ in range(100_000)),
        np.full(100_000, None),
        np.array(["", ""] * 100, "U0"),
    ],
    ids=["nones", "dicts", "tuples", "nested", "empty arrays", "transitions", "objects", "texts"],
)
def test_many_honest_nothings_come_back(value: Any) -> None:
    document, arrays = files.encode(capture(value))
    assert same(restore(None, files.decode(document, arrays)), value)


@pytest.mark.parametrize(
    "change",
    [
        {"state": {"key": np.zeros(624, np.uint32), "pos": 625}},
        {"state": {"key": np.zeros(624, np.uint32), "pos": -1}},
        {"state": {"key": np.zeros(624, np.uint32), "pos": 1 << 40}},
        {"state": {"key": np.zeros(624, np.uint32), "pos": 1.0}},
        {"state": {"key": np.zeros(3, np.uint32), "pos": 1}},
        {"state": 5},
    ],
)
@pytest.mark.parametrize("kind", ["generator", "random_state"])
def test_a_stream_never_reads_beyond_its_words(kind: str, change: dict[str, Any]) -> None:
    made: Any = (
        np.random.Generator(np.random.MT19937(1))
        if kind == "generator"
        else np.random.RandomState(1)
    )
    tree = capture(made)
    tree["state"].update(change)
    with pytest.raises(StateError):
        restore(None, tree)


@pytest.mark.parametrize("position", [-1, 5, 1 << 40])
def test_a_philox_stream_never_reads_beyond_its_buffer(position: int) -> None:
    tree = capture(np.random.Generator(np.random.Philox(1)))
    tree["state"]["buffer_pos"] = position
    with pytest.raises(StateError):
        restore(None, tree)


def test_a_bool_is_0_or_1() -> None:
    two = np.array([1, 2], np.uint8)
    view = Node("view", of=[0], dtype="|b1", shape=[2], offset=0, strides=[1])
    with pytest.raises(StateError, match="neither 0 nor 1"):
        restore(None, [two, view])
    for node in (
        {"$a": ["|b1", [2], "two"]},
        {"$a": [[["a", "|b1"], ["b", "|b1"]], [1], "two"]},
    ):
        with pytest.raises(ValueError, match="neither 0 nor 1"):
            files.decode(node, {"two": two})
    with pytest.raises(ValueError, match="no bool"):
        files.decode({"$s": ["|b1", "02"]}, {})
