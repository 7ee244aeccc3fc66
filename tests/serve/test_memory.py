"""A server gives back the memory that only circles of references hold."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from gym_loop.serve.memory import memory_returner


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


class Circle:
    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("no_collection")
def test_what_only_circles_hold_is_given_back() -> None:
    give_back = memory_returner()
    circle = weakref.ref(Circle())
    assert circle() is not None
    give_back()
    assert circle() is None
