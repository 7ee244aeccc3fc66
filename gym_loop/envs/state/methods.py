"""The keepers of one environment's state, each by another way to ask the core for its own.

The core is what is below all wrappers. `gym_loop.envs.state.replay` holds the keepers that take
actions again, `gym_loop.envs.state.keeper` those of many copies.
"""

from __future__ import annotations

import copy
import inspect
import logging
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import gymnasium
import numpy as np

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.checkpoints.tree.classes import class_name
from gym_loop.envs.state.layers import Tree, capture_layer, layers_of, no_data_in, restore_layer
from gym_loop.errors import StateError

# What cannot change, so that a state without it lacks nothing.
_CONSTANT = (
    *(types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type),
    logging.Logger,
)


class EnvState(ABC):
    """The keeper of the state of one environment, or of one vector environment.

    Args:
        env: the environment with its wrappers, before it is first reset.

    Attributes:
        env: the environment to step from now on; a thin wrapper around the given one where
            the method has to see the actions.
        method: ``own``, ``mujoco``, ``ale``, ``attributes``, ``replay`` or ``restart``; for
            copies of an environment that of the copies, such as ``sync[attributes]``.
        after_reset: whether the last restore went into an environment that was reset for it, so
            as to have the objects that are filled: it rests on these being of the same classes.
    """

    method: str
    after_reset = False

    def __init__(self, env: Any) -> None:
        self.env = env
        self._layers = layers_of(env)
        self._core = self._layers[-1]

    @property
    def continues(self) -> bool:
        """Whether the episode under way goes on after a restore.

        If not, wrappers and random streams are restored, and the environment has to be reset.
        """
        return SingleState.method not in self.method

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
        check_count("wrappers", len(tree["wrappers"]), len(self._layers) - 1)
        self._restore(tree)

    def _restore(self, tree: Tree) -> None:
        self._restore_core(tree)
        for layer, saved in zip(self._layers[:-1], tree["wrappers"], strict=True):
            restore_layer(layer, saved, self._layers)

    @abstractmethod
    def left_out(self) -> list[str]:
        """Attributes that are in no snapshot, being no data, with their types; of the first copy"""

    @abstractmethod
    def _snapshot_core(self) -> Tree:
        """The state but for that of the wrappers."""

    @abstractmethod
    def _restore_core(self, tree: Tree) -> None:
        """Put it back."""


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


