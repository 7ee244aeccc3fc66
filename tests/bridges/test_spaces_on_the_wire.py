"""Any space and any sample of it goes out and comes back equal, in JSON and in bytes."""

import json
import math
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import orjson
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gym_loop.bridges.spaces import (
    EXACT,
    LEGACY_FLAT,
    LEGACY_NESTED,
    Limits,
    byte_coder_for,
    decoder_for,
    encoder_for,
    plain,
    sample_from_bytes,
    sample_from_json,
    sample_to_bytes,
    sample_to_json,
    space_from_json,
    space_to_json,
)
from gym_loop.errors import BridgeProtocolError, SampleError, SpaceError

FLOATS = ["float16", "float32", "float64"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
STYLES = [LEGACY_FLAT, LEGACY_NESTED, EXACT]
QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def boxes(draw: Callable[..., Any], shape: Any = shapes) -> spaces.Box:
    dtype = np.dtype(draw(st.sampled_from([*FLOATS, *INTEGERS, "bool"])))
    size = draw(shape)
    count = math.prod(size)
    if dtype.kind == "b":
        element: Any = st.booleans()
    elif dtype.kind == "f":
        element = st.floats(width=8 * dtype.itemsize, allow_nan=False)
    else:
        info = np.iinfo(dtype)
        # Beyond these, Gymnasium's own sampling overflows.
        element = st.integers(max(int(info.min), -(2**62)), min(int(info.max), 2**62))
    pairs = draw(st.lists(st.tuples(element, element), min_size=count, max_size=count))
    low = np.array([min(pair) for pair in pairs], dtype).reshape(size)
    high = np.array([max(pair) for pair in pairs], dtype).reshape(size)
    if dtype.kind == "f":
        # Gymnasium cannot sample from a box whose bounds are the same infinity.
        low[low == np.inf], high[high == -np.inf] = 0, 0
        low = np.minimum(low, high)
    if dtype.kind == "i" and dtype.itemsize < 8 and draw(st.booleans()):
        # Some of the integers unbounded, which Gymnasium takes only from floats.
        numbers = st.lists(st.booleans(), min_size=count, max_size=count)
        below, above = (np.array(draw(numbers), bool).reshape(size) for _ in range(2))
        low, high = np.where(below, -np.inf, low), np.where(above, np.inf, high)
    return spaces.Box(low, high, size, dtype.type)


@st.composite
def discretes(draw: Callable[..., Any]) -> spaces.Discrete:
    n = draw(st.one_of(st.integers(1, 9), st.integers(2**53, 2**62)))
    start = draw(st.one_of(st.integers(-9, 9), st.integers(-(2**62), 2**62)))
    return spaces.Discrete(n, start=start)


@st.composite
def multi_discretes(draw: Callable[..., Any]) -> spaces.MultiDiscrete:
    dtype = np.dtype(draw(st.sampled_from(["int64", "int32", "uint8"])))
    size = draw(st.lists(st.integers(1, 3), min_size=1, max_size=2).map(tuple))
    count = math.prod(size)
    numbers = st.lists(st.integers(1, 100), min_size=count, max_size=count)
    nvec, start = np.array(draw(numbers), dtype), np.array(draw(numbers), dtype)
    return spaces.MultiDiscrete(nvec.reshape(size), dtype.type, start=start.reshape(size))


@st.composite
def texts(draw: Callable[..., Any]) -> spaces.Text:
    charset = draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9))
    least = draw(st.integers(0, 3))
    return spaces.Text(least + draw(st.integers(0, 5)), min_length=least, charset=charset)


