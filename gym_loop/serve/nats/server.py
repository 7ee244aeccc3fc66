"""The system's side of gym-nats: environments that answer on a NATS server."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from gym_loop.envs.remote.nats_address import Address
from gym_loop.envs.remote.nats_client import NatsClient, RefusedError
from gym_loop.errors import BridgeConnectionError, EnvError, SpaceError
from gym_loop.runs.signals import stop_signals
from gym_loop.serve.catalogue import Catalogue
from gym_loop.serve.nats.settings import NatsSettings
from gym_loop.serve.nats.system import System
from gym_loop.serve.served_env import ServedEnv
from gym_loop.wire.nats import Message, WireError
from gym_loop.wire.problems import Problem

_LOG = logging.getLogger("gym_loop.serve.nats")
_LOOK_UP_SECONDS = 0.2  # between looks at whether to end
_RETRY_SECONDS = 0.1
_CONNECT_SECONDS = 5.0


def serve(
    settings: NatsSettings,
    *,
    ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Answer for the environments until Ctrl-C, SIGTERM or ``stop``.

    Args:
        settings: which environments, on which NATS server.
        ready: called with the NATS server's address when every subject is answered.
        stop: set it from another thread to end.

    Raises:
        EnvError: an environment cannot be made.
        SpaceError: its actions or observations have no place in this protocol.
        BridgeConnectionError: the NATS server cannot be reached, or is gone for longer than
            ``timeout``.
    """
    stop = stop or threading.Event()
    with ExitStack() as stack:
        address = stack.enter_context(settings.address())
        workers = [
            _Worker(system, address, settings.timeout, stop) for system in _systems(settings)
        ]
        for worker in workers:
            stack.callback(worker.end)
        stack.enter_context(stop_signals(lambda _: stop.set()))
        for worker in workers:
            worker.start()
        if ready is not None:
            ready(address.url)
        while not stop.wait(_LOOK_UP_SECONDS):
            if failed := next((one.error for one in workers if one.error), None):
                raise failed


def _systems(settings: NatsSettings) -> list[System]:
    catalogue = Catalogue(
        imports=settings.imports,
        make=settings.make,
        replace_old_versions=settings.replace_old_versions,
    )
    envs: list[ServedEnv] = []
    systems: list[System] = []
    try:
        for prefix, env_id in settings.systems():
            env = ServedEnv(f"{prefix}{env_id}", env_id, catalogue, settings.seed)
            envs.append(env)
            env.make()
            systems.append(System(env, prefix))
            systems[-1].begin()
    except BaseException as error:
        for env in envs:
            env.close()
        if isinstance(error, Problem):
            raise EnvError(error.message) from error
        raise
    return systems


class _Worker:
    """One system with a connection and a thread of its own, so that a slow one delays no other."""

    def __init__(
        self, system: System, address: Address, timeout: float, stop: threading.Event
    ) -> None:
        self.system = system
        self.error: Exception | None = None
        self._address = address
        self._timeout = timeout
        self._stop = stop
        self._client: NatsClient | None = None
        self._refusals = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Connect, subscribe, and answer from now on."""
        self._connect()
        self._thread.start()

    def end(self) -> None:
        """Finish the request under way, then close connection and environment."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_CONNECT_SECONDS + 1.0)  # it may be connecting
        if self._client is not None:
            self._client.close()
        if not self._thread.is_alive():
            self.system.close()

    def _connect(self) -> None:
        client = NatsClient(self._address, timeout=_CONNECT_SECONDS)
        if self.system.largest_payload > client.max_payload:
            client.close()
            raise SpaceError(
                f"{self.system.env.env_id}: a message of {self.system.largest_payload} bytes is"
                f" needed, and {self._address.url} takes {client.max_payload}; raise max_payload"
                " in its configuration, or wrap the environment"
            )
        try:
            client.subscribe(*self.system.subjects)
        except BaseException:
            client.close()
            raise
        if self._client is not None:
            client.held = self._client.held  # answers that the old connection did not take
        self._client = client

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._answer_next()
            self._finish()
        except Exception as error:  # noqa: BLE001 - the main thread raises it
            self.error = error

    def _answer_next(self) -> None:
        assert self._client is not None
        try:
            message = self._client.receive(time.monotonic() + _LOOK_UP_SECONDS)
        except TimeoutError:
            return
        except RefusedError as error:
            # An agent may want its answer on a subject that is not ours: that is its own affair.
            self._refusals += 1
            if self._refusals & (self._refusals - 1) == 0:
                _LOG.warning("an answer was refused (%d so far): %s", self._refusals, error)
            return
        except (OSError, WireError) as error:
            self._reconnect(error)
            return
        self._answer(message)

    def _answer(self, message: Message) -> None:
        assert self._client is not None
        if message.subject in (self.system.subjects.action, self.system.subjects.reset):
            # What may take time holds up nobody's answer; else answers leave together.
            with suppress(OSError):  # the next `receive` finds that out, too
                self._client.flush()
        reply = self.system.answer(message)
        if message.reply:
            self._client.publish(message.reply, reply.payload, reply.headers)

    def _finish(self) -> None:
        """Answer what has come; whoever asks later is told that nobody is here."""
        assert self._client is not None
        with suppress(OSError, WireError):  # a server that is gone brings no requests
            for message in self._client.drain():
                self._answer(message)
            self._client.flush()

    def _reconnect(self, lost: Exception) -> None:
        """Connect again, as often as the time allows."""
        assert self._client is not None
        self._client.close()
        _LOG.warning("%s: the NATS server is gone (%s); waiting for it", self._address.url, lost)
        deadline = time.monotonic() + self._timeout
        while not self._stop.is_set():
            try:
                self._connect()
            except (BridgeConnectionError, OSError, WireError) as error:
                if time.monotonic() > deadline:
                    raise BridgeConnectionError(
                        f"the NATS server did not come back within {self._timeout:g} s: {error}"
                    ) from None
                self._stop.wait(_RETRY_SECONDS)
            else:
                _LOG.warning("%s: connected to the NATS server again", self._address.url)
                return
