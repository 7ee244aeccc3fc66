"""Fixtures of the tests of sweeps."""

from collections.abc import Iterator

import pytest

from gym_loop.sweeps import sweeping
from gym_loop.sweeps.trial import Nursery
from tests.sweeps.without_ray import InTurn, no_ray


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """One nursery for the tests of a file."""
    made = Nursery([])
    yield made
    made.close()


@pytest.fixture
def in_turn(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> InTurn:
    """Sweeps run without Ray."""
    made = InTurn(nursery)
    monkeypatch.setattr(sweeping, "tune", made.tune)
    monkeypatch.setattr(sweeping, "ray_running", no_ray)
    return made
