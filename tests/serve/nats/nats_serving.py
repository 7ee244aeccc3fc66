"""A real nats-server, our system in a thread, worlds whose every step can be seen, raw sockets."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary

from gym_loop.serve.nats.embedded import find_server
from gym_loop.serve.serving import serve
from gym_loop.wire import nats as wire
from tests.waiting import wait_for

PATIENCE = 20.0  # seconds after which what does not come has failed


class NatsServer:
    """A nats-server that can be killed and come back on its port.

    Args:
        directory: for its configuration and its log.
        config: more lines for its configuration.
    """

    def __init__(self, directory: Path, config: str = "") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self._config = directory / "nats.conf"
        self._log = directory / "nats.log"
        self._config.write_text(f"listen: 127.0.0.1:{self.port}\n{config}\n")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            [find_server(), "-c", str(self._config), "-l", str(self._log)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: is_listening(self.port), "nats-server did not start", PATIENCE)

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()


@contextmanager
def nats_server(directory: Path, config: str = "") -> Iterator[NatsServer]:
    """Run a nats-server."""
    server = NatsServer(directory, config)
    try:
        yield server
    finally:
        server.kill()


def is_listening(port: int) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for_system(url: str) -> None:
    """Wait until somebody answers, after a restart of the server."""

    def answers() -> bytes:
        raw = Raw(url)
        try:
            return raw.ask("rl.update").payload
        except TimeoutError:  # asked while it was still coming back
            return b""
        finally:
            raw.close()

    wait_for(answers, "the system did not come back", PATIENCE)


@contextmanager
def system(url: str | None, *env: str, **options: Any) -> Iterator[str]:
    """Serve environments in a thread; gives the NATS server's address."""
    ready, stop = threading.Event(), threading.Event()
    said: list[Any] = []

    def run() -> None:
        try:
            to = {"url": url} if url else {"embedded": True}
            serve("nats", env=env, ready=tell, stop=stop, **to, **options)
        except BaseException as error:  # noqa: BLE001 - told where it is awaited
            said.append(error)
            ready.set()

    def tell(address: str) -> None:
        said.append(address)
        ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(PATIENCE)
    if isinstance(said[0], BaseException):
        raise said[0]
    try:
        yield said[0]
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive(), "the system did not end"
    assert len(said) == 1, f"the system failed: {said[1]!r}"


class Raw:
    """A client of core NATS on a bare socket, which may say what it likes."""

    def __init__(self, url: str) -> None:
        host, _, port = url.rpartition("/")[2].rpartition(":")
        self.socket = socket.create_connection((host, int(port)), PATIENCE)
        self.reader = wire.Reader()
        self.inbox = f"_INBOX.raw{id(self)}"
        self.count = 0
        assert b"INFO" in self.line()
        options = {"verbose": False, "headers": True, "no_responders": True}
        self.send(wire.connect(options) + f"SUB {self.inbox}.* 1\r\nPING\r\n".encode())
        assert self.line() == b"PONG"

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def line(self) -> Any:
        """The next line or message."""
        while (item := self.reader.next()) is None:
            data = self.socket.recv(65536)
            assert data, "the server closed the connection"
            self.reader.feed(data)
        return item

    def message(self) -> wire.Message:
        """The next message."""
        while not isinstance(item := self.line(), wire.Message):
            assert not item.startswith(b"-ERR"), item
        return item

    def ask(self, subject: str, payload: bytes = b"") -> wire.Message:
        """A request and its reply."""
        self.count += 1
        self.send(wire.publish(subject, payload, f"{self.inbox}.{self.count}"))
        message = self.message()
        assert message.subject == f"{self.inbox}.{self.count}"
        return message

    def close(self) -> None:
        """End the connection."""
        self.socket.close()


# -- worlds --------------------------------------------------------------------------------


class Counter(gymnasium.Env):
    """Shows in binary how many steps the episode has; the reward is 10 for action 1, else -1."""

    observation_space = MultiBinary(12)
    action_space = Discrete(2)

    def __init__(self, length: int = 4000, fail_at: int | None = None) -> None:
        self.length, self.fail_at = length, fail_at

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._bits(), {}

    def step(self, action):
        self.count += 1
        if self.count == self.fail_at:
            raise ZeroDivisionError("the world broke")
        reward = 10.0 if action else -1.0
        return self._bits(), reward, self.count >= self.length, False, {}

    def _bits(self) -> np.ndarray:
        return (self.count >> np.arange(12) & 1).astype(np.int8)


class Odd(gymnasium.Env):
    """Any spaces, to be looked at."""

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.taken: list[Any] = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        self.taken.append(action)
        return self.observation_space.sample(), 0.0, False, False, {}


def steps_of(observation: np.ndarray) -> int:
    """How many steps a `Counter` shows."""
    return int((observation.astype(int) << np.arange(12)).sum())


def register() -> None:
    """Let servers make the worlds."""
    worlds: list[tuple[str, Any, dict[str, Any]]] = [
        ("NatsCounter-v0", Counter, {}),
        ("NatsFour-v0", Counter, {"kwargs": {"length": 4}}),
        ("NatsCut-v0", Counter, {"max_episode_steps": 3}),
        ("NatsBroken-v0", Counter, {"kwargs": {"fail_at": 2}}),
        ("NatsBox-v0", Odd, {"kwargs": {
            "observation_space": Box(-1, 1, (2, 3), np.float32), "action_space": Box(-1, 1)}}),
    ]  # fmt: skip
    for name, entry_point, more in worlds:
        gymnasium.register(name, entry_point, disable_env_checker=True, **more)
