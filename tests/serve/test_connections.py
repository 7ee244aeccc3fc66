"""How many connections there are, and how long a client may take for its part."""

import json
import subprocess
import sys
import threading
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from gym_loop.serve import connections
from tests.serve import bad_envs, http_worlds
from tests.serve.http_talk import Client, running
from tests.serve.websocket_talk import Client as WebSocketClient
from tests.serve.websocket_talk import frame, get, request
from tests.signalling import begin
from tests.waiting import wait_for


class Huge(bad_envs.Scripted):
    """Observes three million numbers."""

    observation_space = Box(0, 255, (1000, 1000, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros((1000, 1000, 3), np.uint8), {}


@pytest.fixture(autouse=True)
def worlds() -> None:
    http_worlds.register()
    gymnasium.register("Huge-v0", entry_point=Huge, disable_env_checker=True)


def test_silent_connections_lock_nobody_out() -> None:
    with running(max_connections=8) as address:
        working = Client(address)
        env = working.make("Counter-v0")
        silent = [Client(address) for _ in range(20)]
        with Client(address) as other:
            assert other.ask("GET", "/v1/envs/").status == 200
        assert working.ask("POST", f"{env}/reset/").status == 200
        for client in [working, *silent]:
            client.close()


FEW_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
import gym_loop
gym_loop.serve("http", port=0, ready=lambda address: print(address, flush=True))
"""


def test_silent_connections_lock_nobody_out_where_few_files_may_be_open() -> None:
    with begin([sys.executable, "-c", FEW_FILES], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        silent = [Client(address) for _ in range(300)]
        with Client(address) as client:
            assert client.ask("GET", "/v1/envs/").status == 200
        for one in silent:
            one.close()
        server.terminate()
        assert server.wait(20) == 0


def test_more_clients_than_allowed_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with running(max_connections=4) as address:
        clients = [Client(address) for _ in range(4)]
        for client in clients:
            assert client.ask("GET", "/v1/envs/").status == 200
        for _ in range(3):
            with Client(address) as other:
                refused = other.ask("GET", "/v1/envs/")
                assert refused.status == 503
                assert refused.message == "as many clients as may be are connected"
        assert caplog.text.count("more than 4 connections (max_connections)") == 2  # 1, 2, not 3
        assert clients[0].ask("GET", "/v1/envs/").status == 200
        for client in clients:
            client.close()


def open_sockets(address: str) -> int:
    return int(
        json.loads(get(f"{address}/gym".replace("http", "ws"), "/v1/stats")[1])["connections"]
    )


def test_a_client_that_reads_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_TIME", 0.2)
    with running() as address:
        gymie = f"{address}/gym".replace("http", "ws")
        client = WebSocketClient(gymie)
        instance = client.ask("make", env_id="Huge-v0")
        sender = threading.Thread(
            target=_send_all, args=(client, frame(request("reset", instance_id=instance)) * 30)
        )
        sender.start()
        wait_for(lambda: open_sockets(address) == 1)
        wait_for(lambda: open_sockets(address) == 0)
        sender.join()
        # Of what it asked for, only as much was made as it may leave unread.
        assert json.loads(get(gymie, "/v1/stats")[1])["calls"] < 20
        client.__exit__()
        with Client(address) as http:
            env = http.make("Huge-v0")
            http.send("POST", f"{env}/reset/", {}, b"")
            http.send("POST", f"{env}/reset/", {}, b"")
            wait_for(lambda: _is_dropped(http))


def _send_all(client: WebSocketClient, data: bytes) -> None:
    try:
        client.socket.sendall(data)
    except OSError:
        pass  # it was dropped


def _is_dropped(client: Client) -> bool:
    try:
        client.send("POST", "/v1/envs/", {}, b"")
    except OSError:
        return True
    return False


def test_a_slow_reader_may_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_TIME", 0.3)
    with running() as address, Client(address) as client:
        env = client.make("Huge-v0")
        client.send("POST", f"{env}/reset/", {}, b"")
        left = int(_head(client)["content-length"])
        pause = threading.Event()
        while left:
            left -= len(client.reader.read(min(left, 400_000)))
            pause.wait(0.1)


def _head(client: Client) -> dict[str, str]:
    client.reader.readline()
    headers = {}
    while line := client.reader.readline().strip().decode():
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    return headers
