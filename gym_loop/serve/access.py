"""Who may use a server: the token, the pages of browsers, how often, and how much at once."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gym_loop.envs.remote.addresses import is_loopback
from gym_loop.serve.replies import refusal_reply
from gym_loop.serve.settings import ServeSettings

READING = ("GET", "HEAD", "OPTIONS")
_MOST_CLIENTS = 4096


def token_of(authorization: str | None, query: str = "") -> str | None:
    """The token that a request carries.

    Args:
        authorization: the header of that name, ``Bearer SECRET``.
        query: the part of the address after ``?``, for browsers' WebSockets, which send no
            headers.
    """
    scheme, _, secret = (authorization or "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    if not query:
        return None
    try:
        return parse_qs(query, max_num_fields=100).get("token", [None])[0]
    except ValueError:
        return None


def token_allowed(settings: ServeSettings, token: str | None) -> bool:
    """Compare the secret in a time that tells nothing about it."""
    if settings.token is None:
        return True
    sent = (token or "").encode("utf-8", "replace")
    return hmac.compare_digest(sent, settings.token.encode())


def origin_allowed(settings: ServeSettings, origin: str | None, host: str | None) -> bool:
    """Whether the web page that a browser names may use this server.

    Args:
        settings: ``allowed_origins`` and ``host``.
        origin: the request's Origin header; None comes from no browser.
        host: the request's Host header.

    Pages of this machine may, and pages that the server itself sent under an address of which
    no stranger can have made up the name.
    """
    if origin is None or "*" in settings.allowed_origins or origin in settings.allowed_origins:
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname
    except ValueError:
        return False
    if is_loopback(name) and is_loopback(settings.host):
        return True
    same = bool(host) and parts.netloc.lower() == (host or "").lower()
    return same and (is_loopback(name) or _is_address(name) or name == settings.host)


def host_allowed(settings: ServeSettings, host: str) -> bool:
    """Whether the name under which a browser found this server can be no stranger's.

    Args:
        settings: ``allowed_origins`` and ``host``.
        host: the request's Host header.
    """
    try:
        name = urlsplit(f"//{host}").hostname
        allowed = [urlsplit(origin).netloc.lower() for origin in settings.allowed_origins]
    except ValueError:
        return False
    return (
        is_loopback(name)
        or _is_address(name)
        or name == settings.host
        or "*" in settings.allowed_origins
        or host.lower() in allowed
    )


def _is_address(name: str | None) -> bool:
    # No host name consists of digits and dots alone, or has a colon in it.
    return bool(name) and (":" in (name or "") or (name or "").replace(".", "").isdigit())


class RateLimit:
    """A bucket of one second's requests for each client, refilled all the time.

    Args:
        per_second: requests a second; None allows everything.
    """

    def __init__(self, per_second: float | None) -> None:
        self._rate = per_second or 0.0
        self._burst = max(self._rate, 1.0)
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and when

    def allows(self, client: str) -> bool:
        """Count one request of a client, named by its address."""
        if not self._rate:
            return True
        now = time.monotonic()
        left, then = self._buckets.get(client, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        allowed = left >= 1.0
        if client not in self._buckets and len(self._buckets) >= _MOST_CLIENTS:
            self._forget(now)
        self._buckets[client] = (left - 1.0 if allowed else left, now)
        return allowed

    def _forget(self, now: float) -> None:
        """Drop the clients whose bucket is full again; they are as good as new."""
        self._buckets = {
            client: (left, then)
            for client, (left, then) in self._buckets.items()
            if left + (now - then) * self._rate < self._burst
        }


class AccessChecks:
    """The application behind it gets only what may come in; ASGI middleware.

    Args:
        app: what is behind it.
        settings: token, origins, rate and size.
        rate: counts HTTP requests; whoever serves WebSockets asks it about their messages.
        is_public: whether a path is the same for everyone, and costs nothing.
        on_refusal: told of each request that may not come in.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServeSettings,
        rate: RateLimit,
        is_public: Callable[[str], bool],
        on_refusal: Callable[[HTTPException], None] = lambda refusal: None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._rate = rate
        self._is_public = is_public
        self._on_refusal = on_refusal
        self._known_host: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        # Looked up by Starlette's Headers, these would take longer than all else here.
        headers = {one.decode("latin-1"): two.decode("latin-1") for one, two in scope["headers"]}
        origin, host = headers.get("origin"), headers.get("host")
        if origin is not None and origin_allowed(self._settings, origin, host):
            send = _telling_the_browser(origin, send)
        try:
            self._check(scope, headers)
        except HTTPException as refusal:
            self._on_refusal(refusal)
            await refusal_reply(refusal)(scope, receive, send)
        else:
            limited = self._limited(receive) if scope["type"] == "http" else receive
            await self._app(scope, limited, send)

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> None:
        http = scope["type"] == "http"
        if not self._is_public(scope["path"]):
            if http:
                self._check_rate(scope)
            if not (http and _is_preflight(scope, headers)):  # browsers send no token with it
                self._check_token(scope, headers)
        if not http or scope["method"] not in READING:
            self._check_origin(headers)
        elif self._settings.token is None:
            self._check_host(headers.get("host"))
        declared = headers.get("content-length", "0")
        if not declared.isdigit() or int(declared[:20]) > self._settings.max_message_bytes:
            raise self._too_large()

    def _check_rate(self, scope: Scope) -> None:
        client = scope.get("client")
        if not self._rate.allows(client[0] if client else ""):
            limit = self._settings.max_requests_per_second
            raise HTTPException(
                429, f"more than {limit:g} requests a second; wait a moment", {"retry-after": "1"}
            )

    def _check_token(self, scope: Scope, headers: Mapping[str, str]) -> None:
        query = scope["query_string"].decode("latin-1")
        if not token_allowed(self._settings, token_of(headers.get("authorization"), query)):
            raise HTTPException(
                401,
                "a token is needed here: send Authorization: Bearer TOKEN",
                {"www-authenticate": "Bearer"},
            )

    def _check_host(self, host: str | None) -> None:
        """Keep pages from reading that had a name of their own lead to this machine.

        Their browser takes them for ours, and sends no origin; what it sends is that name.
        Without it nobody is let in by name: with a token, only those who have it.
        """
        if host is None or host == self._known_host:
            return
        if not host_allowed(self._settings, host):
            raise HTTPException(
                403,
                f"this server does not answer to the name {host[:200]}: use its address, set a"
                f" token, or let its operator allow it with --allow-origin http://{host[:200]}",
            )
        self._known_host = host

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """Keep foreign web pages from changing anything; what they read, their browser hides."""
        origin = headers.get("origin")
        if not origin_allowed(self._settings, origin, headers.get("host")):
            raise HTTPException(
                403,
                f"pages of {(origin or '')[:200]} may not use this server; its operator can allow"
                " them with --allow-origin",
            )

    def _limited(self, receive: Receive) -> Receive:
        """A body whose length was not declared ends as well."""
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._settings.max_message_bytes:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> HTTPException:
        most = self._settings.max_message_bytes
        return HTTPException(
            413, f"the request is longer than {most} bytes", {"connection": "close"}
        )


def _is_preflight(scope: Scope, headers: Mapping[str, str]) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def _telling_the_browser(origin: str, send: Send) -> Send:
    """Says with every reply that the page may read it."""

    async def send_more(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["access-control-allow-origin"] = origin
            headers.add_vary_header("origin")
        await send(message)

    return send_more
