"""The ZeroMQ server beside the simplest programs that do the same.

1. Streams in real time: messages a second and the deviation of their arrival from an even grid,
   beside a publisher that sleeps the interval between two messages, as gymz does. The mean
   interval of ours must be within 0.1 % of the set one.
2. Lock-step: CartPole-v1 steps a second of one agent, beside a REQ/REP pair that codes, steps and
   decodes the same in one message each way. Wanted: at least 0.8 of it. Server and agent are two
   processes. A pair that codes with orjson is shown beside it. The quickest tenth of many short
   turns is compared, because waiting for a busy core is no cost of either.

    python benchmarks/serving_zeromq.py [--quick] [--ticks N] [--pin]

``--pin`` keeps agent and server on one core, as two neighbours of a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import zmq
from _measure import surroundings, table, take_turns, verdict

LEAST_OF_PAIR = 0.8
DRIFT = 0.001
INTERVAL = 0.01
COMMAND_PORT = 5655
ENV = "CartPole-v1"
OURS_REAL, SLEEPING = "gym-loop, real time", "sleep between messages"
OURS_STEP = "gym-loop, lock-step"
PAIR, FAST_PAIR = "bare REQ/REP pair", "bare REQ/REP pair, orjson"


# -- servers, each in a process of its own -------------------------------------------------


def serve_ours(speed: str) -> None:
    """Our server, on free ports for the streams."""
    from gym_loop.serve.zeromq.config import load_config
    from gym_loop.serve.zeromq.server import serve

    settings = {
        "All.write_report": False,
        "Env.env": ENV,
        "Env.render": False,
        "Env.inter_trial_observation": [9999.0] * 4,
        "EnvRunner.speed": speed,
        "CommandReceiver.socket": COMMAND_PORT,
        "ObservationSender.socket": 0,
        "RewardSender.socket": 0,
    }
    serve(
        load_config(None, settings),
        ready=lambda at: print(at.observations, at.rewards, flush=True),
    )


def serve_sleeping() -> None:
    """Encode, send, sleep what is left of the interval: the next one begins with the error."""
    socket = zmq.Context().socket(zmq.PUB)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    print(f"tcp://127.0.0.1:{port} -", flush=True)
    while True:
        start = time.time()
        items = [{"min": -4.8, "max": 4.8, "value": 0.1, "ts": start} for _ in range(4)]
        socket.send_json(items)
        time.sleep(max(0.0, INTERVAL - (time.time() - start)))


def coder(name: str) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    """What writes and reads JSON in a pair."""
    if name == FAST_PAIR:
        import orjson

        return orjson.dumps, orjson.loads
    return lambda value: json.dumps(value).encode(), json.loads


def serve_pair(name: str) -> None:
    """Step for each request; answer with the JSON of both of our streams in one message."""
    import gymnasium

    dumps, loads = coder(name)

    socket = zmq.Context().socket(zmq.REP)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    print(f"tcp://127.0.0.1:{port} -", flush=True)
    env = gymnasium.make(ENV, disable_env_checker=True)
    space = env.observation_space
    low, high = (
        np.clip(one.astype(float), -1e100, 1e100).tolist() for one in (space.low, space.high)
    )
    env.reset()
    while True:
        action = int(loads(socket.recv())[0]["value"])
        assert env.action_space.contains(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()
        ts = time.time()
        dimensions = [
            {"min": a, "max": b, "value": value, "ts": ts}
            for a, b, value in zip(low, high, observation.tolist(), strict=True)
        ]
        rewards = [{"min": -1.0, "max": 1.0, "value": float(reward), "ts": ts}]
        socket.send(dumps([dimensions, rewards]))


SERVERS: dict[str, Callable[[], None]] = {
    OURS_REAL: lambda: serve_ours("real"),
    OURS_STEP: lambda: serve_ours("max"),
    SLEEPING: serve_sleeping,
    PAIR: lambda: serve_pair(PAIR),
    FAST_PAIR: lambda: serve_pair(FAST_PAIR),
}


@contextmanager
def server(name: str) -> Iterator[list[str]]:
    """Run a server; yields its addresses."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", name], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()
    finally:
        process.kill()
        process.communicate()


# -- what is measured ----------------------------------------------------------------------


def arrivals(name: str, ticks: int) -> np.ndarray:
    """The times at which a stream's messages arrive, in seconds."""
    with server(name) as addresses, zmq.Context() as context, context.socket(zmq.SUB) as stream:
        stream.connect(addresses[0])
        stream.subscribe(b"")
        for _ in range(20):
            stream.recv()
        times = np.empty(ticks + 1)
        for index in range(ticks + 1):
            stream.recv()
            times[index] = time.perf_counter()
    return times


