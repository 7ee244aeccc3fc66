"""CURVE keys: who hears the streams, and whom the server obeys."""

import time
from pathlib import Path
from typing import Any

import pytest
import zmq
from zmq.auth import create_certificates, load_certificate

from gym_loop.envs.remote.gymz_env import ZeroMQEnv
from gym_loop.errors import BridgeConnectionError, UsageError
from tests.serve.zeromq.zmq_serving import BOUNDS, kwargs, serving


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name in ("server", "agent", "stranger"):
        create_certificates(str(tmp_path), name)
    return tmp_path


def test_only_those_with_the_right_keys(environments: Any, keys: Path) -> None:
    security = {
        "Security.secret_key": str(keys / "server.key_secret"),
        "Security.agent_key": str(keys / "agent.key"),
        "EnvRunner.speed": "max",
        **kwargs(length=1000),
    }
    own = {"secret_key": str(keys / "agent.key_secret"), "server_key": str(keys / "server.key")}
    with serving(**security) as served:
        env = environments(served, speed="max", **own)
        env.reset()
        assert env.step(3)[0].tolist() == [1, 3]
        plain = served.listen(served.addresses.observations)
        stranger = served.context.socket(zmq.SUB)
        served.sockets.append(stranger)
        public, secret = load_certificate(keys / "stranger.key_secret")
        stranger.curve_publickey, stranger.curve_secretkey = public, secret
        stranger.curve_serverkey = load_certificate(keys / "server.key")[0]
        stranger.connect(served.addresses.observations)
        stranger.subscribe(b"")
        for _ in range(10):
            time.sleep(0.03)
            env.step(3)
        assert not plain.poll(100)
        assert not stranger.poll(100)
        env.close()
        # A stranger who takes the agent's place is not obeyed.
        impostor = {**own, "secret_key": str(keys / "stranger.key_secret"), "timeout": 0.5}
        with pytest.raises(BridgeConnectionError, match="no server connected"):
            environments(served, speed="max", **impostor).reset()


def test_keys_are_demanded_beyond_this_machine() -> None:
    with pytest.raises(UsageError, match=r"secret_key and server_key, or keep"):
        ZeroMQEnv(n_actions=2, command_host="*")
    with pytest.raises(UsageError, match="belong together"):
        ZeroMQEnv(n_actions=2, server_key="a")


def test_files_that_hold_no_key(keys: Path) -> None:
    public, absent = str(keys / "agent.key"), str(keys / "absent")
    for secret, words in ((public, "holds no secret key"), (absent, "no file of a CURVE key")):
        env = ZeroMQEnv(n_actions=2, **BOUNDS, secret_key=secret, server_key=public)
        with pytest.raises(UsageError, match=words):
            env.reset()
