"""Fixtures of the tests of environments behind servers of the old protocols."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import pytest

import gym_loop.envs.remote  # noqa: F401 - registers the environments
from tests.serve.old_servers import World
from tests.serve.remote_worlds import IDS, OLD, Make, Odd


@pytest.fixture(params=IDS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def old(protocol: str) -> Iterator[tuple[Make, World]]:
    """Makes an environment on a server like the original; and what is behind the server."""
    gymnasium.register("Odd-v0", Odd, disable_env_checker=True)
    made: list[Any] = []

    def make(env_id: str = "CartPole-v1", **parameters: Any) -> Any:
        env = gymnasium.make(IDS[protocol], url=address, env_id=env_id, **parameters)
        made.append(env)
        return env

    with OLD[protocol]() as (address, world):
        yield make, world
        for env in made:
            env.close()
        assert world.held == {}, "environments are left on the server"
