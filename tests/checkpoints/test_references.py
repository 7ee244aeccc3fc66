"""Live objects are filled in place, and what was one object is one object again."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest

from gym_loop.agents.transition import Transition
from gym_loop.checkpoints.tree import capture, restore
from gym_loop.errors import StateError
from tests.checkpoints.state_things import Part, Thing, plain, same


def test_containers_and_arrays_are_filled_in_place() -> None:
    saved = Thing(a=[1, [2]], d={"x": [3]}, s={4}, q=collections.deque([5], 3), w=np.ones(2))
    live = Thing(
        a=[0, [0], 0], d={"x": [], "y": 1}, s={9}, q=collections.deque(maxlen=3), w=np.ones(2)
    )
    before = {**vars(live), "inner": live.a[1], "x": live.d["x"]}
    restore(live, capture(saved))
    assert vars(live) == {"a": [1, [2]], "d": {"x": [3]}, "s": {4}, "q": saved.q, "w": live.w}
    assert all(vars(live)[name] is before[name] for name in "adsqw")
    assert live.a[1] is before["inner"]
    assert live.d["x"] is before["x"]


def test_views_of_a_live_array_stay_views() -> None:
    def make() -> Thing:
        flat = np.zeros(6)
        return Thing(flat=flat, w=flat[:4].reshape(2, 2), b=flat[4:])

    saved, live = make(), make()
    saved.flat[:] = np.arange(6)
    flat, weights = live.flat, live.w
    tree = capture(saved)
    restore(live, tree)
    assert live.flat is flat
    assert live.w is weights
    live.flat[:] += 1
    assert live.w.tolist() == [[1, 2], [3, 4]]
    assert live.b.tolist() == [5, 6]
    assert tree["attributes"]["w"].kind == "view"


def test_a_view_made_later_is_a_view_again() -> None:
    saved = Thing(buffer=np.arange(12.0).reshape(4, 3), last=None)
    saved.last = saved.buffer[2, ::-1]
    live = Thing(buffer=np.zeros((4, 3)), last=np.zeros(3))
    restore(live, capture(saved))
    assert live.last.tolist() == [8, 7, 6]
    live.buffer[2, 0] = 50
    assert live.last[2] == 50


@pytest.mark.parametrize("is_there", [True, False])
def test_views_into_records_stay_views(is_there: bool) -> None:
    kind = np.dtype([("s", "f4", (2,)), ("a", "i1"), ("d", "?"), ("o", [("x", "f8"), ("y", "?")])])

    def make() -> Thing:
        rows = np.zeros(6, kind)
        parts = {"a": rows[::-1]["a"], "d": rows["d"], "o": rows["o"], "y": rows["o"]["y"][2:]}
        return Thing(rows=rows, head=rows[:3], **parts)

    saved = make()
    saved.rows["d"][3], saved.o["y"][4] = True, True
    blank = dict.fromkeys(vars(saved))
    live = restore(make() if is_there else Thing(**blank), capture(saved))
    assert all(np.array_equal(vars(live)[name], one) for name, one in vars(saved).items())
    live.rows["a"][1], live.rows["d"][0], live.rows["o"]["y"][5] = 7, True, True
    assert (live.a[4], live.head["a"][1], live.d[0], live.y[3], live.o["y"][5]) == (7, 7, 1, 1, 1)


def test_a_view_now_that_was_none_then_becomes_independent() -> None:
    live = Thing(base=np.zeros(4), part=None)
    live.part = live.base[:2]
    restore(live, capture(Thing(base=np.ones(4), part=np.array([5.0, 6.0]))))
    assert live.base.tolist() == [1, 1, 1, 1]
    assert live.part.tolist() == [5, 6]


def test_arrays_that_overlap_only_now_are_refused() -> None:
    live = Thing(part=None, base=np.zeros(4))
    live.part = live.base[:2]
    with pytest.raises(StateError, match=r"agent\.part: shares its memory"):
        restore(live, capture(Thing(part=np.array([5.0, 6.0]), base=np.ones(4))), path="agent")


def test_shared_objects_and_cycles_survive() -> None:
    shared: list[Any] = [1]
    saved = Thing(one=shared, two=(shared, {"k": shared}), part=Part(), also=None)
    saved.also, saved.me = saved.part, saved
    shared.append(shared)
    live = Thing(one=[], two=None, part=Part(), also=Part(), me=None)
    one, part = live.one, live.part
    restore(live, capture(saved))
    assert live.one is one
    assert live.two[0] is one
    assert live.two[1]["k"] is one
    assert live.one[1] is one
    assert live.also is part
    assert live.me is live


def test_objects_shared_only_now_are_told_apart() -> None:
    both = [0]
    live = Thing(a=both, b=both)
    restore(live, capture(Thing(a=[1], b=[2])))
    assert (live.a, live.b) == ([1], [2])


def test_a_transition_buffer_keeps_types_references_and_stays_small() -> None:
    obs = [np.full(4, i, np.float32) for i in range(1001)]
    rows = [
        Transition(
            obs[i],
            i % 2 if i % 3 else np.int64(1),
            float(i),
            i == 999,
            np.bool_(False),
            obs[i + 1],
            {"episode": i} if i % 100 == 99 else {},
        )
        for i in range(1000)
    ]
    saved = Thing(buffer=collections.deque(rows, 1000), last=obs[1000], first=rows[0].info)
    tree = capture(saved)
    plain(tree)
    live = Thing(buffer=collections.deque(maxlen=1000), last=None, first=None)
    restore(live, tree)
    assert same(list(map(tuple, live.buffer)), list(map(tuple, rows)))
    assert type(live.buffer[0]) is Transition
    assert live.buffer[5].ob is live.buffer[6].last_ob
    assert live.last is live.buffer[-1].ob
    assert live.first is live.buffer[0].info

    def leaves(node: Any) -> int:
        if isinstance(node, dict):
            return sum(map(leaves, node.values()))
        return sum(map(leaves, node)) if isinstance(node, list) else 1

    assert leaves(tree) < 150


def test_arrays_known_from_elsewhere_stay_the_same_objects() -> None:
    arrays = [np.full(2, float(i)) for i in range(100)]
    saved = Thing(first=arrays[3], rows=[(a, i) for i, a in enumerate(arrays)], all=list(arrays))
    live = restore(Thing(first=None, rows=[], all=[]), capture(saved))
    assert live.rows[3][0] is live.first
    assert all(row[0] is array for row, array in zip(live.rows, live.all, strict=True))


def test_long_lists_of_arrays_are_filled_in_place() -> None:
    live = [np.zeros(2) for _ in range(80)]
    before = list(live)
    restore(live, capture([np.full(2, i) * 1.0 for i in range(80)]))
    assert all(new is old for new, old in zip(live, before, strict=True))
    assert live[79].tolist() == [79, 79]


def test_long_lists_of_objects_are_filled_in_place() -> None:
    live = [Thing(x=0) for _ in range(80)]
    before = list(live)
    restore(live, capture([Thing(x=i) for i in range(80)]))
    assert [thing.x for thing in live] == list(range(80))
    assert live[7] is before[7]


def test_rows_with_objects_in_them_keep_the_live_objects() -> None:
    live = [(index, Thing(x=0)) for index in range(70)]
    thing = live[3][1]
    restore(live, capture([(index, Thing(x=index)) for index in range(70)]))
    assert live[3][1] is thing
    assert thing.x == 3


@pytest.mark.parametrize("key", [str, lambda i: (i, i + 1), float])
def test_large_tables_are_stored_in_columns(key: Any) -> None:
    table = {key(i): np.full(3, float(i)) for i in range(500)}
    tree = capture(table)
    assert same(restore(None, tree), table)
    assert tree["values"].kind == "columns"
