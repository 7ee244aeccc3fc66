"""Prioritised replay: the tree of sums, what is drawn, and the weights that undo the bias."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_loop.checkpoints.tree import capture, first_difference, restore
from gym_loop.nn.buffers.prioritized import FANOUT, MOST_CHANGES, PrioritizedReplay, SumTree

ACTION = np.zeros(1, np.int64)  # of the one environment


def make(capacity: int = 8, **options: Any) -> PrioritizedReplay:
    example = np.zeros(1, np.float32), np.zeros((), np.int64)
    return PrioritizedReplay(capacity, 1, *example, **options)


def fill(replay: PrioritizedReplay, count: int) -> None:
    for number in range(count):
        ob = np.full((1, 1), number, np.float32)
        replay.add(ob, ACTION, float(number), False, False, ob + 1)


# -- the tree --------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_sums_follow_their_leaves_bit_for_bit(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([1, 5, FANOUT, FANOUT + 1, 1000]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    tree, leaves = SumTree(size), np.zeros(size)
    for _ in range(data.draw(st.integers(1, 5))):
        at = rng.integers(size, size=data.draw(st.integers(1, 20)))
        values = rng.random(len(at)) * 10.0 ** rng.integers(-6, 6)
        tree.set(at, values)
        leaves[at] = tree.leaves[at]
        if data.draw(st.booleans()):
            assert tree.total == pytest.approx(leaves.sum())
    assert tree.total == pytest.approx(leaves.sum())
    fresh = SumTree(size)
    fresh.leaves[:] = tree.leaves
    fresh.rebuild()
    for one, other in zip(tree.levels, fresh.levels, strict=True):
        np.testing.assert_array_equal(one, other)


def test_places_are_found_where_running_sums_say() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(3000) * (rng.random(3000) < 0.5)
    tree = SumTree(3000)
    tree.set(np.arange(3000), values)
    places = rng.random(5000) * tree.total
    np.testing.assert_array_equal(
        tree.find(places), np.searchsorted(values.cumsum(), places, side="right")
    )


def test_a_leaf_of_zero_is_never_found() -> None:
    tree = SumTree(500)
    tree.set(np.array([3, 490]), np.array([0.1, 0.3]))
    total = tree.total
    places = np.array([0.0, np.nextafter(0.1, 0), 0.1, np.nextafter(total, 0), total, 2 * total])
    assert tree.find(places).tolist() == [3, 3, 490, 490, 490, 490]


def test_changes_do_not_pile_up_while_nobody_draws() -> None:
    tree = SumTree(10)
    for number in range(3 * MOST_CHANGES):
        tree.set(np.array([number % 10]), 1.0)
    assert len(tree.changed) < MOST_CHANGES
    assert tree.total == 10.0


# -- the replay --------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_drawn_in_proportion_to_a_power_of_the_error(exponent: float) -> None:
    replay = make(exponent=exponent)
    fill(replay, 5)
    errors = np.array([0.0, -1.0, 2.0, 4.0, 8.0])
    replay.reprioritize(np.arange(5), errors)
    expected = (np.abs(errors) + replay.SMALLEST) ** exponent
    expected /= expected.sum()
    rng = np.random.default_rng(0)
    slots = np.concatenate([replay.sample(100, rng, 0.5).slots for _ in range(400)])
    np.testing.assert_allclose(np.bincount(slots, minlength=5) / len(slots), expected, atol=0.01)


def test_weights_undo_the_bias() -> None:
    replay = make(exponent=1.0)
    fill(replay, 4)
    replay.reprioritize(np.arange(4), np.array([1.0, 2.0, 3.0, 4.0]))
    rng = np.random.default_rng(0)
    drawn = replay.sample(1000, rng, 1.0)
    assert drawn.weights is not None
    assert drawn.weights.dtype == np.float32
    assert drawn.weights.max() == 1.0
    # A weighted mean is the mean over all transitions: of 0, 1, 2, 3.
    assert np.average(drawn.rewards, weights=drawn.weights) == pytest.approx(1.5, abs=0.02)
    np.testing.assert_allclose(drawn.weights, 1.0 / (drawn.rewards + 1.0), rtol=1e-5)
    half = replay.sample(1000, rng, 0.5)
    assert half.weights is not None
    np.testing.assert_allclose(half.weights, (half.rewards + 1.0) ** -0.5, rtol=1e-5)
    np.testing.assert_array_equal(replay.sample(10, rng, 0.0).weights, np.ones(10))


def test_new_transitions_have_the_highest_priority_so_far() -> None:
    replay = make(exponent=1.0)
    fill(replay, 2)
    assert replay.tree.leaves[:3].tolist() == [1.0, 1.0, 0.0]
    replay.reprioritize(np.array([0, 1]), np.array([5.0, 0.1]))
    fill(replay, 1)
    assert replay.tree.leaves[2] == pytest.approx(5.0)
    replay.reprioritize(np.array([0, 2]), np.array([0.1, 0.1]))
    fill(replay, 6)  # the ring is full: the first slot is overwritten
    np.testing.assert_allclose(replay.tree.leaves[[0, 1, 2, 3, 8]], [5, 0.1, 0.1, 5, 0], rtol=1e-4)


def test_a_slot_that_was_drawn_twice_counts_once() -> None:
    replay = make(exponent=1.0)
    fill(replay, 3)
    replay.reprioritize(np.array([1, 1]), np.array([2.0, 2.0]))
    assert replay.tree.total == pytest.approx(4.0)


def test_goes_on_from_its_state() -> None:
    one, other = make(40), make(40)
    fill(one, 60)
    rng = np.random.default_rng(0)
    for _ in range(10):
        drawn = one.sample(8, rng)
        one.reprioritize(drawn.slots, rng.random(8) * 7)
    fill(other, 3)
    other.load_state_dict(restore(None, capture(one.state_dict())))
    for replay in (one, other):
        fill(replay, 2)
        rng = np.random.default_rng(1)
        for _ in range(5):
            replay.reprioritize(replay.sample(8, rng).slots, rng.random(8))
    assert not first_difference(capture(one.state_dict()), capture(other.state_dict()))
    assert one.tree.total == other.tree.total
