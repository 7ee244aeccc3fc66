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

import copy
import logging
import re
import types
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.checkpoints.tree.tags import class_name
from gym_loop.envs.state.layers import Tree, capture_layer, layers_of, restore_layer
from gym_loop.envs.state.methods import AttributesMethod, Method, MujocoMethod, OwnMethod
from gym_loop.envs.state.replay import AleMethod, ReplayMethod
from gym_loop.errors import StateError

RESTART = Method.name
# Best first; the last one fits everything and is not exact.
METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (OwnMethod, MujocoMethod, AleMethod, AttributesMethod, ReplayMethod, Method)
}
# What cannot change, so that a state without it lacks nothing.
_CONSTANT = (
    *(types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type),
    logging.Logger,
)


class EnvState(ABC):
    """The keeper of the state of one environment, or of one vector environment.

    Args:
        env: the environment with its wrappers, before it is first reset.
        method: a name in `METHODS`; for copies that of each copy.

    Attributes:
        env: the environment to step from now on; a thin wrapper around the given one where
            the method has to see the actions.
        method: ``own``, ``mujoco``, ``ale``, ``attributes``, ``replay`` or ``restart``; for
            copies of an environment that of the copies, such as ``sync[attributes]``.
        after_reset: whether the last restore went into an environment that was reset for it, so
            as to have the objects that are filled: it rests on these being of the same classes.
    """

    label = "{}"
    after_reset = False

    def __init__(self, env: Any, method: str) -> None:
        self.env = env
        self.method = self.label.format(method)
        self._layers = layers_of(env)
        self._core = self._layers[-1]

    @property
    def continues(self) -> bool:
        """Whether the episode under way goes on after a restore.

        If not, wrappers and random streams are restored, and the environment has to be reset.
        """
        return RESTART not in self.method

    def snapshot(self) -> Tree:
        """The state now, in the middle of an episode or between two, as a state tree.

        Raises:
            StateError: something in it is no data.
        """
        wrappers = self._layers[:-1]
        return {
            "method": self.method,
            **self._snapshot_core(),
            "wrappers": [capture_layer(one, self._layers, no_data=set()) for one in wrappers],
        }

    def restore(self, tree: Tree) -> None:
        """Put a state into an environment that was made the same way and never reset.

        Args:
            tree: what `snapshot` returned.

        Raises:
            StateError: it is another environment's state, or does not fit.
        """
        saved = tree.get("method")
        if saved != self.method:
            raise StateError(
                f"the environment's state was saved by {saved!r}, and cannot be restored by"
                f" {self.method!r}; use the same environment, and keep_state(env, {saved!r})"
            )
        _check_count("wrappers", len(tree["wrappers"]), len(self._layers) - 1)
        self._restore(tree)

    def _restore(self, tree: Tree) -> None:
        self._restore_core(tree)
        for layer, saved in zip(self._layers[:-1], tree["wrappers"], strict=True):
            restore_layer(layer, saved, self._layers)

    @staticmethod
    @abstractmethod
    def ways(env: Any) -> tuple[list[str], str]:
        """The methods that can be tried, best first, and why nothing here can bring it back.

        They leave ``restart`` out. An environment on the other side of a wire says the reason
        itself, in ``state_elsewhere``; there are no methods then: a replay into another copy might
        agree for the length of a proof, and yet follow from what only the server remembers.
        """

    @abstractmethod
    def left_out(self) -> list[str]:
        """Attributes that are in no snapshot, being no data, with their types; of the first copy"""

    @abstractmethod
    def _snapshot_core(self) -> Tree:
        """The state but for that of the wrappers."""

    @abstractmethod
    def _restore_core(self, tree: Tree) -> None:
        """Put it back."""


def keep_state(env: Any, method: str | None = None) -> EnvState:
    """Make the keeper of an environment's state, before the environment is first reset.

    Args:
        env: a `gymnasium.Env`, or a `VectorEnv` of any kind, with all its wrappers.
        method: as in a `Verdict`; None takes the first that fits, unproved.

    Raises:
        StateError: there is no such method, or it cannot be used here.
    """
    name = copies_method(method or candidates(env)[0])
    if name not in METHODS:
        known = list(METHODS)
        raise StateError(f"{method!r} is no way to keep an environment's state; use {known}")
    return keeper_of(env)(env, name)


def candidates(env: Any) -> list[str]:
    """The methods that can be tried on an environment, best first; ``restart`` is the last."""
    keeper = keeper_of(env)
    return [keeper.label.format(name) for name in [*keeper.ways(env)[0], RESTART]]


def copies_method(method: str) -> str:
    """The method of the copies in ``sync[own]`` or ``async[own]``; ``own`` itself otherwise."""
    match = re.fullmatch(r"(?:sync|async)\[(\w+)\]", method)
    return match[1] if match else method


def keeper_of(env: Any) -> type[EnvState]:
    """The class of an environment's keeper."""
    core = layers_of(env)[-1]
    if isinstance(core, AsyncVectorEnv) or getattr(type(core), "copies_elsewhere", False):
        return WorkersState
    return SyncState if isinstance(core, SyncVectorEnv) else SingleState


