"""The keepers that take actions again: a replay of the episode, and what an Atari game repeats."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.envs.state.layers import SHOWN, Tree, capture_layer, restore_layer
from gym_loop.envs.state.methods import SingleState, restore_stream
from gym_loop.errors import StateError


class ReplayState(SingleState):
    """The last exact resort: set the state before the last reset, reset, take the same actions.

    It needs nothing of the environment but that an episode follows from the random stream, the
    plain attributes before the reset, and the actions. It costs a copy of each action, and at a
    restore the time of the steps since the last reset.
    """

    method = "replay"

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.env = self._recorder = Recorder(env, self._layers)

    @staticmethod
    def fits(layers: Sequence[Any]) -> bool:
        """Whether there is one last reset to begin from."""
        # The copies in a vector environment end their episodes at different times.
        # (EnvPool's are both an Env and a VectorEnv.)
        core = layers[-1]
        return isinstance(core, gymnasium.Env) and not isinstance(core, gymnasium.vector.VectorEnv)

    def _lost(self) -> list[dict[str, Any]]:
        return self._recorder.outlived

    def _save(self) -> Tree:
        recorder = self._recorder
        return {
            "before": recorder.before,
            "seed": recorder.seed,
            "options": capture(recorder.options, path="the options of the last reset"),
            "actions": pack_actions(recorder.actions),
        }

    def _load(self, tree: Tree) -> None:
        if tree["before"] is None:
            return
        core, recorder = self._core, self._recorder
        shown = getattr(core, "render_mode", None) == "human"
        if shown:
            core.render_mode = None  # or the replay would take as long as the episode did
        # What was no data before the run was stopped stays out of later states.
        for no_data, saved in zip(recorder.no_data, tree["before"], strict=True):
            no_data.update(saved.get("left_out", ()))
        try:
            self._reset_again(tree)
            for action in unpack_actions(tree["actions"]):
                recorder.step(action)
            # As it was noted then: a fresh environment has fewer attributes to leave out.
            recorder.before = tree["before"]
        finally:
            if shown:
                core.render_mode = "human"

    def _reset_again(self, tree: Tree) -> None:
        """Put back what was there before the reset, and reset as then.

        The objects of the last episode may have no place in a fresh environment: a key that was
        lying about, say. That is no loss if the reset makes the attribute anew. Until then an error
        is there, which no code takes for the real value: a reset that looks at it fails.
        """
        recorder = self._recorder
        options = restore(None, tree["options"], path="the options of the last reset")
        missed: list[tuple[dict[str, Any], dict[str, StateError], dict[str, Any]]] = []
        for layer, saved in zip(self._layers, tree["before"], strict=True):
            own, errors = vars(layer), dict[str, StateError]()
            restore_layer(layer, saved, self._layers, errors)
            missed.append((own, errors, {name: own[name] for name in errors if name in own}))
        for own, errors, _ in missed:
            own.update(errors)
        known = [set(names) for names in recorder.no_data]
        failure: Exception | None = None
        try:
            recorder.reset(seed=tree["seed"], options=options)
        except Exception as error:  # noqa: BLE001 - whatever the environment's own code raises
            failure = error
        for own, errors, before in missed:
            for name in [name for name in errors if own.get(name) is errors[name]]:
                failure = errors[name]  # not made anew
                del own[name]
                own.update({name: before[name]} if name in before else {})
        if any(errors for _, errors, _ in missed):
            recorder.no_data = known  # an error is no data, nor is what refers to its place
        if failure is not None:
            raise failure


class Recorder(gymnasium.Wrapper):  # type: ignore[misc]
    """Notes what an episode follows from: the state before its reset, and its actions.

    Args:
        env: the environment with all its wrappers.
        layers: its layers, outermost first.
    """

    not_state = (
        *("_layers", "no_data", "_old_world", "_stream_only", "outlived"),
        *("before", "seed", "options", "actions"),
    )

    def __init__(self, env: gymnasium.Env[Any, Any], layers: Sequence[Any]) -> None:
        super().__init__(env)
        self._layers = layers
        self.no_data: list[set[str]] = [set() for _ in layers]
        self._old_world = _keeps_world(layers[-1])
        # Their episodes follow from the random stream alone; the rest is much, to be drawn.
        self._stream_only = type(layers[-1]).__module__.startswith("gymnasium.envs.box2d.")
        # Objects that are no data and that no reset has replaced yet, by name, layer by layer.
        self.outlived: list[dict[str, Any]] = [{} for _ in layers]
        self.before: list[Tree] | None = None  # None: never reset
        self.seed: int | None = None
        self.options: dict[str, Any] | None = None
        self.actions: list[Any] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset, noting what the episode follows from."""
        core = self._layers[-1]
        if self._old_world:
            # A world that has seen episodes solves its contacts in another order than a new one,
            # so that an episode would follow from all that were played before it.
            core._destroy()
            core.world = type(core.world)()
        if self._stream_only:
            self.no_data[-1] |= vars(core).keys() - {"_np_random", "_np_random_seed", SHOWN}
        layers = list(zip(self._layers, self.no_data, strict=True))
        self.before = [capture_layer(one, self._layers, no_data=names) for one, names in layers]
        self.seed, self.options, self.actions = seed, copy.deepcopy(options), []
        if not self._stream_only:
            self.outlived = [
                {name: vars(one)[name] for name in names if name in vars(one)}
                for one, names in layers
            ]
        result: tuple[Any, dict[str, Any]] = self.env.reset(seed=seed, options=options)
        for layer, kept in zip(self._layers, self.outlived, strict=True):
            for name in [name for name in kept if vars(layer).get(name) is not kept[name]]:
                del kept[name]  # made anew by the reset, and so by that of a replay
        return result

    def step(self, action: Any) -> Any:
        """Step, noting the action."""
        if type(action) is np.ndarray:  # deepcopy() takes ten times as long
            self.actions.append(action.copy())
        elif type(action) is int or isinstance(action, np.generic):
            self.actions.append(action)
        else:
            self.actions.append(copy.deepcopy(action))
        return self.env.step(action)


