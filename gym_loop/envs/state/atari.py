"""The Arcade Learning Environment: the emulator's state, and the action that it may repeat."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.envs.state.layers import Tree, capture_layer, restore_layer
from gym_loop.envs.state.methods import Method, restore_stream


class AleMethod(Method):
    """The emulator's state with its random stream, and the core's attributes.

    With sticky actions a frame repeats the action of the frame before, and the emulator's
    state leaves that action out. So the last actions are noted, and taken again before the
    state is restored: as the random stream is the same, so is the action that remains.
    """

    name = "ale"

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__(layers)
        sticky = self._core.ale.getFloat("repeat_action_probability")
        # So many frames in a row are never all repeats: one chance in 10^15.
        length = math.ceil(-15 / math.log10(sticky)) if 0 < sticky < 1 else 0
        self._recorder = LastActions(self._core, length) if length else None

    @staticmethod
    def fits(layers: Sequence[Any]) -> bool:
        """Whether the core is an Atari game."""
        ale = getattr(layers[-1], "ale", None)
        return "ale_py" in sys.modules and isinstance(ale, sys.modules["ale_py"].ALEInterface)

    def watch(self, env: Any) -> Any:
        """Put the recorder between the core and its wrappers: it has to see every frame."""
        if self._recorder is None:
            return env
        if env is self._core:
            return self._recorder
        self._layers[-2].env = self._recorder
        return env

    def snapshot(self) -> Tree:
        """The emulator's state, the core's attributes, and the last actions."""
        return {
            "core": capture_layer(self._core, self._layers, {"ale_py"}),
            "emulator": _bytes(self._core.ale.cloneSystemState()),
            "last": None if self._recorder is None else self._recorder.snapshot(),
        }

    def restore(self, tree: Tree) -> None:
        """Put the state back."""
        if tree["last"] is not None and self._recorder is not None:
            self._recorder.restore(tree["last"])
        restore_layer(self._core, tree["core"], self._layers)
        self._core.ale.restoreSystemState(_state(tree["emulator"]))


class LastActions(gymnasium.Wrapper):  # type: ignore[misc]
    """Notes the last actions, and the state from which they were taken.

    Args:
        core: the Atari environment itself.
        length: number of actions that it always has, once as many were taken.
    """

    not_state = ("_length", "_parts")

    def __init__(self, core: Any, length: int) -> None:
        super().__init__(core)
        self._length = length
        # Up to two parts: emulator's state, random stream, and the actions after them.
        self._parts: list[tuple[Any, Tree, list[Any]]] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset; the emulator forgets the last action."""
        result: tuple[Any, dict[str, Any]] = self.env.reset(seed=seed, options=options)
        self._parts = []
        self._begin()
        return result

    def step(self, action: Any) -> Any:
        """Step, noting the action."""
        actions = self._parts[-1][2] if self._parts else self._begin()
        if len(actions) == self._length:
            actions = self._begin()
        actions.append(copy.copy(action))
        return self.env.step(action)

    def _begin(self) -> list[Any]:
        """A new part; the one before the last has enough of the past no more."""
        state = self.env.ale.cloneSystemState()
        self._parts = [*self._parts[-1:], (state, capture(self.env._np_random), [])]
        return self._parts[-1][2]

    def snapshot(self) -> list[Tree]:
        """The parts as data."""
        return [
            {"emulator": _bytes(state), "np_random": stream, "actions": capture(actions)}
            for state, stream, actions in self._parts
        ]

    def restore(self, parts: list[Tree]) -> None:
        """Take the actions again, so that the last one that counted is the last one here."""
        self._parts = []
        self.env.ale.reset_game()
        for part in parts:
            state, actions = _state(part["emulator"]), restore(None, part["actions"])
            if not self._parts:
                self.env.ale.restoreSystemState(state)
                restore_stream(self.env, part["np_random"])
            for action in actions:
                self.env.step(action)
            self._parts.append((state, part["np_random"], actions))


def _bytes(state: Any) -> np.ndarray[Any, Any]:
    return np.frombuffer(state.serialize(), np.uint8).copy()


def _state(array: np.ndarray[Any, Any]) -> Any:
    return sys.modules["ale_py"].ALEState(array.tobytes())
