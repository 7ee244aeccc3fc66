"""A server for all tests of a file, and a witness who must not notice any of them."""

from collections.abc import Iterator

import gymnasium as gym
import pytest

from tests.serve import bad_envs
from tests.serve.abuse.abusing import CLIENTS, LONGEST, Client
from tests.serve.live import Witness, live


@pytest.fixture(scope="module")
def protocol(request: pytest.FixtureRequest) -> str:
    """What the file abuses."""
    return str(request.module.PROTOCOL)


@pytest.fixture(scope="module")
def server(protocol: str) -> Iterator[str]:
    before = dict(gym.registry)
    bad_envs.register()
    with live(protocol, max_message_bytes=LONGEST, max_instances=600) as address:
        yield address
        bad_envs.RELEASE.set()
    gym.registry.clear()
    gym.registry.update(before)


@pytest.fixture(autouse=True)
def witness(protocol: str, server: str) -> Iterator[Witness]:
    """After every test, someone else's session is as it would have been without it."""
    bad_envs.RELEASE.clear()
    witness = Witness(CLIENTS[protocol](server))
    witness.sees_nothing()
    yield witness
    bad_envs.RELEASE.set()
    witness.sees_nothing(20)
    witness.close()


@pytest.fixture
def client(protocol: str, server: str) -> Iterator[Client]:
    client = CLIENTS[protocol](server)
    yield client
    client.close()