multi_binaries = st.one_of(
    st.integers(1, 5), st.lists(st.integers(1, 3), min_size=1, max_size=3)
).map(spaces.MultiBinary)
full_boxes = boxes(st.lists(st.integers(1, 3), max_size=2).map(tuple))
small_discretes = st.builds(spaces.Discrete, st.integers(1, 9), start=st.integers(-9, 9))
graph_parts = st.one_of(full_boxes, small_discretes)
graphs = st.builds(spaces.Graph, graph_parts, st.one_of(st.none(), graph_parts))
stacked = st.one_of(full_boxes, small_discretes, multi_discretes(), multi_binaries)
stacked = st.one_of(stacked, st.lists(stacked, min_size=1, max_size=2).map(spaces.Tuple))
leaves = st.one_of(
    boxes(), discretes(), multi_binaries, multi_discretes(), texts(), graphs,
    st.builds(spaces.Sequence, stacked, stack=st.just(True)),
)  # fmt: skip
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def nested(inner: Any) -> Any:
    return st.one_of(
        st.lists(inner, max_size=3).map(spaces.Tuple),
        st.lists(st.tuples(keys, inner), max_size=3, unique_by=lambda item: item[0]).map(
            lambda items: spaces.Dict(OrderedDict(items))
        ),
        st.builds(spaces.Sequence, inner),
        st.lists(inner, min_size=1, max_size=3).map(spaces.OneOf),
    )


any_space = st.recursive(leaves, nested, max_leaves=5)


def through_json(value: Any) -> Any:
    """What both parsers read of what both writers wrote, which must be the same."""
    text = json.dumps(value, allow_nan=False)
    read = orjson.loads(orjson.dumps(value))
    assert json.loads(text) == orjson.loads(text) == read
    return read


def assert_same(one: Any, other: Any) -> None:
    """Equal in every value, type, dtype and shape; NaN equals NaN, and a scalar an array of ()."""
    if isinstance(one, (np.ndarray, np.generic)):
        assert isinstance(other, (np.ndarray, np.generic))
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()
    else:
        assert type(one) is type(other)
        if isinstance(one, dict):
            assert list(one) == list(other)
            one, other = list(one.values()), list(other.values())
        if isinstance(one, (list, tuple)):
            assert len(one) == len(other)
            for left, right in zip(one, other, strict=True):
                assert_same(left, right)
        else:
            assert one == other


def assert_same_space(one: Any, other: Any) -> None:
    """Equal, and giving the same samples from the same seed."""
    assert one == other
    assert repr(one) == repr(other)
    one.seed(1)
    other.seed(1)
    for _ in range(3):
        assert_same(one.sample(), other.sample())


@QUICK
@given(any_space)
def test_a_space_comes_back(space: Any) -> None:
    assert_same_space(space, space_from_json(through_json(space_to_json(space, style=EXACT))))


@QUICK
@given(any_space, st.integers(0, 2**31))
def test_a_sample_comes_back(space: Any, seed: int) -> None:
    space.seed(seed)
    sample = space.sample()
    value = through_json(sample_to_json(space, sample, style=EXACT))
    assert_same(sample, sample_from_json(space, value))
    assert_same(sample, sample_from_bytes(space, sample_to_bytes(space, sample)))


@QUICK
@given(any_space, st.sampled_from([LEGACY_FLAT, LEGACY_NESTED]))
def test_legacy_styles_are_read_too(space: Any, style: Any) -> None:
    space.seed(1)
    described = through_json(space_to_json(space, style=style))
    read = space_from_json(described)
    assert space_to_json(read, style=style) == described
    sample = space.sample()
    assert_same(sample, sample_from_json(read, through_json(encoder_for(space, style)(sample))))


EDGES = {
    "float16": [np.nan, np.inf, -np.inf, -0.0, 65504.0, 6e-8],
    "float32": [np.nan, np.inf, -np.inf, -0.0, 3.4e38, 1e-45],
    "float64": [np.nan, np.inf, -np.inf, -0.0, 1e100, -1e100, 1e308, 5e-324],
    "int64": [-(2**63), 2**63 - 1, 2**53, -(2**53), 2**53 - 1],
    "uint64": [2**64 - 1, 2**53, 0],
    "bool": [True, False],
}


@pytest.mark.parametrize("dtype", EDGES)
@pytest.mark.parametrize("columns", [1, 100])
def test_the_edges_of_every_dtype_come_back(dtype: str, columns: int) -> None:
    values = np.array(EDGES[dtype] * columns, dtype).reshape(columns, -1)
    for sample in (values, values[0], values.T):
        low, high = (0, 1) if dtype == "bool" else (0, 100)
        space = spaces.Box(low, high, sample.shape, np.dtype(dtype).type)
        value = through_json(sample_to_json(space, sample, style=EXACT))
        assert_same(sample, sample_from_json(space, value))
        assert_same(sample, sample_from_bytes(space, sample_to_bytes(space, sample)))


