"""The state of an environment, as data: saved in the middle of an episode, restored exactly.

    verdict = prove(lambda: gymnasium.make("LunarLander-v3"), seed=0)
    keeper = keep_state(gymnasium.make("LunarLander-v3"), verdict.method)
    keeper.env.reset(seed=1)             # step keeper.env, not the given environment
    tree = keeper.snapshot()             # plain data, for a checkpoint

    keeper = keep_state(gymnasium.make("LunarLander-v3"), verdict.method)
    keeper.restore(tree)                 # in another process, days later
    if not keeper.continues:             # the verdict was "approximate"
        keeper.env.reset()

Whatever the environment is (one, copies in this process, copies in worker processes or in Ray's
actors), its keeper is an `EnvState`. Methods, best first: the environment's own ``get_state()`` and
``set_state(state)``; MuJoCo's and the Arcade Learning Environment's; every attribute of an
environment in pure Python; a replay of the episode. Whichever it is, every wrapper's attributes are
saved beside it.
"""

from __future__ import annotations

import re
from typing import Any

from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.envs.state.layers import Tree, capture_layer, layers_of, restore_layer
from gym_loop.envs.state.methods import (
    AttributesState,
    EnvState,
    MujocoState,
    OwnState,
    SingleState,
    check_count,
)
from gym_loop.envs.state.replay import AleState, ReplayState
from gym_loop.errors import StateError

RESTART = SingleState.method
# Best first; the last one fits everything and is not exact.
METHODS: dict[str, type[SingleState]] = {
    one.method: one
    for one in (OwnState, MujocoState, AleState, AttributesState, ReplayState, SingleState)
}
Ways = tuple[list[str], str]


def keep_state(env: Any, method: str | None = None) -> EnvState:
    """Make the keeper of an environment's state, before the environment is first reset.

    Args:
        env: a `gymnasium.Env`, or a `VectorEnv` of any kind, with all its wrappers.
        method: as in a `Verdict`; None takes the first that fits, unproved.

    Raises:
        StateError: there is no such method, or it cannot be used here.
    """
    name = copies_method(method or ways(env)[0][0])
    if name not in METHODS:
        known = list(METHODS)
        raise StateError(f"{method!r} is no way to keep an environment's state; use {known}")
    copies = _copies_of(layers_of(env)[-1])
    return copies(env, name) if copies else METHODS[name](env)


def ways(env: Any) -> Ways:
    """The methods that can be tried on an environment, and why none but ``restart`` can be.

    Returns:
        The methods, best first, ``restart`` the last; and what the environment says in
        ``state_elsewhere``, if it is on the other side of a wire: a replay into another copy might
        agree for the length of a proof, and yet follow from what only the server remembers.
    """
    layers = layers_of(env)
    core = layers[-1]
    if copies := _copies_of(core):
        names, elsewhere = copies.ways_of_first(core)
        return [copies.label.format(name) for name in names], elsewhere
    if elsewhere := str(getattr(core, "state_elsewhere", "")):
        return [RESTART], elsewhere
    return [name for name, one in METHODS.items() if one.fits(layers)], ""


def copies_method(method: str) -> str:
    """The method of the copies in ``sync[own]`` or ``async[own]``; ``own`` itself otherwise."""
    match = re.fullmatch(r"(?:sync|async)\[(\w+)\]", method)
    return match[1] if match else method


def _copies_of(core: Any) -> type[SyncState | WorkersState] | None:
    """The class of the keeper of copies of an environment; None for anything else."""
    if isinstance(core, AsyncVectorEnv) or getattr(type(core), "copies_elsewhere", False):
        return WorkersState
    return SyncState if isinstance(core, SyncVectorEnv) else None


class SyncState(EnvState):
    """The keeper of a `gymnasium.vector.SyncVectorEnv`: each copy has a keeper of its own."""

    label = "sync[{}]"

    def __init__(self, env: Any, method: str) -> None:
        super().__init__(env)
        self.method = self.label.format(method)
        self._copies = [METHODS[method](one) for one in self._core.envs]
        self._core.envs[:] = [keeper.env for keeper in self._copies]

    @staticmethod
    def ways_of_first(core: Any) -> Ways:
        """The `ways` of the first copy."""
        return ways(core.envs[0])

    def left_out(self) -> list[str]:
        """Attributes of the first copy that are in no snapshot."""
        return self._copies[0].left_out()

    def _snapshot_core(self) -> Tree:
        return {
            "copies": [one.snapshot() for one in self._copies],
            "vector": capture_layer(self._core, self._layers),
        }

    def _restore_core(self, tree: Tree) -> None:
        check_count("copies", len(tree["copies"]), len(self._copies))
        for one, saved in zip(self._copies, tree["copies"], strict=True):
            one.restore(saved)
        self.after_reset = any(one.after_reset for one in self._copies)
        restore_layer(self._core, tree["vector"], self._layers)


class WorkersState(EnvState):
    """The keeper of copies in other processes, which answer as `StatefulEnv`."""

    label = "async[{}]"

    def __init__(self, env: Any, method: str) -> None:
        super().__init__(env)
        self.method = self.label.format(method)
        self._answering = _all_have(self._core, "answer_for_state")
        if self._answering:
            self._ask("use", method)
        elif method != RESTART:
            raise StateError(
                "the copies of this AsyncVectorEnv cannot answer for their state; let each "
                "function that makes a copy return gym_loop.envs.workers.StatefulEnv(env)"
            )

    @staticmethod
    def ways_of_first(core: Any) -> Ways:
        """The `ways` of the first copy, as far as the copies can answer."""
        if _all_have(core, "state_elsewhere"):
            return [RESTART], str(core.call("get_wrapper_attr", "state_elsewhere")[0])
        if not _all_have(core, "answer_for_state"):
            return [RESTART], ""
        found: Ways = core.call("answer_for_state", "ways")[0][0]
        return found

    def left_out(self) -> list[str]:
        """Attributes of the first copy that are in no snapshot."""
        found: list[str] = self._ask("left_out")[0] if self._answering else []
        return found

    def _snapshot_core(self) -> Tree:
        return {
            "copies": self._ask("snapshot") if self._answering else [],
            "observations": capture(self._core.observations, path="the observations"),
        }

    def _restore_core(self, tree: Tree) -> None:
        if self._answering:
            check_count("copies", len(tree["copies"]), self._core.num_envs)
            self._core.set_attr("saved_state", tree["copies"])
            mode = self._core.metadata.get("autoreset_mode")
            self.after_reset = any(self._ask("restore", mode == AutoresetMode.NEXT_STEP))
        # In place: the workers write into the same memory.
        self._core.observations = restore(self._core.observations, tree["observations"])

    def _ask(self, question: str, *arguments: Any) -> list[Any]:
        answers = self._core.call("answer_for_state", question, *arguments)
        problems = [f"copy {i}: {problem}" for i, (_, problem) in enumerate(answers) if problem]
        if problems:
            raise StateError("; ".join(problems))
        return [answer for answer, _ in answers]


def _all_have(core: Any, name: str) -> bool:
    """Whether all copies have an attribute: a worker asked for one that it lacks is shut down."""
    return all(core.call("has_wrapper_attr", name))
