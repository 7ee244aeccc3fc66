"""What a step over NATS costs: gym-loop's agent and system beside gym-nats's, and raw sockets.

A step is the action, then reward, observation and done. nats-server and the system share one
core, the agent has another. Agents, each beside the system that it is meant for:

1. raw sockets that send constant bytes in two round trips: the ceiling of the protocol;
2. ``gym_loop/Nats-v0`` on that same system: what our client adds;
3. ``gym_loop/Nats-v0`` on ``gym-loop serve nats`` with CartPole-v1, in one round trip;
4. the same way to ask as gym-nats, in nats-py: four requests, one after the other, through
   asyncio, on a copy of its example, whose observations are vectors of 256;
5. gym-nats itself on that example, with ``--gym-nats PYTHON SOURCE``: a Python that has ``gym``
   and ``nats-py``, and a source tree whose environment is complete (the published ones lack it).

Wanted: row 2 at least 0.5 of row 1, row 3 at least 5 times rows 4 and 5.

    python benchmarks/serving_nats.py [--quick] [--gym-nats PYTHON SOURCE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from _measure import CannotMeasureError, surroundings, table, take_turns, verdict

from gym_loop.serve.nats.embedded import EmbeddedServer

OTHERS = str(Path(__file__).with_name("_serving_nats.py"))
RAW, CLIENT, CART_POLE = "raw sockets", "gym_loop/Nats-v0", "gym_loop/Nats-v0, gym-loop serve nats"
STAND_IN, GYM_NATS = "nats-py, as gym-nats", "gym-nats, from source"


class Side:
    """One agent and its system, on a NATS server of their own.

    Args:
        agent: what the agent's process is told to be.
        system: its command, ``{port}`` filled in; it says a line when it is ready.
        seconds: of one measurement.
        python: of the agent.
        environment: more environment variables of the agent.
    """

    def __init__(
        self,
        agent: str,
        system: Sequence[str],
        seconds: float,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.seconds = seconds
        self._stack = ExitStack()
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[0]})  # which the children inherit
        server = self._stack.enter_context(EmbeddedServer())
        port = server.url.rpartition(":")[2]
        filled = [word.format(port=port) for word in system]
        responder = subprocess.Popen(
            filled, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._stack.callback(responder.communicate)
        self._stack.callback(responder.kill)
        assert responder.stdout is not None
        if not responder.stdout.readline():
            raise CannotMeasureError("the system failed to start")
        os.sched_setaffinity(0, {cores[-1]})
        self._agent = subprocess.Popen(
            [python, OTHERS, agent, port],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        os.sched_setaffinity(0, cores)
        self._stack.callback(self._agent.communicate)
        self._stack.callback(self._agent.kill)

    def __call__(self) -> float:
        """Steps a second."""
        assert self._agent.stdin is not None
        assert self._agent.stdout is not None
        try:
            self._agent.stdin.write(f"{self.seconds}\n")
            self._agent.stdin.flush()
            return float(self._agent.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise CannotMeasureError("failed: the agent ended") from None

    def close(self) -> None:
        """End agent, system and server."""
        self._stack.close()


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns")
    parser.add_argument("--gym-nats", nargs=2, metavar=("PYTHON", "SOURCE"))
    options = parser.parse_args()
    turns, seconds = (3, 0.5) if options.quick else (9, 2.0)
    raw = [sys.executable, OTHERS, "raw-system", "{port}"]
    example = [sys.executable, OTHERS, "nats-py-system", "{port}"]
    serve = [sys.executable, "-m", "gym_loop", "serve", "nats", "--env", "CartPole-v1"]
    serve += ["--url", "nats://127.0.0.1:{port}"]
    sides = {
        RAW: Side("raw_agent", raw, seconds),
        CLIENT: Side("ours", raw, seconds),
        CART_POLE: Side("ours_cart_pole", serve, seconds),
        STAND_IN: Side("nats_py_agent", example, seconds),
    }
    if options.gym_nats:
        python, source = options.gym_nats
        path = {"PYTHONPATH": str(Path(source).resolve())}
        sides[GYM_NATS] = Side("gym_nats_agent", example, seconds, python, path)
    try:
        results = take_turns(dict(sides), turns)
    finally:
        for side in sides.values():
            side.close()
    header = ["agent", "steps/s", "us/step", "spread"]
    print(
        table(
            header,
            [
                [name, f"{one.median:,.0f}", f"{1e6 / one.median:.0f}", one.spread]
                if one.values
                else [name, one.problem, "-", "-"]
                for name, one in results.items()
            ],
        )
    )
    rates = {name: one.median for name, one in results.items() if one.values}
    wanted = (
        (CLIENT, RAW, 0.5),
        (CART_POLE, RAW, 0.5),
        (CART_POLE, STAND_IN, 5.0),
        (CART_POLE, GYM_NATS, 5.0),
    )
    print()
    for mine, theirs, least in wanted:
        if mine in rates and theirs in rates:
            print(f"{mine} / {theirs}: {verdict(rates[mine] / rates[theirs], at_least=least)}")
    print()
    print(surroundings("gym-loop", "gymnasium", "nats-py", "numpy"))


if __name__ == "__main__":
    main()