def test_exact_json_is_safe_for_javascript() -> None:
    space = spaces.Box(-(2**62), 2**62, (2,), np.int64)
    assert space_to_json(space, style=EXACT)["low"] == str(-(2**62))
    assert sample_to_json(space, np.array([2**53, 7]), style=EXACT) == [str(2**53), 7]
    discrete = spaces.Discrete(2**60)
    assert sample_to_json(discrete, 2**54, style=EXACT) == str(2**54)
    assert sample_from_json(discrete, str(2**54)) == 2**54


def test_a_box_in_the_three_styles() -> None:
    low = np.array([[-np.inf, 0.5], [-1, -1]], np.float32)
    box = spaces.Box(low, np.full((2, 2), np.inf, np.float32))
    common = {"name": "Box", "shape": [2, 2], "dtype": "float32"}
    flat = {**common, "low": [-1e100, 0.5, -1.0, -1.0], "high": [1e100] * 4}
    nested = {**common, "low": [[-1e100, 0.5], [-1.0, -1.0]], "high": [[1e100, 1e100]] * 2}
    exact = {**common, "low": [["-inf", 0.5], [-1.0, -1.0]], "high": "inf"}
    assert [space_to_json(box, style=style) for style in STYLES] == [flat, nested, exact]
    for described in (flat, nested, exact):
        assert_same(space_from_json(described).low, box.low)


def test_a_sample_in_the_legacy_styles() -> None:
    box = spaces.Box(-np.inf, np.inf, (4,), np.float32)
    sample = np.array([np.nan, np.inf, -np.inf, 0.5], np.float32)
    assert sample_to_json(box, sample, style=LEGACY_FLAT) == [None, 1e100, -1e100, 0.5]
    assert_same(sample, sample_from_json(box, [None, 1e100, -1e100, 0.5]))
    assert_same(sample, sample_from_json(box, [math.nan, math.inf, -math.inf, 0.5]))


@pytest.mark.parametrize(
    ("described", "space"),
    [
        ({"name": "Discrete", "n": 6}, spaces.Discrete(6)),
        (
            {"name": "Box", "shape": [2], "low": [-1e100, 0], "high": [1e100, 1]},
            spaces.Box(np.array([-np.inf, 0], np.float32), np.array([np.inf, 1], np.float32)),
        ),
        (
            {"name": "Box", "shape": [1, 2], "low": [[-math.inf, 0]], "high": [[math.inf, 1]]},
            spaces.Box(np.array([[-np.inf, 0]], np.float32), np.array([[np.inf, 1]], np.float32)),
        ),
        ({"name": "MultiBinary", "n": 3, "shape": [3]}, spaces.MultiBinary(3)),
        ({"name": "MultiDiscrete", "nvec": [2, 3]}, spaces.MultiDiscrete([2, 3])),
        ({"name": "Text", "max_length": 3}, spaces.Text(3)),
    ],
)
def test_what_older_servers_tell_is_understood(described: Any, space: Any) -> None:
    assert_same_space(space_from_json(described), space)


