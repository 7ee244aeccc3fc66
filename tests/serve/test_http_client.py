"""The HTTP client against servers that answer in every legal way, and in others."""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gym_loop.envs.remote.connection import parse_url
from gym_loop.envs.remote.http_env import HttpClient
from gym_loop.errors import BridgeConnectionError, BridgeProtocolError
from tests.serve.wire_peer import Play, peer, read_request

OK = b"HTTP/1.1 200 OK\r\n"
STEP = {"observation": [0.5], "reward": 1.0, "done": False, "info": {}}
BODY = json.dumps(STEP).encode()
PLAIN = OK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
REFUSED = b"HTTP/1.1 400 BAD REQUEST\r\nContent-Length: 18\r\n\r\n" + b'{"message": "no!"}'


@contextmanager
def client(*plays: Play, timeout: float = 5.0, path: str = "") -> Iterator[HttpClient]:
    with peer(*plays) as address:
        made = HttpClient(parse_url(f"http://{address}{path}", {"http": False}), None, timeout)
        try:
            yield made
        finally:
            made.disconnect()


def answers(*replies: bytes) -> Play:
    """Answer so many requests."""

    def play(connection: socket.socket) -> None:
        for reply in replies:
            read_request(connection)
            connection.sendall(reply)

    return play


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HALF = len(BODY) // 2
FORMS = {
    "plain": PLAIN,
    "small letters": PLAIN.replace(b"Content-Length", b"content-length"),
    "chunks": CHUNKED
    + b"%x\r\n%b\r\n%X;ext=1\r\n%b\r\n0\r\n\r\n"
    % (HALF, BODY[:HALF], len(BODY) - HALF, BODY[HALF:]),
    "trailers": CHUNKED + b"%x\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(BODY), BODY),
    "after a 100": b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_an_answer_in_pieces(form: str, piece: int) -> None:
    def play(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            read_request(connection)
            for start in range(0, len(FORMS[form]), piece):
                connection.sendall(FORMS[form][start : start + piece])

    with client(play) as asking:
        assert asking.step("abc", 1)._asdict() == STEP
        assert asking.step("abc", 1)._asdict() == STEP


@pytest.mark.parametrize(
    "reply",
    [
        OK + b"\r\n" + BODY,
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"),
    ],
    ids=["until the end", "HTTP/1.0", "Connection: close"],
)
def test_a_connection_for_each_request(reply: bytes) -> None:
    with client(answers(reply), answers(reply)) as asking:
        for _ in range(2):
            assert asking.step("abc", 1)._asdict() == STEP


def test_http_1_0_can_keep_a_connection() -> None:
    reply = PLAIN.replace(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n")
    with client(answers(reply, reply)) as asking:
        for _ in range(2):
            assert asking.step("abc", 1)._asdict() == STEP


def test_what_is_sent() -> None:
    seen: list[bytes] = []

    def play(connection: socket.socket) -> None:
        for reply in (b'{"instance_id": "0a b"}', b'{"observation": 3}', BODY):
            seen.append(read_request(connection))
            connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(reply) + reply)

    with peer(play) as address:
        url = parse_url(f"http://{address}/gym", {"http": False})
        asking = HttpClient(url, "secret", 5.0)
        assert asking.make("CartPole-v1", 0) == "0a b"
        assert asking.reset("0a b") == 3
        asking.step("0a b", [0.5])
        asking.disconnect()
    bodies = [b'{"env_id":"CartPole-v1","seed":0}', b"{}", b'{"action":[0.5]}']
    paths = ["/gym/v1/envs/", "/gym/v1/envs/0a%20b/reset/", "/gym/v1/envs/0a%20b/step/"]
    for request, path, body in zip(seen, paths, bodies, strict=True):
        head, _, data = request.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        assert first == f"POST {path} HTTP/1.1"
        assert data == body
        assert dict(line.split(": ") for line in rest) == {
            "Host": address,
            "Authorization": "Bearer secret",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (REFUSED, "refused: no!"),
        (b"HTTP/1.1 500 X\r\nContent-Length: 6\r\n\r\n<html>", "with the HTTP status 500"),
        (b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", "with the HTTP status 404"),
        (b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n", "demands another token"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "lacks observation"),
        (OK + b"Content-Length: 2\r\n\r\n{}", "lacks observation, reward, done or info"),
        (OK + b"Content-Length: 2\r\n\r\n{]", "is no JSON: '{]'"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak HTTP"),
        (b"HTTP/9.9 200 OK\r\n\r\n", "does not speak HTTP"),
        (OK + b"X: %b\r\n" % (b"x" * 70_000), "does not speak HTTP"),
        (OK + b"X: 1\r\n" * 200 + b"\r\n", "does not speak HTTP"),
        (CHUNKED + b"-5\r\n", "does not speak HTTP"),
    ],
)
def test_what_is_no_answer(reply: bytes, message: str) -> None:
    with client(answers(reply)) as asking, pytest.raises(BridgeProtocolError, match=message):
        asking.step("abc", 1)


def test_a_refusal_keeps_the_client_usable() -> None:
    with client(answers(REFUSED), answers(PLAIN)) as asking:
        with pytest.raises(BridgeProtocolError, match="no!"):
            asking.step("abc", 1)
        assert asking.step("abc", 1)._asdict() == STEP


@pytest.mark.parametrize(
    "reply",
    [
        *(PLAIN[:cut] for cut in (0, 9, 30, len(PLAIN) - 1)),
        FORMS["chunks"][:-20],
        OK + b"Content-Length: many\r\n\r\n",
        CHUNKED + b"zz\r\n",
    ],
)
def test_an_answer_cut_short(reply: bytes) -> None:
    with (
        client(answers(reply)) as asking,
        pytest.raises(BridgeConnectionError, match=r"closed (the )?connection"),
    ):
        asking.step("abc", 1)


def test_a_connection_that_ended_while_idle_is_made_again() -> None:
    with client(answers(PLAIN), answers(PLAIN)) as asking:
        asking.step("abc", 1)
        time.sleep(0.1)  # until the end has arrived
        assert asking.step("abc", 1)._asdict() == STEP


def test_too_many_requests_are_asked_again() -> None:
    wait = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
    with client(answers(wait, wait, PLAIN)) as asking:
        assert asking.step("abc", 1)._asdict() == STEP
    forever = wait.replace(b"After: 0", b"After: 999")
    with client(answers(forever)) as asking, pytest.raises(BridgeProtocolError, match="429"):
        asking.step("abc", 1)


def test_an_answer_in_drops_has_an_end() -> None:
    def play(connection: socket.socket) -> None:
        read_request(connection)
        for byte in PLAIN:
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return
            time.sleep(0.02)

    with (
        client(play, timeout=0.2) as asking,
        pytest.raises(BridgeConnectionError, match=r"within 0\.2 s"),
    ):
        asking.step("abc", 1)


@pytest.mark.parametrize(
    "endless",
    [
        OK + b"\r\n" + b"x" * 2000,
        OK + b"Content-Length: %d\r\n\r\n" % (1 << 60) + b"x" * 2000,
        CHUNKED + b"-1\r\n" + b"x" * 2000,
        CHUNKED + b"fffffff\r\n" + b"x" * 2000,
        OK + b"X: x\r\n" * 90 + b"X: %b\r\n" % (b"x" * 2000),
    ],
)
def test_an_answer_without_an_end(endless: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gym_loop.envs.remote.http_env.LONGEST", 1000)
    with client(answers(endless)) as asking, pytest.raises(BridgeProtocolError, match="1000 bytes"):
        asking.step("abc", 1)


@pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"instance_id": 5}', b'{"instance_id": ""}'])
def test_an_instance_id_is_a_text(answer: bytes) -> None:
    reply = OK + b"Content-Length: %d\r\n\r\n" % len(answer) + answer
    with client(answers(reply)) as asking, pytest.raises(BridgeProtocolError, match="instance_id"):
        asking.make("CartPole-v1", None)


def test_the_clock_is_per_answer() -> None:
    """A client may think for as long as it likes between two requests."""
    with client(answers(PLAIN, PLAIN), timeout=0.2) as asking:
        asking.step("abc", 1)
        time.sleep(0.3)
        asking.step("abc", 1)


CERTIFICATE = Path(__file__).parent / "localhost.pem"  # of tests alone, for localhost, until 2126


def encrypted(play: Play) -> Play:
    def run(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        with context.wrap_socket(connection, server_side=True) as inside:
            play(inside)

    return run


def ask_encrypted(address: str, timeout: float = 5.0) -> HttpClient:
    url = f"https://localhost:{address.rpartition(':')[2]}"
    return HttpClient(parse_url(url, {"https": True}), None, timeout)


def test_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with peer(encrypted(answers(PLAIN, PLAIN))) as address:
        asking = ask_encrypted(address)
        for _ in range(2):
            assert asking.step("abc", 1)._asdict() == STEP
        asking.disconnect()


def test_a_certificate_that_nobody_signed() -> None:
    def play(connection: socket.socket) -> None:
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            encrypted(answers())(connection)

    with (
        peer(play) as address,
        pytest.raises(BridgeConnectionError, match=r"self.signed certificate"),
    ):
        ask_encrypted(address).reset("abc")


def test_encrypted_answers_have_a_time_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))

    def play(connection: socket.socket) -> None:
        answers(PLAIN)(connection)
        read_request(connection)
        assert connection.recv(1) == b"", "the client hangs up"

    with peer(encrypted(play)) as address:
        asking = ask_encrypted(address)
        asking.step("abc", 1)
        asking.hurry(0.1)
        with pytest.raises(BridgeConnectionError, match=r"within 0\.1 s"):
            asking.reset("abc")
