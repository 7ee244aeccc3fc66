"""Episodes in the logs: a row each, or means of those that end close together."""

from typing import Any

import numpy as np
import pytest

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.loops.episode_log import RETURNS_SHOWN, VECTOR_STEPS_PER_ROW, EpisodeLog
from gym_loop.loops.progress import Progress
from tests.scripted import JournalAgent, logged_run


def episode_log(copies: int | None = None) -> tuple[EpisodeLog, list[Any]]:
    run, logger = logged_run()
    progress = Progress(run.console, {})
    return EpisodeLog(run, JournalAgent([], action_space=None), progress, copies), logger.rows


def train_scalars(row: Any) -> tuple[int, dict[str, float]]:
    step, scalars = row
    wanted = ("train/episode_return", "train/episode_length", "train/episodes")
    return step, {name: scalars[name] for name in wanted if name in scalars}


def test_an_episode_of_the_only_copy_has_a_row_of_its_own() -> None:
    log, rows = episode_log()
    log.add(3, 1, [2.5], 3)
    log.add(5, 2, [1.0], 2)
    assert [train_scalars(row) for row in rows] == [
        (3, {"train/episode_return": 2.5, "train/episode_length": 3}),
        (5, {"train/episode_return": 1.0, "train/episode_length": 2}),
    ]
    assert list(log.last_returns) == [2.5, 1.0]


def test_episodes_of_several_steps_have_means_in_common() -> None:
    log, rows = episode_log(copies=2)
    log.add(8, 1, [1.0], 3)  # the very first episode completes a row
    log.add(24, 3, [2.0, 6.0], 9)
    log.add(26, 4, [7.0], 3)
    assert len(rows) == 1
    end = 8 + 2 * VECTOR_STEPS_PER_ROW
    log.add(end, 5, [1.0], 5)
    assert train_scalars(rows[1]) == (
        end,
        {"train/episode_return": 4.0, "train/episode_length": 17 / 4, "train/episodes": 4},
    )
    log.write_row()  # there is nothing to write
    assert len(rows) == 2


def test_each_return_is_among_the_latest_once() -> None:
    log, _ = episode_log(copies=1)
    assert list(log.last_returns) == []
    log.add(1, 1, [1.0], 1)
    assert list(log.last_returns) == [1.0]
    log.add(2, 2, [2.0], 1)
    log.add(3, 3, [3.0], 1)
    assert list(log.last_returns) == list(log.last_returns) == [1.0, 2.0, 3.0]
    log.write_row()
    log.add(9, 103, [float(one) for one in range(RETURNS_SHOWN + 3)], 3)
    assert list(log.last_returns) == [float(one) for one in range(3, RETURNS_SHOWN + 3)]


def test_a_row_half_full_goes_on_from_its_state() -> None:
    returns = np.random.default_rng(0).standard_normal(50).tolist()
    (whole, rows), (first, _), (second, more) = (episode_log(copies=1) for _ in range(3))
    for log in (whole, first):
        log.add(1, 1, [0.0], 1)
        log.add(30, 22, returns[:21], 400)
    second.load_state_dict(restore(None, capture(first.state_dict())))
    assert list(second.last_returns) == [0.0, *returns[:21]]
    for log in (whole, second):
        log.add(60, 51, returns[21:], 600)
        log.write_row()
    assert train_scalars(more[-1]) == train_scalars(rows[-1])
    assert train_scalars(more[-1])[1]["train/episode_return"] == pytest.approx(np.mean(returns))
    assert second.state_dict() == whole.state_dict() | {"returns": pytest.approx([])}
