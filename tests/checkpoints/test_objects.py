"""Attributes, slots, records, and objects that speak for themselves."""

from __future__ import annotations

import collections
import dataclasses
import math
import random
import threading
import types
from typing import Any

import numpy as np
import pytest

from gym_loop.checkpoints.tree import (
    capture,
    capture_attributes,
    capture_with_inventory,
    restore,
    restore_attributes,
)
from gym_loop.errors import StateError
from gym_loop.wire.values import Node
from tests.checkpoints.state_things import Colour, Mode, Part, Point, Record, Thing, plain


def test_attributes_are_restored_removed_and_kept_in_order() -> None:
    saved, live = Thing(a=1, b=2), Thing(b=0, later=5, kept=7)
    restore_attributes(live, capture_attributes(saved), exclude=("kept",))
    assert vars(live) == {"kept": 7, "a": 1, "b": 2}
    assert [name for name in vars(live) if name != "kept"] == ["a", "b"]
    assert "b" not in capture_attributes(saved, exclude=("b",))


def test_slots_private_ones_too() -> None:
    saved, live = Part(), Part()
    saved.mean += 2
    saved.hide([3])
    live.never = 9  # type: ignore[attr-defined]
    mean = live.mean
    restore(live, capture(saved))
    assert live.mean is mean
    assert mean.tolist() == [2, 2, 2]
    assert live.hidden() == [3]
    assert not hasattr(live, "never")


def test_frozen_dataclasses_and_subclasses_of_containers() -> None:
    @dataclasses.dataclass(frozen=True)
    class Frozen:
        rate: float

    class Ring(list):
        position = 0

    class Table(collections.OrderedDict):
        pass

    class Queue(collections.deque):
        pass

    saved = Thing(f=Frozen(0.5), r=Ring([1, 2]), t=Table(a=1), q=Queue([3]))
    saved.r.position = 4
    live = Thing(f=Frozen(0.0), r=Ring(), t=Table(z=0), q=Queue())
    ring, table, queue = live.r, live.t, live.q
    restore(live, capture(saved))
    assert live.f == Frozen(0.5)
    assert (live.r, live.r.position, live.r is ring) == ([1, 2], 4, True)
    assert (list(table.items()), live.t is table) == ([("a", 1)], True)
    assert (list(queue), live.q is queue) == ([3], True)


def test_records_that_grow_during_training_are_made_again() -> None:
    saved = Thing(steps=[Record(1, [2]), Point(1, np.ones(2))], colour=Colour.BLUE)
    live = restore(Thing(steps=[], colour=Colour.RED), capture(saved))
    assert live.steps[0] == Record(1, [2])
    assert type(live.steps[1]) is Point
    assert live.colour is Colour.BLUE
    assert restore(Mode.A, capture(Mode.A | Mode.B)) == Mode.A | Mode.B


def test_a_namespace_keeps_its_values() -> None:
    live = types.SimpleNamespace(a=0)
    restore(live, capture(types.SimpleNamespace(a=1, b=[2])))
    assert vars(live) == {"a": 1, "b": [2]}


def test_a_defaultdict_keeps_its_live_factory() -> None:
    def make() -> Any:
        return collections.defaultdict(lambda: collections.defaultdict(lambda: np.zeros(2)))

    saved, live = make(), make()
    saved[3]["a"][0] = 7
    factory = live.default_factory
    restore(live, capture(saved))
    assert live.default_factory is factory
    assert live[3]["a"].tolist() == [7, 0]
    assert live[3]["new"].tolist() == [0, 0]
    with pytest.raises(StateError, match="factory of its own"):
        restore(None, capture(saved))


def test_code_is_no_state_and_stays() -> None:
    def old(x: float) -> float:
        return x

    saved = Thing(f=math.sin, table={"f": max, "n": 1}, kind=dict, module=math, own=None)
    saved.own = saved.__init__  # type: ignore[misc]
    live = Thing(f=old, table={"f": old, "n": 0}, kind=list, module=random, own=old)
    restore(live, capture(saved))
    assert (live.f, live.table, live.kind, live.module) == (old, {"f": old, "n": 1}, list, random)


def test_state_dict_is_asked_and_loaded() -> None:
    class Counter:
        def __init__(self) -> None:
            self.n, self.lock = 0, threading.Lock()

        def state_dict(self) -> dict[Any, Any]:
            return {"n": self.n, 5: (1, 2)}

        def load_state_dict(self, state: dict[Any, Any]) -> None:
            assert state[5] == (1, 2)
            self.n = state["n"]

    saved, live = Thing(counter=Counter()), Thing(counter=Counter())
    saved.counter.n = 3
    counter = live.counter
    restore(live, capture(saved))
    assert live.counter is counter
    assert counter.n == 3


def test_attributes_inside_a_state_dict_are_not_captured_twice() -> None:
    class Agent:
        def __init__(self) -> None:
            self.items = (1, {2})

        def state_dict(self) -> Any:
            return capture_attributes(self)

        def load_state_dict(self, state: Any) -> None:
            restore_attributes(self, state)

    saved, live = Agent(), Agent()
    saved.items = (3, {4})
    tree = capture(saved.state_dict())
    assert tree == Node("attributes", items=(3, Node("items", type="set", items=[4])))
    live.load_state_dict(restore(None, tree))
    assert live.items == (3, {4})
    plain(capture(Thing(agent=saved)))
    assert restore(Thing(agent=live), capture(Thing(agent=Agent()))).agent.items == (1, {2})


def test_a_state_with_the_default_one_inside_is_not_captured_twice() -> None:
    class Agent:
        def __init__(self, value: float) -> None:
            self.table = {(1, 2): np.full(3, value)}
            self.again = self.table[1, 2]
            self.rng = np.random.default_rng(int(value))

    saved, live = Agent(5), Agent(0)
    tree = capture({**capture_attributes(saved), "more": {3}})
    plain(tree)
    state = restore(None, tree)
    assert state.pop("more") == {3}
    restore_attributes(live, state)
    assert live.table[1, 2].tolist() == [5, 5, 5]
    assert live.again is live.table[1, 2]
    assert live.rng.random() == saved.rng.random()


def test_what_is_to_be_written_is_not_copied() -> None:
    table = np.zeros(3)
    tree, found = capture_with_inventory({"table": table}, object, path="agent")
    assert tree["table"] is table
    assert not found.fills
