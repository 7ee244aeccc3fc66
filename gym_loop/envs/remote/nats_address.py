"""Where a NATS server is, and what it wants to hear."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from gym_loop.errors import BridgeConnectionError


@dataclass(frozen=True)
class Address:
    """Where a NATS server is and how it knows us.

    Args:
        host: its name or address.
        port: its TCP port.
        user: user name, None for none.
        password: the user's.
        token: an authentication token.
        credentials: path of a ``.creds`` file (JWT and NKEY seed).
        tls: encrypt; a server that demands it is encrypted in any case.
        tls_ca: file of the certificates to trust, None for the system's.
    """

    host: str = "127.0.0.1"
    port: int = 4222
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    credentials: str | None = None
    tls: bool = False
    tls_ca: str | None = None

    @property
    def url(self) -> str:
        """The address without secrets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'nats'}://{host}:{self.port}"


def parse_url(url: str, **given: Any) -> Address:
    """Read ``nats://user:password@host:port``, ``nats://token@host`` or ``tls://...``.

    Args:
        url: the port may be left out, and so may ``nats://``.
        given: fields of `Address`, which win over what the URL says; None stands for "not given".

    Raises:
        BridgeConnectionError: it is no such URL.
    """
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        port = parts.port or 4222
        host = parts.hostname if parts.scheme in ("nats", "tls") else None
    except ValueError:
        host = None
    if not host:
        raise BridgeConnectionError(
            f"{url.rpartition('@')[2]!r} is no NATS address; write nats://HOST:PORT or"
            " tls://HOST:PORT"
        )
    known: dict[str, Any] = {"tls": parts.scheme == "tls"}
    if parts.password is not None:
        known.update(user=unquote(parts.username or ""), password=unquote(parts.password))
    elif parts.username:
        known["token"] = unquote(parts.username)
    known.update({name: value for name, value in given.items() if value})
    return Address(host=host, port=port, **known)
