"""The ways to ask one environment for the state of its core, below all wrappers.

`gym_loop.envs.state.replay` holds those that take actions again.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.checkpoints.tree.tags import class_name
from gym_loop.envs.state.layers import Tree, capture_layer, no_data_in, restore_layer
from gym_loop.errors import StateError


class Method:
    """One way to save the core of an environment and to bring it back.

    By itself it saves not the episode under way, only the random stream that Gymnasium gives to
    every environment: what follows is a new episode.

    Args:
        layers: the environment's wrappers and its core, outermost first.
    """

    name = "restart"

    def __init__(self, layers: Sequence[Any]) -> None:
        self._layers = layers
        self._core = layers[-1]

    @staticmethod
    def fits(layers: Sequence[Any]) -> bool:
        """Whether the method can be tried on an environment of these layers."""
        return True

    def watch(self, env: Any) -> Any:
        """The environment to step from now on: itself, or one that notes what is done to it."""
        return env

    def left_out(self) -> list[dict[str, Any]]:
        """Attributes that are lost, being no data, layer by layer: by name."""
        return [no_data_in(layer, self._layers) for layer in self._layers[:-1]]

    def snapshot(self) -> Tree:
        """The state as data."""
        return {"np_random": capture(getattr(self._core, "_np_random", None))}

    def restore(self, tree: Tree) -> None:
        """Put the state into an environment that was made the same way."""
        restore_stream(self._core, tree["np_random"])


def restore_stream(core: Any, stream: Any) -> None:
    """Put the random stream back that Gymnasium gives to every environment."""
    if stream is not None and isinstance(core, (gymnasium.Env, gymnasium.vector.VectorEnv)):
        core._np_random = restore(None, stream, path=f"{type(core).__name__}.np_random")


class OwnMethod(Method):
    """The environment's own ``get_state()`` and ``set_state(state)``, and its ``np_random``."""

    name = "own"

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__(layers)
        self._owner = _owner(layers)

    @staticmethod
    def fits(layers: Sequence[Any]) -> bool:
        """Whether a layer has both functions."""
        return _owner(layers) is not None

    def snapshot(self) -> Tree:
        """What ``get_state()`` returns, as data."""
        place = f"{type(self._owner).__name__}.get_state()"
        return {"state": capture(self._owner.get_state(), path=place), **super().snapshot()}

    def restore(self, tree: Tree) -> None:
        """Give it to ``set_state()``."""
        place = f"{type(self._owner).__name__}.set_state()"
        self._owner.set_state(restore(None, tree["state"], path=place))
        super().restore(tree)


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


class AttributesMethod(Method):
    """Every attribute of the core, which all have to be data: environments in pure Python."""

    name = "attributes"

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

    def snapshot(self) -> Tree:
        """The attributes as data."""
        return {"core": capture_layer(self._core, self._layers)}

    def restore(self, tree: Tree) -> None:
        """Put the attributes back."""
        restore_layer(self._core, tree["core"], self._layers)


class MujocoMethod(Method):
    """A MuJoCo simulation: its integration state, what was derived from it, and attributes."""

    name = "mujoco"

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__(layers)
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

    def snapshot(self) -> Tree:
        """The simulation as arrays, and the core's attributes."""
        state = np.empty(self._size)
        self._mujoco.mj_getState(self._model, self._data, state, self._kind)
        derived = [getattr(self._data, name).ravel() for name in self._derived]
        return {
            "core": capture_layer(self._core, self._layers, {"mujoco"}),
            "integration": state,
            "derived": np.concatenate(derived),
        }

    def restore(self, tree: Tree) -> None:
        """Put the simulation back."""
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
