"""The rollout buffer: what it keeps, and advantages by hand."""

import numpy as np
import pytest

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.nn.buffers.rollout import RolloutBuffer


def make(n_steps: int = 3, n_envs: int = 1) -> RolloutBuffer:
    return RolloutBuffer(n_steps, n_envs, np.zeros(2, np.float32), np.zeros((), np.int64))


def fill(rollout: RolloutBuffer, rewards: list, terminated: list, truncated: list, beyond: list):
    for step, row in enumerate(zip(rewards, terminated, truncated, beyond, strict=True)):
        observation = np.full((rollout.n_envs, 2), step, np.float32)
        rollout.begin(observation, np.full(rollout.n_envs, step))
        observation[:] = -1.0  # the environment writes the next one into the same memory
        rollout.finish(*row)


GAMMA, DECAY = 0.5, 0.8
VALUES = np.array([[10.0], [20.0], [30.0]], np.float32)


@pytest.mark.parametrize(
    ("terminated", "truncated", "wanted"),
    [
        # nothing ends: errors 1 + 10 - 10 = 1, 2 + 15 - 20 = -3, 3 + 20 - 30 = -7
        ([0, 0, 0], [0, 0, 0], [1 + 0.4 * (-3 + 0.4 * -7), -3 + 0.4 * -7, -7]),
        # step 1 terminates: its error is 2 - 20 = -18, and it sees nothing behind
        ([0, 1, 0], [0, 0, 0], [1 + 0.4 * -18, -18, -7]),
        # step 1 is truncated where the value is 100: 2 + 50 - 20 = 32
        ([0, 0, 0], [0, 1, 0], [1 + 0.4 * 32, 32, -7]),
        # terminated and truncated at once is terminated
        ([0, 1, 0], [0, 1, 0], [1 + 0.4 * -18, -18, -7]),
        # at the border: termination 3 - 30 = -27; truncation 3 + 50 - 30 = 23
        ([0, 0, 1], [0, 0, 0], [1 + 0.4 * (-3 + 0.4 * -27), -3 + 0.4 * -27, -27]),
        ([0, 0, 0], [0, 0, 1], [1 + 0.4 * (-3 + 0.4 * 23), -3 + 0.4 * 23, 23]),
        # every step ends an episode
        ([1, 0, 1], [0, 1, 0], [-9, 32, -27]),
    ],
)
def test_advantages_by_hand(terminated: list, truncated: list, wanted: list) -> None:
    rollout = make()
    fill(rollout, [1.0, 2.0, 3.0], terminated, truncated, [100.0] * 3)
    rollout.last_values[:] = 40.0
    found = rollout.advantages(VALUES, rollout.rewards, GAMMA, DECAY)
    np.testing.assert_allclose(found[:, 0], wanted, rtol=1e-6)
    np.testing.assert_array_equal(VALUES[:, 0], [10, 20, 30])


def test_memory_is_that_of_the_examples_and_of_single_precision() -> None:
    rollout = RolloutBuffer(3, 2, np.zeros(4, np.uint8), np.zeros(2, np.int64))
    assert (rollout.observations.dtype, rollout.observations.shape) == (np.uint8, (3, 2, 4))
    assert (rollout.actions.dtype, rollout.actions.shape) == (np.int64, (3, 2, 2))
    for column in (rollout.rewards, rollout.final_values, rollout.last_values):
        assert column.dtype == np.float32
    for flags in (rollout.taken, rollout.terminated, rollout.truncated):
        assert flags.dtype == bool


def test_advantages_are_summed_in_the_precision_of_the_values() -> None:
    rng = np.random.default_rng(0)
    values, rewards = rng.standard_normal((2, 40, 1)).astype(np.float32)
    rollout = make(40)
    fill(rollout, list(rewards[:, 0]), [0] * 40, [0] * 40, [0] * 40)
    found = rollout.advantages(values, rewards, 0.99, 0.95)
    carry, wanted = np.float32(0.99 * 0.95), found.copy()
    for step in range(38, -1, -1):
        error = values[step + 1] * np.float32(0.99) + rewards[step] - values[step]
        wanted[step] = error + carry * wanted[step + 1]
    np.testing.assert_array_equal(found, wanted)


