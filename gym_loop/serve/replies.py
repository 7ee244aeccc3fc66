"""Replies over HTTP, and an endpoint that answers the methods of one path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gym_loop.wire import gym_http as codec

Handler = Callable[[Request], Awaitable[Response]]
NO_STORE = {"cache-control": "no-store"}


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A reply in JSON; ``value`` may be bytes that are JSON already."""
    body = value if isinstance(value, bytes) else codec.write(value)
    return Response(body, status, headers, "application/json")


def no_content() -> Response:
    """What answers a request that has nothing to tell."""
    return Response(status_code=204, headers={"content-type": "text/html; charset=utf-8"})


def html_reply(text: str) -> Response:
    """A reply in words, for people."""
    return Response(text, media_type="text/html")


def refusal_reply(refusal: HTTPException) -> Response:
    """What answers a request that is refused."""
    body = codec.error_reply(refusal.detail)
    return json_reply(body, refusal.status_code, refusal.headers)


def not_found(path: str) -> HTTPException:
    """The refusal of a path that leads nowhere."""
    return HTTPException(404, f"there is no {path[:200]} here; /openapi.json says what there is")


class Endpoint:
    """One path of an application (ASGI): a handler for each of its methods.

    Args:
        handlers: by method; "*" stands for every one.
        refused: makes the reply of what a handler raised.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        refused: Callable[[Request, Exception], Response],
    ) -> None:
        self._handlers = dict(handlers)
        if "GET" in handlers:
            self._handlers["HEAD"] = handlers["GET"]
        names = [name for name in ("GET", "HEAD", "POST") if name in self._handlers]
        self._allowed = ", ".join([*names, "OPTIONS"])
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens, the server goes on."""
        request = Request(scope, receive)
        try:
            reply = await self._answer(request)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - of one request: others go on
            reply = self._refused(request, error)
        await reply(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        handler = self._handlers.get(request.method) or self._handlers.get("*")
        if handler is not None:
            return await handler(request)
        if request.method == "OPTIONS":
            headers = {
                "content-type": "text/html; charset=utf-8",
                "allow": self._allowed,
                "access-control-allow-methods": self._allowed,
                "access-control-allow-headers": "authorization, content-type",
                "access-control-max-age": "600",
            }
            return Response(status_code=204, headers=headers)
        raise HTTPException(
            405,
            f"{request.method[:20]} is not answered here; use {self._allowed}",
            {"allow": self._allowed},
        )
