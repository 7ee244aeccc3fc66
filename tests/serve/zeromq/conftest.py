"""Fixtures of the tests of the ZeroMQ bridge."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import gym_loop.envs.remote  # noqa: F401 - registers the environment
from gym_loop.envs.remote.gymz_env import ZeroMQEnv
from tests.serve.zeromq.zmq_serving import BOUNDS, Served, register


@pytest.fixture(autouse=True)
def scripted() -> None:
    register()


@pytest.fixture
def environments() -> Iterator[Callable[..., ZeroMQEnv]]:
    """Makes environments that are closed after the test."""
    made: list[ZeroMQEnv] = []

    def make(served: Served | dict[str, int], **parameters: Any) -> ZeroMQEnv:
        ports = served if isinstance(served, dict) else served.ports
        made.append(ZeroMQEnv(**{"n_actions": 10, **BOUNDS, **ports, **parameters}))
        return made[-1]

    yield make
    for env in made:
        env.close()
