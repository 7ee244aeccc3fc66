"""The server around the connections: who comes in, who waits for whom, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from gym_loop.bridges.settings import load_settings
from gym_loop.bridges.websocket.server import serve
from gym_loop.bridges.websocket.settings import WebSocketSettings
from gym_loop.errors import ConfigError, EnvUnknownError, UsageError
from tests.bridges import bad_envs
from tests.bridges.websocket_talk import PING, Client, frame, request, running


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


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def get(address: str, path: str, **headers: str) -> tuple[int, bytes]:
    """Fetch a page as a browser does."""
    host, port = address.removeprefix("ws://").removesuffix("/gym").split(":")
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        with connection.makefile("rb") as reader:
            head, _, body = reader.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), body


# -- who comes in ------------------------------------------------------------------------


def test_other_paths_greet() -> None:
    with running() as address:
        for path in ("/", "/index.html", "/gym/", "/gymx?a=b"):
            assert get(address, path) == (200, b"Gymie is running...")
        with Client(address.replace("/gym", "/other")) as client:
            assert (client.status, client.body) == (200, b"Gymie is running...")
        assert get(address, "/gym")[0] == 400


def test_statistics() -> None:
    with running() as address, Client(address) as client:
        instance = client.ask("make", env_id="Scripted-v0")
        client.ask("reset", instance_id=instance)
        client.ask("step", instance_id=instance, action=0)
        status, body = get(address, "/v1/stats")
        counts = json.loads(body)
        assert status == 200
        assert (counts["instances"], counts["steps"], counts["connections"]) == (1, 1, 1)
        client.send(b"nonsense")
        client.refused()
        counts = json.loads(get(address, "/v1/stats")[1])
        assert counts["errors"] == {"Refusal": 1}


@pytest.mark.parametrize(
    ("query", "header", "status"),
    [
        ("", None, 401),
        ("?token=wrong", None, 401),
        ("?token=s3cret", None, 101),
        ("?a=b&token=s3cret", None, 101),
        ("", "Bearer s3cret", 101),
        ("", "bearer s3cret", 101),
        ("", "Bearer s3cre", 401),
        ("", "Basic s3cret", 401),
    ],
)
def test_a_token_is_demanded(query: str, header: str | None, status: int) -> None:
    headers = {} if header is None else {"Authorization": header}
    with running(token="s3cret") as address, Client(address, query, **headers) as client:
        assert client.status == status
        assert get(address, f"/v1/stats{query}", **headers)[0] == (200 if status == 101 else 401)


def test_other_machines_need_a_token() -> None:
    with pytest.raises(UsageError, match=r"0\.0\.0\.0 .*--token"):
        serve(WebSocketSettings(host="0.0.0.0", port=0))


@pytest.mark.parametrize(
    ("origin", "allowed", "status"),
    [
        ("https://evil.example", (), 403),
        ("null", (), 403),
        ("http://localhost:3000", (), 101),
        ("http://127.0.0.1", (), 101),
        ("https://good.example", ("https://good.example",), 101),
        ("https://evil.example", ("https://good.example",), 403),
        ("https://any.example", ("*",), 101),
    ],
)
def test_pages_of_other_sites_stay_out(origin: str, allowed: Any, status: int) -> None:
    with running(allowed_origins=allowed) as address, Client(address, Origin=origin) as client:
        assert client.status == status


def test_as_firefox_asks() -> None:
    with running() as address, Client(address, Connection="keep-alive, Upgrade") as client:
        assert client.status == 101
        assert len(client.ask("make", env_id="Scripted-v0")) == 32


def test_too_many_connections() -> None:
    with running(max_connections=1) as address:
        with Client(address) as client, Client(address) as second:
            assert second.status == 503
            assert len(client.ask("make", env_id="Scripted-v0")) == 32
        until(lambda: json.loads(get(address, "/v1/stats")[1])["connections"] == 0)
        with Client(address) as third:
            assert third.status == 101


def test_a_port_in_use() -> None:
    with running() as address:
        port = int(address.split(":")[2].split("/")[0])
        with pytest.raises(UsageError, match=rf"port {port}: .*--port"):
            serve(WebSocketSettings(port=port))


def test_settings_from_a_file(workdir: Any) -> None:
    (workdir / "serve.yaml").write_text("port: 0\ncompression: yes\nping_interval: null\n")
    settings = load_settings(WebSocketSettings, "serve.yaml")
    assert (settings.compression, settings.ping_interval) == (True, None)
    (workdir / "serve.yaml").write_text("max_connections: 0\nping_interval: -1\n")
    with pytest.raises(ConfigError, match="max_connections") as error:
        load_settings(WebSocketSettings, "serve.yaml")
    assert len(error.value.findings) == 2


# -- hooks -------------------------------------------------------------------------------


def test_hooks() -> None:
    seeds = []

    def get_env(env_id: str, seed: int | None = None) -> Any:
        seeds.append((env_id, seed))
        return bad_envs.Scripted()

    def process_step(step: Any) -> Any:
        observation, reward, *_ = step
        return {"seen": observation * 2}, reward + np.float32(0.5), np.bool_(True), {"n": len(step)}

    with running(make=get_env, process_step=process_step) as address, Client(address) as client:
        instance = client.ask("make", env_id="my level", seed=3)
        assert client.ask("reset", instance_id=instance) == [0.0]
        step = client.ask("step", instance_id=instance, action=1)
        assert step == [{"seen": [2.0]}, 1.5, True, {"n": 5}]
    assert seeds == [("my level", 3)]


def test_hooks_by_name(workdir: Any) -> None:
    (workdir / "hooks.py").write_text(
        "def process_step(step):\n    return step[0], 7, step[2], {}\n"
        "def broken(step):\n    return None\n"
        "def raising(step):\n    raise KeyError('x')\n"
    )
    for name, expected in (("process_step", [[1.0], 7.0, False, {}]), ("broken", 1007)):
        hook = f"{workdir}/hooks.py:{name}"
        with running(process_step=hook) as address, Client(address) as client:
            instance = client.ask("make", env_id="Scripted-v0")
            client.ask("reset", instance_id=instance)
            client.send(request("step", instance_id=instance, action=1))
            got = client.refused()[0] if expected == 1007 else json.loads(client.reply())
            assert got == expected
    with pytest.raises(EnvUnknownError):
        serve(WebSocketSettings(port=0, process_step=f"{workdir}/hooks.py:absent"))


# -- who waits for whom ------------------------------------------------------------------


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

        until(lambda: calls() > 5)
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


def test_many_clients() -> None:
    with running() as address:
        clients = [Client(address) for _ in range(100)]
        try:
            for client in clients:
                client.send(request("make", env_id="Scripted-v0"))
            instances = [client.reply() for client in clients]
            assert len(set(instances)) == 100
            for client, instance in zip(clients, instances, strict=True):
                client.send(request("reset", instance_id=instance))
            assert [client.reply() for client in clients] == ["[0.0]"] * 100
        finally:
            for client in clients:
                client.__exit__()


# -- leases and ends ---------------------------------------------------------------------


def test_the_lease_ends_for_what_nobody_uses() -> None:
    with running(idle_lease=0.5) as address, Client(address) as client:
        abandoned = client.ask("make", env_id="Scripted-v0")
        kept = client.ask("make", env_id="Scripted-v0")
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            client.ask("reset", instance_id=kept)
            time.sleep(0.05)
        client.send(request("reset", instance_id=abandoned))
        assert client.refused() == (1007, f"Instance `{abandoned}` not found")


def test_a_silent_client_is_pinged_and_at_last_dismissed() -> None:
    with running(idle_lease=1.0, ping_interval=0.2) as address, Client(address) as client:
        pings = 0
        while (got := client.receive()).opcode == PING:
            pings += 1
        assert pings >= 2
        assert got.payload == (1001).to_bytes(2, "big") + b"nothing was heard for 1 s"


def test_a_client_that_answers_pings_may_stay() -> None:
    with running(idle_lease=1.0, ping_interval=0.3) as address, Client(address) as client:
        for _ in range(6):
            assert client.receive().opcode == PING
            client.send(b"", 10)
        assert len(client.ask("make", env_id="Scripted-v0")) == 32


def test_an_environment_that_nobody_will_hear_of_is_closed() -> None:
    closed = threading.Event()

    def get_env(env_id: str, seed: int | None = None) -> Any:
        bad_envs.RELEASE.wait(20)
        env = bad_envs.Scripted()
        env.close = closed.set  # type: ignore[method-assign]
        return env

    with running(make=get_env) as address:
        with Client(address) as client:
            client.send(request("make", env_id="X-v0"))
            until(lambda: json.loads(get(address, "/v1/stats")[1])["instances_made"] == 1)
        until(lambda: json.loads(get(address, "/v1/stats")[1])["connections"] == 0)
        bad_envs.RELEASE.set()
        assert closed.wait(10)
        assert json.loads(get(address, "/v1/stats")[1])["instances"] == 0


def test_the_step_under_way_is_finished_at_the_end() -> None:
    begun = threading.Event()
    got: list[Any] = []

    class Telling(bad_envs.Slow):
        def step(self, action: Any) -> Any:
            begun.set()
            return super().step(action)

    def hear(client: Client) -> None:
        got.append(json.loads(client.reply())[0])
        got.append(client.refused())

    with running(make=lambda env_id, seed=None: Telling()) as address:
        client = Client(address)
        slow = client.ask("make", env_id="Telling-v0")
        client.ask("reset", instance_id=slow)
        listener = threading.Thread(target=hear, args=(client,))
        listener.start()
        client.send(request("step", instance_id=slow, action=0))
        assert begun.wait(20)
    listener.join()
    client.__exit__()
    assert got == [[1.0], (1001, "the server ends")]


SCRIPT = """
import gymnasium
from gym_loop.bridges.websocket.server import serve
from gym_loop.bridges.websocket.settings import WebSocketSettings

class Door(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        return 0, {}
    def step(self, action):
        return action, 0.0, False, False, {}
    def close(self):
        print("closed", flush=True)

gymnasium.register("Door-v0", entry_point=Door)
serve(WebSocketSettings(port=0), ready=lambda address: print(address, flush=True))
print("ended", flush=True)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(signum: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        with Client(process.stdout.readline().strip()) as client:
            instance = client.ask("make", env_id="Door-v0")
            assert client.ask("reset", instance_id=instance) == 0
            process.send_signal(signum)
            assert client.refused() == (1001, "the server ends")
        assert process.stdout.read() == "closed\nended\n"
        assert process.wait(20) == 0
