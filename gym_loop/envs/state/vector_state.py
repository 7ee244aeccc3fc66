"""The keepers of many copies of an environment, in this process or in worker processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gymnasium
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from gym_loop.checkpoints.seeding import capture_global_streams, restore_global_streams, seed_spaces
from gym_loop.checkpoints.tree import capture, restore
from gym_loop.envs.making import close_quietly
from gym_loop.envs.silence import in_silence
from gym_loop.envs.state.layers import (
    Tree,
    capture_layer,
    capture_wrapper,
    layers_of,
    restore_layer,
)
from gym_loop.envs.state.single_state import (
    RESTART,
    EnvState,
    SingleState,
    check_count,
    check_method,
    methods_for,
)
from gym_loop.errors import StateError

T = TypeVar("T")


class SyncState(EnvState):
    """The keeper of a `gymnasium.vector.SyncVectorEnv`: each copy has a keeper of its own."""

    def __init__(self, env: Any, method: str) -> None:
        self.env = env
        self.method = f"sync[{method}]"
        self._layers = layers_of(env)
        copies = self._layers[-1].envs
        self._copies = [SingleState(copy, method) for copy in copies]
        copies[:] = [keeper.env for keeper in self._copies]

    def snapshot(self) -> Tree:
        """The state as data."""
        return {
            "method": self.method,
            "copies": [copy.snapshot() for copy in self._copies],
            "vector": capture_layer(self._layers[-1], self._layers),
            "wrappers": [capture_wrapper(layer, self._layers) for layer in self._layers[:-1]],
        }

    def left_out(self) -> list[str]:
        """Attributes of the first copy that are in no snapshot."""
        return self._copies[0].left_out()

    def restore(self, tree: Tree) -> None:
        """Put the state back."""
        check_method(tree, self.method)
        check_count("copies", len(tree["copies"]), len(self._copies))
        check_count("wrappers", len(tree["wrappers"]), len(self._layers) - 1)
        for copy, saved in zip(self._copies, tree["copies"], strict=True):
            copy.restore(saved)
        self.after_reset = any(copy.after_reset for copy in self._copies)
        for layer, saved in zip(
            reversed(self._layers), [tree["vector"], *reversed(tree["wrappers"])], strict=True
        ):
            restore_layer(layer, saved, self._layers)


class StatefulEnv(gymnasium.Wrapper):  # type: ignore[misc]
    """The outermost wrapper of a copy in a worker process: it answers for the copy's state.

    An `AsyncVectorEnv` can be saved if every function that makes a copy returns one of these:
    ``AsyncVectorEnv([lambda: StatefulEnv(gymnasium.make("CartPole-v1"))] * 4)``.

    Args:
        env: the copy, with all its wrappers.
        again: makes it once more, for `make_again`.
    """

    not_state = ("_keeper", "saved_state", "_again")

    def __init__(
        self, env: gymnasium.Env[Any, Any], again: Callable[[], Any] | None = None
    ) -> None:
        super().__init__(env)
        self._again = again
        self.env: Any
        self.saved_state: Tree | None = None  # set from outside, for `restore_state`
        self._keeper: SingleState | None = None
        self._is_over = False
        self._reset_first = False

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the copy, or reset it first where a restored worker would have."""
        if self._reset_first:
            observation, info = self.reset()
            return observation, 0, False, False, info
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._is_over = terminated or truncated
        return observation, reward, terminated, truncated, info

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the copy."""
        self._is_over = self._reset_first = False
        if seed is not None:
            seed_spaces(self.unwrapped, seed)
        result: tuple[Any, dict[str, Any]] = self.env.reset(seed=seed, options=options)
        return result

    def close(self) -> None:
        """Close the copy; what it raises would look like a failure of its worker."""
        close_quietly(self.env)

    def make_again(self) -> None:
        """Put a new copy in place of the one that was stepped; its state is no longer kept."""
        assert self._again is not None
        close_quietly(self.env)
        with in_silence():
            self.env = self._again()
        self._keeper = None
        self._is_over = self._reset_first = False

    # A worker that raises is shut down, and the training with it. These answer instead
    # with a pair: the result, and what went wrong.

    def state_methods(self) -> list[str]:
        """The methods that can be tried on this copy; see `methods_for`."""
        return methods_for(self.env)

    def use_state_method(self, method: str) -> tuple[None, str]:
        """Keep the state in this way from now on."""

        def use() -> None:
            self._keeper = SingleState(self.env, method)
            self.env = self._keeper.env

        return _answer(use)

    def snapshot_state(self) -> tuple[Tree | None, str]:
        """The state of the copy, and of its process's random streams."""

        def snapshot() -> Tree:
            assert self._keeper is not None
            return {
                "env": self._keeper.snapshot(),
                "is_over": bool(self._is_over),
                "streams": capture_global_streams(),
            }

        return _answer(snapshot)

    def left_out_of_state(self) -> tuple[list[str] | None, str]:
        """Attributes that are in no snapshot."""
        assert self._keeper is not None
        return _answer(self._keeper.left_out)

    def restore_state(self, reset_next: bool) -> tuple[bool | None, str]:
        """Put back the state in ``saved_state``, which `snapshot_state` returned.

        Args:
            reset_next: whether the step after an episode's end is a reset. Gymnasium's worker
                notes that in a variable of its own, out of reach for a fresh worker.

        Returns:
            `EnvState.after_reset` of the copy.
        """

        def put() -> bool:
            tree, self.saved_state = self.saved_state, None
            assert self._keeper is not None
            assert tree is not None
            self._keeper.restore(tree["env"])
            restore_global_streams(tree["streams"])
            self._is_over = tree["is_over"]
            self._reset_first = reset_next and tree["is_over"]
            return self._keeper.after_reset

        return _answer(put)


