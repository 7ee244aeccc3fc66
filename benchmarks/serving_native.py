"""What the native protocol costs: N copies on a server, one message a step.

The server runs in a process of its own on one core, the client in this one on another, over the
loopback interface; with ``--one-core`` both on one, so that no figure contains the time that a
virtual machine takes to wake the other core. Compared are the same vector environment in this
process, and a bare socket that moves the same bytes.

    python benchmarks/serving_native.py [--quick] [--one-core] [--train | --soak]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import _serving_native
import gymnasium
import numpy as np
from _measure import CannotMeasureError, surroundings, table, take_turns, verdict

import gym_loop
import gym_loop.envs.remote

HERE = Path(__file__).resolve().parent
SERVE = (
    "import sys, json, gym_loop\n"
    "gym_loop.serve(sys.argv[1], ready=lambda at: print(at, flush=True),"
    " **json.loads(sys.argv[2]))"
)
# A socket that answers each request of some bytes with others, and does nothing else.
BARE = """
import socket, sys
ask, answer = int(sys.argv[1]), bytes(int(sys.argv[2]))
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
made, _ = listener.accept()
made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
buffer = memoryview(bytearray(ask))
while made.recv_into(buffer, ask, socket.MSG_WAITALL):
    made.sendall(answer)
"""
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "ws": ("websocket", {"port": 0}),
}
SIZES = (1, 8, 64, 1024)
PICTURES = (8, 64)
_CORES = sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def server(command: list[str]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process on the first core; what it prints first, and itself."""
    os.sched_setaffinity(0, {_CORES[0]})  # which the child inherits
    try:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    finally:
        os.sched_setaffinity(0, {_CORES[-1]})
    try:
        assert child.stdout is not None
        said = child.stdout.readline().strip()
        if not said:
            raise CannotMeasureError("failed to start")
        yield said, child
    finally:
        child.terminate()
        child.communicate()


@contextlib.contextmanager
def native(transport: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """One of our servers; its address for `gym_loop/Remote-v0`, and its process."""
    protocol, options = OPTIONS[transport]
    options = {**options, "imports": [str(HERE / "_serving_native.py")]}
    with server([sys.executable, "-c", SERVE, protocol, json.dumps(options)]) as (said, child):
        yield said.removesuffix("/gym"), child


def remote(url: str, env_id: str, count: int) -> Any:
    """Copies on a server."""
    return gymnasium.make_vec("gym_loop/Remote-v0", count, url=url, env_id=env_id, keep_state=False)


def rate(env: Any, seconds: float) -> float:
    """Steps a second of all copies together; actions are chosen before."""
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(16)]
    for action in actions:
        env.step(action)
    steps, start = 0, time.perf_counter()
    while (took := time.perf_counter() - start) < seconds:
        for action in actions:
            env.step(action)
        steps += len(actions)
    return steps * int(env.num_envs) / took


def bare(ask: int, answer: int, count: int, seconds: float) -> Callable[[], float]:
    """Steps a second of a socket alone that moves so many bytes there and back."""

    def measure() -> float:
        with server([sys.executable, "-c", BARE, str(ask), str(answer)]) as (port, _):
            made = socket.create_connection(("127.0.0.1", int(port)))
            with made:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                request, buffer = bytes(ask), memoryview(bytearray(answer))
                steps, start = 0, time.perf_counter()
                while (took := time.perf_counter() - start) < seconds:
                    made.sendall(request)
                    made.recv_into(buffer, answer, socket.MSG_WAITALL)
                    steps += 1
        return steps * count / took

    return measure


