"""Spaces as data: what is the same space, and what is another one."""

import json

import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.checkpoints.files import encode_plain
from gym_loop.envs.spaces import describe_space, space_difference


class Named(spaces.Space):
    """A space of a user; its text is Python's own, with an address."""

    def __init__(self, names, inner=None):
        super().__init__(dtype=str)
        self.names, self.inner, self.check = names, inner, lambda: names


class Drawn(spaces.Box):
    def __repr__(self):
        return f"Drawn at {hex(id(self))}"


def box(low, high=1.0, shape=None, kind=spaces.Box):
    return kind(low if shape else np.asarray(low, np.float32), high, shape)


WIDE = np.linspace(-1, 0, 3000, dtype=np.float32)
OTHER = np.where(np.arange(3000) == 1500, np.float32(-9), WIDE)
PAIRS = [
    (lambda: box([-1.0, 0.0]), lambda: box([-1.0, -0.5])),
    (lambda: box(WIDE, np.ones(3000, np.float32)), lambda: box(OTHER, np.ones(3000, np.float32))),
    (lambda: box(-np.inf, np.inf, (2,)), lambda: box(-np.inf, np.inf, (3,))),
    (lambda: spaces.Box(0, 9, (2,), np.uint8), lambda: spaces.Box(0, 9, (2,), np.int16)),
    (lambda: box([0.0], kind=Drawn), lambda: box([0.5], kind=Drawn)),
    (lambda: spaces.Discrete(3), lambda: spaces.Discrete(3, start=1)),
    (lambda: spaces.MultiBinary([2, 3]), lambda: spaces.MultiBinary([3, 2])),
    (lambda: spaces.MultiDiscrete([2, 3]), lambda: spaces.MultiDiscrete([2, 4])),
    (lambda: spaces.Text(5, charset="abc"), lambda: spaces.Text(5, charset="abd")),
    (lambda: spaces.Tuple([spaces.Discrete(2), box(0)]), lambda: spaces.Tuple([box(0)])),
    (lambda: spaces.Dict(a=box(0)), lambda: spaces.Dict(b=box(0))),
    (lambda: spaces.Sequence(box(0)), lambda: spaces.Sequence(box(0), stack=True)),
    (lambda: spaces.Graph(box(0, 1, (2,)), None), lambda: spaces.Graph(box(0, 1, (3,)), None)),
    (lambda: spaces.OneOf([box(0)]), lambda: spaces.Tuple([box(0)])),
    (lambda: Named({"x", "y", "z"}), lambda: Named({"x", "y"})),
    (lambda: Named(("x",), box(0)), lambda: Named(("x",), box(0.5))),
]


def written(space):
    """As it comes back from a checkpoint."""
    return json.loads(json.dumps(encode_plain(describe_space(space))))


@pytest.mark.parametrize(("make", "make_another"), PAIRS)
def test_same_and_other(make, make_another):
    assert space_difference(describe_space(make()), describe_space(make())) == ""
    assert space_difference(describe_space(make()), describe_space(make_another()))
    written(make())


def test_bounds_are_equal_but_for_rounding():
    then, now = box([0.1, 0.2]), box([np.nextafter(np.float32(0.1), 1), 0.2])
    assert space_difference(describe_space(then), describe_space(now)) == ""


def test_where_the_texts_are_equal_the_difference_is_named():
    first, second = (describe_space(box(low, np.ones(3000, np.float32))) for low in (WIDE, OTHER))
    assert "low" in space_difference(first, second)


def test_texts_of_older_checkpoints():
    now = describe_space(Named(("x",)))
    assert space_difference(str(Named(("x",))), now) == ""
    assert space_difference("Discrete(2)", now).startswith("was Discrete(2), is ")


@pytest.mark.parametrize(
    "forged", [5, None, [], {"text": "x"}, {"text": 1, "facts": {"kind": [[[]]]}}]
)
def test_forged_descriptions_are_of_another_space(forged):
    assert space_difference(forged, describe_space(spaces.Discrete(2)))


def test_a_space_that_holds_itself_ends():
    space = Named(())
    space.inner = space
    space.names = [space, [space]]
    assert space_difference(written(space), describe_space(space)) == ""
