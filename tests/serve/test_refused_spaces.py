"""What describes no space, is no sample of one or cannot be sent is refused in words."""

import math
import re
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given

from gym_loop.errors import BridgeProtocolError, SampleError, SpaceError
from gym_loop.wire.json_values import Style
from gym_loop.wire.samples import decoder_for, encoder_for
from gym_loop.wire.spaces import Limits, space_from_json, space_to_json
from tests.serve.drawn_spaces import (
    QUICK,
    any_space,
    sample_from_json,
    sample_to_json,
    through_json,
    values,
)

EXACT = Style.EXACT

# -- descriptions ----------------------------------------------------------------------------------

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


# -- samples that come -----------------------------------------------------------------------------

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


@QUICK
@given(any_space, values)
def test_any_json_is_a_sample_or_an_error(space: Any, value: Any) -> None:
    try:
        sample = sample_from_json(space, value)
    except SampleError:
        return
    through_json(sample_to_json(space, sample, style=EXACT))


# -- what goes out ---------------------------------------------------------------------------------


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
    with pytest.raises(SampleError, match=re.escape(message)):
        sample_to_json(space, sample, style=EXACT)


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
