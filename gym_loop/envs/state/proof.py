"""The proof that an environment comes back exactly: play, save, restore elsewhere, compare."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv

from gym_loop.checkpoints.files import decode, encode
from gym_loop.checkpoints.seeding import capture_global_streams, restore_global_streams
from gym_loop.checkpoints.tree import (
    capture,
    capture_with_inventory,
    first_difference,
    refuse_parts,
)
from gym_loop.envs.fresh import in_silence
from gym_loop.envs.making import close_quietly
from gym_loop.envs.state.keeper import RESTART, copies_method, keep_state, ways
from gym_loop.envs.state.layers import classes_of, layers_of
from gym_loop.envs.state.methods import AttributesState
from gym_loop.envs.state.replay import ReplayState
from gym_loop.errors import EnvError, SpaceError, StateError
from gym_loop.schema.old_code import explained_call, explained_reset

# Wall-clock times in an info dictionary; no two runs agree on them.
TIMES = frozenset({"t", "time", "elapsed", "elapsed_time", "wall_time", "duration", "fps"})
# A slow environment is proved by fewer steps: a method has six or seven parts.
SECONDS_A_PART = 1.0
LEAST_STEPS_A_PART = 3
SECONDS_UNTIL_TOLD = 2.0
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
        left_out: attributes that are no data and have outlived a reset, with their types: the
            proof did not need them, which does not say that nothing ever will.
    """

    exact: bool
    method: str
    reason: str
    remedy: str
    left_out: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """``exact`` or ``approximate``, as the manifest says it."""
        return "exact" if self.exact else "approximate"

    @property
    def omission(self) -> str:
        """What an exact verdict does not vouch for."""
        return (
            f"not in the environment's state, being no data: {', '.join(self.left_out)}; if it"
            " decides what comes, a resumed run goes on in another way"
        )


