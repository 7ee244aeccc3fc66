"""Observations become inputs of a network, and its outputs actions of the space."""

import math
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from gym_loop.errors import SpaceError
from gym_loop.nn.spaces import ActionCodec, BoundedActions, ObservationEncoder

OBSERVATIONS = [
    spaces.Box(-1, 1, (3,), np.float64),
    spaces.Box(-1, 1, (), np.float32),
    spaces.Box(0, 255, (4, 4, 3), np.uint8),
    spaces.Discrete(5, start=-2),
    spaces.MultiDiscrete([3, 2], start=[1, 0]),
    spaces.MultiDiscrete([[3, 2], [4, 2]]),
    spaces.MultiBinary((2, 3)),
]
NESTED = [
    spaces.Dict({"z": spaces.Box(-1, 1, (2, 2)), "a": spaces.Discrete(3)}),
    spaces.Tuple((spaces.MultiDiscrete([2, 3]), spaces.MultiBinary((2, 2)), spaces.Box(0, 1, ()))),
    spaces.Dict(
        deep=spaces.Tuple((spaces.Discrete(3, start=5), spaces.Dict(x=spaces.Box(-9, 9, (3,))))),
        flag=spaces.MultiBinary(2),
    ),
]
ACTIONS = [
    spaces.Discrete(5, start=-2),
    spaces.MultiDiscrete([3, 2], start=[1, 0]),
    spaces.MultiDiscrete([[3, 2], [4, 2]]),
    spaces.MultiBinary(4),
    spaces.MultiBinary((2, 3)),
    spaces.Box(np.array([-2, 0], np.float32), np.array([2, 100], np.float32)),
    spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    spaces.Box(0, np.inf, (), np.float32),
]


def batch_of(space: spaces.Space, samples: list) -> Any:
    return concatenate(space, samples, create_empty_array(space, len(samples)))


@pytest.mark.parametrize("space", [*OBSERVATIONS, *NESTED], ids=str)
def test_one_observation_and_many_are_encoded_alike(space: spaces.Space) -> None:
    encoder = ObservationEncoder(space, "PPO")
    space.seed(0)
    samples = [space.sample() for _ in range(4)]
    batch = batch_of(space, samples)
    encoded = encoder(batch)
    assert encoded.shape == (4, *encoder.shape)
    assert encoded.dtype == encoder.dtype == encoder.example.dtype
    assert encoder.example.shape == encoder.shape
    assert not encoder.is_single(batch)
    for row, sample in zip(encoded, samples, strict=True):
        assert encoder.is_single(sample)
        np.testing.assert_array_equal(encoder(sample)[0], row)
    many = batch_space(space, 3).sample()
    assert encoder(many).shape == (3, *encoder.shape)

    packed = encoder.pack(batch)
    assert packed.shape == (4, *encoder.packed.shape)
    assert packed.dtype == encoder.packed.dtype
    unpacked = encoder.unpack(packed.take([2, 0], axis=0))
    assert unpacked.dtype == encoder.dtype
    np.testing.assert_array_equal(unpacked, encoded[[2, 0]])


@pytest.mark.parametrize("space", NESTED, ids=str)
def test_parts_are_laid_out_as_gymnasium_flattens_them(space: spaces.Space) -> None:
    encoder = ObservationEncoder(space, "PPO")
    space.seed(0)
    samples = [space.sample() for _ in range(4)]
    wanted = np.stack([spaces.flatten(space, sample) for sample in samples])
    np.testing.assert_array_equal(encoder(batch_of(space, samples)), wanted.astype(np.float32))
    assert encoder.shape == spaces.flatten_space(space).shape


def test_parts_keep_their_shapes_for_a_module() -> None:
    assert ObservationEncoder(NESTED[0], "PPO").shapes == {"a": (3,), "z": (2, 2)}
    assert ObservationEncoder(NESTED[1], "PPO").shapes == [(5,), (2, 2), ()]
    assert ObservationEncoder(NESTED[2], "PPO").shapes == {
        "deep": [(3,), {"x": (3,)}],
        "flag": (2,),
    }


def test_pictures_among_parts_are_packed_as_they_are_and_scaled() -> None:
    space = spaces.Dict(image=spaces.Box(0, 255, (8, 8, 1), np.uint8), place=spaces.Discrete(1000))
    encoder = ObservationEncoder(space, "DQN")
    assert encoder.packed.nbytes == 64 + 8
    image = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8, 1)
    observation = {"image": image, "place": 7}
    for encoded in (encoder(observation), encoder.unpack(encoder.pack(observation))):
        np.testing.assert_allclose(encoded[0, :64], image.ravel() / 255, rtol=1e-6)
        assert encoded[0, 64:].nonzero()[0].tolist() == [7]


