"""Copies of an environment in worker processes, which say what became of a worker that is lost."""

from __future__ import annotations

import os
import queue
import signal
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from gym_loop.checkpoints.seeding import (
    Seeds,
    capture_global_streams,
    restore_global_streams,
    seed_global_streams,
    seed_spaces,
)
from gym_loop.envs.fresh import in_silence
from gym_loop.envs.making import close_quietly
from gym_loop.envs.state.keeper import METHODS, ways
from gym_loop.envs.state.layers import Tree
from gym_loop.envs.state.methods import EnvState
from gym_loop.errors import EnvError, EnvWorkerError, StateError
from gym_loop.schema.printable import how_ended

# A signal to a whole job reaches the workers too, while their state is still to be saved.
SECONDS_AFTER_SIGTERM = 60
_PATIENCE = 2.0  # seconds for a dead process to be reaped, or for a traceback to arrive


class StatefulEnv(gymnasium.Wrapper):  # type: ignore[misc]
    """The outermost wrapper of a copy in a worker process: it answers for the copy's state.

    An `AsyncVectorEnv` can be saved if every function that makes a copy returns one of these:
    ``AsyncVectorEnv([lambda: StatefulEnv(gymnasium.make("CartPole-v1"))] * 4)``.

    Args:
        env: the copy, with all its wrappers.
        again: makes it once more, for `make_again`.
    """

    not_state = ("_keeper", "saved_state", "_again")

    def __init__(
        self, env: gymnasium.Env[Any, Any], again: Callable[[], Any] | None = None
    ) -> None:
        super().__init__(env)
        self._again = again
        self.env: Any
        self.saved_state: Tree = {}  # set from outside, for `_restore`
        self._keeper: EnvState | None = None
        self._is_over = False
        self._reset_first = False

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the copy, or reset it first where a restored worker would have."""
        if self._reset_first:
            observation, info = self.reset()
            return observation, 0, False, False, info
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._is_over = terminated or truncated
        return observation, reward, terminated, truncated, info

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the copy."""
        self._is_over = self._reset_first = False
        if seed is not None:
            seed_spaces(self.unwrapped, seed)
        result: tuple[Any, dict[str, Any]] = self.env.reset(seed=seed, options=options)
        return result

    def close(self) -> None:
        """Close the copy; what it raises would look like a failure of its worker."""
        close_quietly(self.env)

    def make_again(self) -> None:
        """Put a new copy in place of the one that was stepped; its state is no longer kept."""
        assert self._again is not None
        close_quietly(self.env)
        with in_silence():
            self.env = self._again()
        self._keeper = None
        self._is_over = self._reset_first = False

    def answer_for_state(self, question: str, *arguments: Any) -> tuple[Any, str]:
        """What `WorkersState` asks; the answer, and in its place what went wrong.

        A worker that raises is shut down, and the training with it.
        """
        try:
            return getattr(self, f"_{question}")(*arguments), ""
        except StateError as error:
            return None, str(error)

    @property
    def _kept(self) -> EnvState:
        assert self._keeper is not None
        return self._keeper

    def _ways(self) -> tuple[list[str], str]:
        return ways(self.env)

    def _use(self, method: str) -> None:
        self._keeper = METHODS[method](self.env)
        self.env = self._keeper.env

    def _left_out(self) -> list[str]:
        return self._kept.left_out()

    def _snapshot(self) -> Tree:
        """The state of the copy, and of its process's random streams."""
        return {
            "env": self._kept.snapshot(),
            "is_over": bool(self._is_over),
            "streams": capture_global_streams(),
        }

    def _restore(self, reset_next: bool) -> bool:
        """Put ``saved_state`` back; whether it went into a copy that was reset for it.

        Args:
            reset_next: whether the step after an episode's end is a reset. Gymnasium's worker
                notes that in a variable of its own, out of reach for a fresh worker.
        """
        tree, self.saved_state = self.saved_state, {}
        self._kept.restore(tree["env"])
        restore_global_streams(tree["streams"])
        self._is_over = tree["is_over"]
        self._reset_first = reset_next and tree["is_over"]
        return self._kept.after_reset


class WorkerCopy:
    """Makes one copy in a worker process; data only, so that any start method can send it.

    Args:
        make: makes the copy with all its wrappers.
    """

    def __init__(self, make: Callable[[], gymnasium.Env[Any, Any]]) -> None:
        self.make = make
        self.parent = os.getpid()
        self.streams = capture_global_streams()  # a worker that is not forked has none of ours

    def __call__(self) -> StatefulEnv:
        """Make the copy; in a worker, leave Ctrl-C and a closed terminal to the parent."""
        if os.getpid() == self.parent:  # a look at the spaces
            return StatefulEnv(self.make())
        for signum in (signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _end_later)
        return _WorkerEnv(self._make(), self._make)

    def _make(self) -> gymnasium.Env[Any, Any]:
        restore_global_streams(self.streams)
        return self.make()


