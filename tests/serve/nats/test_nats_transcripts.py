"""The bytes of the wire: a scripted NATS server reads and says what the transcripts do."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Discrete, MultiBinary

from gym_loop.envs.remote.nats_env import NatsEnv
from tests.serve.nats.nats_serving import PATIENCE, system

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts" / "nats"


class Script:
    """A NATS server that follows a transcript, and notes where a client did not."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="ascii")
        self.lines = [line for line in text.splitlines() if not line.startswith("#")]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"nats://127.0.0.1:{self.listener.getsockname()[1]}"
        self.inbox = ""
        self.followed = 0
        self.finished = threading.Event()
        self.problem = ""
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._follow()
        except OSError as error:
            self.problem = f"line {self.followed}: {error}"
        self.finished.set()
        with suppress(OSError):  # until the other side ends
            while self.file.read(4096):
                pass
        self.file.close()
        self.connection.close()

    def _accept(self) -> None:
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(PATIENCE)
        self.file = self.connection.makefile("rb")

    def _follow(self) -> None:
        self._accept()
        for line in self.lines:
            self.followed += 1
            kind, text = line[:1], line[2:]
            if kind == "!":
                self.file.close()
                self.connection.close()
                self._accept()
            elif kind == "=":
                self.finished.set()
            elif kind == "<":
                self.connection.sendall(text.replace("<INBOX>", self.inbox).encode() + b"\r\n")
            elif not self._agrees(text, self.file.readline().decode()):
                self.connection.shutdown(socket.SHUT_RDWR)
                return

    def _agrees(self, wanted: str, got: str) -> bool:
        if wanted == "CONNECT <OPTIONS>" and got.startswith("CONNECT {"):
            options = json.loads(got[8:])
            return options["no_responders"] and options["headers"] and not options["verbose"]
        if wanted.startswith("SUB <INBOX>") and not self.inbox:
            found = re.match(r"SUB (_INBOX\.gym-loop\.[0-9a-f]{22})\.\* 1\r\n$", got)
            self.inbox = found[1] if found else ""
        if got == wanted.replace("<INBOX>", self.inbox) + "\r\n":
            return True
        self.problem = f"line {self.followed}: {got!r} came where {wanted!r} belongs"
        return False


@contextmanager
def script(name: str) -> Iterator[Script]:
    made = Script(TRANSCRIPTS / f"{name}.txt")
    try:
        yield made
        made.thread.join(PATIENCE)
        assert made.problem == ""
        assert made.followed == len(made.lines)
    finally:
        made.listener.close()
        made.thread.join(PATIENCE)


class Two(gymnasium.Env):
    """Shows which step it is: 00, 10, 01."""

    observation_space = MultiBinary(2)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return np.zeros(2, np.int8), {}

    def step(self, action):
        self.count += 1
        observation = np.array([self.count == 1, self.count == 2], np.int8)
        return observation, 10.0 if action else -1.0, False, False, {}


def agent_episode(url: str) -> None:
    with closing(NatsEnv(url, timeout=PATIENCE)) as env:
        assert (env.observation_space, env.action_space) == (MultiBinary(2), Discrete(2))
        assert env.reset()[0].tolist() == [1, 0]
        observation, *rest = env.step(1)
        assert (observation.tolist(), rest) == ([0, 1], [10.0, False, False, {}])
        observation, *rest = env.step(0)
        assert (observation.tolist(), rest) == ([0, 1], [-1.0, True, False, {}])


def agent_reconnects(url: str) -> None:
    with closing(NatsEnv(url, prefix="cart", timeout=PATIENCE)) as env:
        env.reset()
        assert env.step(1)[1:4] == (10.0, False, False)


def agent_in_order(url: str) -> None:
    with closing(NatsEnv(url, timeout=PATIENCE)) as env:
        env.reset()
        observation, *rest = env.step(1)
        assert (observation.tolist(), rest) == ([0, 1], [10.0, False, False, {}])


AGENTS = [agent_episode, agent_reconnects, agent_in_order]


@pytest.mark.parametrize("play", AGENTS, ids=lambda play: play.__name__)
def test_the_agent(play: Callable[[str], None]) -> None:
    with script(play.__name__) as followed:
        play(followed.url)


@pytest.mark.parametrize("name", ["system_episode", "system_refusals"])
def test_the_system(name: str) -> None:
    gymnasium.register("NatsTwo-v0", Two, disable_env_checker=True, max_episode_steps=2)
    with script(name) as followed, system(followed.url, "NatsTwo-v0"):
        assert followed.finished.wait(PATIENCE)


def test_every_transcript_is_played() -> None:
    played = {*(play.__name__ for play in AGENTS), "system_episode", "system_refusals"}
    assert {path.stem for path in TRANSCRIPTS.iterdir()} == played
