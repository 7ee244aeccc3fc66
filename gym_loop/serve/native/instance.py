"""An environment that the server holds for a native client: a single one, or many copies."""

from __future__ import annotations

from typing import Any

import numpy as np

from gym_loop.envs.making import close_quietly, describe
from gym_loop.envs.state.keeper import EnvState, keep_state
from gym_loop.envs.state.proof import Verdict
from gym_loop.errors import StateError
from gym_loop.serve.catalogue import Catalogue
from gym_loop.serve.native.actions import Check, action_check
from gym_loop.serve.native.making import Proofs, Wish, make_wished
from gym_loop.serve.native.problems import NoState, WrongState
from gym_loop.serve.sessions import Session
from gym_loop.wire.problems import ResetNeeded, WrongAction


class Instance(Session):
    """A session whose environment is made as its client wishes, and can give its state.

    Args:
        instance_id: what the client calls it by.
        env_id: what the client asked for.
        catalogue: makes the environment.
        seed: None; the first reset tells it.
        wish: what to make.
        proofs: says how the state can be kept.
    """

    def __init__(
        self,
        instance_id: str,
        env_id: str,
        catalogue: Catalogue,
        seed: int | None,
        wish: Wish,
        proofs: Proofs,
    ) -> None:
        super().__init__(instance_id, env_id, catalogue, seed)
        self.wish = wish
        self.verdict: Verdict | None = None
        self._proofs = proofs
        self._keeper: EnvState | None = None
        self._check: Check = _no_action
        self._fresh = False  # never reset, and no state put into it

    def make(self) -> Instance:
        """Make the environment; see `make_wished` for what it raises."""
        if self.wish.keep_state:
            self.verdict = self._proofs.verdict(self.wish)
        self._make_anew()
        env = self.env
        try:
            self.observation_space, self.action_space = env.observation_space, env.action_space
        except (Exception, SystemExit) as error:
            raise self._failure("action_space", error) from error
        self._check = action_check(self.action_space)
        return self

    def _make_anew(self) -> None:
        env = make_wished(self._catalogue, self.wish)
        self._keeper = None
        if self.verdict is not None and self.verdict.exact:
            self._keeper = keep_state(env, self.verdict.method)
            env = self._keeper.env
        self.env, self._step = env, env.step
        self._fresh = True

    def reset(self, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode, or one in each copy; see `Session.reset`."""
        self._fresh = False
        return super().reset(seed, options)

    def step(self, action: Any) -> Any:
        """Take one step; see `Session.step`."""
        return super().step(self._check(action))

    def _check_action(self, action: Any) -> None:
        """Nothing is left to check."""

    def step_all(self, actions: Any) -> Any:
        """Take one step in every copy.

        Returns:
            Observations, rewards, terminated, truncated ``[N, ...]`` and info.

        Raises:
            ResetNeeded: there was no reset yet.
            WrongAction: the actions are none of the action space.
            EnvFailed: the environment raised, or did not return these five.
        """
        if not self.reset_done:
            self._check_open()
            raise ResetNeeded(f"instance {self.instance_id} must be reset before its first step")
        actions = self._check(actions)
        try:
            result = self._step(actions)
        except (Exception, SystemExit) as error:
            raise self._failure("step", error) from error
        try:
            observations, rewards, terminated, truncated, info = result
            over = int(np.count_nonzero(terminated | truncated))
        except (TypeError, ValueError):
            raise self._nonsense(
                "step", "other than observations, rewards, terminated, truncated, info", result
            ) from None
        if not isinstance(info, dict):
            raise self._nonsense("step", "an info that is no dict", info)
        self.steps += self.wish.size
        self.episodes += over
        return observations, rewards, terminated, truncated, info

    # -- state -------------------------------------------------------------------------------

    def get_state(self) -> Any:
        """The state as a tree of plain data.

        Raises:
            NoState: it cannot be given exactly.
        """
        self._check_open()
        keeper = self._kept()
        try:
            return {"env": keeper.snapshot(), "reset_done": self.reset_done}
        except StateError as error:
            raise NoState(f"environment {self.env_id}: {error}") from None

    def set_state(self, tree: Any) -> None:
        """Put a state into a fresh environment in place of this one.

        Raises:
            NoState: it cannot be given exactly.
            WrongState: it is another environment's.
            EnvFailed: the environment cannot be made again.
        """
        self._check_open()
        self._kept()
        if type(tree) is not dict or tree.keys() != {"env", "reset_done"}:
            raise WrongState("a state is what get_state answered, unchanged")
        if not self._fresh:
            old = self.env
            self._make_anew()
            close_quietly(old)
        self._fresh = self.reset_done = False
        try:
            self._kept().restore(tree["env"])
        except StateError as error:
            raise WrongState(f"environment {self.env_id}: {error}") from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever its own code raises
            raise WrongState(
                f"environment {self.env_id} cannot take this state: {describe(error)}"
            ) from None
        self.reset_done = bool(tree["reset_done"])

    def _kept(self) -> EnvState:
        if self._keeper is not None:
            return self._keeper
        if self.verdict is None:
            raise NoState("make it with state: true to save and restore its state")
        raise NoState(
            f"environment {self.env_id} cannot give its state exactly: {self.verdict.reason}"
        )


def _no_action(action: Any) -> Any:
    raise WrongAction("there is no environment")
