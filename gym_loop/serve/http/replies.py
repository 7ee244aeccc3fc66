"""What the application answers with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from gym_loop.wire import gym_http as codec

Headers = list[tuple[bytes, bytes]]
Message = MutableMapping[str, Any]  # of ASGI: a request's scope, or an event

JSON: Headers = [(b"content-type", codec.JSON)]
HTML: Headers = [(b"content-type", b"text/html; charset=utf-8")]
JPEG: Headers = [(b"content-type", b"image/jpeg"), (b"cache-control", b"no-store")]
# Of our own pages: nothing from elsewhere, no script but ours, nobody's frame around them.
PAGE: Headers = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
        b" connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
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


async def send_reply(
    reply: Reply, send: Callable[[Message], Awaitable[None]], more: Headers | None = None
) -> None:
    """Send a whole reply.

    Args:
        reply: what to send.
        send: of ASGI.
        more: further headers.
    """
    headers = [*reply.headers, *more] if more else reply.headers
    if reply.status != 204:
        headers = [*headers, (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
