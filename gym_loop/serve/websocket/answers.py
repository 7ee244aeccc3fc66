"""gymie's methods on the server's sessions: from a message to the reply, now or later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from gym_loop.serve.sessions import Session, Sessions
from gym_loop.serve.stepping import Pending, Runner
from gym_loop.serve.websocket.held import Held, ProcessStep
from gym_loop.wire import gymie as codec
from gym_loop.wire.gymie import Params, Refusal
from gym_loop.wire.problems import Problem, UnknownInstance

_LOG = logging.getLogger("gym_loop.envs.remote")


class Answers:
    """Answers one message after the other, whichever connection they come from.

    Args:
        sessions: the environments.
        runner: calls them.
        process_step: the operator's hook, None for the protocol's own four values.
    """

    def __init__(
        self, sessions: Sessions, runner: Runner, process_step: ProcessStep | None = None
    ) -> None:
        self._sessions = sessions
        self._runner = runner
        self._process_step = process_step
        self._statistics = runner.statistics

    def __call__(self, data: bytes) -> bytes | Pending:
        """Answer a message.

        Args:
            data: what a text or a binary frame held.

        Raises:
            Refusal: the connection is to be closed.
        """
        params: Params = {}
        try:
            method, params = codec.read_request(data)
            if method == "make":
                return self._make(params)
            session = self._sessions.get(params["instance_id"])
            held = session.kept
            if not isinstance(held, Held):
                raise UnknownInstance("it is still being made, or another protocol's")
            if method == "step":
                result = self._runner.run(session, held.step, params)
            elif method == "close":
                self._sessions.close(session.instance_id)
                return b"true"
            else:
                result = self._runner.run(session, _CALLS[method](held))
            if type(result) is bytes:
                return result
            return Pending(result, lambda: self._finished(result, params))
        except Exception as error:  # noqa: BLE001 - an environment's or ours: others go on
            raise self._refused(error, params) from None

    def _make(self, params: Params) -> Pending:
        future = self._runner.create(params["env_id"], params.get("seed"))
        return Pending(future, lambda: self._made(future, params))

    def _made(self, future: asyncio.Future[Session], params: Params) -> bytes:
        session = self._finished(future, params)
        try:
            session.kept = Held(session, self._process_step)
        except Exception as error:  # noqa: BLE001 - a space may be of any class
            self._sessions.close(session.instance_id)
            raise self._refused(error, params) from None
        return bytes(session.instance_id, "ascii")

    def _finished(self, future: asyncio.Future[Any], params: Params) -> Any:
        try:
            return future.result()
        except Exception as error:  # noqa: BLE001 - as above
            raise self._refused(error, params) from None

    def _refused(self, error: Exception, params: Params) -> Refusal:
        self._statistics.error(error)
        if not isinstance(error, Problem):
            _LOG.error("a request failed", exc_info=error)
        return codec.refusal(error, params)


_CALLS: dict[str, Callable[[Held], Callable[[], bytes]]] = {
    "reset": lambda held: held.reset,
    "observation_space": lambda held: held.observation_space,
    "action_space": lambda held: held.action_space,
    "action_sample": lambda held: held.sample,
}