def compare(arguments: argparse.Namespace) -> None:
    """CartPole beside the same environment here, pictures beside a bare socket."""
    turns, seconds = (2, 0.3) if arguments.quick else (7, 1.5)
    with contextlib.ExitStack() as stack:
        urls = {one: stack.enter_context(native(one))[0] for one in arguments.only}
        print("CartPole-v1, thousand steps a second")
        rows, said = [], []
        for count in SIZES:
            here = gymnasium.make_vec("CartPole-v1", count, vectorization_mode="vector_entry_point")
            envs = {one: remote(url, "CartPole-v1", count) for one, url in urls.items()}
            sides: dict[str, Callable[[], float]] = {"here": partial(rate, here, seconds)}
            sides |= {one: partial(rate, env, seconds) for one, env in envs.items()}
            results = take_turns(sides, turns)
            rows.append(
                [str(count), *(f"{one.median / 1e3:.1f} ±{one.spread}" for one in results.values())]
            )
            if count == 64:
                for one in urls:
                    share = results[one].median / results["here"].median
                    said.append(f"{one} / here, 64 copies: {verdict(share, at_least=0.15)}")
            for env in envs.values():
                env.close()
        print(table(["copies", "here", *urls], rows), *said, "", sep="\n")
        print(f"observations {_serving_native.SHAPE} of uint8, steps a second")
        rows, said = [], []
        for count in PICTURES:
            size = count * int(np.prod(_serving_native.SHAPE))
            envs = {one: remote(url, "Pictures-v0", count) for one, url in urls.items()}
            sides = {"bare socket": bare(120 + 8 * count, size + 300 + 10 * count, count, seconds)}
            sides |= {one: partial(rate, env, seconds) for one, env in envs.items()}
            results = take_turns(sides, turns)
            rows.append(
                [str(count), *(f"{one.median:,.0f} ±{one.spread}" for one in results.values())]
            )
            for one in urls:
                share = results[one].median / results["bare socket"].median
                said.append(f"{one} / bare socket, {count} copies: {verdict(share, at_least=0.3)}")
            for env in envs.values():
                env.close()
        print(table(["copies", "bare socket", *urls], rows), *said, "", sep="\n")
    print(surroundings("gym-loop", "gymnasium", "numpy", "websockets", "orjson"))


def train(arguments: argparse.Namespace) -> None:
    """PPO on 64 copies: here, and on a server."""
    steps, turns = (16_384, 2) if arguments.quick else (131_072, 5)

    def trained(env: dict[str, Any]) -> float:
        wanted = {
            "agent": {"class": "gym_loop.agents.ppo:PPO", "parameters": {"n_steps": 128}},
            "env": env,
            "loop": {
                "class": "gym_loop.loops.vector_loop:VectorLoop",
                "parameters": {
                    "n_envs": 64, "max_steps": steps, "max_episodes": None, "loggers": [],
                },
            },
            "seed": 0,
        }  # fmt: skip
        with tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory):
            result = gym_loop.train(wanted, quiet=True)
        return float(result.steps / result.seconds)

    with contextlib.ExitStack() as stack:
        sides = {"here": lambda: trained({"name": "CartPole-v1"})}
        for one in arguments.only:
            url = stack.enter_context(native(one))[0]
            parameters = {"url": url, "env_id": "CartPole-v1"}
            env = {"name": "gym_loop/Remote-v0", "parameters": parameters}
            sides[one] = lambda env=env: trained(env)  # type: ignore[misc]
        results = take_turns(sides, turns)
    rows = [[name, f"{one.median:,.0f} ±{one.spread}"] for name, one in results.items()]
    print(table(["PPO, 64 copies", "steps a second"], rows))
    for one in arguments.only:
        share = results[one].median / results["here"].median
        print(f"{one} / here: {verdict(share, at_least=0.8)}")
    print(surroundings("gym-loop", "gymnasium", "numpy"))


def soak(arguments: argparse.Namespace) -> None:
    """Millions of steps, with the memory of both processes on the way."""
    total = 1_000_000 if arguments.quick else 5_000_000
    for one in arguments.only:
        with native(one) as (url, child):
            env = remote(url, "CartPole-v1", 64)
            env.reset(seed=0)
            actions = [env.action_space.sample() for _ in range(64)]
            sizes: dict[int, list[float]] = {child.pid: [], os.getpid(): []}
            start, steps = time.perf_counter(), 0
            while steps < total:
                for action in actions:
                    env.step(action)
                steps += 64 * 64
                if steps % (64 * 64 * 16) == 0:
                    for pid, known in sizes.items():
                        known.append(_rss(pid))
            took = time.perf_counter() - start
            env.close()
        for name, known in zip(("server", "client"), sizes.values(), strict=True):
            part = max(1, len(known) // 4)
            early, late = statistics.median(known[:part]), statistics.median(known[-part:])
            print(
                f"{one}, {name}: {steps:,} steps, {steps / took:,.0f} a second; MiB in the first"
                f" quarter {early:.1f}, in the last {late:.1f}:"
                f" {verdict(late / early, at_most=1.02)}",
                flush=True,
            )
    print(surroundings("gym-loop", "gymnasium", "numpy"))


def _rss(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Read the options, and run what they ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns")
    parser.add_argument("--only", nargs="+", choices=list(OPTIONS), default=list(OPTIONS))
    parser.add_argument("--one-core", action="store_true", help="client and servers on one core")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--soak", action="store_true")
    arguments = parser.parse_args()
    if len(_CORES) < 2:
        sys.exit("client and server need a core each; this process may use only one")
    if arguments.one_core:
        del _CORES[1:]
    os.sched_setaffinity(0, {_CORES[-1]})
    (train if arguments.train else soak if arguments.soak else compare)(arguments)


if __name__ == "__main__":
    main()