def _answer(work: Callable[[], T]) -> tuple[T | None, str]:
    try:
        return work(), ""
    except StateError as error:
        return None, str(error)


class AsyncState(EnvState):
    """The keeper of a `gymnasium.vector.AsyncVectorEnv`: its workers answer, as `StatefulEnv`."""

    def __init__(self, env: Any, method: str) -> None:
        self.env = env
        self.method = f"async[{method}]"
        self._layers = layers_of(env)
        self._workers: AsyncVectorEnv = self._layers[-1]
        self._answering = bool(async_methods(env))
        if self._answering:
            self._ask("use_state_method", method)
        elif method != RESTART:
            raise StateError(
                "the copies of this AsyncVectorEnv cannot answer for their state; let each "
                "function that makes a copy return gym_loop.envs.state.saving.StatefulEnv(env)"
            )

    def snapshot(self) -> Tree:
        """The state as data."""
        return {
            "method": self.method,
            "copies": self._ask("snapshot_state") if self._answering else [],
            "observations": capture(self._workers.observations, path="the observations"),
            "wrappers": [capture_wrapper(layer, self._layers) for layer in self._layers[:-1]],
        }

    def left_out(self) -> list[str]:
        """Attributes of the first copy that are in no snapshot."""
        found: list[str] = self._ask("left_out_of_state")[0] if self._answering else []
        return found

    def restore(self, tree: Tree) -> None:
        """Put the state back."""
        check_method(tree, self.method)
        check_count("wrappers", len(tree["wrappers"]), len(self._layers) - 1)
        if self._answering:
            check_count("copies", len(tree["copies"]), self._workers.num_envs)
            self._workers.set_attr("saved_state", tree["copies"])
            mode = self._workers.metadata.get("autoreset_mode")
            self.after_reset = any(self._ask("restore_state", mode == AutoresetMode.NEXT_STEP))
        # In place: the workers write into the same memory.
        observations = restore(self._workers.observations, tree["observations"])
        self._workers.observations = observations
        for layer, saved in zip(self._layers[:-1], tree["wrappers"], strict=True):
            restore_layer(layer, saved, self._layers)

    def _ask(self, name: str, *arguments: Any) -> list[Any]:
        answers = self._workers.call(name, *arguments)
        problems = [
            f"copy {index}: {problem}" for index, (_, problem) in enumerate(answers) if problem
        ]
        if problems:
            raise StateError("; ".join(problems))
        return [answer for answer, _ in answers]


def async_methods(env: Any) -> list[str]:
    """The methods that the workers of an `AsyncVectorEnv` can try; none if they cannot answer."""
    workers = layers_of(env)[-1]
    # A worker that is asked for a method that it lacks is shut down.
    if not all(workers.call("has_wrapper_attr", "snapshot_state")):
        return []
    methods: list[str] = workers.call("state_methods")[0]
    return methods
