"""A tree as strict JSON and arrays: what goes in comes out, and a person can read it."""

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

from gym_loop.checkpoints import array_file, tree_file
from gym_loop.errors import StateError

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
keys = st.text(max_size=3) | st.sampled_from(["__array__", "__float__", "__metadata__", "a.b"])
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def equal(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list):
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
    document, arrays = tree_file.encode(tree)
    text = tree_file.dump(document)
    text.encode("ascii")
    read = json.loads(text, parse_constant=refuse_constant)
    kept = {name: np.array(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if tree_file.dtype_key(array.dtype) not in tree_file.DTYPES:
            # As the file does it: bytes, for a dtype that it has no name for.
            kept[name] = np.frombuffer(array.tobytes(), np.uint8)
    assert equal(tree_file.decode(read, kept), tree)


def test_special_values() -> None:
    odd = struct.unpack(">d", bytes.fromhex("7ff8000000001234"))[0]
    tree = [math.nan, math.inf, -math.inf, odd, -0.0, 1 << 5000, b"x" * 5000, np.float16("inf")]
    document, arrays = tree_file.encode(tree)
    assert equal(tree_file.decode(json.loads(tree_file.dump(document)), arrays), tree)
    assert document[:3] == [{"__float__": "nan"}, {"__float__": "inf"}, {"__float__": "-inf"}]
    assert list(arrays) == ["6"]


def test_arrays_are_named_by_their_place() -> None:
    agent = {"__object__": "m:A", "w": np.ones(1), "q": [np.ones(1)]}
    tree = {"agent": agent, "agent.w": np.ones(2)}
    _, arrays = tree_file.encode(tree)
    assert list(arrays) == ["agent.w", "agent.q.0", "agent.w#2"]
    assert arrays["agent.w"] is agent["w"]


def test_the_uppermost_entries_have_lines_of_their_own() -> None:
    text = tree_file.dump({"tree": {"agent": {"rate": 0.1, "table": {"a": [1, 2]}}}, "empty": {}})
    assert text == (
        '{\n  "tree": {\n    "agent": {\n      "rate": 0.1,\n      "table": {"a": [1, 2]}\n'
        '    }\n  },\n  "empty": {}\n}'
    )


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": {"b": [(1,)]}}, r"a\.b\.0: a builtins\.tuple is no plain data"),
        ({"a": {1: 2}}, r"a: a state has text keys only"),
        ({"a": np.array([None])}, r"a: an array of dtype object"),
        (np.zeros(1, "V2")[0], r"a NumPy scalar of dtype"),
        (object(), "gym_loop.checkpoints.tree.capture"),
    ],
)
def test_what_is_no_tree_is_refused_with_its_place(tree: Any, message: str) -> None:
    with pytest.raises(StateError, match=message):
        tree_file.encode(tree)


def test_nesting_without_end_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(StateError, match="nested too deeply"):
        tree_file.encode(deep)


def test_arrays_have_no_place_in_plain_values() -> None:
    assert tree_file.encode_plain({"a": math.inf}) == {"a": {"__float__": "inf"}}
    with pytest.raises(StateError, match="a: an array stands where"):
        tree_file.encode_plain({"a": np.ones(1)})


@pytest.mark.parametrize(
    "document",
    [
        {"__array__": "missing"},
        {"__array__": []},
        {"__array__": "a", "dtype": "O", "shape": [1]},
        {"__array__": "a", "dtype": "<c16", "shape": [7]},
        {"__array__": "a", "dtype": "<U0", "shape": [1 << 40]},
        {"__bytes__": "*"},
        {"__bytes__": 3},
        {"__float__": "12"},
        {"__float__": None},
        {"__int__": "x"},
        {"__scalar__": "O", "value": 1},
        {"__scalar__": "<f4", "bytes": "00"},
        {"__scalar__": "<i4"},
        {"__scalar__": "u1", "value": 1000},
        {"__escaped__": [["a"], []]},
        {"__escaped__": 1},
    ],
    ids=str,
)
def test_forged_documents_are_value_errors(document: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        tree_file.decode({"x": document}, {"a": np.zeros(16, np.uint8)})


def test_memory_order_is_noted() -> None:
    columns = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    document, arrays = tree_file.encode(columns)
    assert document["order"] == "F"
    again = tree_file.decode(document, {"state": np.ascontiguousarray(arrays["state"])})
    assert again.flags.f_contiguous
    assert np.array_equal(again, columns)


def test_the_names_of_dtypes_are_those_of_the_format() -> None:
    assert all(
        array_file._NUMPY_DTYPES[name] == np.dtype(key) for key, name in tree_file.DTYPES.items()
    )