BOX = {"name": "Box", "shape": [2], "low": 0, "high": 1}


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (None, "null describes no space"),
        ({"n": 3}, "there is no space named null; use Box,"),
        ({"name": "MultiDiscrete"}, "MultiDiscrete: the peer does not tell nvec"),
        ({"name": "MultiBinary"}, "MultiBinary: the peer does not tell n"),
        ({"name": "Tuple"}, "Tuple: the peer does not tell spaces"),
        ({"name": "Discrete", "n": "two"}, "Discrete: 'two' is no integer"),
        ({"name": "Discrete", "n": True}, "Discrete: true is no integer"),
        ({"name": "Discrete", "n": 0}, "Discrete: n 0 from 0 is no range of int64"),
        ({"name": "Discrete", "n": 2**63}, "is no range of int64"),
        ({"name": "Discrete", "n": 2, "dtype": "float32"}, "dtype float32 holds no integers"),
        ({**BOX, "shape": 2}, "Box: shape is 2 instead of a list"),
        ({**BOX, "shape": [-1]}, "has a size out of range"),
        ({**BOX, "shape": [1] * 40}, "instead of a list of at most 32"),
        ({**BOX, "low": [0]}, "Box: there is a list of 1 where one of 2 was expected"),
        ({**BOX, "low": [0, [1]]}, "Box: [1] is no number"),
        ({**BOX, "low": [0, "x"]}, "Box: 'x' is no number"),
        ({**BOX, "low": 2}, "Box all low values must be less"),
        ({**BOX, "low": None}, "Box: the peer does not tell low"),
        ({**BOX, "low": "nan"}, "No low value can be equal to"),
        ({**BOX, "dtype": "complex64"}, "the element type complex64 cannot be sent"),
        ({**BOX, "dtype": "O"}, "the element type object cannot be sent"),
        ({**BOX, "dtype": "float99"}, "there is no dtype 'float99'"),
        ({**BOX, "dtype": ["float32"]}, "Box: "),
        ({**BOX, "dtype": "uint8", "high": 300}, "holds a number too great for uint8"),
        ({**BOX, "dtype": "int8", "high": "1.5"}, "is no integer"),
        ({"name": "Text", "max_length": -1}, "there are no texts of 1 to -1 characters"),
        ({"name": "Text", "max_length": 2, "charset": 5}, "charset 5 is no text"),
        ({"name": "Tuple", "spaces": {}}, "spaces is an object of 0 instead of a list"),
        ({"name": "Tuple", "spaces": [BOX, 3]}, "Tuple: 1: 3 describes no space"),
        ({"name": "Dict", "spaces": [BOX]}, "instead of an object"),
        ({"name": "Dict", "spaces": {"a": {"name": "Box"}}}, "Dict: a: Box: the peer does not"),
        ({"name": "Sequence", "space": BOX, "stack": 1}, "1 is neither true nor false"),
        ({"name": "OneOf", "spaces": []}, "Empty `OneOf`"),
        ({"name": "Graph", "node_space": {"name": "MultiBinary", "n": 2}}, "not MultiBinary"),
        ({"name": "MultiDiscrete", "nvec": 3}, "MultiDiscrete: "),
        ({"name": "MultiDiscrete", "nvec": [0]}, "nvec (counts) have to be positive"),
    ],
)
def test_a_bad_description_is_refused(described: Any, message: str) -> None:
    with pytest.raises(BridgeProtocolError, match=re.escape(message)):
        space_from_json(described)


def deep(levels: int) -> Any:
    described: Any = {"name": "Discrete", "n": 2}
    for _ in range(levels):
        described = {"name": "Tuple", "spaces": [described]}
    return described


@pytest.mark.parametrize(
    "described",
    [
        deep(17),
        {"name": "Tuple", "spaces": [{"name": "Discrete", "n": 2}] * 5000},
        {"name": "Box", "shape": [100000, 100000], "low": 0, "high": 1},
        {"name": "Box", "shape": [2**30] * 32, "low": 0, "high": 1},
        {"name": "MultiBinary", "n": 2**40},
        {"name": "MultiBinary", "n": [2**20, 2**20]},
        {"name": "Tuple", "spaces": [{"name": "MultiBinary", "n": 2**20}] * 5},
        {"name": "Text", "max_length": 1, "charset": "a" * 2**23},
    ],
)
def test_a_description_is_bounded(described: Any) -> None:
    with pytest.raises(BridgeProtocolError, match=r"more than|out of range"):
        space_from_json(described)
    assert space_from_json(deep(16), limits=Limits(depth=16)) is not None


NESTED = spaces.Dict({"a": spaces.Tuple((spaces.Box(-1, 1, (2,)), spaces.Discrete(3)))})
MANY = spaces.Sequence(spaces.Discrete(3))
GRAPH = spaces.Graph(spaces.Box(-1, 1, (2,)), None)


