"""The agent's side of gym-nats: a system that answers on a NATS server, as an environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary

from gym_loop.envs.remote.nats_address import Address, parse_url
from gym_loop.envs.remote.nats_client import NatsClient
from gym_loop.errors import BridgeProtocolError, EnvParametersError, SampleError
from gym_loop.wire.gym_nats import (
    ORDERED_HEADER,
    TRUNCATED_HEADER,
    Vector,
    decode,
    encode_number,
    prefix_problem,
    subjects,
)


class NatsEnv(gymnasium.Env[Any, Any]):  # type: ignore[misc]  # gymnasium is untyped here
    """An existing system as an environment: ``gym_loop/Nats-v0``.

    The lengths of its first observation and of its list of actions, asked for at construction,
    give the spaces. A step takes two round trips: the action; then reward, observation and
    done, asked for together. With ``gym-loop serve nats``, which promises to serve requests in
    order, it takes one. `done` is ``terminated``: the protocol knows no truncation, so a
    time limit belongs into ``env.max_episode_steps``; only ``gym-loop serve nats`` says in a
    header that an episode was truncated. The protocol knows no seeds either.

    A lost connection is made again within ``timeout``, and the request under way is repeated
    with the same reply subject. A system that has taken the action but could not say so any
    more can tell the repetition by that subject, as ``gym-loop serve nats`` does; another one
    takes the action twice. With ``reconnect: false`` the lost request is an error instead.

    Args:
        url: ``nats://HOST:PORT`` or ``tls://HOST:PORT``, user and password or a token in it if
            wanted; None uses host and port.
        host: address of the NATS server.
        port: its TCP port.
        user: user name.
        password: the user's.
        token: authentication token.
        credentials: path of a ``.creds`` file.
        tls_ca: file of the certificates to trust; None uses the system's.
        timeout: seconds that a request may take, reconnecting included.
        prefix: put before every subject with a dot, such as ``"cart"``.
        observation_space: "multi_binary" (gym-nats's own), or "box" for a system that sends
            other values than 0 and 1.
        reconnect: whether a lost connection is made again.
        render_mode: None; there is nothing to render.

    Raises:
        BridgeConnectionError: no NATS server, nobody answers, or not in time.
        BridgeProtocolError: an answer is no vector, or makes no space.
        EnvParametersError: a parameter is of no use.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own form
    state_elsewhere = "the state is in the system behind NATS, and the protocol cannot ask for it"

    def __init__(
        self,
        url: str | None = None,
        *,
        host: str = "127.0.0.1",
        port: int | str = 4222,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        credentials: str | None = None,
        tls_ca: str | None = None,
        timeout: float = 5.0,
        prefix: str = "",
        observation_space: str = "multi_binary",
        reconnect: bool = True,
        render_mode: str | None = None,
    ) -> None:
        _check(port, timeout, prefix, observation_space, render_mode)
        secrets: dict[str, Any] = {
            "user": user, "password": password, "token": token,
            "credentials": credentials, "tls_ca": tls_ca,
        }  # fmt: skip
        address = parse_url(url, **secrets) if url else Address(host, int(port), **secrets)
        self._subjects = subjects(prefix)
        self._client = NatsClient(address, timeout=timeout, reconnect=reconnect)
        self._closed = False
        try:
            first = self._vector(self._subjects.update)
            said = self._client.request((self._subjects.actions, b""))[0]
            actions = decode(said.payload, self._subjects.actions)
            if not len(first) or not len(actions):
                empty = self._subjects.actions if len(first) else self._subjects.update
                raise BridgeProtocolError(f"{empty}: an empty vector makes no space")
        except BaseException:
            self.close()
            raise
        self._size = len(first)
        self._ordered = said.header(ORDERED_HEADER) is not None
        self._binary = observation_space == "multi_binary"
        self.action_space = Discrete(len(actions))
        self.observation_space = (
            MultiBinary(self._size)
            if self._binary
            else Box(-np.inf, np.inf, (self._size,), np.float64)
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Let the system begin a new episode; the seed stays on this side of the wire."""
        super().reset(seed=seed)
        self._client.request((self._subjects.reset, b""))
        return self._observation(self._vector(self._subjects.update)), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Send the action, and ask for reward, observation and done.

        Raises:
            SampleError: the action is not in the action space.
            BridgeConnectionError: nobody answers, or not in time.
            BridgeProtocolError: the system refuses the action, or an answer is no vector.
        """
        names = self._subjects
        if not self.action_space.contains(action):
            raise SampleError(f"{names.action}: action {action!r} is not in {self.action_space}")
        taken = (names.action, encode_number(action))
        results = (names.reward, b""), (names.update, b""), (names.done, b"")
        if self._ordered:
            _, reward, observation, done = self._client.request(taken, *results)
        else:
            self._client.request(taken)
            reward, observation, done = self._client.request(*results)
        over = bool(decode(done.payload, names.done).sum() > 0)
        truncated = over and done.header(TRUNCATED_HEADER) is not None
        return (
            self._observation(decode(observation.payload, names.update)),
            float(decode(reward.payload, names.reward).sum()),
            over and not truncated,
            truncated,
            {},
        )

    def close(self) -> None:
        """Close the connection; the system goes on."""
        if not self._closed:
            self._closed = True
            self._client.close()

    def _vector(self, subject: str) -> Vector:
        return decode(self._client.request((subject, b""))[0].payload, subject)

    def _observation(self, vector: Vector) -> Any:
        if len(vector) != self._size:
            raise BridgeProtocolError(
                f"{self._subjects.update}: {len(vector)} numbers came where {self._size} belong"
            )
        if not self._binary:
            return vector.copy()  # what was received cannot be written to
        bits = vector.astype(np.int8)
        if (bits != vector).any() or (bits & ~1).any():
            odd = vector[(vector != 0) & (vector != 1)][0]
            raise BridgeProtocolError(
                f"{self._subjects.update}: {odd:g} is neither 0 nor 1; set observation_space: box"
                " in env.parameters"
            )
        return bits


def _check(
    port: int | str, timeout: float, prefix: str, space: str, render_mode: str | None
) -> None:
    problem = prefix_problem(prefix)
    if not (str(port).isdecimal() and 0 < int(port) < 1 << 16):
        problem = f"port {port!r} is no TCP port; use 1 to 65535, NATS's own is 4222"
    elif not timeout > 0:
        problem = f"timeout {timeout} must be greater than 0 seconds"
    elif space not in ("multi_binary", "box"):
        problem = f"observation_space {space!r} must be multi_binary or box"
    elif render_mode is not None:
        problem = f"render_mode {render_mode!r}: a system on NATS shows nothing; leave it out"
    if problem:
        raise EnvParametersError(f"gym_loop/Nats-v0: {problem}")
