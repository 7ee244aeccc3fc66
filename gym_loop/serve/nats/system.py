"""One environment as the system that gym-nats expects: six subjects, one state."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Discrete, MultiBinary, MultiDiscrete
from gymnasium.spaces.utils import flatdim, flatten

from gym_loop.envs.making import describe
from gym_loop.envs.remote.nats_client import ERROR_HEADER, INBOXES
from gym_loop.errors import BridgeError, SpaceError
from gym_loop.serve.served_env import ServedEnv
from gym_loop.wire.gym_nats import (
    ORDERED_HEADER,
    TRUNCATED_HEADER,
    Vector,
    decode,
    encode,
    encode_number,
    subjects,
)
from gym_loop.wire.nats import Message
from gym_loop.wire.problems import EnvFailed, Problem, ResetNeeded, WrongAction

_LOG = logging.getLogger("gym_loop.serve.nats")
_REMEMBERED = 16  # answers, in case the request is repeated after a lost connection
_MOST_ACTIONS = 1 << 16
_KNOWN = 256  # actions that are recognised without decoding


class Reply(NamedTuple):
    """What answers a request."""

    payload: bytes = b""
    headers: Mapping[str, str] | None = None


class System:
    """Answers the requests of an agent.

    The observation is flattened as `gymnasium.spaces.flatten` does: Box in C order, Discrete as
    one-hot. Actions are numbered from 0: Discrete from its start, MultiDiscrete and MultiBinary
    as one number in mixed radix, its first component the most significant.

    There is one state. Requests are served in the order in which they come, whoever sends them:
    two agents act on one episode, which the log says. A request that cannot be fulfilled changes
    nothing; its reply is empty, with the reason in a header.

    Args:
        env: the environment, made.
        prefix: before the subjects.

    Raises:
        SpaceError: the actions cannot be numbered, or the observation not flattened.
    """

    def __init__(self, env: ServedEnv, prefix: str = "") -> None:
        self.env = env
        self.subjects = subjects(prefix)
        self.sizes, self._first_action = _numbering(env.action_space, env.env_id)
        self.actions = math.prod(self.sizes)
        try:
            self.size = int(flatdim(env.observation_space))
        except (NotImplementedError, ValueError):
            raise SpaceError(
                f"{env.env_id}: observations of {env.observation_space} have no fixed"
                " length, which this protocol needs; wrap the environment"
            ) from None
        # Arrays are made anew each time: an environment may keep what it is given.
        plain = min(self.actions, _KNOWN) if isinstance(env.action_space, Discrete) else 0
        self._known = {encode_number(number): self._action(number) for number in range(plain)}
        self._observation = np.zeros(self.size)
        self._reward = 0.0
        self._over = self._truncated = self._begun = False
        self._agent = ""
        self._answered: OrderedDict[str, Reply] = OrderedDict()
        self.bad_requests = 0
        self.intrusions = 0  # another agent in the middle of an episode
        names = self.subjects
        self._handlers: dict[str, Callable[[bytes], Reply]] = {
            names.update: lambda _: Reply(encode(self._observation)),
            names.reward: lambda _: Reply(encode_number(self._reward)),
            names.done: self._done,
            names.actions: lambda _: Reply(
                encode(np.arange(self.actions, dtype=np.float64)), {ORDERED_HEADER: "true"}
            ),
            names.reset: self._reset,
            names.action: self._act,
        }

    @property
    def largest_payload(self) -> int:
        """The longest reply in bytes."""
        return (8 * max(self.size, self.actions) + 2) // 3 * 4

    def begin(self) -> None:
        """Begin an episode, so that there is an observation before the first reset."""
        observation, _info = self.env.reset()
        self._observation, self._reward = self._flat(observation), 0.0
        self._over = self._truncated = False

    def answer(self, message: Message) -> Reply:
        """Do what a request wants, or say why not."""
        names, reply_to = self.subjects, message.reply
        changes = message.subject in (names.action, names.reset)
        # Only our own client repeats a request; another's inbox may be the same for all of them.
        repeatable = changes and reply_to.startswith(INBOXES)
        if repeatable and reply_to in self._answered:
            return self._answered[reply_to]
        under_way = self._begun and not self._over
        try:
            reply = self._handlers[message.subject](message.payload)
            if changes:
                self._notice(reply_to, under_way)
        except (Problem, BridgeError) as error:
            self._log_rarely(self._count_bad(), f"{message.subject} refused: {error}")
            reply = Reply(headers={ERROR_HEADER: " ".join(str(error).split())})
        if repeatable:
            self._answered[reply_to] = reply
            if len(self._answered) > _REMEMBERED:
                self._answered.popitem(last=False)
        return reply

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _done(self, _: bytes) -> Reply:
        headers = {TRUNCATED_HEADER: "true"} if self._truncated else None
        return Reply(encode_number(1.0 if self._over else -1.0), headers)

    def _reset(self, _: bytes) -> Reply:
        self._over = self._begun = True  # until the new episode is there
        self.begin()
        return Reply()

    def _act(self, payload: bytes) -> Reply:
        names = self.subjects
        action = self._known.get(payload)
        if action is None:
            number = float(decode(payload, names.action, 1)[0])
            if not (number.is_integer() and 0 <= number < self.actions):
                raise WrongAction(f"{number:g} is no action; use 0 to {self.actions - 1}")
            action = self._action(int(number))
        # Also after a restart of this system: the agent's episode ended with the old one.
        if self._over or not self._begun:
            raise ResetNeeded(f"there is no episode under way; send {names.reset} first")
        try:
            result = self.env.step(action)
        except EnvFailed:
            self._over, self._reward = True, 0.0
            raise
        observation, self._reward, terminated, truncated, _info = result
        self._observation = self._flat(observation)
        self._over, self._truncated = terminated or truncated, truncated and not terminated
        return Reply()

    def _action(self, number: int) -> Any:
        space = self.env.action_space
        if isinstance(space, Discrete):
            return number + self._first_action
        parts = np.array(np.unravel_index(number, self.sizes), dtype=space.dtype)
        if isinstance(space, MultiDiscrete):
            parts = parts + space.start.ravel()
        return parts.reshape(space.shape).astype(space.dtype)

    def _flat(self, observation: Any) -> Vector:
        try:
            flat = np.asarray(flatten(self.env.observation_space, observation), np.float64)
        except Exception as error:
            raise self._misfit(describe(error)) from error
        if flat.shape != (self.size,):
            raise self._misfit(f"it makes {flat.size} numbers")
        return flat

    def _misfit(self, why: str) -> EnvFailed:
        self._over, self._reward = True, 0.0
        return EnvFailed(
            f"environment {self.env.env_id} returned an observation that does not fit its"
            f" space {self.env.observation_space}: {why}"
        )

    def _notice(self, reply: str, under_way: bool) -> None:
        agent = reply.rpartition(".")[0]
        if not agent or agent == self._agent:
            return
        if self._agent and under_way:
            self.intrusions += 1
            self._log_rarely(
                self.intrusions,
                f"{self.subjects.action}: another agent came in the middle of an episode; both act"
                " on one state",
            )
        self._agent = agent

    def _count_bad(self) -> int:
        self.bad_requests += 1
        return self.bad_requests

    def _log_rarely(self, times: int, said: str) -> None:
        # Each would fill a disk; the powers of two show that it goes on.
        if times & (times - 1) == 0:
            _LOG.warning("%s (%d so far)", said, times)


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
