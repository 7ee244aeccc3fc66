"""Any space and any sample of it goes out and comes back equal, as JSON."""

import math
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from gym_loop.wire.json_values import Style
from gym_loop.wire.samples import encoder_for
from gym_loop.wire.spaces import space_from_json, space_to_json
from tests.serve.drawn_spaces import (
    QUICK,
    any_space,
    sample_from_json,
    sample_to_json,
    through_json,
)

LEGACY_FLAT, LEGACY_NESTED, EXACT = Style


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


@QUICK
@given(any_space, st.sampled_from([LEGACY_FLAT, LEGACY_NESTED]))
def test_legacy_styles_are_read_too(space: Any, style: Any) -> None:
    space.seed(1)
    described = through_json(space_to_json(space, style=style))
    read = space_from_json(described)
    assert space_to_json(read, style=style) == described
    sample = space.sample()
    assert_same(sample, sample_from_json(read, through_json(encoder_for(space, style)(sample))))


EDGES: dict[str, list[Any]] = {
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


def test_what_fits_by_value_is_sent_in_the_dtype_of_the_space() -> None:
    box = spaces.Box(-1, 1, (2,), np.float32)
    assert sample_to_json(box, [1, 0], style=LEGACY_FLAT) == [1.0, 0.0]
    assert sample_to_json(spaces.Discrete(3), np.array(2), style=LEGACY_FLAT) == 2
    assert sample_to_json(spaces.Box(0, 9, (1,), np.uint8), np.array([3.0]), style=EXACT) == [3]


# -- how it looks ----------------------------------------------------------------------------------


def test_exact_json_is_safe_for_javascript() -> None:
    space = spaces.Box(-(2**62), 2**62, (2,), np.int64)
    assert space_to_json(space, style=EXACT)["low"] == str(-(2**62))
    assert sample_to_json(space, np.array([2**53, 7]), style=EXACT) == [str(2**53), 7]
    discrete = spaces.Discrete(2**60)
    assert sample_to_json(discrete, 2**54, style=EXACT) == str(2**54)
    assert sample_from_json(discrete, str(2**54)) == 2**54


STYLES = [LEGACY_FLAT, LEGACY_NESTED, EXACT]


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