def _keeps_world(core: Any) -> bool:
    """Whether the core keeps its physics world from one episode to the next."""
    walker = sys.modules.get("gymnasium.envs.box2d.bipedal_walker")
    return walker is not None and isinstance(core, walker.BipedalWalker)


def pack_actions(actions: Sequence[Any]) -> Tree:
    """Actions in the order they were taken, as data; those of one kind in one array."""
    kinds = {type(action) for action in actions}
    if len(kinds) == 1 and issubclass(next(iter(kinds)), np.generic):
        return {"scalars": np.array(actions)}
    if kinds == {np.ndarray}:
        dtype, shape = actions[0].dtype, actions[0].shape
        alike = all(action.dtype == dtype and action.shape == shape for action in actions)
        if alike and dtype.kind not in "OV" and actions[0].size:
            packed = np.empty((len(actions), *shape), dtype)
            packed[:] = actions
            return {"arrays": packed}
    return {"others": capture(list(actions), path="an action")}


def unpack_actions(tree: Tree) -> Iterator[Any]:
    """The actions of `pack_actions`, each of the type that it was taken with."""
    if "arrays" in tree:
        if not tree["arrays"].size:
            raise StateError("actions without a byte were not saved by gym-loop")
        for index in range(len(tree["arrays"])):
            yield tree["arrays"][index, ...].copy()
    elif "scalars" in tree:
        yield from tree["scalars"]
    else:
        yield from restore(None, tree["others"], path="an action")


class AleState(SingleState):
    """The Arcade Learning Environment: the emulator's state, and the action that it may repeat.

    With sticky actions a frame repeats the action of the frame before, and the emulator's
    state leaves that action out. So the last actions are noted, and taken again before the
    state is restored: as the random stream is the same, so is the action that remains.
    """

    method = "ale"

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        sticky = self._core.ale.getFloat("repeat_action_probability")
        # So many frames in a row are never all repeats: one chance in 10^15.
        length = math.ceil(-15 / math.log10(sticky)) if 0 < sticky < 1 else 0
        self._recorder = LastActions(self._core, length) if length else None
        # Between the core and its wrappers: it has to see every frame.
        if self._recorder is not None and env is self._core:
            self.env = self._recorder
        elif self._recorder is not None:
            self._layers[-2].env = self._recorder

    @staticmethod
    def fits(layers: Sequence[Any]) -> bool:
        """Whether the core is an Atari game."""
        ale = getattr(layers[-1], "ale", None)
        return "ale_py" in sys.modules and isinstance(ale, sys.modules["ale_py"].ALEInterface)

    def _save(self) -> Tree:
        return {
            "core": capture_layer(self._core, self._layers, {"ale_py"}),
            "emulator": _bytes(self._core.ale.cloneSystemState()),
            "last": None if self._recorder is None else self._recorder.snapshot(),
        }

    def _load(self, tree: Tree) -> None:
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
