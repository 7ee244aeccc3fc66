"""What the application answers with."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple

from gym_loop.bridges.http import codec

Headers = list[tuple[bytes, bytes]]
Message = MutableMapping[str, Any]  # of ASGI: a request's scope, or an event

JSON: Headers = [(b"content-type", codec.JSON)]
HTML: Headers = [(b"content-type", b"text/html; charset=utf-8")]
NO_SCRIPTS: Headers = [
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    (b"x-content-type-options", b"nosniff"),
]
CLOSE: Headers = [(b"connection", b"close")]


class Reply(NamedTuple):
    """What a handler answers."""

    body: bytes
    status: int = 200
    headers: Headers = JSON


class Refused(Exception):  # noqa: N818 - an answer, no error of the program
    """A request that is answered with a status of its own.

    Args:
        status: of HTTP.
        message: one sentence that the client gets.
        headers: beside those of every reply.
    """

    def __init__(self, status: int, message: str, headers: Headers | None = None) -> None:
        self.status, self.message, self.headers = status, message, headers or []
        super().__init__(message)
