"""Users, tokens, credential files and TLS, each against a nats-server that demands them."""

import re
import shutil
import socket
import subprocess
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gym_loop.envs.remote.nats_env import NatsEnv
from gym_loop.errors import BridgeConnectionError
from gym_loop.serve.nats.embedded import EmbeddedServer, find_server
from gym_loop.serve.nats.settings import NatsSettings
from tests.serve.nats import nats_serving
from tests.serve.nats.nats_secrets import certificate, credentials
from tests.serve.nats.nats_serving import nats_server, system


@pytest.fixture(autouse=True)
def worlds() -> None:
    nats_serving.register()


def plays(url: str, **access: Any) -> None:
    """Both sides come in, and an episode goes."""
    with system(url, "NatsFour-v0", **access), closing(NatsEnv(url, timeout=20, **access)) as env:
        env.reset()
        assert [env.step(1)[2] for _ in range(4)] == [False, False, False, True]


def refused(said: str, url: str, **access: Any) -> None:
    with pytest.raises(BridgeConnectionError, match=said) as caught:
        NatsEnv(url, timeout=5, **access)
    assert "hunter2" not in str(caught.value)


def test_user_and_password(tmp_path: Path) -> None:
    config = 'authorization { user: "me", password: "hunter2" }'
    with nats_server(tmp_path, config) as server:
        plays(server.url, user="me", password="hunter2")
        plays(server.url.replace("//", "//me:hunter2@"))
        refused("refuses us: Authorization Violation", server.url)
        refused("refuses us: Authorization Violation", server.url, user="me", password="hunter3")


def test_token(tmp_path: Path) -> None:
    with nats_server(tmp_path, 'authorization { token: "hunter2" }') as server:
        plays(server.url, token="hunter2")
        refused("refuses us: Authorization Violation", server.url, token="hunter22")


def test_credentials_file(tmp_path: Path) -> None:
    config, file = credentials(tmp_path)
    with nats_server(tmp_path, config) as server:
        plays(server.url, credentials=str(file))
        _, stranger = credentials(tmp_path)  # another operator's
        refused("refuses us: Authorization Violation", server.url, credentials=str(stranger))
        refused("refuses us: Authorization Violation", server.url)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"nothing", "there is no user JWT and NKEY seed in it"),
        (b"\xff\xfe", "can't decode"),
        (
            b"-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n"
            b"-----BEGIN USER NKEY SEED-----\nSUAB\n------END USER NKEY SEED------\n",
            "the NKEY seed is damaged",
        ),
    ],
)
def test_a_credentials_file_of_no_use(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "user.creds"
    if content is not None:
        file.write_bytes(content)
    with nats_server(tmp_path) as server:
        refused(f"credentials {re.escape(str(file))}: .*{said}", server.url, credentials=str(file))


def test_tls(tmp_path: Path) -> None:
    with nats_server(tmp_path, certificate(tmp_path)) as server:
        certificates = str(tmp_path / "cert.pem")
        encrypted = server.url.replace("nats:", "tls:")
        plays(encrypted, tls_ca=certificates)
        plays(server.url, tls_ca=certificates)  # the server demands it
        refused("certificate verify failed", encrypted)
        refused("(not valid for|doesn't match).*", encrypted.replace("127.0.0.1", "localhost"),
                tls_ca=certificates)  # fmt: skip
        refused("No such file", encrypted, tls_ca=str(tmp_path / "none.pem"))
        with (
            system(encrypted, "NatsCounter-v0", tls_ca=certificates),
            closing(NatsEnv(encrypted, tls_ca=certificates, timeout=20)) as env,
        ):
            env.reset()
            env.step(1)
            server.kill()
            server.start()
            assert nats_serving.steps_of(env.step(1)[0]) == 2


def test_no_tls_where_it_is_wanted(tmp_path: Path) -> None:
    with nats_server(tmp_path) as server:
        refused("offers no TLS; write nats://", server.url.replace("nats:", "tls:"))


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak NATS: it began with b'HTTP"),
        (b"INFO nonsense\r\n", "does not speak NATS: its INFO is no JSON"),
        (b"x" * 70_000, "does not speak NATS: a line of more than"),
        (b"", "the server closed the connection"),
        (None, "no answer in time"),
    ],
)
def test_what_is_no_nats_server(greeting: bytes | None, said: str) -> None:
    done = threading.Event()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            if greeting is None:
                done.wait(20)
            else:
                connection.sendall(greeting)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(BridgeConnectionError, match=said):
            NatsEnv(port=listener.getsockname()[1], timeout=0.5)
        done.set()
        thread.join()


# -- the embedded server -----------------------------------------------------------------------


def test_the_embedded_server_ends_with_its_context() -> None:
    with EmbeddedServer() as server:
        port = int(server.url.rpartition(":")[2])
        assert server.url.startswith("nats://127.0.0.1:")
        assert nats_serving.is_listening(port)
    assert not nats_serving.is_listening(port)
    assert not server._directory.exists()
    server.close()


def test_an_embedded_server_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BridgeConnectionError, match=r"did not start: .*address already in use"):
            EmbeddedServer(port)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert subprocess.run([find_server(), "--version"], check=True).returncode == 0
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/nowhere")
    with pytest.raises(BridgeConnectionError, match=r'no nats-server: pip install "gym-loop\[b'):
        EmbeddedServer()


def test_an_embedded_server_has_no_url_of_the_users() -> None:
    found = NatsSettings(env=("X-v0",), embedded=True, url="nats://127.0.0.1:1").problems()
    assert found == {
        "url": "nats://127.0.0.1:1 and embedded exclude each other: one server is enough"
    }
    assert NatsSettings(env=("X-v0",), embedded=True).problems() == {}
