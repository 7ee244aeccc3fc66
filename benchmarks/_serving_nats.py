"""The other sides of ``serving_nats.py``: raw sockets, nats-py, and gym-nats from its source.

python _serving_nats.py raw-system PORT
python _serving_nats.py nats-py-system PORT
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SIZE, ACTIONS = 256, 11  # as in gym-nats's example
SUBJECTS = ("rl.update", "rl.reward", "rl.action", "rl.reset", "rl.actions", "r.done")


def vector(*values: float) -> bytes:
    """A vector as gym-nats codes it."""
    return base64.b64encode(np.array(values, np.float64).tobytes())


# -- the ceiling: bytes that are known beforehand, in two round trips ------------------------


def _socket(port: int, *lines: bytes) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.recv(1 << 16)
    made.sendall(b'CONNECT {"verbose":false}\r\n' + b"".join(lines) + b"PING\r\n")
    while not made.recv(1 << 16).endswith(b"PONG\r\n"):
        pass
    return made


def raw_system(port: int) -> None:
    """Answer each request with constant bytes, without looking at more than its subject."""
    lines = [b"SUB %b %d\r\n" % (name.encode(), sid) for sid, name in enumerate(SUBJECTS, 2)]
    made = _socket(port, *lines)
    observation = vector(*(float(i % 2) for i in range(SIZE)))
    answers = {b"2": observation, b"3": vector(1.0), b"4": b"", b"5": b"", b"7": vector(-1.0)}
    answers[b"6"] = vector(*[0.0] * ACTIONS)
    print("ready", flush=True)
    data = b""
    while True:
        data += made.recv(1 << 16)
        replies = []
        while data:
            head, _, rest = data.partition(b"\r\n")
            words = head.split()
            if words[0] == b"PING":
                replies.append(b"PONG\r\n")
                data = rest
                continue
            size = int(words[-1])
            if len(rest) < size + 2:
                break
            data = rest[size + 2 :]
            answer = answers[words[2]]
            replies.append(b"PUB %b %d\r\n%b\r\n" % (words[3], len(answer), answer))
        made.sendall(b"".join(replies))


def raw_agent(port: int) -> Callable[[], None]:
    """A step in two round trips; only the length of what comes is looked at."""
    made = _socket(port, b"SUB in 1\r\n")
    action = b"PUB rl.action in 12\r\n" + vector(1.0) + b"\r\n"
    rest = b"PUB rl.reward in 0\r\n\r\nPUB rl.update in 0\r\n\r\nPUB r.done in 0\r\n\r\n"
    observation = vector(*(float(i % 2) for i in range(SIZE)))
    first = len(b"MSG in 1 0\r\n\r\n")
    second = 2 * len(b"MSG in 1 12\r\n" + vector(1.0) + b"\r\n")
    second += len(b"MSG in 1 %d\r\n%b\r\n" % (len(observation), observation))

    def step() -> None:
        for data, size in ((action, first), (rest, second)):
            made.sendall(data)
            got = 0
            while got < size:
                chunk = made.recv(1 << 16)
                if chunk == b"PING\r\n":
                    made.sendall(b"PONG\r\n")
                else:
                    got += len(chunk)

    return step


# -- nats-py, as gym-nats and its example use it ---------------------------------------------


async def nats_py_system(port: int) -> None:
    """A coroutine a subject, each encoding what it made up, as in gym-nats's example."""
    import nats

    client = await nats.connect(f"nats://127.0.0.1:{port}")
    makes: dict[str, Callable[[], Any]] = {
        "rl.update": lambda: np.random.randint(0, 2, SIZE),
        "rl.reward": lambda: np.random.randint(0, 10, 1),
        "rl.actions": lambda: np.zeros(ACTIONS),
        "r.done": lambda: np.random.randint(-3, -1, 12),
    }

    async def answer(message: Any) -> None:
        make = makes.get(message.subject)
        print("Answering", message.subject)  # the example says each of its answers
        payload = b"" if make is None else vector(*make())
        if message.data:
            np.frombuffer(base64.b64decode(message.data))
        await client.publish(message.reply, payload)

    for subject in SUBJECTS:
        await client.subscribe(subject, cb=answer)
    await client.flush()
    print("ready", flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    await asyncio.Event().wait()


def nats_py_agent(port: int) -> Callable[[], None]:
    """A step in four requests, one after the other, each through the event loop."""
    import nats

    loop = asyncio.new_event_loop()
    client = loop.run_until_complete(nats.connect(f"nats://127.0.0.1:{port}"))

    def ask(subject: str, data: bytes = b"") -> np.ndarray:
        reply = loop.run_until_complete(client.request(subject, data, timeout=5))
        return np.frombuffer(base64.b64decode(reply.data))

    def step() -> None:
        ask("rl.action", vector(random.randrange(ACTIONS)))
        ask("rl.reward").sum()
        ask("rl.update")
        ask("r.done").sum()

    return step


def gym_nats_agent(port: int) -> Callable[[], Any]:
    """gym-nats's own environment, from its source on PYTHONPATH."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    from gym_nats.envs.nats_env import NatsEnv

    env = NatsEnv(host="127.0.0.1", port=str(port))
    return lambda: env.step(random.randrange(ACTIONS))


# -- ours --------------------------------------------------------------------------------------


def ours(port: int) -> Callable[[], Any]:
    """gym_loop/Nats-v0."""
    from gym_loop.envs.remote.nats_env import NatsEnv

    env = NatsEnv(port=port)
    return lambda: env.step(random.randrange(int(env.action_space.n)))


def ours_cart_pole(port: int) -> Callable[[], None]:
    """gym_loop/Nats-v0 on ``gym-loop serve nats``."""
    from gym_loop.envs.remote.nats_env import NatsEnv

    env = NatsEnv(port=port, observation_space="box")
    env.reset()

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(random.randrange(2))
        if terminated or truncated:
            env.reset()

    return step


AGENTS = {one.__name__: one for one in (
    raw_agent, nats_py_agent, gym_nats_agent, ours, ours_cart_pole)}  # fmt: skip


def main() -> None:
    """Be a system, or an agent that measures once for each line of standard input."""
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "raw-system":
        raw_system(port)
    elif kind == "nats-py-system":
        asyncio.run(nats_py_system(port))
    else:
        step = AGENTS[kind](port)
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # libraries print
        for line in sys.stdin:
            end, count, start = float(line), 0, time.perf_counter()
            while (took := time.perf_counter() - start) < end:
                step()
                count += 1
            print(count / took, file=answers, flush=True)


if __name__ == "__main__":
    main()
