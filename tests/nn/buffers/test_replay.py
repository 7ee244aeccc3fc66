"""The replay buffer: what goes in comes out, in one step or several, never across an end."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gym_loop.checkpoints.tree import capture, first_difference, restore
from gym_loop.errors import StateError
from gym_loop.nn.buffers.replay import Replay

GAMMA = 0.5


def make(capacity: int = 8, n_envs: int = 1, **options: Any) -> Replay:
    example = np.zeros(1, np.float32), np.zeros((), np.int64)
    return Replay(capacity, n_envs, *example, gamma=GAMMA, **options)


def add(replay: Replay, number: float, end: str = "", *, last: float | None = None) -> None:
    """A step of the only environment from observation ``number`` to ``number + 1``."""
    before = np.full((1, 1), number if last is None else last, np.float32)
    after = np.full((1, 1), number + 1, np.float32)
    action = np.array([int(number) % 3])
    replay.add(before, action, number, end == "terminated", end == "truncated", after)


def by_observation(replay: Replay) -> dict[float, Any]:
    """Reward, discount and next observation of each transition held."""
    batch = replay.batch(replay.valid.nonzero()[0])
    columns = batch.observations, batch.rewards, batch.discounts, batch.next_observations
    rows = zip(*map(np.ravel, columns), strict=True)
    return {float(ob): tuple(map(float, rest)) for ob, *rest in rows}


def test_one_step_is_what_was_added() -> None:
    replay = make()
    for number, end in enumerate(["", "", "terminated", "truncated"]):
        add(replay, number, end)
    assert len(replay) == 4
    assert by_observation(replay) == {
        0: (0, GAMMA, 1), 1: (1, GAMMA, 2), 2: (2, 0, 3), 3: (3, GAMMA, 4),
    }  # fmt: skip
    assert replay.batch(np.arange(4)).actions.tolist() == [0, 1, 2, 0]


def test_observations_and_actions_come_back_as_they_were() -> None:
    example = np.zeros((2, 3), np.int16)
    replay = Replay(8, 1, example, np.zeros(2, np.float32))
    for number in range(4):
        action = np.array([[number, -number]])
        replay.add(example[None] + number, action, 0, 0, 0, example[None] + number + 1)
    batch = replay.batch(np.array([1, 3]))
    assert batch.actions.tolist() == [[1, -1], [3, -3]]
    assert batch.actions.dtype == batch.rewards.dtype == batch.discounts.dtype == np.float32
    assert replay.rewards.dtype == np.float32  # what there are many of is small
    assert replay.terminated.dtype == replay.continues.dtype == replay.valid.dtype == bool
    assert len(replay.newest) == 0  # one-step returns ask for no latest observation
    assert batch.observations.dtype == batch.next_observations.dtype == np.int16
    np.testing.assert_array_equal(batch.observations, [example + 1, example + 3])
    np.testing.assert_array_equal(batch.next_observations, [example + 2, example + 4])


def test_three_steps_by_hand() -> None:
    replay = make(n_steps=3)
    for number in range(1, 5):
        add(replay, number)
    assert by_observation(replay) == {
        1: (1 + 2 / 2 + 3 / 4, 1 / 8, 4),
        2: (2 + 3 / 2 + 4 / 4, 1 / 8, 5),
        3: (3 + 4 / 2, 1 / 4, 5),  # the latest step is the last that is known
        4: (4, 1 / 2, 5),
    }


@pytest.mark.parametrize(("end", "worth"), [("terminated", 0.0), ("truncated", 1.0)])
def test_never_across_the_end_of_an_episode(end: str, worth: float) -> None:
    replay = make(n_steps=3)
    for number in range(1, 6):
        add(replay, number, end if number == 3 else "")
    found = by_observation(replay)
    assert found[1] == (1 + 2 / 2 + 3 / 4, worth / 8, 4)
    assert found[2] == (2 + 3 / 2, worth / 4, 4)
    assert found[3] == (3, worth / 2, 4)
    assert found[4] == (4 + 5 / 2, 1 / 4, 6)


def test_never_across_an_episode_that_was_given_up() -> None:
    replay = make(n_steps=3)
    add(replay, 1)
    add(replay, 2)
    add(replay, 7)  # neither end was said, but this is another place
    found = by_observation(replay)
    assert found[1] == (1 + 2 / 2, 1 / 4, 3)
    assert found[2] == (2, 1 / 2, 3)


def test_never_across_the_write_pointer() -> None:
    replay = make(capacity=4, n_steps=3)
    for number in range(11):
        add(replay, number)
    assert len(replay) == 4
    assert by_observation(replay) == {
        7: (7 + 8 / 2 + 9 / 4, 1 / 8, 10),
        8: (8 + 9 / 2 + 10 / 4, 1 / 8, 11),
        9: (9 + 10 / 2, 1 / 4, 11),
        10: (10, 1 / 2, 11),
    }


def add_row(replay: Replay, step: int, envs: list[int] | None, ends: Sequence[int] = ()) -> None:
    """A step of several environments; observations are ``100 * environment + step``."""
    rows = np.arange(replay.n_envs) if envs is None else np.array(envs)
    before = (100.0 * rows + step)[:, None].astype(np.float32)
    over = np.isin(rows, ends)
    replay.add(
        before, rows, before[:, 0], over, over & False, before + 1, None if envs is None else rows
    )


def test_environments_do_not_mix_and_gaps_hold_nothing() -> None:
    replay = make(capacity=12, n_envs=3, n_steps=2)
    add_row(replay, 0, None)
    add_row(replay, 1, None, ends=[1])
    add_row(replay, 2, [0, 2])  # copy 1 was reset
    add_row(replay, 3, None)
    assert len(replay) == 11
    found = by_observation(replay)
    assert found[2] == (2 + 3 / 2, 1 / 4, 4)
    assert found[100] == (100 + 101 / 2, 0, 102)
    assert found[101] == (101, 0, 102)
    assert found[103] == (103, 1 / 2, 104)
    assert found[201] == (201 + 202 / 2, 1 / 4, 203)
    drawn = replay.sample(4000, np.random.default_rng(0))
    counts = np.unique(drawn.observations, return_counts=True)[1]
    assert len(counts) == 11
    assert 4000 / 11 * 0.8 < counts.min() <= counts.max() < 4000 / 11 * 1.2
    for step in range(4, 8):  # one lap on, the gap is gone
        add_row(replay, step, None)
    assert len(replay) == 12


def test_all_environments_by_name_are_all_environments() -> None:
    one, other = make(capacity=12, n_envs=3, n_steps=2), make(capacity=12, n_envs=3, n_steps=2)
    for step in range(6):
        add_row(one, step, None)
        add_row(other, step, [0, 1, 2])
    assert not first_difference(capture(one.state_dict()), capture(other.state_dict()))


def test_a_copy_that_is_left_out_for_once_is_not_joined() -> None:
    replay = make(capacity=12, n_envs=2, n_steps=2)
    add_row(replay, 0, None)
    add_row(replay, 1, [0])
    add_row(replay, 1, [1])
    assert by_observation(replay)[100] == (100, 1 / 2, 101)


def test_capacity_is_rounded_up_to_whole_rows() -> None:
    assert make(capacity=10, n_envs=4).slots == 12
    assert make(capacity=1).slots == 2


def test_a_part_of_a_batch() -> None:
    replay = make()
    for number in range(4):
        add(replay, number)
    batch = replay.batch(np.arange(4))
    assert batch.part(slice(1, 3)).rewards.tolist() == [1, 2]
    assert batch.part(slice(1, 3)).weights is None
    weighed = batch._replace(weights=np.arange(4.0))
    np.testing.assert_array_equal(weighed.part(slice(1, 3)).weights, [1, 2])


@pytest.mark.parametrize("steps", [0, 3, 11])
def test_goes_on_from_its_state(steps: int) -> None:
    def grown(count: int) -> Replay:
        replay = make(n_steps=3)
        for number in range(count):
            add(replay, number, "truncated" if number % 4 == 3 else "")
        return replay

    one, other = grown(steps), grown(5)
    state = one.state_dict()
    assert len(state["rewards"]) == len(state["store"]["before"]) == min(steps, 8)
    other.load_state_dict(restore(None, capture(state)))
    for number in range(steps, steps + 3):
        add(one, number)
        add(other, number)
    assert not first_difference(capture(one.state_dict()), capture(other.state_dict()))
    drawn = [replay.sample(50, np.random.default_rng(0)) for replay in (one, other)]
    assert not first_difference(capture(drawn[0]), capture(drawn[1]))


def test_saving_copies_nothing() -> None:
    replay = make()
    add(replay, 1)
    state = replay.state_dict()
    assert np.shares_memory(state["rewards"], replay.rewards)
    store: Any = replay.store
    assert np.shares_memory(state["store"]["after"], store.after)


@pytest.mark.parametrize(("capacity", "n_envs", "what"), [(9, 1, "slots"), (8, 2, "n_envs")])
def test_a_buffer_of_another_size_is_refused(capacity: int, n_envs: int, what: str) -> None:
    remedy = "give it the capacity and the number of environments of then"
    with pytest.raises(
        StateError, match=rf"has {what} . now, but had . when it was saved; {remedy}$"
    ):
        make(capacity, n_envs).load_state_dict(make().state_dict())
