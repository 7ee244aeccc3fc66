"""What the training benchmarks share: a training in a process of its own, and its judgement.

A side is a function ``train(steps, seed, threads, watch) -> Trained`` in `_sides.py`, or in
`_sides_continuous.py`. It runs in a fresh process, so that imports, compilations and threads of
one library do not touch another; what is timed begins once the imports are done. Sides take
turns, as in `_measure.py`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np

EPISODES = 20  # of an evaluation
EVALUATION_SEED = 10_000

Predict = Callable[[Any], Any]  # observations [N, ...] -> actions [N, ...], without exploration


class Task(NamedTuple):
    """What is learnt: an environment, and the mean return that counts as solved."""

    env: str
    solved: float


CARTPOLE = Task("CartPole-v1", 475.0)
PENDULUM = Task("Pendulum-v1", -160.0)


class Trained(NamedTuple):
    """What a side gives back: steps played, seconds they took, and the policy they led to."""

    steps: int
    seconds: float
    predict: Predict


class Outcome(NamedTuple):
    """One training, as its process reports it.

    Args:
        steps: environment steps.
        seconds: of wall time, evaluations taken off.
        mean_return: of the final policy, over `EPISODES` episodes without exploration.
        solved_steps: when an evaluation first solved the task; None for never or not watched.
        solved_seconds: likewise.
        problem: why there is nothing of the above.
    """

    steps: int = 0
    seconds: float = 0.0
    mean_return: float = 0.0
    solved_steps: int | None = None
    solved_seconds: float | None = None
    problem: str = ""


def evaluate(predict: Predict, env_id: str = CARTPOLE.env) -> float:
    """Mean return of one episode in each of `EPISODES` copies, the same ones for everybody."""
    mode = "vector_entry_point" if gymnasium.spec(env_id).vector_entry_point else "sync"
    env = gymnasium.make_vec(env_id, EPISODES, vectorization_mode=mode)
    ob, _ = env.reset(seed=EVALUATION_SEED)
    going, returns = np.ones(EPISODES, bool), np.zeros(EPISODES)
    while going.any():
        ob, reward, terminated, truncated, _ = env.step(np.asarray(predict(ob)))
        returns += np.where(going, reward, 0.0)
        going &= ~(terminated | truncated)
    env.close()
    return float(returns.mean())


class Watch:
    """Evaluates a training every so often, with the clock stopped, until the task is solved.

    Args:
        every: environment steps between two evaluations; None for no watching.
        task: what is learnt.
    """

    def __init__(self, every: int | None, task: Task = CARTPOLE) -> None:
        self.every, self.task = every, task
        self.due = every if every is not None else float("inf")
        self.paused = 0.0
        self.solved_steps: int | None = None
        self.solved_seconds: float | None = None
        self.began = time.perf_counter()

    def start(self) -> None:
        """Begin to measure time here."""
        self.began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the start, without the evaluations."""
        return time.perf_counter() - self.began - self.paused

    @property
    def solved(self) -> bool:
        """Whether an evaluation solved the task."""
        return self.solved_steps is not None

    def check(self, steps: int, predict: Predict) -> None:
        """Evaluate if it is due."""
        if steps < self.due or self.every is None:
            return
        seconds, now = self.seconds, time.perf_counter()
        self.due = (steps // self.every + 1) * self.every
        if evaluate(predict, self.task.env) >= self.task.solved:
            self.solved_steps, self.solved_seconds = steps, seconds
            self.due = float("inf")
        self.paused += time.perf_counter() - now


def run_side(options: argparse.Namespace, task: Task = CARTPOLE, module: str = "_sides") -> None:
    """Be the process of one training: print its `Outcome` as the last line.

    Args:
        options: those of `_comparison.parser_of`.
        task: what is learnt.
        module: where the side is.
    """
    train = getattr(importlib.import_module(module), options.side)
    watch = Watch(options.watch_every, task)
    try:
        trained = train(options.steps, options.seed, options.threads, watch)
    except ModuleNotFoundError as error:
        outcome = Outcome(problem=f"absent: {error}")
    else:
        mean = evaluate(trained.predict, task.env)
        if options.watch_every and not watch.solved and mean >= task.solved:
            watch.solved_steps, watch.solved_seconds = trained.steps, trained.seconds
        outcome = Outcome(
            trained.steps, trained.seconds, mean, watch.solved_steps, watch.solved_seconds
        )
    print(f"\n{json.dumps(outcome._asdict())}")