def _check_count(what: str, saved: int, now: int) -> None:
    if saved != now:
        raise StateError(
            f"the saved environment has {saved} {what}, this one has {now}; make it with the same "
            f"{what}, as the run's run.yaml says"
        )


class SingleState(EnvState):
    """The keeper of one environment, or of a vector environment that is one object."""

    def __init__(self, env: Any, method: str) -> None:
        super().__init__(env, method)
        self._method = METHODS[method](self._layers)
        self.env = self._method.watch(env)
        # The spaces of the core, which it may sample itself; a reset may make others.
        names = ("action_space", "observation_space")
        spaces = {name: getattr(self._core, name, None) for name in names}
        self._spaces = {name: space for name, space in spaces.items() if space is not None}

    @staticmethod
    def ways(env: Any) -> tuple[list[str], str]:
        """The methods whose conditions hold, unless the core says that its state is elsewhere."""
        layers = layers_of(env)
        if elsewhere := str(getattr(layers[-1], "state_elsewhere", "")):
            return [], elsewhere
        return [name for name, one in METHODS.items() if name != RESTART and one.fits(layers)], ""

    def left_out(self) -> list[str]:
        """Attributes that are in no snapshot; what cannot change, such as a function, is none."""
        return [
            f"{type(layer).__name__}.{name} ({class_name(type(value))})"
            for layer, lost in zip(self._layers, self._method.left_out(), strict=False)
            for name, value in sorted(lost.items())
            if not isinstance(value, _CONSTANT)
        ]

    def _snapshot_core(self) -> Tree:
        spaces = {name: getattr(self._core, name) for name in self._spaces}
        return {
            "core": self._method.snapshot(),
            "spaces": {
                name: {"streams": capture(space), "renewed": space is not self._spaces[name]}
                for name, space in spaces.items()
            },
        }

    def _restore(self, tree: Tree) -> None:
        self.after_reset = False
        try:
            super()._restore(tree)
        except Exception:  # noqa: BLE001 - whatever the environment's own code raises
            # Objects that the environment makes in its first reset have no place yet. The seed
            # decides nothing but that it is the same each time.
            self.after_reset = True
            try:
                self._layers[0].reset(seed=0)
                super()._restore(tree)
            except StateError:
                raise
            except Exception as error:
                raise StateError(
                    f"{type(self._core).__name__} raised {type(error).__name__} while its "
                    f"state was restored: {error}"
                ) from error

    def _restore_core(self, tree: Tree) -> None:
        self._method.restore(tree["core"])
        for name, first in self._spaces.items():
            saved = tree["spaces"][name]
            if saved["renewed"] and getattr(self._core, name) is first:
                with suppress(AttributeError):  # a property makes it at each access
                    setattr(self._core, name, copy.deepcopy(first))
            restore(getattr(self._core, name), saved["streams"])


class SyncState(EnvState):
    """The keeper of a `gymnasium.vector.SyncVectorEnv`: each copy has a keeper of its own."""

    label = "sync[{}]"

    def __init__(self, env: Any, method: str) -> None:
        super().__init__(env, method)
        self._copies = [SingleState(one, method) for one in self._core.envs]
        self._core.envs[:] = [keeper.env for keeper in self._copies]

    @staticmethod
    def ways(env: Any) -> tuple[list[str], str]:
        """Those of the first copy."""
        return SingleState.ways(layers_of(env)[-1].envs[0])

    def left_out(self) -> list[str]:
        """Attributes of the first copy that are in no snapshot."""
        return self._copies[0].left_out()

    def _snapshot_core(self) -> Tree:
        return {
            "copies": [one.snapshot() for one in self._copies],
            "vector": capture_layer(self._core, self._layers),
        }

    def _restore_core(self, tree: Tree) -> None:
        _check_count("copies", len(tree["copies"]), len(self._copies))
        for one, saved in zip(self._copies, tree["copies"], strict=True):
            one.restore(saved)
        self.after_reset = any(one.after_reset for one in self._copies)
        restore_layer(self._core, tree["vector"], self._layers)


class WorkersState(EnvState):
    """The keeper of copies in other processes, which answer as `StatefulEnv`."""

    label = "async[{}]"

    def __init__(self, env: Any, method: str) -> None:
        super().__init__(env, method)
        self._answering = _all_have(self._core, "answer_for_state")
        if self._answering:
            self._ask("use", method)
        elif method != RESTART:
            raise StateError(
                "the copies of this AsyncVectorEnv cannot answer for their state; let each "
                "function that makes a copy return gym_loop.envs.workers.StatefulEnv(env)"
            )

    @staticmethod
    def ways(env: Any) -> tuple[list[str], str]:
        """Those of the first copy; none if the copies cannot answer."""
        core = layers_of(env)[-1]
        if _all_have(core, "state_elsewhere"):
            return [], str(core.call("get_wrapper_attr", "state_elsewhere")[0])
        if not _all_have(core, "answer_for_state"):
            return [], ""
        ways: tuple[list[str], str] = core.call("answer_for_state", "ways")[0][0]
        return ways

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
            _check_count("copies", len(tree["copies"]), self._core.num_envs)
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
