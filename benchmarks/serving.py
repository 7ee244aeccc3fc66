"""What serving an environment costs: CartPole steps a second through each protocol.

Each server runs in a process of its own on one core, all clients in this process on another,
over the loopback interface; with ``--one-core`` all of them on one, so that no figure contains
the time that a virtual machine takes to wake the other core. Compared are a bare socket that
does the same work (the ceiling), gym-loop's servers, and the original servers where they are
installed:

    --gymie PYTHON               a Python with ``gymie``; 3.11 also needs, over what it asks for,
                                 "numpy<1.24" eventlet==0.36.1 "dnspython>=2"
    --gym-http-api PYTHON FILE   one with ``gym`` 0.17 and ``flask``, and gym_http_server.py

Wanted: HTTP at least 2.5 times gym-http-api, with 16 clients 3 times; WebSocket at least 1.1 and
1.3 times gymie; of 16 clients the slowest at least 0.8 of the fastest.

    python benchmarks/serving.py [--quick] [--only NAME...]
    python benchmarks/serving.py --stall [--quick]       others' latency during half-second steps
    python benchmarks/serving.py --instances [--quick]   memory after 10,000 abandoned ones
    python benchmarks/serving.py --soak [--quick]        memory during 5 million steps
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from _measure import (
    Result,
    surroundings,
    table,
    take_turns,
    verdict,
)
from _serving_clients import Connection, Http, Line, WebSocket, play
from _serving_server import CORES, HERE, Server

SERVE = (
    "import sys, json, gym_loop\n"
    "gym_loop.serve(sys.argv[1], port=0, ready=lambda a: print(a, flush=True),"
    " **json.loads(sys.argv[2]))"
)
GYMIE = (
    "import gymie.server, os, sys\n"
    "sys.stderr = open(os.devnull, 'w')\n"  # it names every connection
    "print('http://127.0.0.1:5000', flush=True)\n"
    "gymie.server.start(host='127.0.0.1')"
)
MANY = 16
BARE, OURS_HTTP, OURS_WEBSOCKET = "bare socket", "HTTP, gym-loop", "WebSocket, gym-loop"
GYM_HTTP_API, GYMIE_NAME = "gym-http-api", "gymie"


@dataclass(frozen=True)
class Side:
    """A row of the table: how to start the server, and how its clients talk.

    Args:
        command: see `Server`.
        dialect: the class of its clients.
    """

    command: Sequence[str]
    dialect: type[Connection]


def ours(protocol: str, **options: object) -> Sequence[str]:
    """The command of one of our servers."""
    return (sys.executable, "-c", SERVE, protocol, json.dumps(options))


def all_sides(arguments: argparse.Namespace) -> dict[str, Side]:
    """Every row that can be measured here."""
    sides = {
        BARE: Side((sys.executable, str(HERE / "_serving_bare.py")), Line),
        OURS_HTTP: Side(ours("http"), Http),
        OURS_WEBSOCKET: Side(ours("websocket"), WebSocket),
    }
    if arguments.gymie:
        sides[GYMIE_NAME] = Side((arguments.gymie, "-c", GYMIE), WebSocket)
    if arguments.gym_http_api:
        # It prints its own address, but not before its output is flushed.
        sides[GYM_HTTP_API] = Side(
            (
                arguments.gym_http_api[0],
                "-c",
                "import runpy, sys; print('http://127.0.0.1:5000', flush=True);"
                " runpy.run_path(sys.argv[1], run_name='__main__')",
                str(Path(arguments.gym_http_api[1]).resolve()),
            ),
            Http,
        )
    return {name: side for name, side in sides.items() if name in (arguments.only or sides)}


class Measured:
    """One side with one number of clients; each call measures once.

    Args:
        side: what to start.
        clients: how many.
        seconds: of one measurement.
    """

    def __init__(self, side: Side, clients: int, seconds: float) -> None:
        self.side, self.clients, self.seconds = side, clients, seconds
        self.fairness: list[float] = []  # the slowest client's steps by the fastest's
        self.cpu: list[float] = []  # the server's microseconds a step: a busy machine adds little

    def __call__(self) -> float:
        """Steps a second, on a fresh server: two originals insist on the same port."""
        with ExitStack() as stack:
            server = Server(self.side.command)
            stack.callback(server.close)
            connections = [server.connect(self.side.dialect) for _ in range(self.clients)]
            for connection in connections:
                stack.callback(connection.close)
            play(connections, self.seconds / 5)
            start, cpu = time.perf_counter(), server.cpu()
            steps = play(connections, self.seconds)
            took = time.perf_counter() - start
            self.cpu.append((server.cpu() - cpu) / sum(steps) * 1e6)
        self.fairness.append(min(steps) / max(steps))
        return sum(steps) / took


def compare(arguments: argparse.Namespace) -> None:
    """Print the table of all protocols."""
    sides = all_sides(arguments)
    turns, seconds = (2, 0.5) if arguments.quick else (7, 2.0)
    measured = {
        f"{name}/{clients}": Measured(side, clients, seconds)
        for name, side in sides.items()
        for clients in (1, MANY)
    }
    sys.stderr.write(f"about {len(measured) * (turns + 1) * (seconds * 1.2 + 1.5):.0f} s\n")
    results = take_turns(dict(measured), turns)
    rows = []
    for name in sides:
        one, many = (results[f"{name}/{clients}"] for clients in (1, MANY))
        busy = measured[f"{name}/{MANY}"]
        shown = (f"{_median(busy.cpu):.1f}", f"{_median(busy.fairness):.2f}")
        rows.append([name, *_cells(one, many), *(shown if busy.cpu else "--")])
    header = ["steps a second", "1 client", f"{MANY} clients", "CPU us/step", "slowest/fastest"]
    print(table(header, rows))
    _verdicts(results, measured)
    print()
    packages = (
        "gym-loop",
        "gymnasium",
        "uvloop",
        "httptools",
        "uvicorn",
        "starlette",
        "websockets",
        "orjson",
    )
    print(surroundings(*packages))


def _median(values: Sequence[float]) -> float:
    """Without the first turn, which warms up."""
    return statistics.median(values[1:] or [0.0])


def _cells(*results: Result) -> list[str]:
    return [one.problem or f"{one.median / 1000:.2f}k ±{one.spread}" for one in results]


def _verdicts(results: dict[str, Result], measured: dict[str, Measured]) -> None:
    def rate(name: str, clients: int) -> float | None:
        result = results.get(f"{name}/{clients}")
        return result.median if result is not None and result.values else None

    wanted = (
        (OURS_HTTP, GYM_HTTP_API, {1: 2.5, MANY: 3.0}),
        (OURS_WEBSOCKET, GYMIE_NAME, {1: 1.1, MANY: 1.3}),
    )
    print()
    for name, other, least in wanted:
        for clients in (1, MANY):
            mine, theirs = rate(name, clients), rate(other, clients)
            if mine and theirs:
                said = verdict(mine / theirs, at_least=least[clients])
                print(f"{name} / {other}, {clients} client(s): {said}")
    for name in (OURS_HTTP, OURS_WEBSOCKET):
        shares = measured[f"{name}/{MANY}"].fairness[1:] if f"{name}/{MANY}" in measured else []
        if shares:
            said = verdict(_median([1.0, *shares]), at_least=0.8)
            print(f"{name}, slowest of {MANY} clients by the fastest: {said}")


# -- one slow environment ----------------------------------------------------------------------


def stall(arguments: argparse.Namespace) -> None:
    """One client's steps while another's environment takes half a second for each of its own."""
    rows = []
    seconds = 3.0 if arguments.quick else 20.0
    for name, protocol, dialect in _our_protocols(arguments):
        for env_id in ("", "Asleep-v0", "AtWork-v0"):
            server = Server(ours(protocol, imports=[str(HERE / "_serving_slow.py")]))
            try:
                quick = server.connect(dialect)
                play([quick], 0.5)
                slow = server.connect(dialect, env_id) if env_id else None
                times = sorted(_times(quick, slow, seconds))
            finally:
                server.close()
            p50, p99 = (times[int(len(times) * part)] * 1e3 for part in (0.5, 0.99))
            said = verdict(p99, at_most=20)
            rows.append([name, env_id or "none", f"{p50:.2f}", f"{times[-1] * 1e3:.1f}", said])
    print(table(["milliseconds", "beside", "median", "longest", "99th percentile"], rows))
    print(surroundings("gym-loop", "gymnasium", "uvloop"))


def _times(quick: Connection, slow: Connection | None, seconds: float) -> list[float]:
    """Durations of the quick client's steps; the slow one always has a step under way."""
    if slow is not None:
        slow.exchange(slow.reset)
        slow.socket.sendall(slow.steps[0])
        slow.socket.setblocking(False)
    times: list[float] = []
    end = time.perf_counter() + seconds
    quick.exchange(quick.reset)
    while (start := time.perf_counter()) < end:
        over = quick.is_over(quick.exchange(quick.steps[len(times) & 1]))
        times.append(time.perf_counter() - start)
        if over:
            quick.exchange(quick.reset)
        if slow is not None:
            try:
                slow.socket.recv(65536)
                slow.socket.sendall(slow.steps[0])
            except BlockingIOError:
                pass
    return times


