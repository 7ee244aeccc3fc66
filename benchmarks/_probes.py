"""What is put into a run to measure it from outside, and a policy that costs nothing.

A run file names these as `.../benchmarks/_probes.py:Stamp`, and so on.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

DRAWN = 1000  # actions, played in a cycle


class Stamp(gymnasium.Wrapper):  # type: ignore[misc]
    """Appends the time of its first step to a file, one line a copy of the environment.

    Args:
        env: the environment.
        path: the file; a line has nanoseconds of the clock that all processes share, and
            nanoseconds of this process's CPU time.
    """

    def __init__(self, env: gymnasium.Env, path: str) -> None:
        super().__init__(env)
        self.path = path
        self.stepped = False

    def step(self, action: Any) -> Any:
        """Step, and note the time when it is the first one."""
        result = self.env.step(action)
        if not self.stepped:
            self.stepped = True
            with open(self.path, "a") as file:
                file.write(f"{time.monotonic_ns()} {time.process_time_ns()}\n")
        return result


class MemoryProbe(gymnasium.Wrapper):  # type: ignore[misc]
    """Appends the resident memory of the process to a file every so many steps.

    Args:
        env: the environment.
        path: the file; a line has the steps, and the present and highest KiB.
        every: steps between two lines.
    """

    def __init__(self, env: gymnasium.Env, path: str, every: int) -> None:
        super().__init__(env)
        self.path = path
        self.every = every
        self.steps = 0

    def step(self, action: Any) -> Any:
        """Step, and note the memory when it is time."""
        self.steps += 1
        if self.steps % self.every == 0:
            present, highest = resident_memory()
            with open(self.path, "a") as file:
                file.write(f"{self.steps} {present} {highest}\n")
        return self.env.step(action)


def resident_memory() -> tuple[int, int]:
    """Present and highest resident memory of this process, in KiB (Linux)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]), int(fields["VmHWM"].split()[0])


def drawn_actions(space: gymnasium.Space, n_envs: int | None = None) -> Iterator[Any]:
    """Actions for ever, drawn beforehand: no policy is cheaper.

    Args:
        space: the action space of one environment.
        n_envs: None for single actions, else batches `[N, ...]`.
    """
    space.seed(0)
    if n_envs is None:
        return itertools.cycle([space.sample() for _ in range(DRAWN)])
    return itertools.cycle(
        [np.array([space.sample() for _ in range(n_envs)]) for _ in range(DRAWN)]
    )
