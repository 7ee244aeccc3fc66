"""What the NATS system side can be told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gym_loop.envs.remote.nats_address import Address, parse_url
from gym_loop.schema.parameters import Field, NonNegativeInt, Parameters, PositiveFloat
from gym_loop.serve.nats.embedded import EmbeddedServer
from gym_loop.serve.settings import Hook
from gym_loop.wire.gym_nats import prefix_problem, subjects

_URL = "nats://127.0.0.1:4222"


class NatsSettings(Parameters):
    """The options of ``gym-loop serve nats``."""

    env: tuple[str, ...] = Field(
        default=(),
        description="Ids of the environments to serve, each alone or as ``PREFIX=ID``: the prefix"
        " and a dot are put before its subjects, so that several can be served at once.",
    )
    url: str = Field(
        default=_URL, description="The NATS server, ``nats://HOST:PORT`` or ``tls://HOST:PORT``."
    )
    user: str | None = Field(default=None, description="User name for the NATS server.")
    password: str | None = Field(default=None, repr=False, description="The user's password.")
    token: str | None = Field(
        default=None, repr=False, description="Authentication token for the NATS server."
    )
    credentials: str | None = Field(default=None, description="Path of a ``.creds`` file.")
    tls_ca: str | None = Field(
        default=None,
        description="File of the certificates to trust; the system's where none is given.",
    )
    embedded: bool = Field(
        default=False,
        description="Start a NATS server on a free loopback port, which ends with this process.",
    )
    timeout: PositiveFloat = Field(
        default=60.0,
        description="Seconds after which a lost NATS server that did not come back ends this one.",
    )
    imports: tuple[str, ...] = Field(
        default=(), description="Modules or ``.py`` files that register environments."
    )
    make: Hook = Field(
        default=None,
        description="Class string of ``get_env(env_id, seed=None)``, which makes the environments"
        " instead of Gymnasium's registry.",
    )
    seed: NonNegativeInt | None = Field(
        default=None, description="Of the first episode; drawn where none is given."
    )
    queue: str | None = Field(
        default=None,
        description="Refused; see the documentation for why a system has no queue group.",
    )
    replace_old_versions: bool = Field(
        default=True, description="Serve an id whose version is gone by the newest of that name."
    )

    def problems(self) -> dict[str, str]:
        """What is wrong with values that do not go together, by option."""
        found = {}
        prefixes = [prefix for prefix, _ in self.systems()]
        updates = {subjects(prefix).update for prefix in prefixes}
        if self.embedded and self.url != _URL:
            found["url"] = f"{self.url} and embedded exclude each other: one server is enough"
        if not self.env:
            found["env"] = "names no environment; write --env CartPole-v1, say"
        elif bad := next(filter(None, map(prefix_problem, prefixes)), ""):
            found["env"] = bad
        elif len(updates) < len(prefixes):
            found["env"] = (
                "several environments on the same subjects; give each a prefix: a=CartPole-v1"
            )
        if self.queue is not None:
            found["queue"] = (
                f"{self.queue!r} is refused: in a queue group each request of an episode may reach"
                " another member, and every member holds a different state; serve several"
                " systems under prefixes instead"
            )
        return found

    def systems(self) -> list[tuple[str, str]]:
        """Prefix and environment id of each."""
        parts = [one.rpartition("=") for one in self.env]
        return [(prefix, env_id) for prefix, _, env_id in parts]

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
