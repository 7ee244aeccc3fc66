"""The first difference of two trees of state, with its place."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from gym_loop.checkpoints.tree import capture, first_difference

TREES: list[Any] = [
    None,
    3,
    -0.0,
    math.nan,
    "text",
    [1, {"a": (2.5, None)}],
    np.array([[1.0, math.nan]]),
    np.float32(3),
]


@pytest.mark.parametrize("index", range(len(TREES)))
def test_a_tree_is_equal_to_itself_alone(index: int) -> None:
    for other, tree in enumerate(TREES):
        assert bool(first_difference(TREES[index], tree)) == (other != index)


@pytest.mark.parametrize(
    ("want", "have", "said"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b is 2 instead of 1"),
        ({"a": 1}, {"b": 1}, "it has the keys ['b'] instead of ['a']"),
        ({"a": [1, 2]}, {"a": [1]}, "a has 1 items instead of 2"),
        ({"a": [1, (2, 3)]}, {"a": [1, (2, 4)]}, "a[1][1] is 4 instead of 3"),
        (1, 1.0, "it is 1.0 instead of 1"),
        (True, 1, "it is 1 instead of True"),
        (0.0, -0.0, "it is -0.0 instead of 0.0"),
        ("x" * 100, "y" * 100, f"it is '{'y' * 56}... instead of '{'x' * 56}..."),
        (
            {"a": np.zeros(2)},
            {"a": np.zeros(3)},
            "a has dtype float64 and shape (3,) instead of float64 and (2,)",
        ),
        (
            {"a": np.zeros(2)},
            {"a": np.zeros(2, np.float32)},
            "a has dtype float32 and shape (2,) instead of float64 and (2,)",
        ),
        (
            {"a": np.array([[1.0, 2.0], [3.0, 4.0]])},
            {"a": np.array([[1.0, 2.0], [5.0, 6.0]])},
            "a[1, 0] is 5.0 instead of 3.0",
        ),
        ({"a": np.float32(1)}, {"a": np.float32(2)}, "a is 2.0 instead of 1.0"),
    ],
)
def test_the_first_difference_is_said_with_its_place(want: Any, have: Any, said: str) -> None:
    assert first_difference(want, have) == said


class Inner:
    def __init__(self, value: Any) -> None:
        self.value = value


class Outer(torch.nn.Module):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout(0.5))
        for weights in self.parameters():
            torch.nn.init.zeros_(weights)
        self.value = value


@pytest.mark.parametrize(
    ("want", "have", "said"),
    [
        (Inner([{"a": 1}]), Inner([{"a": 2}]), "agent.value[0].a is 2 instead of 1"),
        (Inner({(1, 2): 3}), Inner({(1, 2): 4}), "agent.value[(1, 2)] is 4 instead of 3"),
        (Inner((1, 2)), Inner((1, 3)), "agent.value[1] is 3 instead of 2"),
        (Outer(1), Outer(2), "agent.value is 2 instead of 1"),
        (Inner(Outer({"x": 1})), Inner(Outer({"x": 2})), "agent.value.value.x is 2 instead of 1"),
    ],
)
def test_places_are_those_of_the_live_objects(want: Any, have: Any, said: str) -> None:
    trees = [capture({"agent": one}) for one in (want, have)]
    assert first_difference(*trees) == said


def test_places_inside_a_module() -> None:
    nets = [Outer(1), Outer(1)]
    dropout: Any = nets[1].body[1]
    dropout.p = 0.25

    def said() -> str:
        return first_difference(capture(nets[0]), capture(nets[1]), "net")

    assert said() == "net.body.1.p is 0.25 instead of 0.5"
    with torch.no_grad():
        nets[1].body[0].bias[0] = 3.0
    assert said() == "net.body.0.bias[0] is 3.0 instead of 0.0"
