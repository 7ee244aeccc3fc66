"""Real servers, real sockets and a scripted environment for the tests of the ZeroMQ bridge."""

import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import zmq
from gymnasium.spaces import Box, Discrete

from gym_loop.serve.zeromq.config import load_config
from gym_loop.serve.zeromq.server import Addresses, serve
from tests.signalling import begin

WAIT_MS = 5000
QUICK = {
    "EnvRunner.update_interval": 0.004,
    "EnvRunner.inter_trial_duration": 0.012,
    "ObservationSender.update_interval": 0.002,
    "RewardSender.update_interval": 0.002,
}
LOCK_STEP = {"EnvRunner.speed": "max"}
# Of `Counting`, as parameters.
BOUNDS: dict[str, Any] = {"observation_low": [0, -1], "observation_high": [1e6, 9]}


def free_port() -> int:
    """A port that nothing listens on now, below those that connections are given (Linux: 32768)."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def free_ports() -> dict[str, int]:
    """One for each stream and one for commands, as parameters of ZeroMQEnv."""
    return {f"{name}_port": free_port() for name in ("observation", "reward", "command")}


class Counting(gymnasium.Env):
    """Observes [step of the episode, last action]; the reward is the step's number."""

    observation_space = Box(np.array([0, -1], np.float32), np.array([1e6, 9], np.float32))
    action_space = Discrete(10)

    def __init__(self, length: int = 10, fail_at: int | None = None, slow: float = 0.0) -> None:
        self.length, self.fail_at, self.slow = length, fail_at, slow
        self.seeds: list[int | None] = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.count = 0
        return np.array([0, -1], np.float32), {}

    def step(self, action):
        self.count += 1
        if self.count == self.fail_at:
            raise ZeroDivisionError("the world broke")
        time.sleep(self.slow)
        over = self.count >= self.length
        return np.array([self.count, action], np.float32), float(self.count), over, False, {}


def register() -> None:
    """Let servers make `Counting`."""
    gymnasium.register("ZmqCounting-v0", Counting, disable_env_checker=True)


def kwargs(**parameters: Any) -> dict[str, Any]:
    """What `Counting` is made with, as a setting."""
    return {"Env.env_params": {"kwargs": parameters}}


class Served:
    """A server in a thread, and how to talk to it without our own environment."""

    def __init__(self, addresses: Addresses, command_port: int) -> None:
        self.addresses = addresses
        self.command_port = command_port
        self.context = zmq.Context()
        self.sockets: list[Any] = []
        self.stop: threading.Event | None = None

    @property
    def ports(self) -> dict[str, int]:
        """As parameters of ZeroMQEnv."""
        return {
            "observation_port": int(self.addresses.observations.rpartition(":")[2]),
            "reward_port": int(self.addresses.rewards.rpartition(":")[2]),
            "command_port": self.command_port,
        }

    def listen(self, address: str) -> Any:
        found = self.context.socket(zmq.SUB)
        found.rcvtimeo = WAIT_MS
        found.linger = 0
        found.connect(address)
        found.subscribe(b"")
        self.sockets.append(found)
        return found

    def streams(self) -> tuple[Any, Any]:
        return self.listen(self.addresses.observations), self.listen(self.addresses.rewards)

    def commander(self) -> Any:
        """A socket to send commands by; the server is connected to it."""
        found = self.context.socket(zmq.XPUB)
        self.sockets.append(found)
        found.linger = 0
        found.rcvtimeo = WAIT_MS
        found.sndhwm = 0  # a slow server gets everything in the end
        found.bind(f"tcp://127.0.0.1:{self.command_port}")
        assert found.recv() == b"\x01"
        return found

    def close(self) -> None:
        for one in self.sockets:
            one.close()
        self.context.term()


@contextmanager
def serving(*overrides: str, **fixed: Any) -> Iterator[Served]:
    """Serve until the end of the block; an error of the server is raised there."""
    command_port = free_port()
    settings = {
        "All.write_report": False,
        "Env.render": False,
        "Env.env": "ZmqCounting-v0",
        "CommandReceiver.socket": command_port,
        "ObservationSender.socket": 0,
        "RewardSender.socket": 0,
        "CommandReceiver.time_stamp_tolerance": 60.0,
        "All.time_stamp_tolerance": 60.0,
        **fixed,
    }
    for override in overrides:
        key, _, value = override.partition("=")
        settings[key] = json.loads(value)
    config = load_config(None, settings)
    stop, up = threading.Event(), threading.Event()
    found: list[Any] = []

    def ready(addresses: Addresses) -> None:
        found.append(addresses)
        up.set()

    def run() -> None:
        try:
            serve(config, ready=ready, stop=stop)
        except Exception as error:  # noqa: BLE001 - raised again in the test
            found.append(error)
        finally:
            up.set()

    thread = threading.Thread(target=run)
    thread.start()
    served = None
    try:
        assert up.wait(20)
        if isinstance(found[0], Exception):
            raise found[0]
        served = Served(found[0], command_port)
        served.stop = stop
        yield served
    finally:
        stop.set()
        thread.join(10)
        if served:
            served.close()
        assert not thread.is_alive()
    if isinstance(found[-1], Exception):
        raise found[-1]


class Process:
    """A server in a process of its own, which can be killed."""

    def __init__(self, **settings: Any) -> None:
        code = (
            "import json, sys, zmq_serving as z; z.register();"
            "z.serve(z.load_config(None, json.loads(sys.argv[1])),"
            " ready=lambda one: print(one, flush=True))"
        )
        settings = {
            "All.write_report": False,
            "All.time_stamp_tolerance": 60.0,
            "CommandReceiver.time_stamp_tolerance": 60.0,
            "Env.render": False,
            **settings,
        }
        self.process = begin(
            [sys.executable, "-c", code, json.dumps(settings)],
            cwd=Path(__file__).parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    def end(self, signum: int = signal.SIGKILL) -> tuple[int, str]:
        """Send a signal; return the exit status and what was written to standard error."""
        self.process.send_signal(signum)
        _, errors = self.process.communicate(timeout=10)
        return self.process.returncode, errors


def command(value: Any, **more: Any) -> bytes:
    return json.dumps([{"value": value, "ts": time.time(), **more}]).encode()


def values(message: bytes) -> list[Any]:
    return [item["value"] for item in json.loads(message)]
