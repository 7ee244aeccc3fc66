"""Plain values: what goes in comes out, bit for bit."""

from __future__ import annotations

import collections
import pathlib
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gym_loop.checkpoints.tree import capture, capture_attributes, restore, restore_attributes
from tests.checkpoints.state_things import Point, Thing, plain, round_trip, same

hashables = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
arrays = hnp.arrays(
    hnp.scalar_dtypes() | hnp.unicode_string_dtypes(max_len=4) | hnp.byte_string_dtypes(max_len=4),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
values: st.SearchStrategy[Any] = st.recursive(
    hashables | st.floats() | st.complex_numbers() | arrays,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.builds(Point, inner, inner)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "$t", "$object", "kind"]), inner)
        | st.builds(collections.deque, st.lists(inner, max_size=3))
        | st.dictionaries(st.text(max_size=3), inner, max_size=3).map(collections.OrderedDict)
    ),
    max_leaves=12,
)


@given(values)
@settings(max_examples=150, deadline=None)
def test_plain_values_return_exactly(value: Any) -> None:
    live = Thing(value=None)
    tree = capture_attributes(Thing(value=value))
    plain(dict(tree))
    restore_attributes(live, tree, tuple_types=[Point])
    assert same(live.value, value)
    assert same(dict(capture_attributes(live)), dict(tree))


@given(st.lists(values, min_size=1, max_size=4), st.integers(64, 200))
@settings(max_examples=60, deadline=None)
def test_long_sequences_return_exactly(kinds: list[Any], length: int) -> None:
    rng = random.Random(length)
    value = [rng.choice(kinds) for _ in range(length)]
    rows = [(item, index, float(index), index % 7 == 0) for index, item in enumerate(value)]
    thing = Thing(value=value, rows=rows, queue=collections.deque(rows, maxlen=300))
    tree = capture_attributes(thing)
    plain(dict(tree))
    live = Thing()
    restore_attributes(live, tree, tuple_types=[Point])
    assert same(vars(live), vars(thing))
    assert same(dict(capture_attributes(live)), dict(tree))


@pytest.mark.parametrize(
    "value",
    [
        range(2, 9, 3),
        bytearray(b"abc"),
        {1, 2, 3},
        {"b", ("a", 1)},
        collections.Counter("abca"),
        collections.defaultdict(int, a=1),
        collections.defaultdict(None, a=1),
        collections.defaultdict(list, {(1, 2): [3]}),
        pathlib.Path("a/b"),
        np.dtype("float32"),
        np.float32("nan"),
        np.str_("a"),
        -0.0,
        10**400,
        np.array(["a", None, (1, 2)], dtype=object),
        np.array([[1, "x"], [2.5, None]], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8", (1,))]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.longdouble(1) / 3,
        np.arange(6, dtype=">i4"),
    ],
)
def test_other_data_returns_exactly(value: Any) -> None:
    result = round_trip(value)
    assert same(result, value)


def test_nan_payloads_survive() -> None:
    odd = np.array([0x7FF8_0000_0000_1234], np.uint64).view(np.float64)
    assert round_trip(odd).tobytes() == odd.tobytes()
    assert same(round_trip([float(odd[0])] * 100), [float(odd[0])] * 100)


def test_a_captured_tree_is_a_copy_unless_asked_otherwise() -> None:
    thing = Thing(array=np.zeros(3), items=[1], tensor=torch.zeros(2))
    tree, shared = capture(thing), capture(thing, copy=False)
    thing.array += 1
    thing.items.append(2)
    thing.tensor += 1
    assert tree["attributes"]["array"].tolist() == [0, 0, 0]
    assert tree["attributes"]["items"] == [1]
    assert tree["attributes"]["tensor"]["data"].tolist() == [0, 0]
    assert shared["attributes"]["array"] is thing.array


def test_a_restored_object_shares_nothing_with_the_tree() -> None:
    tree = capture({"array": np.zeros(2), "rows": [(np.zeros(2), 1)] * 2 + [(np.ones(2), 2)] * 80})
    first = restore(None, tree)
    first["array"] += 1
    first["rows"][0][0][:] = 9
    second = restore(None, tree)
    assert second["array"].tolist() == [0, 0]
    assert second["rows"][0][0].tolist() == [0, 0]


def test_memory_order_survives() -> None:
    assert round_trip(np.asfortranarray(np.ones((2, 3)))).flags.f_contiguous
