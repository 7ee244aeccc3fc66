"""gym_loop/Nats-v0 against our own system, and against one that says the wrong things."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary

import gym_loop.envs.remote  # noqa: F401 - registers the environments
from gym_loop.envs.remote.nats_address import parse_url
from gym_loop.envs.remote.nats_env import NatsEnv
from gym_loop.envs.state.proof import prove
from gym_loop.errors import (
    BridgeConnectionError,
    BridgeProtocolError,
    EnvParametersError,
    SampleError,
)
from gym_loop.wire.gym_nats import encode
from tests.serve.nats import nats_serving
from tests.serve.nats.nats_serving import NatsServer, Raw, nats_server, steps_of, system


@pytest.fixture(autouse=True)
def worlds() -> None:
    nats_serving.register()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path) as server:
        yield server


# -- as an environment ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gym_loop/Nats-v0", "nats-v0"])
def test_an_episode_goes_as_it_does_here(server: NatsServer, name: str) -> None:
    with system(server.url, "NatsFour-v0"):
        # gym-nats takes the port as text.
        env = gymnasium.make(name, host="127.0.0.1", port=str(server.port))
        here = gymnasium.make("NatsFour-v0")
        with closing(env), closing(here):
            assert env.observation_space == MultiBinary(12)
            assert env.action_space == Discrete(2)
            for _ in range(2):
                np.testing.assert_array_equal(env.reset(seed=1)[0], here.reset(seed=1)[0])
                for action in (1, 0, 1, np.int64(0)):
                    ours, theirs = env.step(action), here.step(action)
                    np.testing.assert_array_equal(ours[0], theirs[0])
                    assert ours[1:4] == theirs[1:4]
                assert ours[2:4] == (True, False)


def test_box_takes_any_values(server: NatsServer) -> None:
    with system(server.url, "CartPole-v1", seed=3):
        with (
            closing(NatsEnv(server.url)) as env,
            pytest.raises(BridgeProtocolError, match=r"rl\.update: .*neither 0 nor 1.*box"),
        ):
            env.reset()
        with closing(NatsEnv(server.url, observation_space="box")) as env:
            assert env.observation_space == Box(-np.inf, np.inf, (4,), np.float64)
            assert env.observation_space.contains(env.reset()[0])
            env.reset()[0][0] = 0.0  # the caller's own


def test_a_truncated_episode_says_so(server: NatsServer) -> None:
    with system(server.url, "NatsCut-v0"), closing(NatsEnv(server.url)) as env:
        for _ in range(2):
            env.reset()
            ends = [env.step(1)[2:4] for _ in range(3)]
            assert ends == [(False, False), (False, False), (False, True)]


def test_systems_under_prefixes_are_apart(server: NatsServer) -> None:
    with (
        system(server.url, "a=NatsFour-v0", "b.=NatsFour-v0", "NatsCut-v0"),
        closing(NatsEnv(server.url, prefix="a.")) as one,
        closing(NatsEnv(server.url, prefix="b")) as other,
        closing(NatsEnv(server.url)) as third,
    ):
        for env in (one, other, third):
            env.reset()
        seen = [steps_of(env.step(1)[0]) for env in (one, one, other, one, third)]
        assert seen == [1, 2, 1, 3, 1]


def test_the_state_is_elsewhere(server: NatsServer) -> None:
    with system(server.url, "NatsFour-v0"):
        verdict = prove(lambda: NatsEnv(server.url), seed=0)
    assert (verdict.word, verdict.method) == ("approximate", "restart")
    assert "in the system behind NATS" in verdict.reason


def test_closing_ends_the_connection_and_nothing_else(server: NatsServer) -> None:
    with system(server.url, "NatsFour-v0"):
        env = NatsEnv(server.url)
        env.reset()
        env.close()
        env.close()
        with pytest.raises(BridgeConnectionError, match=r"rl\.action: .* closed on this side"):
            env.step(1)
        with closing(NatsEnv(server.url)) as second:
            assert steps_of(second.step(0)[0]) == 1  # the system went on where it was


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"port": "42x"}, "port '42x' is no TCP port"),
        ({"port": 0}, "port 0 is no TCP port"),
        ({"timeout": 0}, "timeout 0 must be greater than 0 seconds"),
        ({"prefix": "a b"}, "'a b' is no subject prefix"),
        ({"prefix": "a..b"}, "'a..b' is no subject prefix"),
        ({"prefix": "a.>"}, "is no subject prefix"),
        ({"observation_space": "boxes"}, "'boxes' must be multi_binary or box"),
        ({"render_mode": "human"}, "shows nothing"),
    ],
)
def test_a_parameter_of_no_use(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(EnvParametersError, match=r"gym_loop/Nats-v0: .*" + said):
        NatsEnv(**parameters)


# -- what can go wrong ---------------------------------------------------------------------


def test_nothing_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(BridgeConnectionError, match=rf"{port}: nothing listens there; start a"):
        NatsEnv(port=port, timeout=1)


def test_nobody_answers(server: NatsServer) -> None:
    with pytest.raises(BridgeConnectionError, match=r"a\.rl\.update: nobody answers this subject"):
        NatsEnv(server.url, prefix="a")


def test_an_action_that_is_none(server: NatsServer) -> None:
    with system(server.url, "NatsFour-v0"), closing(NatsEnv(server.url)) as env:
        env.reset()
        for action in (2, -1, 0.5, None, np.array([1])):
            with pytest.raises(SampleError, match=r"rl\.action: action .* is not in Discrete\(2\)"):
                env.step(action)
        assert steps_of(env.step(1)[0]) == 1


def test_a_system_that_refuses_says_why(server: NatsServer) -> None:
    with system(server.url, "NatsBroken-v0"), closing(NatsEnv(server.url)) as env:
        with pytest.raises(BridgeProtocolError, match=r"rl\.action: there is no episode.*rl\.res"):
            env.step(1)
        env.reset()
        env.step(1)
        with pytest.raises(BridgeProtocolError, match=r"rl\.action: .*ZeroDivisionError: the w"):
            env.step(1)
        with pytest.raises(BridgeProtocolError, match=r"rl\.action: there is no episode"):
            env.step(1)
        assert steps_of(env.reset()[0]) == 0
        assert env.step(1)[1] == 10.0


class Stub:
    """A system in a thread that answers each subject with what it is told to."""

    def __init__(self, url: str) -> None:
        self.raw = Raw(url)
        self.answers: dict[str, bytes | None] = {
            "rl.update": encode([0.0, 1.0]), "rl.actions": encode([0.0, 0.0]),
            "rl.reward": encode([10.0]), "r.done": encode([-1.0]),
            "rl.action": b"", "rl.reset": b"",
        }  # fmt: skip
        for number, subject in enumerate(self.answers, 2):
            self.raw.send(f"SUB {subject} {number}\r\n".encode())
        self.raw.send(b"PING\r\n")
        assert self.raw.line() == b"PONG"
        self.raw.socket.settimeout(None)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            while True:
                message = self.raw.message()
                answer = self.answers[message.subject]
                if answer is not None:
                    head = f"PUB {message.reply} {len(answer)}\r\n".encode()
                    self.raw.send(head + answer + b"\r\n")
        except (OSError, AssertionError):
            return  # the test is over

    def close(self) -> None:
        self.raw.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(nats_serving.PATIENCE)
        self.raw.close()


@contextmanager
def stub(url: str) -> Iterator[Stub]:
    made = Stub(url)
    try:
        yield made
    finally:
        made.close()


WRONG = [
    (b"%%%%", "is not base64"),
    (b"AAAAAAAAJEA", "is not base64"),
    (b"\xff\xfe", "is not base64"),
    (b"AAAA", "no whole float64"),
    (encode([np.nan, 1.0]), "NaN at index 0"),
]


@pytest.mark.parametrize(("answer", "said"), WRONG)
@pytest.mark.parametrize("subject", ["rl.update", "rl.reward", "r.done"])
def test_a_wrong_reply_names_the_subject(
    server: NatsServer, subject: str, answer: bytes, said: str
) -> None:
    with stub(server.url) as bad, closing(NatsEnv(server.url, timeout=5)) as env:
        env.reset()
        good, bad.answers[subject] = bad.answers[subject], answer
        with pytest.raises(BridgeProtocolError, match=rf"^{subject}: .*{said}"):
            env.step(1)
        bad.answers[subject] = good
        assert env.step(1)[1:4] == (10.0, False, False)


def test_lengths_that_make_no_sense(server: NatsServer) -> None:
    with stub(server.url) as bad:
        with closing(NatsEnv(server.url)) as env:
            bad.answers["rl.update"] = encode([1.0])
            with pytest.raises(BridgeProtocolError, match=r"rl\.update: 1 numbers came where 2"):
                env.reset()
        for subject in ("rl.update", "rl.actions"):
            good, bad.answers[subject] = bad.answers[subject], b""
            with pytest.raises(BridgeProtocolError, match=f"{subject}: an empty vector"):
                NatsEnv(server.url)
            bad.answers[subject] = good
        # As the protocol says: the sums count.
        bad.answers.update(
            {
                "rl.update": encode([0.0, 0.0]),
                "rl.reward": encode([1.5, 2.0]),
                "r.done": encode([-1.0, 3.0]),
            }
        )
        with closing(NatsEnv(server.url, observation_space="box")) as env:
            bad.answers["rl.update"] = encode([0.5, 7.0])
            observation, _ = env.reset()
            assert observation.tolist() == [0.5, 7.0]
            assert env.step(0)[1:4] == (3.5, True, False)


def test_no_answer_in_time_and_an_answer_that_is_late(server: NatsServer) -> None:
    with stub(server.url) as bad, closing(NatsEnv(server.url, timeout=0.3)) as env:
        env.reset()
        bad.answers["rl.reward"] = None
        start = time.monotonic()
        with pytest.raises(BridgeConnectionError, match=r"^rl\.reward: no reply from .* 0\.3 s"):
            env.step(1)
        assert time.monotonic() - start < 2
        # An answer to what was asked before must not be taken for one to what is asked now.
        bad.raw.send(f"PUB {env._client._inbox}.5 4\r\nlate\r\n".encode())
        bad.answers["rl.reward"] = encode([2.0])
        assert env.step(1)[1] == 2.0


# -- servers that end, and come back -------------------------------------------------------


def test_a_restart_of_the_server_loses_no_step_and_takes_none_twice(server: NatsServer) -> None:
    done = threading.Event()

    def restart() -> None:
        for _ in range(4):
            time.sleep(0.15)
            server.kill()
            time.sleep(0.05)
            server.start()
        done.set()

    with system(server.url, "NatsCounter-v0"), closing(NatsEnv(server.url, timeout=20)) as env:
        env.reset()
        thread = threading.Thread(target=restart)
        thread.start()
        count = 0
        while not done.is_set() or count < 50:
            count += 1
            observation, reward, *_ = env.step(count % 2)
            assert steps_of(observation) == count
            assert reward == (10.0 if count % 2 else -1.0)
            time.sleep(0.001)
            if count == 3900:
                env.reset()
                count = 0
        thread.join()
        assert env._client.connections >= 4


def test_a_server_that_does_not_come_back(server: NatsServer) -> None:
    with system(server.url, "NatsFour-v0"), closing(NatsEnv(server.url, timeout=0.4)) as env:
        env.reset()
        server.kill()
        with pytest.raises(BridgeConnectionError) as caught:
            env.step(1)
        assert str(caught.value).startswith("rl.action: the connection was lost (")
        assert "did not come back within 0.4 s" in str(caught.value)
        server.start()
        env._client.timeout = 20
        assert steps_of(env.reset()[0]) == 0


def test_without_reconnect_a_lost_connection_is_an_error(server: NatsServer) -> None:
    with (
        system(server.url, "NatsFour-v0"),
        closing(NatsEnv(server.url, reconnect=False)) as env,
    ):
        env.reset()
        server.kill()
        server.start()
        with pytest.raises(BridgeConnectionError, match=r"rl\.action: .* was lost .*reconnect is"):
            env.step(1)


def test_a_system_that_ended_in_an_episode(server: NatsServer) -> None:
    with closing(Raw(server.url)):
        with system(server.url, "NatsFour-v0"):
            env = NatsEnv(server.url)
            env.reset()
            env.step(1)
        with pytest.raises(BridgeConnectionError, match=r"rl\.action: nobody answers"):
            env.step(1)
        with system(server.url, "NatsFour-v0"):
            # A new system has a new episode: nobody may act on it as if it were the old one.
            with pytest.raises(BridgeProtocolError, match=r"rl\.action: there is no episode"):
                env.step(1)
            env.reset()
            assert steps_of(env.step(1)[0]) == 1
        env.close()


# -- addresses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "given", "wanted"),
    [
        ("nats://example.org", {}, ("example.org", 4222, None, None, None, False)),
        ("example.org:5", {}, ("example.org", 5, None, None, None, False)),
        ("tls://u:p%40@h:7", {}, ("h", 7, "u", "p@", None, True)),
        ("nats://secret@h", {}, ("h", 4222, None, None, "secret", False)),
        ("nats://u:p@h", {"user": "v", "password": None}, ("h", 4222, "v", "p", None, False)),
    ],
)
def test_urls(url: str, given: dict[str, Any], wanted: tuple[Any, ...]) -> None:
    found = parse_url(url, **given)
    shown = (found.host, found.port, found.user, found.password, found.token, found.tls)
    assert shown == wanted
    assert "secret" not in f"{found!r}{found.url}"


@pytest.mark.parametrize("url", ["http://h", "nats://", "nats://h:x", "nats://u:hidden@"])
def test_no_urls(url: str) -> None:
    with pytest.raises(BridgeConnectionError, match="is no NATS address; write nats://") as caught:
        parse_url(url)
    assert "hidden" not in str(caught.value)


def test_an_address_of_six() -> None:
    assert parse_url("nats://[::1]:4").url == "nats://[::1]:4"
