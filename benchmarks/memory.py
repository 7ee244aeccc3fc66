"""Whether a long training stays within its memory.

RandomAgent plays 1,000,000 steps of CartPole-v1 with TensorBoard, CSV and checkpoints on.
The resident memory of the process is noted every 100,000 steps (`/proc/self/status`, so
Linux only); the figure that counts is how much it grew from the first note to the end.

    python benchmarks/memory.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from _measure import surroundings, table
from _probes import resident_memory

PROBE = Path(__file__).resolve().parent / "_probes.py"


def train(steps: int, every: int) -> list[tuple[int, int, int]]:
    """Train in the working directory; return steps, present and highest KiB."""
    import gym_loop

    gym_loop.train(
        {
            "agent": {"class": "gym_loop.agents.random_agent:RandomAgent"},
            "env": {
                "name": "CartPole-v1",
                "wrappers": [
                    {
                        "class": f"{PROBE}:MemoryProbe",
                        "parameters": {"path": "memory", "every": every},
                    }
                ],
            },
            "loop": {
                "class": "gym_loop.loops.default_loop:DefaultLoop",
                # Checkpoints at the usual rate for a run of this length, not every 10 episodes.
                "parameters": {
                    "max_episodes": steps,
                    "max_steps": steps,
                    "episodes_per_checkpoint": 1000,
                },
            },
        }
    )
    lines = Path("memory").read_text().splitlines()
    notes = []
    for line in lines:
        step, present, highest = (int(word) for word in line.split())
        notes.append((step, present, highest))
    return [*notes, (steps, *resident_memory())]


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="100,000 steps, noted every 10,000")
    quick = parser.parse_args().quick
    steps, every = (100_000, 10_000) if quick else (1_000_000, 100_000)
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        notes = train(steps, every)
        os.chdir("/")
    rows = [
        [f"{count:,}", f"{present / 1024:.1f}", f"{highest / 1024:.1f}"]
        for count, present, highest in notes
    ]
    rows[-1][0] += " and closed"
    print(table(["steps", "MiB resident", "MiB at most so far"], rows))
    grown = (notes[-2][1] - notes[0][1]) / 1024
    peak = (notes[-1][2] - notes[0][2]) / 1024
    print(f"from {notes[0][0]:,} to {notes[-2][0]:,} steps: {grown:+.1f} MiB; peak {peak:+.1f} MiB")
    print(surroundings("gym-loop", "gymnasium", "numpy", "tensorboard"))


if __name__ == "__main__":
    main()
