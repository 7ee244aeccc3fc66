"""Objects to capture, and how trees and values are compared."""

from __future__ import annotations

import collections
import dataclasses
import enum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.wire.values import Node


class Point(NamedTuple):
    x: Any
    y: Any


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Mode(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Record:
    number: int
    items: list[Any]


class Part:
    __slots__ = ("__hidden", "mean", "never")

    def __init__(self) -> None:
        self.mean = np.zeros(3)
        self.__hidden = 1

    def hide(self, value: Any) -> None:
        self.__hidden = value

    def hidden(self) -> Any:
        return self.__hidden


class Thing:
    """An object with whatever attributes a test gives it."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...


def plain(tree: Any) -> None:
    """Fail unless a tree consists of what a tree may consist of."""
    if type(tree) in (dict, Node):
        assert all(type(key) is str for key in tree)
        for item in tree.values():
            plain(item)
    elif type(tree) in (list, tuple):
        for item in tree:
            plain(item)
    elif isinstance(tree, np.ndarray):
        assert type(tree) is np.ndarray
        assert not tree.dtype.hasobject
    else:
        atoms = (type(None), bool, int, float, complex, str, bytes, np.generic)
        assert isinstance(tree, atoms), type(tree)


def same(first: Any, second: Any) -> bool:
    """Equality of plain values with exact types, bits and order."""
    if type(first) is not type(second):
        return False
    if isinstance(first, np.ndarray):
        return (first.dtype, first.shape) == (second.dtype, second.shape) and (
            all(map(same, first.ravel(), second.ravel()))
            if first.dtype == object
            else first.tobytes() == second.tobytes()
        )
    if isinstance(first, dict):
        return same(list(first), list(second)) and same(list(first.values()), list(second.values()))
    if isinstance(first, (list, tuple, collections.deque)):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, (float, complex, np.inexact)):
        return np.asarray(first).tobytes() == np.asarray(second).tobytes()
    return bool(first == second)


def round_trip(value: Any, live: Any = None) -> Any:
    tree = capture(value)
    plain(tree)
    return restore(live, tree)
