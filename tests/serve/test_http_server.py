"""The life of an HTTP server: where it listens, how it ends, and whom it does not wait for."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gym_loop.errors import ConfigError, UsageError
from gym_loop.serve import connections
from gym_loop.serve.server import serve
from gym_loop.serve.settings import ServeSettings, load_settings
from tests.serve import http_worlds
from tests.serve.http_talk import Client, running
from tests.signalling import begin

HERE = Path(__file__).parent
PROGRAM = """
import sys, time
import http_worlds, gymnasium
from gym_loop.serve.server import serve
from gym_loop.serve.settings import ServeSettings

class Slow(http_worlds.Counter):
    def step(self, action):
        time.sleep(0.5)
        return super().step(action)

    def close(self):
        print("closed", flush=True)

gymnasium.register("Slow-v0", entry_point=Slow, disable_env_checker=True)
serve(ServeSettings(port=0), ready=lambda address: print(address, flush=True))
print("ended", flush=True)
"""


@contextlib.contextmanager
def process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, and its address."""
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", PROGRAM]
    with begin(command, stdout=subprocess.PIPE, env=env) as server:
        assert server.stdout is not None
        try:
            yield server, server.stdout.readline().strip()
        finally:
            server.kill()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_closes_all(signum: int) -> None:
    with process() as (server, address), Client(address) as client:
        env = client.make("Slow-v0")
        client.ask("POST", f"{env}/reset/")
        client.send("POST", f"{env}/step/", {"Content-Type": "application/json"}, b'{"action": 1}')
        time.sleep(0.1)
        server.send_signal(signum)
        assert client.receive().json["observation"] == [1.0, 1.0]
        assert server.stdout is not None
        assert server.stdout.read().splitlines() == ["closed", "ended"]
        assert server.wait(10) == 0


def test_a_client_that_hangs_does_not_keep_the_server() -> None:
    with process() as (server, address), Client(address) as client:
        client.socket.sendall(b"POST /v1/envs/ HTTP/1.1\r\nHost: x\r\n")
        server.terminate()
        assert server.wait(10) == 0


def test_a_client_may_end_a_server_that_allows_it() -> None:
    ended = threading.Event()

    def work() -> None:
        serve(ServeSettings(port=0, allow_shutdown=True), ready=addresses.append)
        ended.set()

    addresses: list[str] = []
    thread = threading.Thread(target=work)
    thread.start()
    while not addresses:
        time.sleep(0.01)
    with Client(addresses[0]) as client:
        answer = client.ask("POST", "/v1/shutdown/")
    assert (answer.status, answer.body) == (200, b"Server shutting down")
    assert ended.wait(10)
    thread.join()


def test_idle_environments_are_closed() -> None:
    http_worlds.register()
    before = http_worlds.Faulty.closed
    with running(idle_lease=0.3) as address, Client(address) as client:
        env = client.make("Faulty-v0")
        for _ in range(4):
            time.sleep(0.15)
            assert client.ask("POST", f"{env}/reset/").status == 200  # used, so kept
        deadline = time.monotonic() + 10
        while http_worlds.Faulty.closed == before and time.monotonic() < deadline:
            time.sleep(0.05)
        with Client(address) as another:
            assert "unknown" in another.ask("POST", f"{env}/reset/").message


def closed_by_peer(connection: socket.socket) -> bool:
    connection.settimeout(10)
    while connection.recv(4096):
        pass
    return True


def test_silent_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_TIME", 0.3)
    half_sent = [
        b"POST /v1/envs/ HT",
        b"POST /v1/envs/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n",
        b"POST /v1/envs/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
    ]
    with running() as address:
        clients = [Client(address) for _ in half_sent]
        for client, data in zip(clients, half_sent, strict=True):
            client.socket.sendall(data)
        with Client(address) as idle:
            assert all(closed_by_peer(client.socket) for client in clients)
            assert idle.ask("GET", "/v1/envs/").status == 200  # thinking is no silence
        for client in clients:
            client.close()


