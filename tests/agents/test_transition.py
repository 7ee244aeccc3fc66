"""A transition of some of the copies is like any other, though its rows are taken late."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from gym_loop.agents.transition import TakenRows, Transition, VectorTransition
from gym_loop.envs.autoreset import array_rows

ROWS = np.array([0, 2])


@pytest.fixture
def columns() -> list[Any]:
    return [np.arange(6).reshape(3, 2) + 10 * column for column in range(6)] + [{"env_ids": ROWS}]


@pytest.fixture
def taken(columns: list[Any]) -> TakenRows:
    taken = TakenRows(*columns)
    taken.env_ids, taken.takers = ROWS, (array_rows,) * 6
    return taken


def check(found: Any, columns: list[Any]) -> None:
    assert len(found) == 7
    for one, whole in zip(list(found)[:6], columns, strict=False):
        np.testing.assert_array_equal(one, whole[ROWS])


def test_it_is_a_transition_of_the_rows(taken: TakenRows, columns: list[Any]) -> None:
    assert isinstance(taken, Transition)
    for name, whole in zip(Transition._fields[:6], columns, strict=False):
        np.testing.assert_array_equal(getattr(taken, name), whole[ROWS])
    assert taken.info is columns[6]
    np.testing.assert_array_equal(taken.done, (columns[3] | columns[4])[ROWS])


def test_whoever_unpacks_it_has_the_rows(taken: TakenRows, columns: list[Any]) -> None:
    last_ob, *_, ob, info = taken
    check((last_ob, *taken[1:5], ob, info), columns)
    check(tuple(taken), columns)
    check([*taken], columns)
    check(taken._asdict().values(), columns)
    check([taken[index] for index in range(7)], columns)
    np.testing.assert_array_equal(taken[-2], columns[5][ROWS])
    assert repr(taken) == repr(VectorTransition(*taken))


def test_copies_hold_the_rows(taken: TakenRows, columns: list[Any]) -> None:
    for found in (copy.copy(taken), copy.deepcopy(taken), pickle.loads(pickle.dumps(taken))):
        assert type(found) is VectorTransition
        check(found, columns)
    changed = taken._replace(reward=None)
    assert changed.reward is None
    np.testing.assert_array_equal(changed.ob, columns[5][ROWS])


def test_a_column_is_taken_when_it_is_looked_at_and_once(
    taken: TakenRows, columns: list[Any]
) -> None:
    looked: list[int] = []

    def taker(index: int) -> Any:
        def take(batch: Any, rows: Any) -> Any:
            looked.append(index)
            return batch[rows]

        return take

    taken.takers = tuple(taker(index) for index in range(6))
    assert taken.reward is taken.reward
    assert looked == [2]
    tuple(taken)
    assert sorted(looked) == [0, 1, 2, 3, 4, 5]
