"""The proof that an environment comes back exactly: play, save, restore elsewhere, compare."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv

from gym_loop.envs.keeping import candidates, copies_method, keep_state, kept_elsewhere
from gym_loop.envs.layers import layers_of
from gym_loop.envs.making import close_quietly
from gym_loop.envs.replay import ReplayMethod
from gym_loop.envs.silence import in_silence
from gym_loop.envs.single_state import RESTART
from gym_loop.errors import StateError
from gym_loop.seeding import capture_global_streams, restore_global_streams, streams_moved
from gym_loop.state_tree import capture, first_difference

# Wall-clock times in an info dictionary; no two runs agree on them.
TIMES = frozenset({"t", "time", "elapsed", "elapsed_time", "wall_time", "duration", "fps"})
CONSEQUENCE = "a resumed run begins a new episode in place of the one that was under way"
REMEDY = (
    "give the environment's class get_state(), which returns all of its state as plain data, "
    f"random streams included, and set_state(state), which takes it back; until then {CONSEQUENCE}"
)


@dataclass(frozen=True)
class Verdict:
    """Whether a stopped run can go on exactly, as far as its environment is concerned.

    Args:
        exact: the environment continued bit for bit in the proof.
        method: what to give to `keep_state`.
        reason: how it was proved, or what differed first.
        remedy: what to do about it; empty if exact.
    """

    exact: bool
    method: str
    reason: str
    remedy: str

    @property
    def word(self) -> str:
        """``exact`` or ``approximate``, as the manifest says it."""
        return "exact" if self.exact else "approximate"


def prove(
    make_env: Callable[[], Any], seed: int, steps: int = 32, method: str | None = None
) -> Verdict:
    """Find the best method that brings an environment back bit for bit.

    One fresh copy is played and saved, its state goes into another, and both take the same
    actions. Observations, rewards and flags must agree, and whatever in info is data but
    for times. No global random stream, and no environment but the two copies, is touched.

    Args:
        make_env: makes a fresh copy; it is called twice a method, and the copies are closed.
        seed: of the first reset and of the actions.
        steps: number of steps before the state is saved, and again after it.
        method: prove only this one; None tries all that fit, best first.
    """
    streams = capture_global_streams()
    try:
        with in_silence():
            return _prove(make_env, seed, steps, method)
    finally:
        restore_global_streams(streams)


def _prove(make_env: Callable[[], Any], seed: int, steps: int, method: str | None) -> Verdict:
    first = make_env()
    names = [method] if method else candidates(first)
    core, elsewhere = layers_of(first)[-1], kept_elsewhere(first)
    failures: list[str] = []
    for name in names:
        if copies_method(name) != RESTART:
            env = first if not failures else make_env()  # each method gets copies of its own
            difference = _difference(env, make_env, name, seed, steps)
            if not difference:
                return Verdict(True, name, f"equal for {steps} steps after a restore by {name}", "")
            failures.append(f"{name}: {difference}")
    if not failures:
        close_quietly(first)
        failures.append(elsewhere or _why_no_method(core))
    kind = names[-1].partition("[")
    restart = f"{kind[0]}[{RESTART}]" if kind[1] else RESTART
    return Verdict(False, restart, "; ".join(failures), CONSEQUENCE if elsewhere else REMEDY)


def _why_no_method(core: Any) -> str:
    if isinstance(core, AsyncVectorEnv):
        return "the copies in the worker processes are no StatefulEnv and cannot answer"
    if isinstance(core, gymnasium.Env) and not isinstance(core, VectorEnv):
        return f"{RESTART} begins a new episode"
    return (
        f"{type(core).__name__} keeps its state outside Python's data, and its copies end their "
        "episodes at different times, so that no replay can begin from a common reset"
    )


def _difference(env: Any, make_env: Callable[[], Any], method: str, seed: int, steps: int) -> str:
    """What differs first after a restore; empty if nothing does."""
    other = None
    try:
        original = keep_state(env, method)
        before = capture_global_streams()
        player = _Player(env, seed)
        player.begin(original.env, steps)
        tree = _copy_of_data(original.snapshot())
        streams = capture_global_streams()
        expected = player.go_on(original.env, steps)
        if copies_method(method) == ReplayMethod.name and streams_moved(before, streams):
            return (
                "it draws from the global random streams, which the agent draws from too, so "
                "that a replay would draw other numbers"
            )
        other = make_env()
        restored = keep_state(other, method)
        restored.restore(tree)
        restore_global_streams(streams)
        actual = player.go_on(restored.env, steps)
    except StateError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever the environment's own code raises
        return f"{type(error).__name__} was raised while it was tried: {error}"
    finally:
        close_quietly(env)
        if other is not None:
            close_quietly(other)
    for number, (want, have) in enumerate(zip(expected, actual, strict=False), 1):
        found = first_difference(want, have)
        if found:
            return f"step {number} after a restore: {found}"
    return ""


class _Player:
    """Plays seeded random actions, with resets, and notes what the environment answers."""

    def __init__(self, env: Any, seed: int) -> None:
        # A copy: a space that belongs to the class must not be re-seeded.
        self._space = copy.deepcopy(env.action_space)
        self._seed = seed
        self._vector = isinstance(layers_of(env)[-1], VectorEnv)

    def begin(self, env: Any, steps: int) -> None:
        """Two episodes, the second one unseeded, so that it follows from the first."""
        self._space.seed(self._seed)
        env.reset(seed=self._seed)
        for _ in self._steps(env, steps // 2):
            pass
        env.reset()
        for _ in self._steps(env, steps - steps // 2):
            pass

    def go_on(self, env: Any, steps: int) -> list[Any]:
        """The rest of the episode under way, and another one; every answer as data."""
        self._space.seed(self._seed + 1)
        notes = list(self._steps(env, steps // 2))
        notes.append(_note(*env.reset()))
        notes.extend(self._steps(env, steps - steps // 2))
        return notes

    def _steps(self, env: Any, count: int) -> Iterator[Any]:
        for _ in range(count):
            observation, reward, terminated, truncated, info = env.step(self._space.sample())
            yield _note(observation, info, reward, terminated, truncated)
            if self._vector:
                if env.metadata.get("autoreset_mode") == AutoresetMode.DISABLED:
                    over = np.logical_or(terminated, truncated)
                    if over.any():
                        yield _note(*env.reset(options={"reset_mask": over}))
            elif terminated or truncated:
                yield _note(*env.reset())


def _note(observation: Any, info: Any, *answers: Any) -> Any:
    """An answer as data, with the parts of info that can be noted."""
    names = ("reward", "terminated", "truncated")
    note = {"observation": capture(observation, path="the observation")}
    note.update(zip(names, capture(list(answers)), strict=False))
    note["info"] = _info_note(info)
    return note


def _info_note(info: Any) -> Any:
    if isinstance(info, dict):
        return {str(key): _info_note(item) for key, item in info.items() if key not in TIMES}
    try:
        return capture(info)
    except StateError:
        return None


def _copy_of_data(tree: Any) -> Any:
    """A copy that holds nothing but what a checkpoint can hold.

    Raises:
        StateError: something else is in it.
    """
    if isinstance(tree, dict) and all(type(key) is str for key in tree):
        return {key: _copy_of_data(item) for key, item in tree.items()}
    if type(tree) is list:
        return [_copy_of_data(item) for item in tree]
    if isinstance(tree, (np.ndarray, np.generic)) and tree.dtype.kind not in "OV":
        return tree.copy()
    if tree is None or type(tree) in (bool, int, float, str, bytes):
        return tree
    raise StateError(f"a {type(tree).__name__} is no data; get_state() must return plain data")
