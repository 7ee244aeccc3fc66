"""Whatever environments do, the servers of both protocols answer, live, and harm no one."""

import threading
import time
from typing import Any

import pytest

from tests.serve import bad_envs
from tests.serve.abuse.abusing import CLIENTS, Client, begun
from tests.serve.live import Refused, Witness

CODES = {"http": 400, "websocket": 1007}
FAILURES = {"http": "environment", "websocket": "Unknonwn error: environment"}


@pytest.fixture(scope="module", params=CODES)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def other(protocol: str, server: str) -> Any:
    """Makes more clients: a refusal may end a connection, but not its sessions."""
    return lambda: CLIENTS[protocol](server)


@pytest.mark.filterwarnings("ignore:.*calling 'step.*")
def test_steps_after_the_end(client: Client) -> None:
    instance = begun(client, "CartPole-v1")
    while not client.step(instance, 1)[2]:
        pass
    assert [client.step(instance, 1)[2] for _ in range(3)] == [True] * 3
    client.end(instance)


@pytest.mark.parametrize(
    "env_id",
    ["Raising-v0", "Exiting-v0", "Interrupting-v0", "Nonsense-v0", "UnspeakableObservation-v0"],
)
def test_environments_that_fail_in_a_step(
    protocol: str, client: Client, other: Any, env_id: str
) -> None:
    instance = begun(client, env_id)
    refusals = []
    for _ in range(10):
        stepping = other()
        try:
            stepping.step(instance, 0)
        except Refused as refusal:
            refusals.append(refusal)
        stepping.close()
    assert {refusal.code for refusal in refusals} == {CODES[protocol]}
    assert all(refusal.message.startswith(FAILURES[protocol]) for refusal in refusals)
    client.reset(instance)
    client.end(instance)


@pytest.mark.parametrize("env_id", ["RaisingReset-v0", "NonsenseReset-v0"])
def test_environments_that_fail_in_reset(
    protocol: str, client: Client, other: Any, env_id: str
) -> None:
    instance = client.make(env_id)
    resetting = other()
    with pytest.raises(Refused, match="reset") as caught:
        resetting.reset(instance)
    assert caught.value.code == CODES[protocol]
    resetting.close()
    client.end(instance)


def test_environments_that_cannot_be_made_or_closed(client: Client) -> None:
    client.end(begun(client, "RaisingClose-v0"))
    with pytest.raises(Refused, match="engine is missing"):
        client.make("Unmakeable-v0")


def test_nan_and_infinity_are_valid_json(client: Client) -> None:
    instance = begun(client, "NotFinite-v0")
    seen = [client.step(instance, 0) for _ in range(3)]  # read as JavaScript reads
    assert sorted(str(observation[0]) for observation, *_ in seen) == ["-1e+100", "1e+100", "None"]
    assert all(reward is None for _, reward, *_ in seen)
    client.end(instance)


class Stepping(threading.Thread):
    """Takes a step beside the test, and keeps what it was told."""

    def __init__(self, client: Client, instance: str) -> None:
        super().__init__()
        self.client, self.instance = client, instance
        self.told: list[Any] = []
        self.start()

    def run(self) -> None:
        self.told = self.client.step(self.instance, 0)


def test_a_hanging_environment(client: Client, other: Any, witness: Witness) -> None:
    instance = begun(client, "Hanging-v0")
    client.step(instance, 0)
    stepping = Stepping(client, instance)
    closing = other()
    start = time.monotonic()
    witness.sees_nothing(50)
    closing.end(instance)  # does not wait for it
    closing.end(begun(closing, "HangingClose-v0"))
    witness.sees_nothing(50)
    assert time.monotonic() - start < 10
    closing.close()
    assert stepping.is_alive()
    bad_envs.RELEASE.set()
    stepping.join()
    assert stepping.told[1] == 1.0  # the step under way was finished


@pytest.mark.parametrize("env_id", ["Slow-v0", "Busy-v0"])
def test_others_do_not_wait_for_a_slow_step(client: Client, witness: Witness, env_id: str) -> None:
    instance = begun(client, env_id)
    stepping = Stepping(client, instance)
    steps = 0
    while stepping.is_alive():
        witness.sees_nothing(1)
        steps += 1
    assert steps > 10
    client.end(instance)
