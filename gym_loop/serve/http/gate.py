"""Who may ask the HTTP server: the token, the rate, and the pages of browsers."""

from __future__ import annotations

from gym_loop.serve.access import (
    RateLimit,
    host_allowed,
    origin_allowed,
    token_allowed,
    token_of,
)
from gym_loop.serve.http.replies import Message, Refused
from gym_loop.serve.http.settings import HttpSettings

READING = ("GET", "HEAD", "OPTIONS")
Fields = dict[bytes, bytes]


class Gate:
    """Lets requests in, or not.

    Args:
        settings: token, rate and origins.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._limit = settings.max_requests_per_second
        self._rate = RateLimit(self._limit)
        self._open = settings.token is None and self._limit is None
        self._known_host: bytes | None = None

    def check(self, scope: Message, fields: Fields, *, public: bool = False) -> None:
        """Check one request.

        Args:
            scope: what ASGI tells of it.
            fields: its headers.
            public: what is asked for is the same for everyone, and costs nothing.

        Raises:
            Refused: it may not come in.
        """
        if not (self._open or public):
            self._check_rate(scope)
            self._check_token(scope, fields)
        if scope["method"] not in READING:
            if b"origin" in fields:
                self._check_origin(fields)
        elif self._settings.token is None:
            self._check_host(fields.get(b"host"))

    def is_allowed(self, origin: bytes, fields: Fields) -> bool:
        """Whether a web page may use this server, and read what it answers."""
        host = fields.get(b"host", b"").decode("latin-1")
        return origin_allowed(self._settings, origin.decode("latin-1"), host)

    def _check_rate(self, scope: Message) -> None:
        client = scope.get("client")
        if not self._rate.allows(client[0] if client else ""):
            raise Refused(
                429,
                f"more than {self._limit:g} requests a second; wait a moment",
                [(b"retry-after", b"1")],
            )

    def _check_token(self, scope: Message, fields: Fields) -> None:
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in fields:
            return  # browsers ask this without a token
        authorization = fields.get(b"authorization", b"").decode("latin-1")
        token = token_of(authorization, scope["query_string"].decode("latin-1"))
        if not token_allowed(self._settings, token):
            raise Refused(
                401,
                "a token is needed here: send Authorization: Bearer TOKEN",
                [(b"www-authenticate", b"Bearer")],
            )

    def _check_host(self, host: bytes | None) -> None:
        """Keep pages from reading that had a name of their own lead to this machine.

        Their browser takes them for ours, and sends no origin; what it sends is that name.
        Without it nobody is let in by name: with a token, only those who have it.
        """
        if host is None or host == self._known_host:
            return
        if not host_allowed(self._settings, host.decode("latin-1")):
            shown = host[:200].decode("latin-1")
            raise Refused(
                403,
                f"this server does not answer to the name {shown}: use its address, set a token,"
                f" or let its operator allow the name with --allow-origin http://{shown}",
            )
        self._known_host = host

    def _check_origin(self, fields: Fields) -> None:
        """Keep foreign web pages from changing anything; what they read, their browser hides."""
        origin = fields[b"origin"]
        if not self.is_allowed(origin, fields):
            shown = origin[:200].decode("latin-1")
            raise Refused(
                403,
                f"pages of {shown} may not use this server; its operator can allow them with"
                " --allow-origin",
            )