class _WorkerEnv(StatefulEnv):
    """Seeds the global random streams of its process as well: they are nobody else's."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            # Python seeds `random` anew in every process, from the operating system.
            seed_global_streams(Seeds(seed))
        return super().reset(seed=seed, options=options)


def _end_later(signum: int, frame: Any) -> None:
    signal.setitimer(signal.ITIMER_REAL, SECONDS_AFTER_SIGTERM)  # SIGALRM ends the process


class WorkersEnv(AsyncVectorEnv):  # type: ignore[misc]
    """An `AsyncVectorEnv` whose errors name the environment, the last action and the cause.

    Args:
        copies: each makes one copy.
        name: of the environment, for messages.
        autoreset_mode: how a copy is reset after an episode.

    Raises:
        EnvWorkerError: in any method: a worker raised, or died.
    """

    copies_elsewhere = True  # than in this process

    def __init__(
        self, copies: Sequence[WorkerCopy], name: str, autoreset_mode: AutoresetMode
    ) -> None:
        self._name = name
        self._actions: Any = None
        self._lost = False

        def begin(shared_memory: bool) -> None:
            super(WorkersEnv, self).__init__(
                copies, shared_memory=shared_memory, copy=False, autoreset_mode=autoreset_mode
            )

        try:
            self._guarded(lambda: begin(True))
        except TypeError as error:
            if "dynamic shape" not in str(error):
                raise
            # Of a Sequence or a Graph nobody knows how much memory it needs: it is sent.
            self._guarded(lambda: begin(False))
        # Runs before multiprocessing's own clean-up, which would wait for the workers to end.
        weakref.finalize(self, _kill_own, os.getpid(), self.processes)

    def step_async(self, actions: Any) -> None:
        """Send each worker its action."""
        self._actions = actions
        self._guarded(lambda: super(WorkersEnv, self).step_async(actions))

    def step_wait(self, timeout: float | None = None) -> Any:
        """Wait for all answers."""
        return self._guarded(lambda: super(WorkersEnv, self).step_wait(timeout))

    def reset_async(self, seed: Any = None, options: dict[str, Any] | None = None) -> None:
        """Ask the workers for a reset."""
        if options is None or "reset_mask" not in options:
            self._actions = None
        self._guarded(lambda: super(WorkersEnv, self).reset_async(seed, options))

    def reset_wait(self, timeout: float | None = None) -> Any:
        """Wait for all answers."""
        return self._guarded(lambda: super(WorkersEnv, self).reset_wait(timeout))

    def call_async(self, name: str, /, *args: Any, **kwargs: Any) -> None:
        """Call a method of every copy."""
        self._guarded(lambda: super(WorkersEnv, self).call_async(name, *args, **kwargs))

    def call_wait(self, timeout: float | None = None) -> Any:
        """Wait for all answers."""
        return self._guarded(lambda: super(WorkersEnv, self).call_wait(timeout))

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of every copy."""
        self._guarded(lambda: super(WorkersEnv, self).set_attr(name, values))

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """End the workers; at once, if one is lost or still at work."""
        if not (self._lost or terminate or self._state.value != "default"):
            try:
                super().close_extras(timeout)
                return
            except (EOFError, OSError):
                pass  # one died unseen: the others are ended all the same
        _kill(self.processes)
        for pipe in self.parent_pipes:
            if pipe is not None:
                pipe.close()

    def _guarded(self, work: Callable[[], Any]) -> Any:
        if self._lost:
            raise EnvWorkerError(
                f"a worker process of {self._name} is lost, and the state of its copy with it;"
                " go on from the last checkpoint (gym-loop train --resume)"
            )
        try:
            return work()
        except (EOFError, OSError) as error:
            self._lost = True
            raise EnvWorkerError(self._who_died()) from error

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """Raise what a worker raised, with its own traceback; called by the base class."""
        if all(successes):
            return
        self._lost = True
        try:
            index, kind, value, trace = self.error_queue.get(timeout=_PATIENCE)
        except (queue.Empty, AttributeError, ImportError, TypeError):  # it could not be sent
            index = list(successes).index(False)
            raise EnvWorkerError(
                f"copy {index} of {self._name} raised{self._last_action(index)}; its error could"
                " not be sent here: set vectorization: sync to see it"
            ) from None
        if issubclass(kind, EnvError):  # a sentence of ours
            raise EnvWorkerError(f"copy {index} of {self._name}: {value}{self._last_action(index)}")
        raise EnvWorkerError(
            f"copy {index} of {self._name} raised {kind.__name__}: {value}"
            f"{self._last_action(index)}\n{trace.rstrip()}"
        )

    def _who_died(self) -> str:
        deadline = time.monotonic() + _PATIENCE
        dead: list[tuple[int, int]] = []
        while not dead and time.monotonic() < deadline:
            dead = [
                (index, process.exitcode)
                for index, process in enumerate(getattr(self, "processes", []))
                if process.exitcode is not None
            ]
            time.sleep(0.001)
        if not dead:
            return f"a worker process of {self._name} closed its connection"
        index, status = dead[0]
        hint = " (is the memory used up?)" if status == -signal.SIGKILL else ""
        return (
            f"copy {index} of {self._name} is lost: its worker process"
            f" {how_ended(status)}{hint}{self._last_action(index)}"
        )

    def _last_action(self, index: int) -> str:
        if self._actions is None:
            return "; it had taken no action yet"
        try:
            actions = list(gymnasium.vector.utils.iterate(self.action_space, self._actions))
            action = actions[index]
        except (IndexError, TypeError, ValueError):
            action = self._actions
        return f"; its last action was {action}"


def _kill_own(parent: int, processes: Sequence[Any]) -> None:
    """Leave them alone in a worker, which has a copy of the object that owned them."""
    if os.getpid() == parent:
        _kill(processes)


def _kill(processes: Sequence[Any]) -> None:
    for process in processes:
        if process.is_alive():
            process.kill()
    for process in processes:
        process.join()
