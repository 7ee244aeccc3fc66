"""A transition of those copies that took a step, where others were reset instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from gym_loop.envs.autoreset import Rows
from gym_loop.transition import Transition

Taker = Callable[[Any, Rows], Any]


def _column(index: int) -> Any:
    def take(self: TakenRows) -> Any:
        return self.takers[index](tuple.__getitem__(self, index), self.rows)

    return cached_property(take)


class TakenRows(Transition):
    """Some rows of a `Transition`, each column taken when it is first looked at.

    Few agents look at every column, and those of the observations alone cost a tenth of a step
    of a thousand copies of CartPole. To whoever unpacks it, it is a tuple of the rows.
    """

    rows: Rows
    takers: tuple[Taker, ...]  # one a column, but for info

    last_ob = _column(0)
    action = _column(1)
    reward = _column(2)
    terminated = _column(3)
    truncated = _column(4)
    ob = _column(5)

    def whole(self) -> Transition:
        """The same with every column taken."""
        return Transition(
            self.last_ob,
            self.action,
            self.reward,
            self.terminated,
            self.truncated,
            self.ob,
            self.info,
        )

    def __iter__(self) -> Iterator[Any]:
        return iter(self.whole())

    def __getitem__(self, index: Any) -> Any:
        return self.whole()[index]

    def __repr__(self) -> str:
        return repr(self.whole())

    def __reduce__(self) -> Any:
        return Transition, tuple(self)

    def _replace(self, **columns: Any) -> Any:
        return self.whole()._replace(**columns)
