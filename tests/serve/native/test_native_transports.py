"""The same service over ZeroMQ and over NATS."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gym_loop
from gym_loop.envs.remote.native_vector_env import NativeVectorEnv
from gym_loop.errors import (
    BridgeConnectionError,
    BridgeProtocolError,
    ConfigError,
    SampleError,
    UsageError,
)
from gym_loop.serve.serving import serve
from gym_loop.wire import native as codec
from gym_loop.wire.parts import Joiner, split
from gym_loop.wire.values import Malformed
from tests.serve.native.native_serving import same
from tests.serve.nats.nats_serving import NatsServer, nats_server

REMOTE = "gym_loop/Remote-v0"
PATIENCE = 20.0


@contextmanager
def served(protocol: str, **options: Any) -> Iterator[str]:
    ready: queue.Queue[Any] = queue.Queue()
    stop = threading.Event()

    def work() -> None:
        try:
            serve(protocol, native=True, ready=ready.put, stop=stop, **options)
        except BaseException as error:  # noqa: BLE001 - told where it is awaited
            ready.put(error)

    thread = threading.Thread(target=work)
    thread.start()
    address = ready.get(timeout=PATIENCE)
    if isinstance(address, BaseException):
        raise address
    try:
        yield address
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert ready.empty(), ready.get()


@contextmanager
def zmq_server(**options: Any) -> Iterator[str]:
    with served("zmq", port=0, **options) as address:
        yield address


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="module", params=["zmq", "nats"])
def url(request: pytest.FixtureRequest, nats: NatsServer) -> Iterator[str]:
    if request.param == "zmq":
        with zmq_server(max_message_bytes=3 << 20) as address:
            yield address
    else:
        with served("nats", url=nats.url, max_message_bytes=3 << 20) as address:
            yield address


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_the_same(url: str, env_id: str) -> None:
    local = gymnasium.make(env_id, render_mode="rgb_array")
    remote = gymnasium.make(REMOTE, url=url, env_id=env_id, render_mode="rgb_array")
    assert same(local.reset(seed=1), remote.reset(seed=1))
    local.action_space.seed(0)
    for _ in range(60):
        action = local.action_space.sample()
        want, have = local.step(action), remote.step(action)
        assert same((want[0], *want[2:]), (have[0], *have[2:]))
        assert want[1] == have[1]
        if want[2] or want[3]:
            assert same(local.reset(), remote.reset())
    assert same(local.render(), remote.render())
    state = remote.unwrapped.get_state()
    after = remote.step(action)[0]
    remote.unwrapped.set_state(state)
    assert same(after, remote.step(action)[0])
    local.close()
    remote.close()


def test_copies_and_errors(url: str) -> None:
    env = NativeVectorEnv(4, url, "CartPole-v1")
    env.reset(seed=0)
    for _ in range(30):
        assert env.step(env.action_space.sample())[0].shape == (4, 4)
    with pytest.raises(SampleError, match="not in"):
        env.step(np.full(4, 7))
    env.step(np.zeros(4, np.int64))
    env.close()
    with pytest.raises(BridgeProtocolError, match="there is no environment"):
        NativeVectorEnv(4, url, "CartPole-v9")


def test_messages_longer_than_a_part(url: str) -> None:
    """Frames of 40 copies are 28 MB one way, a state with 2 MB in it the other."""
    env = NativeVectorEnv(4, url, "CartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    frames = env.render()
    assert len(frames) == 4
    assert sum(frame.nbytes for frame in frames) > 2 << 20
    client = env._remote._client
    with pytest.raises(BridgeProtocolError, match="has no field"):
        client.ask("ping", ballast=np.zeros(2 << 20, np.uint8))
    env.step(np.zeros(4, np.int64))
    env.close()


def test_vector_loop_trains(url: str, workdir: Path) -> None:
    wanted: Any = {
        "agent": {
            "class": "gym_loop.agents.ppo:PPO",
            "parameters": {"n_steps": 20, "batch_size": 40},
        },
        "env": {"name": REMOTE, "parameters": {"url": url, "env_id": "CartPole-v1"}},
        "loop": {
            "class": "gym_loop.loops.vector_loop:VectorLoop",
            "parameters": {"n_envs": 4, "max_steps": 200},
        },
    }
    assert gym_loop.train(wanted).steps >= 200


# -- ZeroMQ --------------------------------------------------------------------------------------


def test_zmq_takes_requests_of_any_kind() -> None:
    import zmq

    with zmq_server() as address, zmq.Context() as context:
        for kind in (zmq.REQ, zmq.DEALER):
            with context.socket(kind) as socket:
                socket.linger = 0
                socket.rcvtimeo = int(PATIENCE * 1e3)
                socket.connect(address)
                for bad in (b"", b"nonsense", codec.write(3, {"op": "dance"})):
                    socket.send(bad)
                    number, reply = codec.read(socket.recv_multipart()[-1])
                    assert number == (3 if len(bad) > 16 else 0)
                    assert reply["error"]["code"] == "bad_request"
                socket.send(codec.write(4, {"op": "ping"}))
                assert codec.read(socket.recv_multipart()[-1]) == (4, {})


def test_zmq_server_that_ends_is_noticed() -> None:
    with zmq_server() as address:
        env = NativeVectorEnv(2, address, "CartPole-v1", timeout=10.0)
        env.reset(seed=0)
        env.step(np.zeros(2, np.int64))
    start = time.monotonic()
    with pytest.raises(BridgeConnectionError, match="was lost"):
        env.step(np.zeros(2, np.int64))
    assert time.monotonic() - start < 11
    env.close()


def test_zmq_keys(tmp_path: Path) -> None:
    from zmq.auth import create_certificates

    names = ("server", "client", "stranger")
    keys = {name: create_certificates(tmp_path, name) for name in names}
    public = {name: files[0] for name, files in keys.items()}
    secret = {name: files[1] for name, files in keys.items()}
    with zmq_server(secret_key=secret["server"], client_keys=[public["client"]]) as address:
        env = NativeVectorEnv(
            2, address, "CartPole-v1", secret_key=secret["client"], server_key=public["server"]
        )
        env.reset()
        env.close()
        with pytest.raises((BridgeProtocolError, BridgeConnectionError)):
            NativeVectorEnv(
                2, address, "CartPole-v1", timeout=1.0,
                secret_key=secret["stranger"], server_key=public["server"],
            )  # fmt: skip


def test_zmq_beyond_loopback_demands_keys() -> None:
    with pytest.raises(UsageError, match="CURVE"), zmq_server(host="0.0.0.0"):
        pass


@pytest.mark.parametrize(
    ("protocol", "options", "said"),
    [("zmq", {"native": True, "speed": "max"}, "--speed"),
     ("zmq", {"port": 5}, "--port: needs --native"),
     ("zmq", {"native": True, "port": 0, "token": "x"}, "CURVE"),
     ("zmq", {"native": True, "port": 0, "secret_key": "x"}, "client_keys"),
     ("nats", {"env": "CartPole-v1", "subject": "a"}, "--subject: needs --native"),
     ("nats", {"native": True, "subject": "a b"}, "is no subject"),
     ("nats", {"native": True, "seed": 3}, "--seed"),
     ("websocket", {"max_envs": 0, "port": 0}, "too small")],
)  # fmt: skip
def test_options_of_no_use(protocol: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        serve(protocol, **options)


def test_a_file_may_ask_for_it(tmp_path: Path) -> None:
    from gym_loop.serve.native.settings import NativeNatsSettings, NativeZmqSettings
    from gym_loop.serve.serving import load

    file = tmp_path / "serve.yaml"
    file.write_text("native: true\nenv: ['CartPole-*']\nmax-envs: 7\n")
    for protocol, cls in (("zmq", NativeZmqSettings), ("nats", NativeNatsSettings)):
        settings = load(protocol, file, {})
        assert isinstance(settings, cls)
        assert settings.max_envs == 7
        assert settings.env == ("CartPole-*",)


# -- NATS ----------------------------------------------------------------------------------------


def test_nats_nobody_answers(nats: NatsServer) -> None:
    with pytest.raises(BridgeConnectionError, match="nobody answers this subject"):
        NativeVectorEnv(2, nats.url, "CartPole-v1", subject="nobody.here")


def test_nats_server_that_comes_back(tmp_path: Path) -> None:
    with nats_server(tmp_path) as nats, served("nats", url=nats.url):
        env = NativeVectorEnv(2, nats.url, "CartPole-v1", timeout=10.0)
        env.reset(seed=0)
        env.step(np.zeros(2, np.int64))
        nats.kill()
        with pytest.raises(BridgeConnectionError, match="was lost"):
            env.step(np.zeros(2, np.int64))
        nats.start()
        end = time.monotonic() + PATIENCE
        while True:
            try:
                env.reset(seed=1)
                break
            except BridgeConnectionError:
                assert time.monotonic() < end
                time.sleep(0.1)
        env.step(np.zeros(2, np.int64))
        env.close()


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(9, 60))
def test_parts_make_the_message(message: bytes, most: int) -> None:
    joiner = Joiner(1000)
    parts = list(split(message, most))
    assert all(len(part) <= most for part in parts)
    wholes = [joiner.add("peer", part) for part in parts]
    assert wholes == [None] * (len(parts) - 1) + [message]


def test_parts_are_bounded() -> None:
    joiner = Joiner(100, most=2)
    first, second = list(split(bytes(60), 48))[:2]
    with pytest.raises(Malformed, match="belongs"):
        joiner.add("a", second)
    with pytest.raises(Malformed, match="has no number"):
        joiner.add("a", b"1234")
    assert joiner.add("a", first) is None
    assert joiner.add("b", first) is None
    with pytest.raises(Malformed, match="2 messages are incomplete"):
        joiner.add("c", first)
    with pytest.raises(Malformed, match="longer than 100 bytes"):
        Joiner(100).add("a", next(split(bytes(900), 800)))
    assert joiner.add("a", second) == bytearray(60)
