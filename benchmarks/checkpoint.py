"""What a checkpoint costs: time and bytes, beside numpy.save of the same bytes.

Both sides write to a new file, wait until the disk has it (fsync), and then delete the one
before, as a run that keeps its last checkpoint does. Ours also computes checksums, writes
the readable state.json, and renames.

"checkpoint" is what it costs the training: the state is captured, written, and on the disk
when the call returns.

    python benchmarks/checkpoint.py [--quick] [--directory DIR]

The directory (default: the current one) must be on the disk that is to be measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _measure import surroundings, table, take_turns, verdict

from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.checkpoints.tree import capture

MB = 1_000_000


class ReplayAgent:
    """Weights and a replay buffer, as a learning agent has them."""

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(0)
        rows = size // 40  # bytes of a row below
        self.epsilon, self.steps = 0.1, 12_345
        self.weights = rng.standard_normal((64, 64)).astype(np.float32)
        self.observations = rng.standard_normal((rows, 4)).astype(np.float32)
        self.next_observations = rng.standard_normal((rows, 4)).astype(np.float32)
        self.rewards = rng.standard_normal(rows).astype(np.float32)
        self.actions = rng.integers(0, 2, rows).astype(np.int32)
        self.rng = rng


def sides_of(size: int, directory: Path) -> dict[str, Callable[[], float]]:
    agent = ReplayAgent(size)
    arrays = [value for value in vars(agent).values() if isinstance(value, np.ndarray)]
    same_bytes = np.concatenate([array.reshape(-1).view(np.uint8) for array in arrays])
    store = CheckpointStore(directory / "checkpoints", keep=1)
    steps = iter(range(10**9))

    def numpy_save() -> float:
        step = next(steps)
        start = time.perf_counter()
        with (directory / f"{step}.npy").open("wb") as file:
            np.save(file, same_bytes)
            file.flush()
            os.fsync(file.fileno())
        for path in directory.glob("*.npy"):
            if path.stem != str(step):
                path.unlink()
        return time.perf_counter() - start

    def checkpoint() -> float:
        start = time.perf_counter()
        captured: Any = {"agent": capture(agent, copy=False)}
        store.save(next(steps), captured, {"run": "benchmark"})
        return time.perf_counter() - start

    return {"numpy.save": numpy_save, "checkpoint": checkpoint}


def written_bytes(directory: Path) -> tuple[int, int]:
    files = [path for path in directory.rglob("*.*") if path.is_file()]
    numpy_bytes = sum(path.stat().st_size for path in files if path.suffix == ".npy")
    return sum(path.stat().st_size for path in files) - numpy_bytes, numpy_bytes


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="no 2 GB, fewer repetitions")
    parser.add_argument("--directory", type=Path, default=Path(), help="on the disk to measure")
    arguments = parser.parse_args()
    plan = [(MB, 100), (100 * MB, 15), (2_000 * MB, 5)]
    if arguments.quick:
        plan = [(size, max(3, repeats // 5)) for size, repeats in plan[:2]]
    rows = []
    for size, repeats in plan:
        directory = Path(tempfile.mkdtemp(prefix="checkpoint-benchmark-", dir=arguments.directory))
        try:
            results = take_turns(sides_of(size, directory), repeats)
            checkpoint_bytes, numpy_bytes = written_bytes(directory)
        finally:
            shutil.rmtree(directory)
        plain, ours = (result.median for result in results.values())
        rows.append(
            [
                f"{size / MB:g} MB",
                f"{checkpoint_bytes / numpy_bytes:.3f}",
                milliseconds(plain),
                milliseconds(ours),
                verdict(ours / plain, at_most=1.3),
                ", ".join(result.spread for result in results.values()),
            ]
        )
    header = ["state", "bytes", "numpy.save ms", "checkpoint ms", "ratio"]
    print(table([*header, "spreads"], rows))
    print(surroundings("gym-loop", "numpy"))


if __name__ == "__main__":
    main()
