"""The last exact resort: play the episode's actions again, from the state before its reset.

It needs nothing of the environment but that an episode follows from the random stream, the
plain attributes before the reset, and the actions. It costs a copy of each action, and at a
restore the time of the steps since the last reset.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.envs.state.layers import SHOWN, Tree, capture_data, restore_layer
from gym_loop.envs.state.methods import Method
from gym_loop.errors import StateError


class ActionLog:
    """Actions in the order they were taken; arrays of one kind are packed as bytes."""

    def __init__(self) -> None:
        self._kind: tuple[np.dtype[Any], tuple[int, ...]] | None = None  # of packed arrays
        self._packed = bytearray()
        self._others: list[Any] = []

    def append(self, action: Any) -> None:
        """Add an action, copied if it can change."""
        if type(action) is int or isinstance(action, np.generic):
            self._others.append(action)
        elif type(action) is np.ndarray:
            kind = (action.dtype, action.shape)
            if kind == self._kind or self._begin(kind):
                self._packed += action.tobytes()
            else:
                self._others.append(action.copy())
        else:
            self._others.append(copy.deepcopy(action))

    def _begin(self, kind: tuple[np.dtype[Any], tuple[int, ...]]) -> bool:
        """Pack from now on if this is the first action; else stop packing for good."""
        if (
            self._kind is None
            and not self._others
            and kind[0].kind not in "OV"
            and 0 not in kind[1]
        ):
            self._kind = kind
            return True
        self._others[:0] = self._unpacked()
        self._kind = None
        self._packed.clear()
        return False

    def _unpacked(self) -> np.ndarray[Any, Any] | tuple[()]:
        if self._kind is None:
            return ()
        dtype, shape = self._kind
        return np.frombuffer(bytes(self._packed), dtype).reshape(-1, *shape)

    def tree(self) -> Tree:
        """The actions as data."""
        if self._kind is not None and not self._others:
            return {"arrays": self._unpacked()}
        kinds = {type(action) for action in self._others}
        if len(kinds) == 1 and issubclass(kinds.pop(), np.generic):
            return {"scalars": np.array(self._others)}
        return {"others": capture(self._others, path="an action")}


def actions_of(tree: Tree) -> Iterator[Any]:
    """The actions of an `ActionLog` tree, each of the type that it was taken with."""
    if "arrays" in tree:
        if not tree["arrays"].size:
            raise StateError("actions without a byte were not saved by gym-loop")
        for index in range(len(tree["arrays"])):
            yield tree["arrays"][index, ...].copy()
    elif "scalars" in tree:
        yield from tree["scalars"]
    else:
        yield from restore(None, tree["others"], path="an action")


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
        self.actions = ActionLog()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset, noting what the episode follows from."""
        core = self._layers[-1]
        if self._old_world:
            _renew_world(core)
        if self._stream_only:
            self.no_data[-1] |= vars(core).keys() - {"_np_random", "_np_random_seed", SHOWN}
        self.before = [
            capture_data(layer, self._layers, no_data)
            for layer, no_data in zip(self._layers, self.no_data, strict=True)
        ]
        self.seed, self.options = seed, copy.deepcopy(options)
        self.actions = ActionLog()
        if not self._stream_only:
            self.outlived = [
                {name: own[name] for name in no_data if name in own}
                for own, no_data in zip(map(vars, self._layers), self.no_data, strict=True)
            ]
        result: tuple[Any, dict[str, Any]] = self.env.reset(seed=seed, options=options)
        for layer, kept in zip(self._layers, self.outlived, strict=True):
            for name in [name for name in kept if vars(layer).get(name) is not kept[name]]:
                del kept[name]  # made anew by the reset, and so by that of a replay
        return result

    def leave_out(self, names: Sequence[Iterable[str]]) -> None:
        """Go on leaving out, layer by layer, what was no data before the run was stopped."""
        for no_data, more in zip(self.no_data, names, strict=True):
            no_data.update(more)

    def step(self, action: Any) -> Any:
        """Step, noting the action."""
        self.actions.append(action)
        return self.env.step(action)