@pytest.mark.parametrize(
    ("space", "value", "message"),
    [
        (spaces.Discrete(2), "left", "'left' is no integer"),
        (spaces.Discrete(2), True, "true is no integer"),
        (spaces.Discrete(2), 0.5, "0.5 is no integer"),
        (spaces.Discrete(2), math.nan, "nan is no integer"),
        (spaces.Discrete(2), [1], "[1] is no integer"),
        (spaces.Discrete(2), 10**400, "an integer of 1329 bits is too great for int64"),
        (spaces.Box(-1, 1, (2,)), 1.0, "there is 1.0 where a list of 2 was expected"),
        (spaces.Box(-1, 1, (2,)), [1.0], "there is a list of 1 where one of 2 was expected"),
        (spaces.Box(-1, 1, (2,)), [1.0, True], "true is no number"),
        (spaces.Box(-1, 1, (2,)), [1.0, {}], "an object of 0 is no number"),
        (spaces.Box(-1, 1, (2,)), [1.0, 10**400], "holds a number too great for float32"),
        (spaces.Box(0, 9, (2,), np.uint8), [1, 256], "[1, 256] holds a number too great for uint8"),
        (spaces.Box(0, 9, (2,), np.uint8), [1, None], "null is no integer"),
        (spaces.Box(0, 1, (1,), bool), [2], "2 is neither true nor false"),
        (spaces.Box(-1, 1, (2, 1)), [[1.0], 2.0], "there is 2.0 where a list of 1 was expected"),
        (spaces.Text(3), 5, "5 is no text"),
        (spaces.Text(3), "\ud800", "holds a lone surrogate"),
        (NESTED, {"b": 1}, "its keys differ from the space's in 'a', 'b'"),
        (NESTED, [1], "[1] is no object with the keys a"),
        (NESTED, {"a": [[0, 0], "x"]}, "a: 1: 'x' is no integer"),
        (NESTED, {"a": [1]}, "a: [1] has not the 2 parts of the space"),
        (MANY, 3, "3 is no list"),
        (MANY, [0, None], "1: null is no integer"),
        (GRAPH, {"nodes": 3, "edges": None, "edge_links": None}, "nodes: 3 is no list"),
        (GRAPH, {"nodes": [], "edges": [], "edge_links": []}, "there are edges, where the space"),
        (GRAPH, {"nodes": [], "edges": None, "edge_links": []}, "as many edges as edge_links"),
        (spaces.OneOf([MANY]), [1, []], "there is no space 1 among 1"),
    ],
)
def test_a_bad_value_is_refused(space: Any, value: Any, message: str) -> None:
    with pytest.raises(SampleError, match=re.escape(message)):
        sample_from_json(space, value)


@pytest.mark.parametrize(
    ("space", "sample", "message"),
    [
        (spaces.Box(-1, 1, (2,)), np.zeros(3), "its shape is (3,), where the space has (2,)"),
        (spaces.Box(-1, 1, (2,)), "text", "'text' is no array of numbers"),
        (spaces.Box(-1, 1, (2,)), [[1], [1, 2]], "is no array: "),
        (spaces.Box(-1, 1, (2,)), None, "null is no array of numbers"),
        (spaces.Box(0, 9, (1,), np.uint8), np.array([0.5]), "float64 values that uint8 cannot"),
        (spaces.Box(0, 9, (1,), np.uint8), np.array([300]), "int64 values that uint8 cannot"),
        (spaces.Discrete(2), np.zeros(2), "its shape is (2,), where the space has ()"),
        (spaces.Text(3), b"abc", "b'abc' is no text"),
        (NESTED, {"a": (np.zeros(2), 1, 2)}, "a: [a ndarray, 1, 2] has not the 2 parts"),
        (MANY, 3, "3 is no sequence"),
        (GRAPH, (np.zeros((2, 3)), None, None), "rows of shape (3,) where the space has (2,)"),
        (spaces.OneOf([MANY]), (7, ()), "there is no space 7 among 1"),
    ],
)
def test_what_does_not_fit_is_not_sent(space: Any, sample: Any, message: str) -> None:
    for send in (sample_to_bytes, lambda *args: sample_to_json(*args, style=EXACT)):
        with pytest.raises(SampleError, match=re.escape(message)):
            send(space, sample)


