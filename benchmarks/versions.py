"""Two versions of gym-loop beside each other: the time of a step in the loops and in the agents.

The other version is another checkout of the repository. Both play in turn, each time in a new
process, for where objects happen to lie in memory makes some per cent; counted is the CPU time of
the loop's ``train`` alone, after a first run that warms up. Agents take the values of the presets,
each version its own, so that hyperparameters may have other names.
Wanted: at least 0.97 of the other version's speed in each case.

    git worktree add ../other v0.1.0
    python benchmarks/versions.py ../other [--repeats 9] [--only ppo,dqn]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LEAST = 0.97
RANDOM = "gym_loop.agents.random_agent:RandomAgent"
# Name: where the agent's values come from, environment, loop, steps of a measurement.
CASES: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "DefaultLoop, CartPole": (RANDOM, "CartPole-v1", {}, 50_000),
    "DefaultLoop, Pendulum": (RANDOM, "Pendulum-v1", {}, 25_000),
    "VectorLoop, 8 copies": (RANDOM, "CartPole-v1", {"n_envs": 8}, 160_000),
    "VectorLoop, 1024 copies": (RANDOM, "CartPole-v1", {"n_envs": 1024}, 3_000_000),
    "PPO": ("ppo/CartPole-v1", "CartPole-v1", {}, 40_000),
    "DQN": ("dqn/CartPole-v1", "CartPole-v1", {}, 8_000),
    "SAC": ("sac/Pendulum-v1", "Pendulum-v1", {}, 1_500),
    "TD3": ("td3/Pendulum-v1", "Pendulum-v1", {}, 10_600),
}
LOOPS = """
import time
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.loops.vector_loop import VectorLoop


class Timed:
    def train(self):
        begun = time.process_time()
        super().train()
        Timed.seconds = time.process_time() - begun


class TimedDefaultLoop(Timed, DefaultLoop):
    pass


class TimedVectorLoop(Timed, VectorLoop):
    pass
"""


def play(root: str) -> None:
    """In the child process of one version: train what each line asks for, and answer the time."""
    import gym_loop  # the version that PYTHONPATH names

    assert Path(gym_loop.__file__).is_relative_to(Path(root).resolve()), gym_loop.__file__
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        name, seed = json.loads(line)
        gym_loop.train(run_file(name), {"seed": seed})
        from timed_loops import Timed  # type: ignore[import-not-found]

        print(json.dumps(Timed.seconds / CASES[name][-1]), file=answers, flush=True)


def run_file(name: str) -> dict[str, Any]:
    """The run file of a case, with this version's names."""
    import yaml

    source, env, loop, steps = CASES[name]
    wanted: dict[str, Any] = {"agent": {"class": source}, "env": {"name": env}, "loop": {}}
    if "/" in source:
        path = Path(source.replace("/", "-") + ".yaml")
        command = [sys.executable, "-m", "gym_loop", "create-default", "-c", str(path), "--force"]
        subprocess.run([*command, "--preset", source], check=True, stdout=subprocess.DEVNULL)
        wanted = yaml.safe_load(path.read_text())
    kind = wanted["loop"].get("class", "DefaultLoop" if not loop else "VectorLoop")
    parameters = wanted["loop"].get("parameters", {})
    limits = {"max_steps": steps, "max_episodes": None, "episodes_per_eval": None}
    saves = {"episodes_per_checkpoint": None, "steps_per_checkpoint": None}
    return {
        **wanted,
        "loop": {
            "class": "timed_loops:Timed" + kind.rpartition(":")[2],
            "parameters": {**parameters, **loop, **limits, **saves},
        },
    }


class Side:
    """One version, in a process and a directory of its own."""

    def __init__(self, root: Path) -> None:
        self._directory = tempfile.TemporaryDirectory()
        place = Path(self._directory.name)
        (place / "timed_loops.py").write_text(LOOPS)
        paths = [str(root), str(place), str(Path(__file__).parent)]
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(root), "--child"],
            cwd=place,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def measure(self, name: str, seed: int) -> float:
        """Seconds of CPU time a step."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, seed]) + "\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process, and remove its files."""
        self._process.communicate()
        self._directory.cleanup()


def main() -> None:
    """Print a table with a row a case."""
    from _measure import Result, surroundings, table  # of this version, so not in the child

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("other", type=Path, help="root of the other version's checkout")
    parser.add_argument("--repeats", type=int, default=9, help="turns of each version")
    parser.add_argument("--only", default="", help="cases whose names begin with one of these")
    options = parser.parse_args()
    other = options.other.resolve()
    wanted = tuple(options.only.lower().split(","))
    rows = []
    for name in CASES:
        if not name.lower().startswith(wanted):
            continue
        ours, theirs = Result(), Result()
        for turn in range(options.repeats):
            for root, result in ((Path(__file__).resolve().parents[1], ours), (other, theirs)):
                side = Side(root)
                side.measure(name, seed=turn)  # warms up
                result.values.append(side.measure(name, seed=turn))
                side.close()
        ratio = theirs.median / ours.median
        times = [f"{one.median * 1e6:.3f}" for one in (ours, theirs)]
        verdict = "yes" if ratio >= LEAST else "NO"
        rows.append([name, *times, ours.spread, theirs.spread, f"{ratio:.3f}", verdict])
        print(f"{name}: {ratio:.3f}", file=sys.stderr, flush=True)
    head = ["case", "us/step", "other", "spread", "other's", "ratio", f">= {LEAST}"]
    print(surroundings("numpy", "gymnasium"))
    print(table(head, rows))


if __name__ == "__main__":
    if "--child" in sys.argv:
        play(sys.argv[1])
    else:
        main()