def _keeps_world(core: Any) -> bool:
    """Whether the core keeps its physics world from one episode to the next."""
    walker = sys.modules.get("gymnasium.envs.box2d.bipedal_walker")
    return walker is not None and isinstance(core, walker.BipedalWalker)


def _renew_world(core: Any) -> None:
    """Give a BipedalWalker a new world, as LunarLander makes itself one at each reset.

    A world that has seen episodes solves its contacts in another order than a new one, so
    that an episode would follow from all that were played before it.
    """
    core._destroy()
    core.world = type(core.world)()


class ReplayMethod(Method):
    """Set the state before the last reset, reset, and take the same actions again."""

    name = "replay"

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__(layers)
        self.recorder = Recorder(layers[0], layers)

    @staticmethod
    def fits(layers: Sequence[Any]) -> bool:
        """Whether it can be tried on these layers."""
        # The copies in a vector environment end their episodes at different times: there is
        # no last reset to begin from. (EnvPool's are both an Env and a VectorEnv.)
        core = layers[-1]
        return isinstance(core, gymnasium.Env) and not isinstance(core, gymnasium.vector.VectorEnv)

    def watch(self, env: Any) -> Any:
        """The recorder around the environment."""
        return self.recorder

    def snapshot(self) -> Tree:
        """The state as data."""
        recorder = self.recorder
        return {
            "before": recorder.before,
            "seed": recorder.seed,
            "options": capture(recorder.options, path="the options of the last reset"),
            "actions": recorder.actions.tree(),
        }

    def left_out(self) -> list[dict[str, Any]]:
        """What is no data and has outlived the last reset."""
        return self.recorder.outlived

    def restore(self, tree: Tree) -> None:
        """Put the state back."""
        if tree["before"] is None:
            return
        core = self._core
        shown = getattr(core, "render_mode", None) == "human"
        if shown:
            core.render_mode = None  # or the replay would take as long as the episode did
        self.recorder.leave_out([saved.get("left_out", ()) for saved in tree["before"]])
        try:
            misfits = self._restore_before(tree["before"])
            self._reset_again(tree, misfits)
            for action in actions_of(tree["actions"]):
                self.recorder.step(action)
            # As it was noted then: a fresh environment has fewer attributes to leave out.
            self.recorder.before = tree["before"]
        finally:
            if shown:
                core.render_mode = "human"

    def _restore_before(self, before: Sequence[Tree]) -> list[dict[str, StateError]]:
        """Put back what was there before the reset, and say what has no place, layer by layer.

        The objects of the last episode may have none in a fresh environment: a key that was lying
        about, say. That is no loss if the reset makes the attribute anew.
        """
        misfits: list[dict[str, StateError]] = [{} for _ in self._layers]
        for layer, saved, errors in zip(self._layers, before, misfits, strict=True):
            restore_layer(layer, saved, self._layers, errors)
        return misfits

    def _reset_again(self, tree: Tree, misfits: list[dict[str, StateError]]) -> None:
        """Reset as then, which has to make anew what had no place.

        Until then the error is there, which no code takes for the real value: a reset that looks at
        it fails.
        """
        options = restore(None, tree["options"], path="the options of the last reset")
        missed = [
            (vars(layer), errors) for layer, errors in zip(self._layers, misfits, strict=True)
        ]
        before = [{name: own[name] for name in errors if name in own} for own, errors in missed]
        for own, errors in missed:
            own.update(errors)
        known = [set(names) for names in self.recorder.no_data]
        failure: Exception | None = None
        try:
            self.recorder.reset(seed=tree["seed"], options=options)
        except Exception as error:  # noqa: BLE001 - whatever the environment's own code raises
            failure = error
        for (own, errors), lives in zip(missed, before, strict=True):
            for name in [name for name in errors if own.get(name) is errors[name]]:
                failure = errors[name]  # not made anew
                del own[name]
                own.update({name: lives[name]} if name in lives else {})
        if any(misfits):  # an error is no data, nor is what refers to its place
            self.recorder.no_data = known
        if failure is not None:
            raise failure