# -- memory ------------------------------------------------------------------------------------


def abandon(arguments: argparse.Namespace) -> None:
    """Make, step and abandon instances, and wait for the end of their lease.

    A tenth of them come and go before, for a server in use is what it has to return to: some
    single objects that happen to lie between what went keep whole megabytes of Python's memory,
    ten or so, however many instances there were. (``PYTHONMALLOC=malloc`` gives back nearly all.)
    """
    count = 1_000 if arguments.quick else 10_000
    lease = 10.0 if arguments.quick else 60.0
    rows = []
    for name, protocol, dialect in _our_protocols(arguments):
        server = Server(ours(protocol, max_instances=count + 1, idle_lease=lease))
        try:
            server.connect(dialect).close()
            sizes = [server.rss()]
            for number in (count // 10, count):
                sizes.append(server.rss())
                _make_and_leave(server, dialect, number)
                sizes.append(server.rss())
                time.sleep(lease + 15)
            sizes.append(server.rss())
        finally:
            server.close()
        fresh, _, _, before, most, after = sizes
        said = verdict(after / before, at_most=1.1)
        rows.append([name, *(f"{size:.1f}" for size in (fresh, before, most, after)), said])
    header = ["MiB", "fresh", "in use", f"{count:,} open", "after their lease", "after / in use"]
    print(table(header, rows))
    print(surroundings("gym-loop", "gymnasium", "uvloop"))


def _make_and_leave(server: Server, dialect: type[Connection], count: int) -> None:
    """Each instance is made, reset and stepped; then its client goes without a word."""
    for _ in range(count):
        connection = server.connect(dialect)
        connection.exchange(connection.reset)
        for action in (0, 1, 0):
            connection.exchange(connection.steps[action])
        connection.close()


def soak(arguments: argparse.Namespace) -> None:
    """Take millions of steps and print the server's memory on the way."""
    total = 200_000 if arguments.quick else 5_000_000
    for name, protocol, dialect in _our_protocols(arguments):
        server = Server(ours(protocol))
        try:
            connections = [server.connect(dialect) for _ in range(MANY)]
            sizes, steps, start = [], 0, time.perf_counter()
            while steps < total:
                steps += sum(play(connections, 1.0 if arguments.quick else 5.0))
                sizes.append(server.rss())
            rate = steps / (time.perf_counter() - start)
        finally:
            server.close()
        part = max(1, len(sizes) // 4)
        early, late = statistics.median(sizes[:part]), statistics.median(sizes[-part:])
        print(
            f"{name}: {steps:,} steps, {rate:,.0f} a second; MiB in the first quarter {early:.1f},"
            f" in the last {late:.1f}: {verdict(late / early, at_most=1.02)}",
            flush=True,
        )
    print(surroundings("gym-loop", "gymnasium", "uvloop"))


def _our_protocols(
    arguments: argparse.Namespace,
) -> list[tuple[str, str, type[Connection]]]:
    known: list[tuple[str, str, type[Connection]]] = [
        (OURS_HTTP, "http", Http),
        (OURS_WEBSOCKET, "websocket", WebSocket),
    ]
    return [one for one in known if one[0] in (arguments.only or [OURS_HTTP, OURS_WEBSOCKET])]


def main() -> None:
    """Read the options, and run what they ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"such as '{OURS_HTTP}'")
    parser.add_argument("--gymie", metavar="PYTHON")
    parser.add_argument("--gym-http-api", nargs=2, metavar=("PYTHON", "FILE"))
    parser.add_argument("--one-core", action="store_true", help="clients and servers on one core")
    parser.add_argument("--stall", action="store_true")
    parser.add_argument("--instances", action="store_true")
    parser.add_argument("--soak", action="store_true")
    arguments = parser.parse_args()
    if len(CORES) < 2:
        sys.exit("clients and server need a core each; this process may use only one")
    task: Callable[[argparse.Namespace], None] = compare
    for chosen, other in (("stall", stall), ("instances", abandon), ("soak", soak)):
        if getattr(arguments, chosen):
            task = other
    os.sched_setaffinity(0, {(min if arguments.one_core else max)(CORES)})
    task(arguments)


if __name__ == "__main__":
    main()
