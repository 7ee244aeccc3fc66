"""One environment that is served: what its methods return is checked, and what they raise told.

It knows no thread and no protocol.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from gymnasium.spaces import Discrete
from gymnasium.spaces.utils import flatdim

from gym_loop.envs.making import describe
from gym_loop.serve.catalogue import Catalogue
from gym_loop.wire.problems import EnvFailed, ResetNeeded, UnknownInstance, WrongAction

_LOG = logging.getLogger("gym_loop.serve")
_BYTES = 8  # that a number of an observation takes in a reply, roughly
Step = tuple[Any, float, bool, bool, dict[str, Any]]


class ServedEnv:
    """One environment of one client.

    Whatever its code raises, `KeyboardInterrupt` and `SystemExit` among it, is an `EnvFailed`.

    Args:
        instance_id: what the client calls it by.
        env_id: what the client asked for.
        catalogue: makes the environment.
        seed: of the first reset and of the action space; None draws one.
    """

    def __init__(
        self, instance_id: str, env_id: str, catalogue: Catalogue, seed: int | None = None
    ) -> None:
        self.instance_id = instance_id
        self.env_id = env_id
        self.catalogue = catalogue
        self.env: Any = None
        self.observation_space: Any = None
        self.observation_bytes = 0  # of an observation in a reply, roughly
        self.draws = False  # it gives frames
        self.action_space: Any = None
        self.steps = 0
        self.resets = 0
        self.episodes = 0  # finished ones
        self.episode_return = 0.0
        self.created = time.time()
        self.reset_done = False
        self._seed = seed
        self._episode_over = False
        self._failed = False
        self._lowest, self._highest = 0, -1  # of a Discrete action space; else empty

    def make(self) -> None:
        """Make the environment; see `Catalogue.make` for what it raises."""
        self.env = self.catalogue.make(self.env_id, self._seed)
        self.read_spaces()
        if self._seed is not None:
            self.action_space.seed(self._seed)
        if isinstance(self.action_space, Discrete):
            self._lowest = int(self.action_space.start)
            self._highest = self._lowest + int(self.action_space.n) - 1

    def read_spaces(self) -> None:
        """Ask the environment for its spaces, once."""
        try:
            self.observation_space = self.env.observation_space
            self.action_space = self.env.action_space
            self.draws = getattr(self.env, "render_mode", None) == "rgb_array"
        except BaseException as error:
            raise self.failure("action_space", error) from error
        try:
            self.observation_bytes = _BYTES * flatdim(self.observation_space)
        except (NotImplementedError, ValueError):  # it has no fixed size
            pass

    def reset(self, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode.

        Args:
            seed: None uses, once, the one that the instance was created with.
            options: for the environment.

        Returns:
            Observation and info.

        Raises:
            EnvFailed: the environment raised, or did not return these two.
        """
        self.check_open()
        if seed is None:
            seed, self._seed = self._seed, None
        more = {} if options is None else {"options": options}
        try:
            observation, info = self.env.reset(seed=seed, **more)
        except BaseException as error:
            raise self.failure("reset", error) from error
        if not isinstance(info, dict):
            raise self.nonsense("reset", "an info that is no dict", info)
        self.episode_return = 0.0
        self._episode_over = False
        self.reset_done = True
        self.resets += 1
        return observation, info

    def step(self, action: Any) -> Step:
        """Take one step; after the end of an episode too, as the environment lets it.

        Returns:
            Observation, reward (float), terminated, truncated (bool), info.

        Raises:
            ResetNeeded: there was no reset yet.
            WrongAction: the action is not in the action space.
            EnvFailed: the environment raised, or did not return these five.
        """
        self.check_reset()
        # A plain integer is what most clients send, and `contains` would cost as much as a step.
        if not (type(action) is int and self._lowest <= action <= self._highest):
            action = self.check_action(action)
        try:
            result = self.env.step(action)
        except BaseException as error:
            raise self.failure("step", error) from error
        try:
            observation, reward, terminated, truncated, info = result
            reward, terminated, truncated = float(reward), bool(terminated), bool(truncated)
        except (TypeError, ValueError):
            raise self.nonsense(
                "step", "other than observation, reward, terminated, truncated, info", result
            ) from None
        if not isinstance(info, dict):
            raise self.nonsense("step", "an info that is no dict", info)
        self.steps += 1
        self.episode_return += reward
        if (terminated or truncated) and not self._episode_over:
            self._episode_over = True
            self.episodes += 1
        return observation, reward, terminated, truncated, info

    def render(self) -> Any:
        """A frame of the environment; None where it gives none.

        Raises:
            ResetNeeded: there was no reset yet.
            EnvFailed: it raised.
        """
        self.check_reset()
        if getattr(self.env, "render_mode", None) is None:
            return None
        try:
            return self.env.render()
        except BaseException as error:
            raise self.failure("render", error) from error

    def close(self) -> None:
        """Close the environment; what it raises is logged."""
        self.reset_done = False
        env, self.env = self.env, None
        if env is None:
            return
        try:
            env.close()
        except BaseException as error:  # noqa: BLE001 - it is gone for the client
            _LOG.warning("%s failed to close", self._name(), exc_info=error)

    def check_open(self) -> None:
        """Raise `UnknownInstance` once it is closed."""
        if self.env is None:
            raise UnknownInstance(f"instance {self.instance_id} is closed")

    def check_reset(self) -> None:
        """Raise `ResetNeeded` before the first reset."""
        if not self.reset_done:
            self.check_open()
            raise ResetNeeded(f"instance {self.instance_id} must be reset before its first step")

    def check_action(self, action: Any) -> Any:
        """The action as the environment gets it; raises `WrongAction` for what is none."""
        try:
            good = self.action_space.contains(action)
        except Exception:  # noqa: BLE001 - of any value, a space may only say yes or no
            good = False
        if not good:
            raise WrongAction(f"action {_short(action)} is not in {_short(self.action_space)}")
        return action

    def failure(self, method: str, error: BaseException) -> EnvFailed:
        """What a client is told of an exception of the environment; the log tells more, once."""
        # The first traceback tells; a client that goes on must not fill the disk with it.
        log = _LOG.debug if self._failed else _LOG.warning
        log("%s failed in %s()", self._name(), method, exc_info=error)
        self._failed = True
        return EnvFailed(f"environment {self.env_id} failed in {method}(): {describe(error)}")

    def nonsense(self, method: str, what: str, value: Any) -> EnvFailed:
        """What a client is told of an environment that returned something else."""
        return EnvFailed(
            f"environment {self.env_id} is broken: {method}() returned {what}: {_short(value)}"
        )

    def _name(self) -> str:
        return f"environment {self.env_id} (instance {self.instance_id})"


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - an environment's own object may not even show itself
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 120 else f"{text[:117]}..."
