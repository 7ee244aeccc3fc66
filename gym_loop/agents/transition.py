"""What the agent is taken after each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

Taker = Callable[[Any, Any], Any]


class Transition(NamedTuple):
    """One step of the environment, or of ``N`` environments at once.

    In a VectorLoop every array has a leading axis ``M``, one row for each copy that took a step,
    and ``env_ids`` says which copies they are.

    Args:
        last_ob: observation that the action was chosen for.
        action: what the agent did.
        reward: reward of the step.
        terminated: the task ended (no value beyond ``ob``).
        truncated: the episode was cut, by a time limit for example; the task goes on
            behind ``ob``, so its value still counts.
        ob: observation after the step; at the end of an episode, its true last one.
        info: the environment's info dictionary.
    """

    last_ob: Any
    action: Any
    reward: Any
    terminated: Any
    truncated: Any
    ob: Any
    info: dict[str, Any]

    @property
    def env_ids(self) -> Any:
        """Numbers of the copies that took the step, ``[M]``; None in a DefaultLoop.

        It is none of the seven values that a transition is unpacked into.
        """
        return None

    @property
    def done(self) -> Any:
        """The episode is over: ``terminated or truncated``, element by element for arrays."""
        return either(self.terminated, self.truncated)


def either(one: Any, other: Any) -> Any:
    """``one or other``, element by element for arrays of any kind."""
    try:
        return one | other
    except TypeError:  # numbers with a point
        return np.logical_or(one, other)


class VectorTransition(Transition):
    """One step of copies of an environment, which ``env_ids`` numbers.

    The loop sets them. In one that is made by hand, or that comes from a checkpoint, they are
    those of ``info["env_ids"]``, which says the same unless the environment has a value of this
    name.
    """

    takers: tuple[Taker, ...] = ()  # one a column, but for info; see `TakenRows`

    @cached_property
    def env_ids(self) -> Any:
        """Numbers of the copies that took the step, ``[M]``."""
        return self.info.get("env_ids")

    def _replace(self, **columns: Any) -> Any:
        taken = super()._replace(**columns)
        taken.env_ids = self.env_ids
        return taken


def _column(index: int) -> Any:
    def take(self: TakenRows) -> Any:
        column = tuple.__getitem__(self, index)
        # One that comes from a checkpoint has its rows alone.
        return self.takers[index](column, self.env_ids) if self.takers else column

    return cached_property(take)


class TakenRows(VectorTransition):
    """Some rows of a `Transition`, each column taken when it is first looked at.

    Where others were reset instead. Few agents look at every column, and those of the observations
    alone cost a tenth of a step of a thousand copies of CartPole. To whoever unpacks it, it is a
    tuple of the rows.
    """

    last_ob = _column(0)
    action = _column(1)
    reward = _column(2)
    terminated = _column(3)
    truncated = _column(4)
    ob = _column(5)

    def whole(self) -> VectorTransition:
        """The same with every column taken."""
        taken = VectorTransition(*(getattr(self, name) for name in self._fields))
        taken.env_ids = self.env_ids
        return taken

    def __iter__(self) -> Iterator[Any]:
        return iter(self.whole())

    def __getitem__(self, index: Any) -> Any:
        return self.whole()[index]

    def __repr__(self) -> str:
        return repr(self.whole())

    def __reduce__(self) -> Any:
        return VectorTransition, tuple(self), {"env_ids": self.env_ids}

    def _replace(self, **columns: Any) -> Any:
        return self.whole()._replace(**columns)
