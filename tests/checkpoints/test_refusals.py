"""What is no data, what does not fit, and what was forged."""

from __future__ import annotations

import collections
import enum
import pathlib
import threading
from typing import Any

import numpy as np
import pytest
import torch

from gym_loop.checkpoints.tree import capture, capture_attributes, restore, restore_attributes
from gym_loop.errors import StateError
from gym_loop.wire.values import Node
from tests.checkpoints.state_things import Colour, Part, Point, Thing


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (threading.Lock(), "lock"),
        ((i for i in (1,)), "generator"),
        (iter([1]), "list_iterator"),
        (np.ma.array([1]), "MaskedArray"),
        (memoryview(b""), "memoryview"),
        (np.array([b"x"], dtype="V1"), "dtype"),
        (np.zeros(1, {"names": ["a", "b"], "formats": ["<i4", "<i2"], "offsets": [0, 2]}), "dtype"),
        (torch.eye(2).to_sparse(), "layout"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_handles_are_refused_with_their_place(value: Any, name: str) -> None:
    saved = Thing(buffer=[1, {"x": value}])
    with pytest.raises(StateError, match=rf"agent\.buffer\[1\]\.x: .*{name}.*load_state_dict"):
        capture(saved, path="agent")


def test_an_open_file_is_refused(tmp_path: pathlib.Path) -> None:
    with (tmp_path / "log").open("w") as file, pytest.raises(StateError, match="file: a _io"):
        capture(Thing(file=file))


def test_a_place_in_a_long_buffer_is_exact() -> None:
    rows = [(1.0, threading.Lock() if i == 77 else i) for i in range(100)]
    with pytest.raises(StateError, match=r"agent\.buffer\[77\]\[1\]: a _thread:"):
        capture(Thing(buffer=rows), path="agent")
    with pytest.raises(StateError, match=r"agent\.q\[\(1, 2\)\]: "):
        capture(Thing(q={(1, 2): threading.Lock()}), path="agent")


def test_unsaveable_attributes_can_be_left_out() -> None:
    shared = [1]
    saved = Thing(a=1, window=Thing(shared=shared, lock=threading.Lock()), b=shared)
    told: list[tuple[str, str]] = []
    tree = capture_attributes(saved, path="env", on_unsaveable=lambda *what: told.append(what))
    assert [place for place, _ in told] == ["env.window.lock"]
    live = Thing(a=0, window="mine", b=[])
    restore_attributes(live, tree)
    assert vars(live) == {"a": 1, "window": "mine", "b": [1]}


def test_nesting_without_end_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(StateError, match="nested too deeply"):
        capture(deep)


@pytest.mark.parametrize(
    ("live", "saved", "message"),
    [
        (None, Thing(x=1), "but nothing is here now"),
        (Part(), Thing(x=1), "but a .*:Part is here now"),
        (
            Thing(t=0),
            Thing(t=collections.namedtuple("Gone", "a")(1)),  # type: ignore[arg-type]
            "the class Gone is not known",
        ),
        (
            Point(1, 2),
            collections.namedtuple("Point", "x z")(1, 2),  # type: ignore[arg-type, call-arg]
            "the fields x, z, but now has x, y",
        ),
        (Colour.RED, enum.Enum("Colour", "GREEN").GREEN, "has no member 'GREEN'"),  # type: ignore[attr-defined]
        (torch.nn.Linear(2, 2), torch.nn.Linear(3, 2), "load_state_dict refused"),
    ],
)
def test_what_does_not_fit_is_refused(live: Any, saved: Any, message: str) -> None:
    with pytest.raises(StateError, match=message):
        restore(live, capture(saved))


@pytest.mark.parametrize(
    "tree",
    [
        Node("same", at=["nowhere"]),
        Node("same", at=[]),
        Node("items", type="tuple", items=3),
        Node("items", type="defaultdict", items=[]),
        Node("object", {"class": "os:system", "attributes": {}}),
        Node("object", {"class": "subprocess:Popen", "attributes": {"args": "true"}}),
        Node("namedtuple", name="system", fields={}),
        Node("enum", name="Popen", member="x"),
        Node("generator", state={"bit_generator": "os"}),
        Node("generator", state={}),
        Node("state_dict", {"state": {}, "class": "os:system"}),
        Node("columns", count=3, items={"kind": "eval", "parts": []}),
        Node("columns", count=3, items={"kind": "float", "data": np.zeros(2)}),
        Node("columns", count=1, items={"kind": "array", "at": np.array([-1])}),
        Node("columns", count=1, items={"kind": "array", "at": np.array([5])}),
        Node("dict", type="UserDict", keys=[], values=[]),
        Node("dict", type="dict", keys=[1], values=[]),
        {
            "a": np.zeros(2),
            "v": Node("view", of=["a"], dtype="<f8", shape=[9], offset=0, strides=[8]),
        },
        Node("tensor", data=np.zeros(2), dtype="load", device="cpu"),
        Node("random", words=np.zeros(3, np.uint32), gauss=None),
        Node("dtype", name=[["a", "O"]]),
        Node("dtype", name="|O"),
        Node("unheard of"),
        object(),
        {1: object()},
    ],
)
def test_forged_trees_are_refused(tree: Any) -> None:
    with pytest.raises(StateError):
        restore(None, tree)
