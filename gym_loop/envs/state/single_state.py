"""The keeper of one environment's state: its core by one method, its wrappers by attributes."""

from __future__ import annotations

import copy
import logging
import types
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.checkpoints.tree.tags import class_name
from gym_loop.envs.state.atari import AleMethod
from gym_loop.envs.state.layers import Tree, capture_wrapper, layers_of, restore_layer
from gym_loop.envs.state.methods import (
    AttributesMethod,
    Method,
    MujocoMethod,
    OwnMethod,
    RestartMethod,
)
from gym_loop.envs.state.replay import ReplayMethod
from gym_loop.errors import StateError

# Best first; the last one fits everything and is not exact.
METHODS: dict[str, Any] = {
    method.name: method
    for method in (
        OwnMethod,
        MujocoMethod,
        AleMethod,
        AttributesMethod,
        ReplayMethod,
        RestartMethod,
    )
}
RESTART = RestartMethod.name
_STATELESS = (
    *(types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type),
    logging.Logger,
)


class EnvState(ABC):
    """The keeper of the state of one environment, or of one vector environment.

    Attributes:
        env: the environment to step from now on; a thin wrapper around the given one where
            the method has to see the actions.
        method: ``own``, ``mujoco``, ``ale``, ``attributes``, ``replay`` or ``restart``; for
            copies of an environment that of the copies, such as ``sync[attributes]``.
        continues: whether the episode under way goes on after a restore. If not, wrappers
            and random streams are restored, and the environment has to be reset.
        after_reset: whether the last restore went into an environment that was reset for it, so
            as to have the objects that are filled: it rests on these being of the same classes.
    """

    env: Any
    method: str
    after_reset = False

    @property
    def continues(self) -> bool:
        """False if a restore has to be followed by a reset."""
        return RESTART not in self.method

    @abstractmethod
    def snapshot(self) -> Tree:
        """The state now, in the middle of an episode or between two, as a state tree.

        Raises:
            StateError: something in it is no data.
        """

    def left_out(self) -> list[str]:
        """Attributes that are in no snapshot, being no data, with their types."""
        return []

    @abstractmethod
    def restore(self, tree: Tree) -> None:
        """Put a state into an environment that was made the same way and never reset.

        Args:
            tree: what `snapshot` returned.

        Raises:
            StateError: it is another environment's state, or does not fit.
        """


class SingleState(EnvState):
    """The keeper of one environment, or of a vector environment that is one object.

    Args:
        env: the environment with its wrappers.
        method: a name in `METHODS`.
    """

    def __init__(self, env: Any, method: str) -> None:
        self._layers = layers_of(env)
        self._method: Method = method_class(method)(self._layers)
        self.method = method
        self.env = self._method.watch(env)
        # The spaces of the core, which it may sample itself; a reset may make others.
        names = ("action_space", "observation_space")
        spaces = {name: getattr(self._layers[-1], name, None) for name in names}
        self._spaces = {name: space for name, space in spaces.items() if space is not None}

    def snapshot(self) -> Tree:
        """The state as data."""
        return {
            "method": self.method,
            "core": self._method.snapshot(),
            "wrappers": [capture_wrapper(layer, self._layers) for layer in self._layers[:-1]],
            "spaces": {name: self._space_tree(name) for name in self._spaces},
        }

    def left_out(self) -> list[str]:
        """Attributes that are in no snapshot; what cannot change, such as a function, is none."""
        return [
            f"{type(layer).__name__}.{name} ({class_name(type(value))})"
            for layer, lost in zip(self._layers, self._method.left_out(), strict=False)
            for name, value in sorted(lost.items())
            if not isinstance(value, _STATELESS)
        ]

    def restore(self, tree: Tree) -> None:
        """Put the state back."""
        check_method(tree, self.method)
        self.after_reset = False
        check_count("wrappers", len(tree["wrappers"]), len(self._layers) - 1)
        try:
            self._put(tree)
        except Exception:  # noqa: BLE001 - whatever the environment's own code raises
            # Objects that the environment makes in its first reset have no place yet. The seed
            # decides nothing but that it is the same each time.
            self.after_reset = True
            try:
                self._layers[0].reset(seed=0)
                self._put(tree)
            except StateError:
                raise
            except Exception as error:
                raise StateError(
                    f"{type(self._layers[-1]).__name__} raised {type(error).__name__} while its "
                    f"state was restored: {error}"
                ) from error

    def _put(self, tree: Tree) -> None:
        self._method.restore(tree["core"])
        for layer, saved in zip(self._layers[:-1], tree["wrappers"], strict=True):
            restore_layer(layer, saved, self._layers)
        # None in a checkpoint of an earlier version; a replay may have drawn from them.
        for name in self._spaces:
            if name in tree.get("spaces", {}):
                self._restore_space(name, tree["spaces"][name])

    def _space_tree(self, name: str) -> Tree:
        space = getattr(self._layers[-1], name)
        return {"streams": capture(space), "renewed": space is not self._spaces[name]}

    def _restore_space(self, name: str, saved: Tree) -> None:
        core = self._layers[-1]
        if saved["renewed"] and getattr(core, name) is self._spaces[name]:
            with suppress(AttributeError):  # a property makes it at each access
                setattr(core, name, copy.deepcopy(self._spaces[name]))
        restore(getattr(core, name), saved["streams"])


def method_class(name: str) -> Any:
    """The class of a method.

    Raises:
        StateError: there is no method of this name.
    """
    if name not in METHODS:
        raise StateError(f"{name!r} is no way to keep an environment's state; use {list(METHODS)}")
    return METHODS[name]


def methods_for(env: Any) -> list[str]:
    """The methods that can be tried on an environment, best first, without ``restart``."""
    layers = layers_of(env)
    return [name for name, kind in METHODS.items() if name != RESTART and kind.fits(layers)]


def check_method(tree: Tree, method: str) -> None:
    """Refuse a state that was taken in another way.

    Raises:
        StateError: the methods differ.
    """
    if tree.get("method") != method:
        raise StateError(
            f"the environment's state was saved by {tree.get('method')!r}, and cannot be restored "
            f"by {method!r}; use the same environment, and keep_state(env, {tree.get('method')!r})"
        )


def check_count(what: str, saved: int, now: int) -> None:
    """Refuse a state of another shape.

    Raises:
        StateError: the numbers differ.
    """
    if saved != now:
        raise StateError(
            f"the saved environment has {saved} {what}, this one has {now}; make it with the same "
            f"{what}, as the run's run.yaml says"
        )