def test_a_request_that_trickles_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_TIME", 0.3)
    with running() as address, Client(address) as client:
        client.socket.sendall(b"GET /v1/envs/ HTTP/1.1\r\n")
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 200:
                client.socket.sendall(b"x-more: y\r\n")
                sent += 1
                time.sleep(0.05)
        assert sent < 200


def test_a_slow_step_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_TIME", 0.1)

    class Slow(http_worlds.Counter):
        def step(self, action: Any) -> Any:
            time.sleep(0.6)
            return super().step(action)

    with (
        running(make=lambda env_id, seed=None: Slow(), idle_lease=0.2) as address,
        Client(address) as client,
    ):
        env = client.make("Any-v0")
        client.ask("POST", f"{env}/reset/")
        assert client.ask("POST", f"{env}/step/", {"action": 0}).status == 200


def test_endless_headers_are_refused() -> None:
    with running() as address, Client(address) as client:
        client.socket.sendall(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.socket.sendall(b"x: " + b"y" * 4000 + b"\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert client.receive().status == 400


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00", b"hello\r\n\r\n", b"GET\r\n\r\n"])
def test_what_is_no_http_is_refused(data: bytes) -> None:
    with running() as address:
        with Client(address) as client:
            client.socket.sendall(data)
            assert client.receive().status == 400
        with Client(address) as client:
            assert client.ask("GET", "/v1/envs/").status == 200


@pytest.mark.parametrize("pieces", [1, 2])
def test_an_offer_of_http2_is_passed_over(pieces: int) -> None:
    http_worlds.register()
    body = b'{"env_id": "Counter-v0"}'
    head = (
        b"POST /v1/envs/ HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nHost: x\r\n"
        b"HTTP2-Settings: AAEAAEAA\r\nUpgrade: h2c\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    with running() as address, Client(address) as client:
        for _ in range(2):
            for data in [head + body] if pieces == 1 else [head, body]:
                client.socket.sendall(data)
                time.sleep(0.05)
            assert client.receive().status == 200


def test_ipv6() -> None:
    with running(host="::1") as address, Client(address) as client:
        assert address.startswith("http://[::1]:")
        assert client.ask("GET", "/v1/envs/").status == 200


def test_a_taken_port_is_an_error() -> None:
    with running() as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(UsageError, match=f"127.0.0.1 port {port}.*choose another"):
            serve(ServeSettings(port=port))


def test_other_machines_need_a_token() -> None:
    with pytest.raises(UsageError, match="--token"):
        serve(ServeSettings(host="0.0.0.0", port=0))


def test_an_operator_may_say_in_full_that_nobody_needs_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    http_worlds.register()
    options = {"host": "0.0.0.0", "allowed_origins": ("http://gym:5000",)}
    with running(serve_everyone_without_token=True, **options) as address:
        assert "without a token (serve_everyone_without_token)" in caplog.text
        with Client(address.replace("0.0.0.0", "127.0.0.1")) as client:
            env = client.make("Counter-v0")
            by_name = {"Host": "gym:5000"}  # as another container calls it
            assert client.ask("GET", f"{env}/action_space/", headers=by_name).status == 200
            for wrong in ({"Host": "evil.example"}, {"Host": "gym:6000"}):
                assert client.ask("GET", "/v1/envs/", headers=wrong).status == 403
            foreign = {"Origin": "https://evil.example"}
            assert client.ask("POST", f"{env}/reset/", headers=foreign).status == 403


def test_missing_packages_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gym_loop.serve.connections", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UsageError, match=r"uvicorn.*gym-loop\[bridges\]"):
        serve(ServeSettings(port=0))


def test_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with running() as address, Client(address) as client:
        assert client.ask("GET", "/v1/envs/").status == 200


def test_options_are_read_and_described(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("port: 0\nmonitor-root: here\nallow_shutdown: true\nenv: [Counter-*]\n")
    settings = load_settings(ServeSettings, file, {"any_monitor_directory": True})
    assert (settings.port, settings.monitor_root, settings.allow_shutdown) == (0, "here", True)
    assert settings.env == ("Counter-*",)
    file.write_text("monitor_root: ''\n")
    with pytest.raises(ConfigError, match="monitor_root"):
        load_settings(ServeSettings, file)