class SingleState(EnvState):
    """The keeper of one environment, or of a vector environment that is one object.

    By itself it saves not the episode under way, only the random stream that Gymnasium gives to
    every environment: what follows is a new episode. What derives from it saves more of the core.
    """

    method = "restart"

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        # The spaces of the core, which it may sample itself; a reset may make others.
        names = ("action_space", "observation_space")
        spaces = {name: getattr(self._core, name, None) for name in names}
        self._spaces = {name: space for name, space in spaces.items() if space is not None}

    @staticmethod
    def fits(layers: Sequence[Any]) -> bool:
        """Whether the method can be tried on an environment of these layers, outermost first."""
        return True

    def _save(self) -> Tree:
        """The state of the core."""
        return {"np_random": capture(getattr(self._core, "_np_random", None))}

    def _load(self, tree: Tree) -> None:
        """Put it back."""
        restore_stream(self._core, tree["np_random"])

    def _lost(self) -> list[dict[str, Any]]:
        """Attributes that are in no state, being no data, layer by layer: by name."""
        return [no_data_in(layer, self._layers) for layer in self._layers[:-1]]

    def left_out(self) -> list[str]:
        """Attributes that are in no snapshot; what cannot change, such as a function, is none."""
        return [
            f"{type(layer).__name__}.{name} ({class_name(type(value))})"
            for layer, lost in zip(self._layers, self._lost(), strict=False)
            for name, value in sorted(lost.items())
            if not isinstance(value, _CONSTANT)
        ]

    def _snapshot_core(self) -> Tree:
        spaces = {name: getattr(self._core, name) for name in self._spaces}
        return {
            "core": self._save(),
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
        self._load(tree["core"])
        for name, first in self._spaces.items():
            saved = tree["spaces"][name]
            if saved["renewed"] and getattr(self._core, name) is first:
                with suppress(AttributeError):  # a property makes it at each access
                    setattr(self._core, name, copy.deepcopy(first))
            restore(getattr(self._core, name), saved["streams"])


def restore_stream(core: Any, stream: Any) -> None:
    """Put the random stream back that Gymnasium gives to every environment."""
    if stream is not None and isinstance(core, (gymnasium.Env, gymnasium.vector.VectorEnv)):
        core._np_random = restore(None, stream, path=f"{type(core).__name__}.np_random")


class OwnState(SingleState):
    """The environment's own ``get_state()`` and ``set_state(state)``, and its ``np_random``."""

    method = "own"

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._owner = _owner(self._layers)

    @staticmethod
    def fits(layers: Sequence[Any]) -> bool:
        """Whether a layer has both functions."""
        return _owner(layers) is not None

    def _save(self) -> Tree:
        place = f"{type(self._owner).__name__}.get_state()"
        return {"state": capture(self._owner.get_state(), path=place), **super()._save()}

    def _load(self, tree: Tree) -> None:
        place = f"{type(self._owner).__name__}.set_state()"
        self._owner.set_state(restore(None, tree["state"], path=place))
        super()._load(tree)


def _owner(layers: Sequence[Any]) -> Any:
    """The outermost layer that offers both functions with fitting signatures."""
    for layer in layers:
        get, put = getattr(layer, "get_state", None), getattr(layer, "set_state", None)
        # Older MuJoCo environments have a set_state(qpos, qvel), which means something else.
        if _takes(get, 0) and _takes(put, 1):
            return layer
    return None


def _takes(function: Any, count: int) -> bool:
    """Whether a function can be called with so many positional arguments, and needs them."""
    if not callable(function):
        return False
    try:
        signature = inspect.signature(function)
        signature.bind(*range(count))
    except (TypeError, ValueError):
        return False
    kinds = [one.kind for one in signature.parameters.values()]
    return count == 0 or bool(kinds and kinds[0] != inspect.Parameter.KEYWORD_ONLY)


class AttributesState(SingleState):
    """Every attribute of the core, which all have to be data: environments in pure Python."""

    method = "attributes"

    @staticmethod
    def fits(layers: Sequence[Any]) -> bool:
        """Whether they are data."""
        if any(base.__module__ == "pybind11_builtins" for base in type(layers[-1]).__mro__):
            return False  # compiled: its state is not in its attributes
        try:
            capture_layer(layers[-1], layers)
        except StateError:
            return False
        return True

    def _save(self) -> Tree:
        return {"core": capture_layer(self._core, self._layers)}

    def _load(self, tree: Tree) -> None:
        restore_layer(self._core, tree["core"], self._layers)


class MujocoState(SingleState):
    """A MuJoCo simulation: its integration state, what was derived from it, and attributes."""

    method = "mujoco"

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._model, self._data = _mujoco_parts(self._core)
        self._mujoco = sys.modules["mujoco"]
        self._kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._size = self._mujoco.mj_stateSize(self._model, self._kind)
        # Ant and Humanoid read positions from before a step that only the last step derived.
        # The arrays of contacts and constraints grow; they are empty in fresh data.
        blank = self._mujoco.MjData(self._model)
        self._derived = [
            name
            for name in dir(blank)
            if not name.startswith("_")
            and isinstance(array := getattr(blank, name), np.ndarray)
            and array.dtype == np.float64
            and array.size
        ]

    @staticmethod
    def fits(layers: Sequence[Any]) -> bool:
        """Whether the core has one model and its data."""
        return "mujoco" in sys.modules and None not in _mujoco_parts(layers[-1])

    def _save(self) -> Tree:
        state = np.empty(self._size)
        self._mujoco.mj_getState(self._model, self._data, state, self._kind)
        derived = [getattr(self._data, name).ravel() for name in self._derived]
        return {
            "core": capture_layer(self._core, self._layers, {"mujoco"}),
            "integration": state,
            "derived": np.concatenate(derived),
        }

    def _load(self, tree: Tree) -> None:
        live = [getattr(self._data, name) for name in self._derived]
        derived, size = tree["derived"], sum(array.size for array in live)
        if len(tree["integration"]) != self._size or len(derived) != size:
            raise StateError(
                f"{class_name(type(self._core))}: the saved simulation is another model's, or"
                " another MuJoCo version's; restore it with the version that the checkpoint names"
            )
        restore_layer(self._core, tree["core"], self._layers)
        self._mujoco.mj_setState(self._model, self._data, tree["integration"], self._kind)
        start = 0
        for array in live:
            array[...] = derived[start : start + array.size].reshape(array.shape)
            start += array.size


def _mujoco_parts(core: Any) -> tuple[Any, Any]:
    """The model and the data of a MuJoCo environment, or None in their place."""
    mujoco = sys.modules["mujoco"]
    values = list(getattr(core, "__dict__", {}).values())
    models = [value for value in values if isinstance(value, mujoco.MjModel)]
    datas = [value for value in values if isinstance(value, mujoco.MjData)]
    return (models[0], datas[0]) if len(models) == len(datas) == 1 else (None, None)
