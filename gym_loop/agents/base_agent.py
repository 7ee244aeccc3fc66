"""The agent contract: everything that a loop knows about an agent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from gym_loop.agents.transition import Transition
from gym_loop.checkpoints.tree import (
    capture,
    capture_attributes,
    first_difference,
    restore,
    restore_attributes,
)
from gym_loop.errors import StateError
from gym_loop.schema import parameters as schema
from gym_loop.schema.parameter_values import ParameterValues

# What the runner adds to the parameters: the same in every agent of a run.
GIVEN = ("action_space", "n_envs", "observation_space", "seed")


class BaseAgent:
    """An agent chooses actions, remembers what came of them, and learns.

    Write ``get_default_parameters``, ``act``, ``memorize`` and ``update``; the rest has
    working defaults. This is how a loop calls them::

        agent = MyAgent(**parameters)               # defaults updated by the run file
        for episode_num in range(max_episodes):
            last_ob, info = env.reset()
            done = False
            while not done:
                action = agent.act(last_ob, episode_num)
                ob, reward, terminated, truncated, info = env.step(action)
                agent.observe(Transition(last_ob, action, reward, terminated, truncated, ob, info))
                agent.update(episode_num)
                done = terminated or truncated
                last_ob = ob
        with agent.evaluating():                    # evaluation: act() only
            ...

    Attributes:
        Parameters: a declaration that `get_default_parameters` follows from; None where that
            method is written itself.
        parameters: the defaults of `get_default_parameters`, updated by the run file, by key and
            by attribute (``self.parameters["gamma"]``, ``self.parameters.gamma``), and by the
            runner with ``observation_space``, ``action_space``, ``n_envs`` and ``seed``.
        supports_batch: True when the agent takes batches as well: every array that it is given
            and that it gives has a leading axis then. VectorLoop needs it; DefaultLoop gives
            single observations all the same. Default False.
        supports_partial_batch: True when it takes transitions of fewer rows than there are copies
            as well, where others are being reset: ``transition.env_ids`` says which rows they are.
            False: VectorLoop gives all ``N`` rows at every step. Default False.
        training: False inside ``with agent.evaluating():``.
    """

    supports_batch = False
    supports_partial_batch = False
    training = True
    # Attributes that follow from the parameters are no state: a resumed run may change them.
    _fixed: tuple[str, ...] = ("parameters", "training", "_first_parameters")

    Parameters: ClassVar[type[schema.Parameters] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        schema.derive_defaults(cls)

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self.parameters = ParameterValues(self.get_default_parameters(), **params)
        self._note_parameters()

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """Name every parameter that a run file may set, with its default value.

        Describe them under a heading ``Parameters:`` in this docstring, one a line, as
        ``name (type): text``; the run file's comments and the type checks come from there.
        """
        return {}

    @staticmethod
    def check_parameters(parameters: dict[str, Any]) -> dict[str, str]:
        """Name what is wrong with the values of a run file: ``{name: problem}``, default none.

        Types are checked without it; this is for ranges and for values that exclude each other.
        """
        return {}

    def act(self, state: Any, episode_num: int) -> Any:
        """Choose an action.

        Args:
            state: the observation; ``[N, ...]`` in a VectorLoop, where an evaluation may have
                fewer rows than the training.
            episode_num: number of the episode, from 0 over the whole training; in a
                VectorLoop the number of episodes finished so far.

        Returns:
            An element of the action space; ``[N, ...]`` for ``N`` observations.
        """
        raise NotImplementedError(f"{type(self).__name__} must define act(state, episode_num)")

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        """Remember one step; called after each, before `update`. Override this or `observe`."""

    def update(self, episode_num: int) -> None:
        """Learn; called after each step, right after `memorize`."""

    def observe(self, transition: Transition) -> None:
        """Remember one step, with ``terminated`` and ``truncated`` told apart.

        Override it in place of `memorize` when the difference matters: a value is
        bootstrapped through truncation, and never through termination.
        """
        last_ob, action, reward, terminated, truncated, ob, _ = transition
        self.memorize(last_ob, action, reward, terminated | truncated, ob)

    def metrics(self, episode_num: int) -> dict[str, float]:
        """Values to log, by name; they appear as ``agent/<name>``.

        From ``updates``, the number of gradient updates so far, the loop makes
        ``train/updates_per_second`` as well.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit, as data.

        The default takes every attribute but ``training``, and of ``parameters`` what training has
        changed: numbers, text, arrays, containers, random generators, torch modules and
        optimisers, and plain objects made of these. Large arrays are not copied: what goes on
        learning changes them.

        Raises:
            StateError: an attribute is no data, such as an open file; the message names it.
        """
        return self._with_parameters(
            capture_attributes(self, exclude=self._fixed, path="agent", copy=False)
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave; attributes that it lacks stay as they are.

        Raises:
            StateError: the state does not fit this agent.
        """
        restore_attributes(self, state, exclude=self._fixed, path="agent", keep=True)
        self._load_parameters(state)

    # -- parameters that training changes ------------------------------------------------------

    def _note_parameters(self) -> None:
        """Remember the parameters as they are: what differs later, training has changed.

        Called once more by whoever makes the agent, for its ``__init__`` may change some as well.
        """
        self._first_parameters = self._parameters_as_data()

    def _parameters_as_data(self) -> dict[str, Any]:
        found = {}
        for name, value in self.parameters.items():
            if name not in GIVEN:
                try:
                    found[name] = capture(value)
                except StateError:
                    pass  # no data, so that no run file can have given it
        return found

    def _with_parameters(self, state: dict[str, Any]) -> dict[str, Any]:
        """A state with the parameters that training has changed."""
        first = getattr(self, "_first_parameters", None)
        if first is not None:
            now = self._parameters_as_data()
            changed = [name for name in now if first_difference(first.get(name), now[name])]
            if changed:
                state["parameters"] = {name: now[name] for name in changed}
        return state

    def _load_parameters(self, state: dict[str, Any]) -> None:
        """Put back what `_with_parameters` noted; the others become what they were at first."""
        saved = state.get("parameters") or {}
        wanted = {**(getattr(self, "_first_parameters", None) or {}), **saved}
        now = self._parameters_as_data()
        for name, value in wanted.items():
            if name not in now or first_difference(now[name], value):
                self.parameters[name] = restore(None, value, path=f"agent.parameters.{name}")

    @contextmanager
    def evaluating(self) -> Iterator[BaseAgent]:
        """Neither learn nor explore inside this context; `training` is False there."""
        before = self.training
        self.training = False
        try:
            yield self
        finally:
            self.training = before

    @property
    def rng(self) -> np.random.Generator:
        """The agent's own random generator, derived from the run's seed; draw from this one."""
        if "_rng" not in self.__dict__:
            seed = getattr(self, "parameters", {}).get("seed")
            self._rng = np.random.default_rng(seed)
        return self._rng

    @rng.setter
    def rng(self, generator: np.random.Generator) -> None:
        self._rng = generator
