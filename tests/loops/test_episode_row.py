"""Episodes that end close together share a row of the logs."""

import numpy as np
import pytest

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.loops.episode_row import EpisodeRow


def test_episodes_of_several_steps_have_means_in_common() -> None:
    row = EpisodeRow()
    row.add(8, [1.0], 3)
    row.add(24, [2.0, 6.0], 9)
    assert row.step == 24
    assert row.scalars() == {
        "train/episode_return": 3.0,
        "train/episode_length": 4.0,
        "train/episodes": 3,
    }
    row.begin(100)
    assert (row.due, row.returns, row.length) == (100, [], 0)


def test_each_return_is_among_the_latest_once() -> None:
    row = EpisodeRow()
    assert row.latest(9) == []
    row.add(1, [1.0], 1)
    assert row.latest(9) == [1.0]
    row.add(2, [2.0], 1)
    row.add(3, [3.0], 1)
    assert row.latest(9) == [2.0, 3.0]
    row.begin(9)
    row.add(9, [4.0, 5.0, 6.0], 3)
    assert row.latest(2) == [5.0, 6.0]
    assert row.latest(2) == []


def test_a_row_half_full_goes_on_from_its_state() -> None:
    rng = np.random.default_rng(0)
    whole, first, second = EpisodeRow(), EpisodeRow(), EpisodeRow()
    returns = rng.standard_normal(50).tolist()
    for row in (whole, first):
        row.begin(64)
        row.add(30, returns[:21], 400)
    first.latest(9)
    second.load_state_dict(restore(None, capture(first.state_dict())))
    assert second.latest(9) == []
    for row in (whole, second):
        row.add(60, returns[21:], 600)
    assert second.due == 64
    assert second.scalars() == whole.scalars()
    assert second.scalars()["train/episode_return"] == pytest.approx(np.mean(returns))