def streams(ticks: int) -> str:
    """The first comparison, as a table."""
    rows = []
    for name in (OURS_REAL, SLEEPING):
        times = arrivals(name, ticks)
        mean = (times[-1] - times[0]) / ticks
        gaps = np.diff(times)
        off = mean / INTERVAL - 1
        kept = f"{off:+.3%}"
        if name == OURS_REAL:
            kept += f" (wanted within {DRIFT:.1%}: {'yes' if abs(off) <= DRIFT else 'NO'})"
        rows.append(
            [
                name,
                f"{1 / mean:.2f}",
                kept,
                f"{gaps.std() * 1e6:,.0f}",
                f"{np.percentile(abs(gaps - INTERVAL), 99) * 1e6:,.0f}",
            ]
        )
    return table(
        ["what", "messages/s", "interval off by", "jitter (std), us", "99 % within, us"], rows
    )


def ours_in_lock_step(addresses: list[str]) -> Callable[[], float]:
    """Seconds a step of gym_loop/ZeroMQ-v0."""
    from gym_loop.envs.remote.gymz_env import ZeroMQEnv

    observations, rewards = (int(address.rpartition(":")[2]) for address in addresses)
    env = ZeroMQEnv(
        n_actions=2, speed="max", command_port=COMMAND_PORT,
        observation_port=observations, reward_port=rewards,
    )  # fmt: skip
    env.reset()

    def measure(steps: int = 500) -> float:
        start = time.perf_counter()
        for index in range(steps):
            _, _, terminated, truncated, _ = env.step(index % 2)
            if terminated or truncated:
                env.reset()
        return (time.perf_counter() - start) / steps

    return measure


def pair(name: str, addresses: list[str]) -> Callable[[], float]:
    """Seconds a step of the pair, decoded to what an environment returns."""
    dumps, loads = coder(name)
    socket = zmq.Context().socket(zmq.REQ)
    socket.connect(addresses[0])

    def measure(steps: int = 500) -> float:
        start = time.perf_counter()
        for index in range(steps):
            socket.send(dumps([{"value": index % 2, "ts": time.time()}]))
            dimensions, rewards = loads(socket.recv())
            observation = np.array([item["value"] for item in dimensions], np.float32)
            assert observation.shape == (4,)
            assert isinstance(rewards[0]["value"], float)
        return (time.perf_counter() - start) / steps

    return measure


def lock_step(repeats: int) -> str:
    """The second comparison, as a table."""
    with server(OURS_STEP) as streamed, server(PAIR) as plain, server(FAST_PAIR) as fast:
        sides = {
            OURS_STEP: ours_in_lock_step(streamed),
            PAIR: pair(PAIR, plain),
            FAST_PAIR: pair(FAST_PAIR, fast),
        }
        results = take_turns(sides, repeats)
    # What a busy neighbour adds differs between sides with more and fewer threads.
    cost = {name: float(np.percentile(result.values, 10)) for name, result in results.items()}
    rows = []
    for name, result in results.items():
        ratio = "-"
        if name == PAIR:
            ratio = verdict(cost[name] / cost[OURS_STEP], at_least=LEAST_OF_PAIR)
        elif name == FAST_PAIR:
            ratio = f"{cost[name] / cost[OURS_STEP]:.2f}"
        median = f"{result.median * 1e6:.0f}"
        rows.append([name, f"{1 / cost[name]:,.0f}", f"{cost[name] * 1e6:.0f}", median, ratio])
    header = ["what", "steps/s", "us/step, quickest tenth", "median", "ours has of it"]
    return table(header, rows)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="1,000 ticks, 30 turns")
    parser.add_argument("--ticks", type=int, default=10_000, help="messages of each stream")
    parser.add_argument("--pin", action="store_true", help="everything on one core")
    parser.add_argument("--only", choices=["streams", "lock-step"], help="one comparison")
    parser.add_argument("--serve", choices=list(SERVERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        SERVERS[options.serve]()
        return
    if options.pin:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if options.only != "lock-step":
        print(f"one stream, a message every {INTERVAL * 1e3:g} ms")
        print(streams(1000 if options.quick else options.ticks), flush=True)
    if options.only != "streams":
        print(f"{ENV} in lock-step, one agent")
        print(lock_step(30 if options.quick else 150), flush=True)
    print(surroundings("gym-loop", "gymnasium", "pyzmq"), f"; libzmq {zmq.zmq_version()}")


if __name__ == "__main__":
    main()