def test_what_fits_by_value_is_sent_in_the_dtype_of_the_space() -> None:
    box = spaces.Box(-1, 1, (2,), np.float32)
    assert sample_to_json(box, [1, 0], style=LEGACY_FLAT) == [1.0, 0.0]
    assert sample_to_json(spaces.Discrete(3), np.array(2), style=LEGACY_FLAT) == 2
    assert sample_to_json(spaces.Box(0, 9, (1,), np.uint8), np.array([3.0]), style=EXACT) == [3]
    strided = np.arange(8, dtype=np.float32)[::4]
    assert_same(strided, sample_from_bytes(box, sample_to_bytes(box, strided)))


@QUICK
@given(any_space, st.binary(max_size=64))
def test_foreign_bytes_are_a_sample_or_an_error(space: Any, data: bytes) -> None:
    coder = byte_coder_for(space)
    try:
        sample = coder.read_all(data)
    except SampleError:
        return
    # Every byte but 0 is true; what a bool is written as is 1.
    assert coder.write(sample) == data or "bool" in repr(space)


@pytest.mark.parametrize(
    ("space", "data", "message"),
    [
        (spaces.Discrete(2), b"123", "there are 3 bytes where 8 were expected"),
        (spaces.Discrete(2), b"12345678.", "1 bytes are left over"),
        (spaces.Text(3), b"\x01\0\0\0\xff", "a text is no UTF-8"),
        (MANY, b"\xff\xff\xff\xff", "there are 0 bytes where 34359738360 were expected"),
        (spaces.Sequence(spaces.Tuple(())), b"\xff\xff\xff\xff", "empty elements"),
        (NESTED, b"1234567", "a: 0: there are 7 bytes where 8 were expected"),
    ],
)
def test_bad_bytes_are_refused(space: Any, data: bytes, message: str) -> None:
    with pytest.raises(SampleError, match=re.escape(message)):
        sample_from_bytes(space, data)


class Compass(gymnasium.Space[str]):
    pass


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Compass(), "Compass cannot be"),
        (spaces.Dict({"a": Compass()}), "Compass cannot be"),
        (spaces.Box(0, 1, (1,), np.longdouble), "cannot be"),
        (spaces.Text(1, charset="\ud800"), "lone surrogate"),
        (spaces.Dict({1: spaces.Discrete(2)}), "its key 1 is no text"),
    ],
)
def test_a_space_of_another_kind_is_refused(space: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=re.escape(message)):
        space_to_json(space, style=EXACT)


@pytest.mark.parametrize("space", [Compass(), spaces.Box(0, 1, (1,), np.longdouble)])
def test_samples_of_another_kind_are_refused(space: Any) -> None:
    for make in (lambda: encoder_for(space, EXACT), lambda: decoder_for(space)):
        with pytest.raises(SpaceError, match="cannot be sent"):
            make()
    with pytest.raises(SpaceError, match="cannot be sent"):
        byte_coder_for(space)


def test_info_becomes_plain() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    info = {
        "scalar": np.float32(0.5), "array": np.array([[1, 2]]), "flag": np.True_, 3: (1, {2}),
        "nan": np.array([math.nan, math.inf]), "big": 2**70, "huge": 10**400, "none": None,
        "object": object(), "bytes": b"x", "text": "\ud800é", "time": np.datetime64("2020-01-01"),
        "objects": np.array([None, "a"], object), "long": np.longdouble(0.5), ("a",): 1,
    }  # fmt: skip
    assert plain(info) == {
        "scalar": 0.5, "array": [[1, 2]], "flag": True, "3": [1, [2]], "nan": [None, 1e100],
        "big": float(2**70), "huge": 1e100, "none": None, "object": "<object>", "bytes": "<bytes>",
        "text": "?é", "time": "<datetime64[D]>", "objects": [None, "a"], "long": 0.5, "<tuple>": 1,
    }  # fmt: skip
    assert through_json(plain(info)) == plain(info)
    assert "<dict>" in json.dumps(plain(loop))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@QUICK
@given(values)
def test_whatever_is_in_info_is_valid_json(value: Any) -> None:
    json.dumps(plain(value), allow_nan=False)
    orjson.dumps(plain(value))


@QUICK
@given(any_space, values)
def test_any_json_is_a_sample_or_an_error(space: Any, value: Any) -> None:
    try:
        sample = sample_from_json(space, value)
    except SampleError:
        return
    through_json(sample_to_json(space, sample, style=EXACT))
