"""One environment as the system that gym-nats expects: six subjects, one state."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiBinary, MultiDiscrete
from gymnasium.spaces.utils import flatdim, flatten

from gym_loop.bridges.nats.client import Message
from gym_loop.bridges.nats.codec import Vector, decode, encode, subjects
from gym_loop.bridges.problems import Problem, ResetNeeded, WrongAction
from gym_loop.bridges.sessions import Session
from gym_loop.errors import BridgeError, SpaceError

_LOG = logging.getLogger("gym_loop.bridges.nats")
_REMEMBERED = 16  # answers, in case the request is repeated after a lost connection
_MOST_ACTIONS = 1 << 16


class System:
    """Answers the requests of an agent.

    The observation is flattened as `gymnasium.spaces.flatten` does: Box in C order, Discrete as
    one-hot. Actions are numbered from 0: Discrete from its start, MultiDiscrete and MultiBinary
    as one number in mixed radix, its first component the most significant.

    There is one state. Requests are served in the order in which they come, whoever sends them:
    two agents take turns in one episode, which is said once in the log.

    Args:
        session: holds the environment, made.
        prefix: before the subjects.

    Raises:
        SpaceError: the actions cannot be numbered, or the observation not flattened.
    """

    def __init__(self, session: Session, prefix: str = "") -> None:
        self.session = session
        self.subjects = subjects(prefix)
        self.sizes, self._first_action = _numbering(session.action_space, session.env_id)
        self.actions = math.prod(self.sizes)
        try:
            self.size = flatdim(session.observation_space)
        except (NotImplementedError, ValueError):
            raise SpaceError(
                f"{session.env_id}: observations of {session.observation_space} have no fixed"
                " length, which this protocol needs; wrap the environment"
            ) from None
        self._observation = np.zeros(self.size)
        self._reward = 0.0
        self._done = False
        self._agent = ""
        self._answered: OrderedDict[str, tuple[bytes, str]] = OrderedDict()
        self.bad_requests = 0
        names = self.subjects
        self._handlers: dict[str, Callable[[bytes], bytes]] = {
            names.update: lambda _: encode(self._observation),
            names.reward: lambda _: encode([self._reward]),
            names.done: lambda _: encode([1.0 if self._done else -1.0]),
            names.actions: lambda _: encode(np.arange(self.actions, dtype=np.float64)),
            names.reset: self._reset,
            names.action: self._act,
        }

    def begin(self) -> None:
        """Begin the first episode, so that there is an observation before the first reset."""
        self._reset(b"")

    def answer(self, message: Message) -> tuple[bytes, str]:
        """The reply's payload, and an error text or ``""``."""
        changes = message.subject in (self.subjects.action, self.subjects.reset)
        if changes and message.reply in self._answered:
            return self._answered[message.reply]
        if changes:
            self._notice(message.reply)
        try:
            answer = self._handlers[message.subject](message.payload), ""
        except (Problem, BridgeError) as error:
            self.bad_requests += 1
            # Each would fill a disk; the powers of two show that it goes on.
            if self.bad_requests & (self.bad_requests - 1) == 0:
                _LOG.warning(
                    "%s refused (%d so far): %s", message.subject, self.bad_requests, error
                )
            answer = b"", str(error)
        if changes and message.reply:
            self._answered[message.reply] = answer
            if len(self._answered) > _REMEMBERED:
                self._answered.popitem(last=False)
        return answer

    def close(self) -> None:
        """Close the environment."""
        self.session.close()

    def _reset(self, _: bytes) -> bytes:
        observation, _info = self.session.reset()
        self._observation, self._reward, self._done = self._flat(observation), 0.0, False
        return b""

    def _act(self, payload: bytes) -> bytes:
        number = float(decode(payload, self.subjects.action, 1)[0])
        if not (number.is_integer() and 0 <= number < self.actions):
            raise WrongAction(
                f"{self.subjects.action}: {number:g} is no action; use 0 to {self.actions - 1}"
            )
        if self._done:
            raise ResetNeeded(
                f"{self.subjects.action}: the episode is over; send {self.subjects.reset} first"
            )
        observation, reward, terminated, truncated, _ = self.session.step(self._action(int(number)))
        self._observation, self._reward = self._flat(observation), reward
        self._done = terminated or truncated
        return b""

    def _action(self, number: int) -> Any:
        space = self.session.action_space
        if isinstance(space, Discrete):
            return number + self._first_action
        parts = np.array(np.unravel_index(number, self.sizes), dtype=space.dtype)
        if isinstance(space, MultiDiscrete):
            parts = parts + space.start.ravel()
        return parts.reshape(space.shape).astype(space.dtype)

    def _flat(self, observation: Any) -> Vector:
        return np.asarray(flatten(self.session.observation_space, observation), np.float64)

    def _notice(self, reply: str) -> None:
        agent = reply.rpartition(".")[0]
        if not agent or agent == self._agent:
            return
        if self._agent and self.session.steps and not self._done:
            _LOG.warning(
                "%s: another agent has come in the middle of an episode; both act on one state",
                self.subjects.action,
            )
        self._agent = agent


def _numbering(space: Any, env_id: str) -> tuple[tuple[int, ...], int]:
    """How many values each component of an action has, and the first of a Discrete."""
    sizes: tuple[int, ...] = ()
    start = 0
    if isinstance(space, Discrete):
        sizes, start = (int(space.n),), int(space.start)
    elif isinstance(space, MultiDiscrete):
        sizes = tuple(int(n) for n in space.nvec.ravel())
    elif isinstance(space, MultiBinary):
        sizes = (2,) * math.prod(space.shape)
    if not sizes:
        raise SpaceError(
            f"{env_id}: this protocol numbers its actions, and {space} cannot be numbered; serve"
            " an environment with a Discrete, MultiDiscrete or MultiBinary action space"
        )
    if math.prod(sizes) > _MOST_ACTIONS:
        raise SpaceError(
            f"{env_id}: {space} makes {math.prod(sizes)} numbered actions; at most {_MOST_ACTIONS}"
            " are served"
        )
    return sizes, start
