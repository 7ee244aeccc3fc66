"""An HTTP server in a thread, a client on a raw socket, and transcripts of what they say."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gym_loop.serve.server import serve
from gym_loop.serve.settings import ServeSettings

JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])


class Client:
    """One kept-alive connection."""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("http://").rpartition(":")
        self.host, self.port = host.strip("[]"), int(port)
        self.socket = socket.create_connection((self.host, self.port), timeout=20)
        self.reader = self.socket.makefile("rb")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self.reader.close()
        self.socket.close()

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        fields = {"Host": f"{host}:{self.port}", "Content-Length": str(len(body)), **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
        self.socket.sendall("\r\n".join(lines).encode() + body)

    def receive(self, method: str = "POST") -> Answer:
        """Read one answer."""
        status_line = self.reader.readline()
        assert status_line.startswith(b"HTTP/1.1 "), status_line
        headers = {}
        while (line := self.reader.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        status = int(status_line.split()[1])
        size = 0 if method == "HEAD" else int(headers.get("content-length", 0))
        return Answer(status, headers, self.reader.read(size))

    def ask(
        self, method: str, path: str, value: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send a request, with JSON where there is a value, and read its answer."""
        body = b"" if value is None else json.dumps(value).encode()
        fields = {**({} if value is None else JSON), **(headers or {})}
        self.send(method, path, fields, body)
        return self.receive(method)

    def make(self, env_id: str, seed: int | None = 0) -> str:
        """Make an environment, and give the path of its instance."""
        answer = self.ask("POST", "/v1/envs/", {"env_id": env_id, "seed": seed})
        assert answer.status == 200, answer.body
        return f"/v1/envs/{answer.json['instance_id']}"


@contextmanager
def running(**options: Any) -> Iterator[str]:
    """The address of a server that lives as long as the block."""
    addresses: list[str] = []
    listens, stop = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def ready(address: str) -> None:
        addresses.append(address)
        listens.set()

    def work() -> None:
        try:
            serve(ServeSettings(**{"port": 0, **options}), ready=ready, stop=stop)
        except BaseException as error:  # noqa: BLE001 - the test raises it
            failed.append(error)
            listens.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert listens.wait(30)
        if not failed:
            yield addresses[0]
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
        if failed:
            raise failed[0]


class Exchange(NamedTuple):
    """One request of a transcript and the answer that belongs to it."""

    line: int
    request: str
    sent: dict[str, str]
    body: str
    status: int
    headers: dict[str, str]
    answer: str


def read_transcript(path: Path) -> list[Exchange]:
    """Read the exchanges of a file; its first lines say how they are written."""
    exchanges = []
    line = 1
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        lines = block.splitlines()
        sent = [one[2:] for one in lines if one.startswith(">")]
        got = [one[2:] for one in lines if one.startswith("<")]
        if sent:
            request, sent_headers, body = _message(sent)
            status, headers, answer = _message(got)
            exchanges.append(
                Exchange(line, request, sent_headers, body, int(status), headers, answer)
            )
        line += len(lines) + 1
    return exchanges


def _message(lines: list[str]) -> tuple[str, dict[str, str], str]:
    end = lines.index("") if "" in lines else len(lines)
    headers = dict(one.split(": ", 1) for one in lines[1:end])
    return lines[0], headers, "\n".join(lines[end + 1 :])


def replay(path: Path, client: Client) -> None:
    """Send what a transcript's client sends, and compare every answer with what it must be."""
    known: dict[str, str] = {}

    def filled(text: str) -> str:
        return re.sub(r"<([A-Z]+)>", lambda found: known.get(found[1], found[0]), text)

    for one in read_transcript(path):
        method, _, target = filled(one.request).partition(" ")
        client.send(method, target, one.sent, filled(one.body).encode())
        answer = client.receive(method)
        place = f"{path.name}:{one.line}: {one.request}\n{answer}"
        assert answer.status == one.status, place
        for name, value in one.headers.items():
            assert answer.headers.get(name.lower()) == value, place
        if not one.answer:
            assert answer.body == b"", place
            continue
        for name in re.findall(r"<([A-Z]+)>", one.answer):
            if name not in known:
                found = re.search(rb'"instance_id": ?"([0-9a-f]{8})"', answer.body)
                assert found, place
                known[name] = found[1].decode()
        expected = json.loads(filled(one.answer))
        message = expected.get("message", "")
        if message.startswith("..."):
            pattern = ".*".join(re.escape(part) for part in message.split("..."))
            assert re.fullmatch(pattern, answer.message, re.DOTALL), place
            assert set(answer.json) == {"message"}, place
        else:
            assert typed(answer.json) == typed(expected), place


def typed(value: Any) -> str:
    """JSON in which 1, 1.0 and true are three different things."""
    return json.dumps(value, sort_keys=True)
