"""Values as strict JSON and arrays: what goes in comes out, and a person can read it."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gym_loop.checkpoints import files
from gym_loop.errors import StateError
from gym_loop.wire.values import Node

scalars = hnp.scalar_dtypes().flatmap(lambda dtype: hnp.from_dtype(dtype).map(dtype.type))
arrays = hnp.arrays(
    hnp.scalar_dtypes() | hnp.unicode_string_dtypes(max_len=4) | hnp.byte_string_dtypes(max_len=4),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.binary(max_size=5)
    | arrays
    | hnp.scalar_dtypes().flatmap(lambda dtype: hnp.arrays(dtype, ()).map(lambda a: a[()]))
)
keys = st.text(max_size=3) | st.sampled_from(["$a", "$f", "$object", "__metadata__", "a.b"])
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys | st.integers() | st.none(), inner, max_size=4)
        | st.builds(lambda parts: Node("object", parts), st.dictionaries(keys, inner, max_size=3))
    ),
    max_leaves=12,
)


def equal(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, (np.ndarray, np.generic)):
        return (first.dtype, first.shape, first.tobytes()) == (
            second.dtype,
            second.shape,
            second.tobytes(),
        )
    if isinstance(first, float):
        return struct.pack("d", first) == struct.pack("d", second)
    return bool(first == second)


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


@given(trees)
@settings(max_examples=150, deadline=None)
def test_a_tree_returns_exactly_through_strict_json(tree: Any) -> None:
    document, arrays = files.encode(tree)
    text = files.dump(document)
    text.encode("ascii")
    read = json.loads(text, parse_constant=refuse_constant)
    kept = {name: np.frombuffer(array.tobytes(), np.uint8) for name, array in arrays.items()}
    assert equal(files.decode(read, kept), tree)


def test_special_values() -> None:
    odd = struct.unpack(">d", bytes.fromhex("7ff8000000001234"))[0]
    tree = [math.nan, math.inf, -math.inf, odd, -0.0, 1 << 5000, b"x" * 5000, np.float16("inf")]
    document, arrays = files.encode(tree)
    assert equal(files.decode(json.loads(files.dump(document)), arrays), tree)
    assert document[6] == {"$b": [5000, "6"]}
    assert document[:3] == [{"$f": "nan"}, {"$f": "inf"}, {"$f": "-inf"}]


def test_arrays_are_named_by_their_place() -> None:
    agent = Node("attributes", w=np.ones(1), q=(np.ones(1),))
    tree = {"agent": agent, "agent.w": np.ones(2)}
    _, arrays = files.encode(tree)
    assert list(arrays) == ["agent.w", "agent.q.0", "agent.w#2"]
    assert arrays["agent.w"] is agent["w"]


def test_the_uppermost_entries_have_lines_of_their_own() -> None:
    text = files.dump({"tree": {"agent": {"rate": 0.1, "table": {"a": [1, 2]}}}, "empty": {}})
    assert text == (
        '{\n  "tree": {\n    "agent": {\n      "rate": 0.1,\n      "table": {"a": [1, 2]}\n'
        '    }\n  },\n  "empty": {}\n}'
    )


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": {"b": [(frozenset(),)]}}, r"a\.b\.0\.0: a frozenset has no form"),
        ({"a": {1: {2: object}}}, r"a\.1\.2: a type has no form"),
        ({"a": np.array([object()])}, r"a\.0: a object has no form"),
        ({"a": np.zeros(1, "V2")}, r"a: a numpy\.ndarray of dtype"),
        (np.zeros(1, "V2")[0], r"the value: a numpy\.void of dtype"),
        (object(), "gym_loop.checkpoints.tree.capture"),
    ],
)
def test_what_is_no_tree_is_refused_with_its_place(tree: Any, message: str) -> None:
    with pytest.raises(StateError, match=message):
        files.encode(tree)


def test_nesting_without_end_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(StateError, match="nested too deeply"):
        files.encode(deep)


def test_arrays_have_no_place_in_plain_values() -> None:
    assert files.encode_plain({"a": math.inf}) == {"a": {"$f": "inf"}}
    with pytest.raises(StateError, match="a is an array, and only plain values"):
        files.encode_plain({"a": np.ones(1)})


@pytest.mark.parametrize(
    "document",
    [
        {"$a": ["<f8", [2], "missing"]},
        {"$a": ["<f8", [2], []]},
        {"$a": ["<f8", [3], "a"]},
        {"$a": ["<f8", [2], "a", "X"]},
        {"$a": ["O", [1], "a"]},
        {"$a": ["<c16", [7], "a"]},
        {"$a": ["<U0", [1 << 40], "a"]},
        {"$a": [[["x", "|O"]], [2], "a"]},
        {"$a": [[["x"]], [2], "a"]},
        {"$a": [[5], [2], "a"]},
        {"$b": "*"},
        {"$b": 3},
        {"$b": [17, "a"]},
        {"$c": [1]},
        {"$c": ["a", 1]},
        {"$f": "12"},
        {"$f": None},
        {"$i": "x"},
        {"$s": ["|O", 1]},
        {"$s": ["<f4", "00"]},
        {"$s": ["<i4"]},
        {"$s": ["|u1", 1000]},
        {"$d": [["a"], []]},
        {"$d": 1},
        {"$object": []},
        {"$unheard of": {}},
    ],
    ids=str,
)
def test_forged_documents_are_value_errors(document: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        files.decode({"x": document}, {"a": np.zeros(16, np.uint8)})


def test_memory_order_is_noted() -> None:
    columns = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    document, arrays = files.encode(columns)
    assert document == {"$a": ["<f8", [2, 3], "state", "F"]}
    again = files.decode(json.loads(files.dump(document)), arrays)
    assert again.flags.f_contiguous
    assert np.array_equal(again, columns)


def test_records_come_back() -> None:
    dtype = [("a", "<f4"), ("b", "|b1"), ("c", [("d", "<i2", (2,)), ("e", "<U3")])]
    table = np.zeros((2, 2), np.dtype(dtype, align=True))
    table["a"], table["c"]["e"] = 1.5, "xyz"
    document, arrays = files.encode({"table": table, "dates": np.array(["2020-01-01"], "M8[D]")})
    again = files.decode(json.loads(files.dump(document)), arrays)
    assert again["table"].dtype == table.dtype
    assert again["table"].tobytes() == table.tobytes()
    assert again["dates"] == np.datetime64("2020-01-01")


def test_the_names_of_dtypes_are_those_of_the_format() -> None:
    assert all(np.dtype(key).str == key for key in files.DTYPES)
