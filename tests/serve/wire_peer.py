"""A server that plays a script, byte by byte, one function a connection."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Play = Callable[[socket.socket], None]


@contextmanager
def peer(*plays: Play) -> Iterator[str]:
    """Accept as many connections as there are plays; gives ``127.0.0.1:PORT``."""
    problems: list[BaseException] = []

    def run() -> None:
        for play in plays:
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(10)
                    play(connection)
            except BaseException as error:  # noqa: BLE001 - told in the test's own thread
                problems.append(error)
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=run)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(20)
    assert not thread.is_alive()
    assert not problems, problems


def read_request(connection: socket.socket) -> bytes:
    """One HTTP request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
    while len(body) < int(length or 0):
        body += received(connection)
    return head + b"\r\n\r\n" + body


def received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data, "the client closed the connection"
    return data
