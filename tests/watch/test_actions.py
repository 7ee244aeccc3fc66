"""Actions and numbers as the page that watches an agent shows them."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from gym_loop.watch.player import action_reader


class Named(gym.Env[Any, Any]):
    def get_action_meanings(self) -> list[str]:
        return ["NOOP", "FIRE"]


@pytest.mark.parametrize(
    ("action", "shown"),
    [
        (1, "1 FIRE"),
        (np.int64(0), "0 NOOP"),
        (np.array(1), "1 FIRE"),
        (2, 2),
        (-1, -1),
        (np.array([[0.12345, -2.0]]), [0.123, -2.0]),
        (np.array([True, False]), [1.0, 0.0]),
        ("left", "left"),
        ("x" * 200, "x" * 120),
        (None, None),
    ],
)
def test_actions_are_shown_as_short_plain_data(action: Any, shown: Any) -> None:
    assert action_reader(Named())(action) == shown


def test_numbers_stay_numbers_where_they_have_no_names() -> None:
    assert action_reader(gym.Env())(1) == 1
