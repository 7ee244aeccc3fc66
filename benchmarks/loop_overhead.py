"""What a loop costs beside what it drives.

Two comparisons, each on CartPole-v1 and Pendulum-v1, in environment steps a second:

1. DefaultLoop in a real run (run directory, TensorBoard, CSV, progress) against a `while`
   loop written by hand that calls the same RandomAgent's methods and does nothing else; once
   with `observe`, as DefaultLoop calls it, and once straight with `memorize`. Wanted: at
   least 0.90 of its speed. All sides play in this process, in turn.
2. DefaultLoop, logging as before, against the collection of stable-baselines3, Tianshou and
   RLlib, which log nothing here; all with actions drawn beforehand. Wanted: at least 5 times
   theirs. Each library plays in a process of its own, in turn. "us beside env" is what is
   left of a step's time when that of the environment alone is taken off. A library that is
   not installed is shown as absent: `pip install -r benchmarks/requirements-peers.txt` in an
   environment of its own, and `pip install -e .` beside it.

    python benchmarks/loop_overhead.py [--quick] [--only hand|peers] [--n-envs N] [--cpu]

``--n-envs`` gives the libraries N copies of the environment at once, to their advantage;
DefaultLoop always has one. ``--cpu`` takes the processes' CPU time in place of the clock on
the wall, for a machine that has other work to do; waiting for the disk is not in it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable

from _measure import Result, Worker, answer_requests, surroundings, table, take_turns, verdict

ENVS = ("CartPole-v1", "Pendulum-v1")
RANDOM_AGENT = "gym_loop.agents.random_agent:RandomAgent"
LEAST_OF_HAND = 0.90
LEAST_OF_PEERS = 5.0
STEPS = {"CartPole-v1": 60_000, "Pendulum-v1": 20_000}  # half a second, about

OURS, BARE = "DefaultLoop", "environment alone"
# Name, function in _peers.py, steps a measurement.
PEERS = {
    "stable-baselines3, PPO": ("sb3_on_policy", 16_384),
    "stable-baselines3, DQN/SAC": ("sb3_off_policy", 16_384),
    "Tianshou, random": ("tianshou_random", 4_000),
    "Tianshou, policy": ("tianshou_policy", 4_000),
    "RLlib, random": ("rllib_random", 4_000),
    "RLlib, module": ("rllib_module", 4_000),
}
HEADER = ["what", "steps/s", "us/step", "spread"]


def against_hand(env_id: str, repeats: int, clock: Callable[[], float]) -> str:
    """The first comparison, as a table."""
    from _ours import by_hand, default_loop

    from gym_loop.agents.random_agent import RandomAgent

    steps = STEPS[env_id]
    results = take_turns(
        {
            "while loop, memorize": by_hand(env_id, steps, clock, RandomAgent, observe=False),
            "while loop, observe": by_hand(env_id, steps, clock, RandomAgent, observe=True),
            OURS: default_loop(env_id, steps, clock, RANDOM_AGENT, None),
            f"{OURS}, checkpoint every 10 episodes": default_loop(
                env_id, steps // 6, clock, RANDOM_AGENT, 10
            ),
        },
        repeats,
    )
    strictest, likest = list(results.values())[:2]
    rows = []
    for name, result in results.items():
        ratios = ["-", "-"]
        if name.startswith(OURS):
            ratios = [
                verdict(hand.median / result.median, at_least=LEAST_OF_HAND)
                for hand in (strictest, likest)
            ]
        rows.append([*_speed(name, result), *ratios])
    return table([*HEADER, "of memorize loop", "of observe loop"], rows)


def against_peers(env_id: str, repeats: int, n_envs: int, cpu: bool) -> str:
    """The second comparison, as a table."""
    with contextlib.ExitStack() as stack:
        workers = {}
        for name in (BARE, OURS, *PEERS):
            command = [sys.executable, __file__, "--side", name, "--env", env_id]
            worker = Worker([*command, "--n-envs", str(n_envs), *(["--cpu"] if cpu else [])])
            stack.callback(worker.close)
            workers[name] = worker
        results = take_turns(workers, repeats)
    ours, bare = results[OURS], results[BARE]
    if problem := ours.problem or bare.problem:
        raise SystemExit(f"{OURS}: {problem}")
    rows = []
    for name, result in results.items():
        if result.problem:
            rows.append([name, result.problem, *["-"] * 5])
            continue
        own = result.median - bare.median
        ratios = ["-", "-"]
        if name in PEERS:
            ratios = [
                verdict(result.median / ours.median, at_least=LEAST_OF_PEERS),
                f"{own / (ours.median - bare.median):.1f}",
            ]
        rows.append([*_speed(name, result), ratios[0], f"{own * 1e6:.1f}", ratios[1]])
    return table([*HEADER, "ours is faster", "us beside env", "ours costs less"], rows)


def _speed(name: str, result: Result) -> list[str]:
    return [name, f"{1 / result.median:,.0f}", f"{result.median * 1e6:.2f}", result.spread]


def make_side(
    name: str, env_id: str, n_envs: int, clock: Callable[[], float]
) -> Callable[[], float]:
    """Build one side of the second comparison, in the process that measures it."""
    if name in PEERS:
        import _peers

        function, steps = PEERS[name]
        collect = getattr(_peers, function)(env_id, n_envs)

        def measure() -> float:
            start = clock()
            played = collect(steps * n_envs)
            return float((clock() - start) / played)

        return measure
    import _ours

    if name == BARE:
        return _ours.bare_env(env_id, STEPS[env_id], clock)
    return _ours.default_loop(env_id, STEPS[env_id], clock, "_ours:DrawnAgent", None)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="3 turns")
    parser.add_argument("--only", choices=["hand", "peers"], help="one comparison")
    parser.add_argument("--n-envs", type=int, default=1, help="copies for the libraries (1)")
    parser.add_argument("--cpu", action="store_true", help="CPU time, for a busy machine")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--env", help=argparse.SUPPRESS)
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    if options.side:
        answer_requests(lambda: make_side(options.side, options.env, options.n_envs, clock))
        return
    turns = (3, 3) if options.quick else (15, 5)
    for env_id in ENVS:
        if options.only != "peers":
            print(f"{env_id}, RandomAgent, against a loop written by hand")
            print(against_hand(env_id, turns[0], clock), flush=True)
        if options.only != "hand":
            print(f"{env_id}, drawn actions, against other libraries ({options.n_envs} copies)")
            print(against_peers(env_id, turns[1], options.n_envs, options.cpu), flush=True)
    packages = ["gym-loop", "gymnasium", "numpy", "tensorboard", "torch"]
    print(surroundings(*packages, "stable-baselines3", "tianshou", "ray"))


if __name__ == "__main__":
    main()
