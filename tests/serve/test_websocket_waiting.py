"""Who waits for whom: replies in order, and slow clients and environments that harm no one else."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from tests.serve import bad_envs
from tests.serve.websocket_talk import PING, Client, frame, get, request, running
from tests.waiting import wait_for


class Picture(bad_envs.Scripted):
    """Observes 30,000 numbers: a reply of some 60 kB."""

    observation_space = Box(0, 255, (100, 100, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros((100, 100, 3), np.uint8), {}


@pytest.fixture(autouse=True)
def environments() -> Iterator[None]:
    bad_envs.register()
    gymnasium.register("Picture-v0", entry_point=Picture, disable_env_checker=True)
    bad_envs.RELEASE.clear()
    yield
    bad_envs.RELEASE.set()


def test_replies_come_in_the_order_of_the_requests() -> None:
    with running() as address, Client(address) as client:
        slow = client.ask("make", env_id="Slow-v0")
        fast = client.ask("make", env_id="Scripted-v0")
        for instance in (slow, fast):
            client.ask("reset", instance_id=instance)
        requests = [request("step", instance_id=slow, action=1)]
        requests += [request("step", instance_id=fast, action=1)] * 100
        requests += [request("action_space", instance_id=slow)]
        client.socket.sendall(b"".join(map(frame, requests)))
        assert json.loads(client.reply())[0] == [1.0]
        for number in range(1, 101):
            assert json.loads(client.reply())[0] == [float(number)]
        assert json.loads(client.reply())["name"] == "Discrete"


def test_slow_environments_of_one_client_work_at_the_same_time() -> None:
    with running() as address, Client(address) as client:
        instances = [client.ask("make", env_id="Slow-v0") for _ in range(4)]
        for instance in instances:
            client.ask("reset", instance_id=instance)
        start = time.monotonic()
        for instance in instances:
            client.send(request("step", instance_id=instance, action=0))
        assert [json.loads(client.reply())[0] for _ in instances] == [[1.0]] * 4
        assert time.monotonic() - start < 4 * bad_envs.Slow.SECONDS


def test_a_refusal_waits_for_the_replies_before_it() -> None:
    with running() as address, Client(address) as client:
        slow = client.ask("make", env_id="Slow-v0")
        client.ask("reset", instance_id=slow)
        client.send(request("step", instance_id=slow, action=0))
        client.send(b"nonsense")
        client.send(request("step", instance_id=slow, action=0))
        assert json.loads(client.reply())[0] == [1.0]
        assert client.refused() == (1003, "Message `nonsense` is invalid")
        with Client(address) as again:
            assert again.ask("step", instance_id=slow, action=0)[0] == [2.0]


def test_a_hanging_environment_hurts_nobody_else() -> None:
    with running() as address, Client(address) as client, Client(address) as other:
        instance = client.ask("make", env_id="Hanging-v0")
        client.ask("reset", instance_id=instance)
        for _ in range(2):
            client.send(request("step", instance_id=instance, action=0))
        assert json.loads(client.reply())[0] == [1.0]
        mine = other.ask("make", env_id="Scripted-v0")
        other.ask("reset", instance_id=mine)
        for number in range(1, 30):
            assert other.ask("step", instance_id=mine, action=0)[0] == [float(number)]
        bad_envs.RELEASE.set()
        assert json.loads(client.reply())[0] == [2.0]


def test_a_flood_does_not_lock_others_out() -> None:
    with running() as address, Client(address) as flooding, Client(address) as other:
        instances = []
        for client in (flooding, other):
            instances.append(client.ask("make", env_id="Scripted-v0"))
            client.ask("reset", instance_id=instances[-1])
        flood = frame(request("step", instance_id=instances[0], action=0)) * 3000
        sender = threading.Thread(target=flooding.socket.sendall, args=(flood,))
        sender.start()
        for _ in range(20):
            other.ask("step", instance_id=instances[1], action=0)
        replies = [json.loads(flooding.reply())[0][0] for _ in range(3000)]
        sender.join()
        assert replies == [float(number) for number in range(1, 3001)]


def test_a_client_that_does_not_read_is_not_read_from() -> None:
    """Megabytes of replies are asked for and not taken: they are not made."""
    asked = 800
    with running() as address, Client(address) as client, Client(address) as other:
        instance = client.ask("make", env_id="Picture-v0")
        ask = frame(request("reset", instance_id=instance))
        sender = threading.Thread(target=client.socket.sendall, args=(ask * asked,))
        sender.start()

        def calls() -> int:
            return int(json.loads(get(address, "/v1/stats")[1])["calls"])

        wait_for(lambda: calls() > 5)
        time.sleep(0.2)
        assert calls() < asked / 2
        assert len(other.ask("make", env_id="Scripted-v0")) == 32
        for _ in range(asked):
            assert len(client.receive().payload) > 50_000
        sender.join()


def test_pings_of_a_client_that_does_not_read_pile_up_nowhere() -> None:
    with running() as address, Client(address) as client:
        instance = client.ask("make", env_id="Picture-v0")
        ask = frame(request("reset", instance_id=instance))
        ping = frame(b"x" * 125, PING)
        sender = threading.Thread(target=client.socket.sendall, args=((ask + ping) * 300,))
        sender.start()
        pictures = 0
        while pictures < 300:
            pictures += client.receive().opcode == 1
        sender.join()


def test_a_client_may_send_only_so_often() -> None:
    options = {"max_requests_per_second": 50, "idle_lease": 0.5}  # waiting is no silence
    with running(**options) as address, Client(address) as client:
        instance = client.ask("make", env_id="Scripted-v0")
        client.ask("reset", instance_id=instance)
        start = time.monotonic()
        client.socket.sendall(frame(request("step", instance_id=instance, action=0)) * 98)
        replies = [json.loads(client.reply())[0][0] for _ in range(98)]
        assert replies == [float(number) for number in range(1, 99)]
        assert time.monotonic() - start > 0.9  # 50 at once, 50 in the next second