def test_environments_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    rewards, values = (rng.standard_normal((20, 3)).astype(np.float32) for _ in range(2))
    ends = rng.random((2, 20, 3)) < 0.1
    beyond = rng.standard_normal((20, 3)).astype(np.float32)
    last = np.array([1.0, 2.0, 3.0], np.float32)

    def advantages(columns: slice) -> np.ndarray:
        picked = [one[:, columns] for one in (rewards, *ends, beyond, values)]
        rollout = make(20, picked[0].shape[1])
        fill(rollout, *picked[:4])
        rollout.last_values[:] = last[columns]
        return rollout.advantages(picked[4], rollout.rewards, 0.99, 0.95)

    together = advantages(slice(None))
    for index in range(3):
        alone = advantages(slice(index, index + 1))
        np.testing.assert_allclose(together[:, index], alone[:, 0], rtol=1e-6)


def test_decay_1_gives_returns_and_decay_0_one_step_errors() -> None:
    rewards = [1.0, 2.0, 3.0]
    rollout = make()
    fill(rollout, rewards, [0, 0, 1], [0, 0, 0], [0.0] * 3)
    zeros = np.zeros((3, 1), np.float32)
    returns = rollout.advantages(zeros, rollout.rewards, 0.9, 1.0)
    np.testing.assert_allclose(returns[:, 0], [1 + 0.9 * (2 + 0.9 * 3), 2 + 0.9 * 3, 3])
    errors = rollout.advantages(VALUES, rollout.rewards, 0.9, 0.0)
    np.testing.assert_allclose(errors[:, 0], [1 + 18 - 10, 2 + 27 - 20, 3 - 30], rtol=1e-6)


def test_keeps_what_was_seen_and_knows_when_it_is_full() -> None:
    rollout = make()
    pending = [rollout.pending]
    rollout.begin(np.ones((1, 2)), np.array([4]))
    pending.append(rollout.pending)
    rollout.finish(1.0, False, True)  # cut, and nobody says what would have followed
    pending.append(rollout.pending)
    assert pending == [False, True, False]
    assert rollout.final_values[0] == 0.0
    rollout.begin(np.ones((1, 2)), np.array([4]))
    rollout.clear()
    assert not rollout.pending
    fill(rollout, [1.0, 2.0], [0, 1], [0, 0], [0, 0])
    full = [rollout.full]
    fill_one = (np.full((1, 2), 2.0), np.array([2]))
    rollout.begin(*fill_one)
    rollout.finish(3.0, False, True)
    assert [*full, rollout.full] == [False, True]
    assert rollout.observations[:, 0, 0].tolist() == [0, 1, 2]
    assert rollout.actions[:, 0].tolist() == [0, 1, 2]
    assert rollout.dones[:, 0].tolist() == [False, True, True]


def test_a_reset_in_place_of_a_step_changes_nothing_for_the_steps() -> None:
    rollout = make(3, 2)
    rollout.rewards[:] = rollout.final_values[:] = 99.0  # of an earlier rollout
    rollout.truncated[:] = True
    ob, action = np.zeros((2, 2), np.float32), np.zeros(2, np.int64)
    rollout.begin(ob, action)
    rollout.finish(np.array([1.0, 2.0]), np.array([True, False]), np.zeros(2, bool))
    rollout.begin(ob, action)
    rollout.finish(np.array([3.0]), np.array([False]), np.array([False]), 0.0, np.array([1]))
    rollout.begin(ob, action)
    rollout.finish(np.array([4.0, 5.0]), np.zeros(2, bool), np.zeros(2, bool))
    assert rollout.taken.tolist() == [[True, True], [False, True], [True, True]]
    assert rollout.rewards.tolist() == [[1, 2], [0, 3], [4, 5]]
    assert not rollout.dones[1].any()
    rollout.last_values[:] = [10.0, 20.0]
    found = rollout.advantages(np.zeros((3, 2), np.float32), rollout.rewards, 0.5, 1.0)
    np.testing.assert_allclose(found[[0, 2], 0], [1, 4 + 5])
    np.testing.assert_allclose(found[:, 1], [2 + 0.5 * (3 + 0.5 * 15), 3 + 0.5 * 15, 15])


def test_continues_from_its_state() -> None:
    first, second = make(), make()
    fill(first, [1.0, 2.0], [0, 1], [0, 0], [0, 0])
    columns = second.rewards
    fill(second, [9.0, 9.0], [1, 1], [0, 0], [0, 0])
    second.begin(np.ones((1, 2)), np.array([1]))
    first.last_values[:] = 7.0
    restore(second, capture(first))
    assert not second.pending
    assert second.last_values.tolist() == [7.0]
    assert second.rewards is columns
    assert second.step == 2
    assert second.terminated[:2, 0].tolist() == [False, True]
    assert len(first.state_dict()["observations"]) == 2
    for one in (first, second):
        one.begin(np.ones((1, 2)), np.array([1]))
        one.finish(5.0, False, False)
    for name in ("observations", "actions", "rewards", "terminated", "truncated", "final_values"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
