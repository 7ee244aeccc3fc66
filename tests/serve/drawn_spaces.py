"""Any Gymnasium space and any value of `info`, for Hypothesis to draw."""

import json
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
from gymnasium import spaces
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from gym_loop.wire.json_values import Style
from gym_loop.wire.samples import decoder_for, encoder_for


def sample_to_json(space: Any, sample: Any, *, style: Style) -> Any:
    return encoder_for(space, style)(sample)


def sample_from_json(space: Any, value: Any) -> Any:
    return decoder_for(space)(value)


QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
FLOATS = ["float16", "float32", "float64"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
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
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


def through_json(value: Any) -> Any:
    """What both parsers read of what both writers wrote, which must be the same."""
    text = json.dumps(value, allow_nan=False)
    read = orjson.loads(orjson.dumps(value))
    assert json.loads(text) == orjson.loads(text) == read
    return read