def prove(
    make_env: Callable[[], Any],
    seed: int,
    steps: int = 32,
    method: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
) -> Verdict:
    """Find the best method that brings an environment back bit for bit.

    One fresh copy is played and saved, its state goes into another, and both take the same
    actions. Observations, rewards and flags must agree, and whatever in info is data but
    for times. No global random stream, and no environment but the two copies, is touched.

    Raises:
        SpaceError: an observation is no data, or could not be made anew in a resume.

    Args:
        make_env: makes a fresh copy; it is called twice a method, and the copies are closed.
        seed: of the first reset and of the actions.
        steps: number of steps before the state is saved, and again after it; fewer where the
            environment is slow.
        method: prove only this one; None tries all that fit, best first.
        tell: told what is going on if it takes more than two seconds.
        clock: in seconds.
    """
    streams = capture_global_streams()
    try:
        with in_silence():
            return _Proof(make_env, seed, steps // 2, tell, clock).verdict(method)
    finally:
        restore_global_streams(streams)


class _Proof:
    """Fresh copies of one environment, played by seeded random actions.

    The first part that is played finds out how many steps each takes, fewer if they are slow, and
    all others take as many, of every method: no method is proved by less than another.
    """

    def __init__(
        self,
        make_env: Callable[[], Any],
        seed: int,
        part: int,
        tell: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._make_env, self._seed, self._tell, self._clock = make_env, seed, tell, clock
        self._wanted = self._part = part
        self._began = clock()
        self._told = self._measured = False
        self._by_chance: set[str] = set()  # keys of info that the same seed does not repeat
        self._space: Any = None  # of actions

    def verdict(self, only: str | None) -> Verdict:
        """See `prove`."""
        env = self._make_env()
        core = layers_of(env)[-1]
        (*names, restart), elsewhere = ways(env)
        if only:
            names = [only]
        failures: list[str] = []
        lucky: Verdict | None = None
        for name in [name for name in names if copies_method(name) != RESTART]:
            trial = self._trial(self._make_env() if env is None else env, name)
            if ": info." in trial.difference and not self._by_chance:
                self._by_chance = self._info_by_chance()
                if self._by_chance:
                    trial = self._trial(self._make_env(), name)
            env = None  # each method gets copies of its own
            if trial.difference:
                failures.append(f"{name}: {trial.difference}")
                continue
            few = f" ({2 * self._wanted} would take too long)" * (self._part < self._wanted)
            proved = f"equal for {2 * self._part} steps{few} after a restore by {name}"
            if self._by_chance:
                chance = ", ".join(sorted(self._by_chance))
                proved += f"; the same seed does not repeat {chance} in info"
            verdict = Verdict(True, name, proved, "", tuple(trial.left_out))
            if only or not trial.by_luck:
                return verdict
            lucky = lucky or verdict
        if lucky:
            return lucky
        if not failures:
            close_quietly(env)
            failures.append(elsewhere or _why_no_method(core))
        remedy = CONSEQUENCE if elsewhere else REMEDY
        return Verdict(False, restart, "; ".join(failures), remedy)

    def _trial(self, env: Any, method: str) -> _Trial:
        """Save one copy, restore into another, and compare what they answer."""
        other, trial = None, _Trial()
        try:
            original = keep_state(env, method)
            before = capture_global_streams()
            self._begin(original.env)
            document, arrays = encode(original.snapshot())  # what a checkpoint can hold
            tree = decode(
                document, {name: np.array(one, order="C") for name, one in arrays.items()}
            )
            trial.left_out = original.left_out()
            streams = capture_global_streams()
            expected = list(self._go_on(original.env))
            is_replay = copies_method(method) == ReplayState.method
            if is_replay and first_difference(streams, before):
                trial.difference = (
                    "it draws from the global random streams, which the agent draws from too, so"
                    " that a replay would draw other numbers"
                )
                return trial
            other = self._make_env()
            restored = keep_state(other, method)
            restored.restore(tree)
            filled = copies_method(method) == AttributesState.method
            trial.by_luck = restored.after_reset and filled
            restore_global_streams(streams)
            pairs = zip(expected, self._go_on(restored.env), strict=False)
            for number, (want, have) in enumerate(pairs, 1):
                if found := first_difference(want, have):
                    trial.difference = f"step {number} after a restore: {found}"
                    break
        except (SpaceError, EnvError):
            raise
        except StateError as error:
            trial.difference = str(error)
        except Exception as error:
            if sentence := explained_call(error):
                raise EnvError(sentence) from error
            trial.difference = f"{type(error).__name__} was raised while it was tried: {error}"
        finally:
            close_quietly(env)
            if other is not None:
                close_quietly(other)
        return trial

    def _info_by_chance(self) -> set[str]:
        """Parts of info that resets of two fresh copies with the same seed do not agree on.

        Such as an action, sampled from a space that each reset makes anew. No state is to blame,
        and no agent is told what a reset says.
        """
        plays = []
        for _ in range(2):
            env = self._make_env()
            try:
                plays.append(self._begin(env))
            finally:
                close_quietly(env)
        found = set()
        resets = [[note["info"] for note in play if "reward" not in note] for play in plays]
        for one, other in zip(*resets, strict=False):
            if isinstance(one, dict) and isinstance(other, dict):
                found |= {key for key in one if first_difference(one[key], other.get(key))}
        return found

    # -- playing -----------------------------------------------------------------------------

    def _begin(self, env: Any) -> list[Any]:
        """Two episodes, the second one unseeded, so that it follows from the first; as data."""
        # A copy: a space that belongs to the class must not be re-seeded.
        self._space = copy.deepcopy(env.action_space)
        self._space.seed(self._seed)
        observation, info = env.reset(seed=self._seed)
        if sentence := explained_reset(info):
            raise EnvError(sentence)
        try:  # a checkpoint in the middle of an episode has to hold it
            classes = classes_of(env)
            refuse_parts(capture_with_inventory(observation, *classes, path="observation")[1])
        except StateError as error:
            raise SpaceError(f"{type(layers_of(env)[-1]).__name__} gives an {error}") from None
        first = [self._note(observation, info), *self._steps(env)]
        return [*first, self._note(*env.reset()), *self._steps(env)]

    def _go_on(self, env: Any) -> Iterator[Any]:
        """The rest of the episode under way, and another one; every answer as data."""
        self._space.seed(self._seed + 1)
        yield from self._steps(env)
        yield self._note(*env.reset())
        yield from self._steps(env)

    def _steps(self, env: Any) -> Iterator[Any]:
        is_vector = isinstance(layers_of(env)[-1], VectorEnv)
        began = self._clock()
        for number in range(self._part):
            now = self._clock()
            if now - self._began > SECONDS_UNTIL_TOLD and not self._told:
                self._told = True
                self._tell(
                    "finding out how the environment's state can be saved; it is slow, so that"
                    " this takes a while"
                )
            slow = now - began > SECONDS_A_PART and number >= LEAST_STEPS_A_PART
            if slow and not self._measured:
                self._part = number
                break
            observation, reward, terminated, truncated, info = env.step(self._space.sample())
            yield self._note(observation, info, reward, terminated, truncated)
            if not is_vector:
                if terminated or truncated:
                    yield self._note(*env.reset())
            elif env.metadata.get("autoreset_mode") == AutoresetMode.DISABLED:
                over = np.logical_or(terminated, truncated)
                if over.any():
                    yield self._note(*env.reset(options={"reset_mask": over}))
        self._measured = True

    def _note(self, observation: Any, info: Any, *answers: Any) -> Any:
        """An answer as data, with the parts of info that can be noted."""
        names = ("reward", "terminated", "truncated")
        note = {"observation": capture(observation, path="the observation")}
        note.update(zip(names, capture(list(answers)), strict=False))
        note["info"] = _info_note(info, self._by_chance)
        return note


@dataclass
class _Trial:
    """What came of one method.

    Args:
        difference: what differs first after a restore; empty if nothing does.
        left_out: see `Verdict`.
        by_luck: it rests on a fresh reset making objects of the same classes as those that were
            saved, which are filled: a grid of other things would refuse the state.
    """

    difference: str = ""
    left_out: Collection[str] = ()
    by_luck: bool = False


def _why_no_method(core: Any) -> str:
    if isinstance(core, AsyncVectorEnv):
        return "the copies in the worker processes are no StatefulEnv and cannot answer"
    if isinstance(core, gymnasium.Env) and not isinstance(core, VectorEnv):
        return f"{RESTART} begins a new episode"
    return (
        f"{type(core).__name__} keeps its state outside Python's data, and its copies end their "
        "episodes at different times, so that no replay can begin from a common reset"
    )


def _info_note(info: Any, left_out: Collection[str] = ()) -> Any:
    if isinstance(info, dict):
        kept = {str(key): item for key, item in info.items() if key not in TIMES}
        return {key: _info_note(item) for key, item in kept.items() if key not in left_out}
    try:
        return capture(info)
    except StateError:
        return None