def test_counts_are_coded_one_hot() -> None:
    encoder = ObservationEncoder(spaces.Discrete(3, start=5), "PPO")
    assert encoder(np.array([5, 7])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert encoder(6).tolist() == [[0, 1, 0]]
    encoder = ObservationEncoder(spaces.MultiDiscrete([2, 3], start=[0, 1]), "PPO")
    assert encoder(np.array([1, 1])).tolist() == [[0, 1, 1, 0, 0]]


@pytest.mark.parametrize("space", ACTIONS, ids=str)
def test_what_is_drawn_becomes_an_action_of_the_space(space: spaces.Space) -> None:
    codec = ActionCodec(space, "PPO")
    one, rng = codec.distribution, np.random.default_rng(0)
    outputs = 2.0 * rng.standard_normal((50, one.outputs)).astype(np.float32)
    for drawn in (one.sample(outputs, np.zeros(one.extra, np.float32), rng), one.mode(outputs)):
        assert drawn.dtype == codec.example.dtype
        assert drawn.shape[1:] == codec.example.shape
        actions = codec(drawn)
        assert len(actions) == 50
        for row in range(50):
            action = codec.single(drawn[row : row + 1])
            assert space.contains(action)
            np.testing.assert_array_equal(action, actions[row])
        assert batch_space(space, 50).contains(actions)


def test_finite_boxes_are_reached_from_bound_to_bound() -> None:
    codec = ActionCodec(
        spaces.Box(np.array([0.0, -4.0]), np.array([10.0, 4.0]), dtype=float), "PPO"
    )
    assert codec(np.array([[-1.0, 0.5], [3.0, -9.0]])).tolist() == [[0, 2], [10, -4]]
    unbounded = ActionCodec(spaces.Box(0, np.inf, (2,)), "PPO")
    assert unbounded(np.array([[-1.0, 7.0]])).tolist() == [[0, 7]]
    widest = float(np.finfo(np.float32).max)
    assert np.isfinite(ActionCodec(spaces.Box(-widest, widest, (1,)), "PPO")(np.ones((1, 1)))).all()


@pytest.mark.parametrize(
    ("space", "place"),
    [
        (spaces.Text(3), r"observations in Text"),
        (spaces.Dict({"a": spaces.Text(3)}), r"observations\['a'\] in Text"),
        (spaces.Tuple((spaces.Dict({"a": spaces.Text(3)}),)), r"observations\[0\]\['a'\] in "),
        (spaces.Sequence(spaces.Discrete(2)), r"observations in Sequence"),
    ],
    ids=str,
)
def test_other_observations_are_refused_with_the_wrapper_that_helps(
    space: spaces.Space, place: str
) -> None:
    remedy = r"env\.wrappers: .*a Box of them"
    with pytest.raises(SpaceError, match=f"PPO cannot learn from {place}.*{remedy}"):
        ObservationEncoder(space, "PPO")


def test_empty_observations_are_refused() -> None:
    with pytest.raises(SpaceError, match="they are empty"):
        ObservationEncoder(spaces.Box(0, 1, (0,)), "PPO")
    with pytest.raises(SpaceError, match="they are empty"):
        ObservationEncoder(spaces.Tuple(()), "PPO")


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Box(0, 9, (2,), np.int64)], ids=str)
def test_other_actions_are_refused(space: spaces.Space) -> None:
    with pytest.raises(SpaceError, match=r"PPO cannot act in .*TransformAction"):
        ActionCodec(space, "PPO")


LIMITS = [
    spaces.Box(-2, 2, (1,)),
    spaces.Box(np.array([-1.0, 0.0, 5.0]), np.array([3.0, 0.5, 5.0]), dtype=np.float64),
    spaces.Box(-1, 7, (2, 2)),
    spaces.Box(-1, 1, ()),
]


@pytest.mark.parametrize("space", LIMITS, ids=str)
def test_bounded_actions_go_there_and_back(space: spaces.Box) -> None:
    bounds = BoundedActions(space, "SAC")
    assert bounds.size == math.prod(space.shape)
    ends = bounds(np.array([[-1.0], [1.0], [0.0]]) * np.ones(bounds.size))
    np.testing.assert_allclose(ends[0], space.low)
    np.testing.assert_allclose(ends[1], space.high)
    np.testing.assert_allclose(ends[2], (space.low + space.high) / 2)
    space.seed(0)
    for _ in range(20):
        action = space.sample()
        units = bounds.stored(action)
        assert units.shape == (1, bounds.size)
        assert units.dtype == np.float32
        back = bounds(units)[0, ...]
        assert space.contains(back)
        np.testing.assert_allclose(back, action, atol=1e-6)
    many = np.stack([space.sample() for _ in range(4)])
    np.testing.assert_allclose(bounds(bounds.stored(many)), many, atol=1e-6)


@pytest.mark.parametrize(
    "space", [spaces.Discrete(2), spaces.Box(0, 9, (2,), np.int64), spaces.Text(3)], ids=str
)
def test_actions_that_are_not_continuous_are_refused(space: spaces.Space) -> None:
    with pytest.raises(SpaceError, match=r"SAC cannot act in .*a Box of floats; "):
        BoundedActions(space, "SAC")


@pytest.mark.parametrize(
    ("low", "high"),
    [(-np.inf, np.inf), (0.0, np.inf), (np.array([0.0, -np.inf], np.float32), 1.0)],
    ids=str,
)
def test_actions_without_bounds_are_refused_with_the_wrapper_that_helps(
    low: Any, high: Any
) -> None:
    space = spaces.Box(low, high, (2,))
    with pytest.raises(SpaceError, match=r"finite bounds.*wrappers:ClipAction.*TransformAction"):
        BoundedActions(space, "SAC")
