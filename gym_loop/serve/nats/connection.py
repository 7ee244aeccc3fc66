"""How a server of ours is told which NATS server to answer on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from gym_loop.envs.remote.nats_address import Address, parse_url
from gym_loop.serve.nats.embedded import EmbeddedServer


@dataclass(frozen=True, kw_only=True)
class NatsConnection:
    """The options of the connection to a NATS server.

    Args:
        url: the NATS server, ``nats://HOST:PORT`` or ``tls://HOST:PORT``.
        user: user name for the NATS server.
        password: the user's password.
        token: authentication token for the NATS server.
        credentials: path of a ``.creds`` file.
        tls_ca: file of the certificates to trust; the system's where none is given.
        embedded: start a NATS server on a free loopback port, which ends with this process.
        timeout: seconds after which a lost NATS server that did not come back ends this one.
    """

    url: str = "nats://127.0.0.1:4222"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    credentials: str | None = None
    tls_ca: str | None = None
    embedded: bool = False
    timeout: float = 60.0

    def problems(self) -> dict[str, str]:
        """What is wrong with the values, by option."""
        found = {}
        if not self.timeout > 0:
            found["timeout"] = f"{self.timeout} must be greater than 0"
        if self.embedded and self.url != NatsConnection.url:
            found["url"] = f"{self.url} and embedded exclude each other: one server is enough"
        return found

    @contextmanager
    def address(self) -> Iterator[Address]:
        """Where the NATS server is; an embedded one runs until the context ends.

        Raises:
            BridgeConnectionError: the URL is none, or the embedded server does not start.
        """
        with ExitStack() as stack:
            url = stack.enter_context(EmbeddedServer()).url if self.embedded else self.url
            yield parse_url(
                url,
                user=self.user,
                password=self.password,
                token=self.token,
                credentials=self.credentials,
                tls_ca=self.tls_ca,
            )
