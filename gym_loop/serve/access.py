"""Who may use a server: the token, the pages of browsers, and how often."""

from __future__ import annotations

import hmac
import time
from urllib.parse import parse_qs, urlsplit

from gym_loop.envs.remote.addresses import is_loopback
from gym_loop.serve.settings import ServerSettings

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


def token_allowed(settings: ServerSettings, token: str | None) -> bool:
    """Compare the secret in a time that tells nothing about it."""
    if settings.token is None:
        return True
    sent = (token or "").encode("utf-8", "replace")
    return hmac.compare_digest(sent, settings.token.encode())


def origin_allowed(settings: ServerSettings, origin: str | None, host: str | None) -> bool:
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


def host_allowed(settings: ServerSettings, host: str) -> bool:
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
