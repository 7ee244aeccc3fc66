"""The server around the connections: who comes in, its hooks, its leases, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gym_loop.errors import ConfigError, EnvUnknownError, UsageError
from gym_loop.serve.server import serve_websocket as serve
from gym_loop.serve.settings import ServeSettings, load_settings
from tests.serve import bad_envs
from tests.serve.websocket_talk import PING, Client, get, request, running
from tests.signalling import begin
from tests.waiting import wait_for


@pytest.fixture(autouse=True)
def environments() -> Iterator[None]:
    bad_envs.register()
    bad_envs.RELEASE.clear()
    yield
    bad_envs.RELEASE.set()


# -- who comes in ----------------------------------------------------------------------------------


def test_other_paths_greet() -> None:
    with running() as address:
        for path in ("/index.html", "/gym/", "/gymx?a=b"):
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
        serve(ServeSettings(host="0.0.0.0", port=0))


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
        wait_for(lambda: json.loads(get(address, "/v1/stats")[1])["connections"] == 0)
        with Client(address) as third:
            assert third.status == 101


def test_a_port_in_use() -> None:
    with running() as address:
        port = int(address.split(":")[2].split("/")[0])
        with pytest.raises(UsageError, match=rf"port {port}: .*--port"):
            serve(ServeSettings(port=port))


def test_settings_from_a_file(workdir: Any) -> None:
    (workdir / "serve.yaml").write_text("port: 0\ncompression: yes\nping_interval: null\n")
    settings = load_settings(ServeSettings, "serve.yaml")
    assert (settings.compression, settings.ping_interval) == (True, None)
    (workdir / "serve.yaml").write_text("max_connections: 0\nping_interval: -1\n")
    with pytest.raises(ConfigError, match="max_connections") as error:
        load_settings(ServeSettings, "serve.yaml")
    assert len(error.value.findings) == 2


# -- hooks -----------------------------------------------------------------------------------------


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
        serve(ServeSettings(port=0, process_step=f"{workdir}/hooks.py:absent"))


# -- leases and ends -------------------------------------------------------------------------------


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
        assert client.receive().opcode == PING
        got = client.receive()
        assert got.payload == (1011).to_bytes(2, "big") + b"keepalive ping timeout"


def test_a_client_that_answers_pings_may_stay() -> None:
    with running(idle_lease=1.0, ping_interval=0.3) as address, Client(address) as client:
        for _ in range(6):
            got = client.receive()
            assert got.opcode == PING
            client.send(got.payload, 10)
        assert len(client.ask("make", env_id="Scripted-v0")) == 32


def test_an_environment_that_nobody_will_hear_of_is_closed() -> None:
    closed = threading.Event()

    def get_env(env_id: str, seed: int | None = None) -> Any:
        bad_envs.RELEASE.wait(20)
        env = bad_envs.Scripted()
        env.close = closed.set
        return env

    with running(make=get_env) as address:
        with Client(address) as client:
            client.send(request("make", env_id="X-v0"))
            wait_for(lambda: json.loads(get(address, "/v1/stats")[1])["instances_made"] == 1)
        wait_for(lambda: json.loads(get(address, "/v1/stats")[1])["connections"] == 0)
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
from gym_loop.serve.server import serve_websocket as serve
from gym_loop.serve.settings import ServeSettings

class Door(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        return 0, {}
    def step(self, action):
        return action, 0.0, False, False, {}
    def close(self):
        print("closed", flush=True)

gymnasium.register("Door-v0", entry_point=Door)
serve(ServeSettings(port=0), ready=lambda address: print(address, flush=True))
print("ended", flush=True)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(signum: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT]
    with begin(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        with Client(process.stdout.readline().strip()) as client:
            instance = client.ask("make", env_id="Door-v0")
            assert client.ask("reset", instance_id=instance) == 0
            process.send_signal(signum)
            assert client.refused() == (1001, "the server ends")
        assert process.stdout.read() == "closed\nended\n"
        assert process.wait(20) == 0
