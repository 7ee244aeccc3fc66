"""The requests of native clients on the server's sessions: from a message to its reply.

It knows no transport: whoever has received a message calls it, and sends what it returns.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from importlib.metadata import version
from typing import Any

from gym_loop.errors import SpaceError
from gym_loop.serve.native.awake import Awake
from gym_loop.serve.native.held import Held
from gym_loop.serve.native.instance import Instance
from gym_loop.serve.native.making import MODES, Proofs
from gym_loop.serve.native.problems import BadRequest, WrongVersion, said
from gym_loop.serve.native.requests import Fields, flag, only, reset_of, wish_of
from gym_loop.serve.native.settings import NativeSettings
from gym_loop.serve.sessions import Session, Sessions
from gym_loop.serve.stepping import Pending, Runner
from gym_loop.wire import native as codec
from gym_loop.wire.json_values import Style, short
from gym_loop.wire.problems import EnvFailed, Problem, TooManyInstances, UnknownInstance
from gym_loop.wire.spaces import space_to_json

_LOG = logging.getLogger("gym_loop.envs.remote")
_MODE_NAMES = {mode: name for name, mode in MODES.items()}


class Service:
    """Answers one message after the other, whichever client they come from.

    Args:
        sessions: the environments.
        runner: calls them.
        settings: limits, and what clients may ask for.
    """

    def __init__(self, sessions: Sessions, runner: Runner, settings: NativeSettings) -> None:
        self._sessions = sessions
        self._runner = runner
        self._settings = settings
        self._statistics = runner.statistics
        self._proofs = Proofs(sessions.catalogue)
        self._awake = Awake()
        self._operations = {
            "step": self._step,
            "hello": self._hello,
            "ping": self._ping,
            "list": self._list,
            "make": self._make,
            "reset": self._reset,
            "render": self._render,
            "get_state": self._get_state,
            "set_state": self._set_state,
            "close": self._close,
        }

    def __call__(self, data: Any) -> bytes | Pending:
        """Answer a message; whatever is wrong with it, there is a reply."""
        self._awake.asked()
        reply = self._answer(data)
        self._awake.answered()
        return reply

    def _answer(self, data: Any) -> bytes | Pending:
        try:
            # A copy that can be written to: an environment may clip its action in place.
            number, fields = codec.read(bytearray(data))
        except Exception as error:  # noqa: BLE001 - bytes of a stranger: others go on
            return self._refused(codec.number_of(data), error)
        try:
            result = self._operation(fields)(number, fields)
        except Exception as error:  # noqa: BLE001 - an environment's or ours: others go on
            return self._refused(number, error)
        if type(result) is bytes:
            return result
        if isinstance(result, Pending):
            return result
        return Pending(result, partial(self._finished, number, result))

    def _operation(self, fields: Fields) -> Any:
        op = fields.get("op")
        found = self._operations.get(op) if type(op) is str else None
        if found is None:
            known = ", ".join(self._operations)
            raise BadRequest(f"op {short(op)} is no operation; known are {known}")
        return found

    def _step(self, number: int, fields: Fields) -> Any:
        session, held = self._held(fields)
        if len(fields) != 3 or "action" not in fields:
            only(fields, "instance", "action")
            raise BadRequest("step needs the field action")
        return self._runner.run(session, held.step, number, fields["action"])

    def _held(self, fields: Fields) -> tuple[Instance, Held]:
        instance = fields.get("instance")
        session = self._sessions.get(instance)
        held = session.kept
        if not isinstance(session, Instance) or not isinstance(held, Held):
            raise UnknownInstance(f"instance {short(instance)} is still being made")
        return session, held

    # -- what needs no environment -------------------------------------------------------------

    def _hello(self, number: int, fields: Fields) -> bytes:
        only(fields, "version")
        wanted = fields.get("version", codec.VERSION)
        if type(wanted) is not int or wanted != codec.VERSION:
            raise WrongVersion(f"this server speaks version {codec.VERSION}, not {short(wanted)}")
        reply = {
            "protocol": "gym-loop native",
            "version": codec.VERSION,
            "server": f"gym-loop {version('gym-loop')}",
            "max_message_bytes": self._settings.max_message_bytes,
            "max_envs": self._settings.max_envs,
        }
        return codec.write(number, reply)

    def _ping(self, number: int, fields: Fields) -> bytes:
        only(fields)
        return codec.write(number, {})

    def _list(self, number: int, fields: Fields) -> bytes:
        only(fields)
        return codec.write(number, {"env_ids": self._sessions.catalogue.ids()})

    # -- the life of an environment --------------------------------------------------------------

    def _make(self, number: int, fields: Fields) -> Pending:
        wish = wish_of(fields, self._settings)
        self._check_room(wish.size)
        kind = partial(Instance, wish=wish, proofs=self._proofs)
        future = self._runner.create(wish.env_id, None, kind)
        return Pending(future, partial(self._made, number, future))

    def _check_room(self, more: int) -> None:
        most = self._settings.max_envs
        if more + self._open() > most:
            self._sessions.expire()
        if (now := self._open()) + more > most:
            raise TooManyInstances(
                f"{now} environments of {most} are open: there is no room for {more} more"
            )

    def _open(self) -> int:
        sessions = self._sessions.all()
        return sum(one.wish.size for one in sessions if isinstance(one, Instance))

    def _made(self, number: int, future: asyncio.Future[Session]) -> bytes:
        try:
            session = future.result()
            assert isinstance(session, Instance)
            try:
                reply = codec.write(number, _described(session))
            except BaseException:
                self._sessions.close(session.instance_id)
                raise
        except Exception as error:  # noqa: BLE001 - an environment's or ours: others go on
            return self._refused(number, error)
        session.kept = Held(session)
        return reply

    def _reset(self, number: int, fields: Fields) -> Any:
        session, held = self._held(fields)
        wanted = reset_of(fields, session.wish.num_envs)
        return self._runner.run(session, held.reset, number, wanted)

    def _render(self, number: int, fields: Fields) -> Any:
        only(fields, "instance", "jpeg")
        session, held = self._held(fields)
        return self._runner.run(session, held.render, number, flag(fields, "jpeg"))

    def _get_state(self, number: int, fields: Fields) -> Any:
        only(fields, "instance")
        session, held = self._held(fields)
        return self._runner.run(session, held.get_state, number)

    def _set_state(self, number: int, fields: Fields) -> Any:
        only(fields, "instance", "state")
        session, held = self._held(fields)
        return self._runner.run(session, held.set_state, number, fields.get("state"))

    def _close(self, number: int, fields: Fields) -> bytes:
        only(fields, "instance")
        session, _ = self._held(fields)
        self._sessions.close(session.instance_id)
        return codec.write(number, {})

    # -- replies ---------------------------------------------------------------------------------

    def _finished(self, number: int, future: asyncio.Future[Any]) -> bytes:
        try:
            reply: bytes = future.result()
        except Exception as error:  # noqa: BLE001 - an environment's or ours: others go on
            return self._refused(number, error)
        return reply

    def _refused(self, number: int, error: Exception) -> bytes:
        self._statistics.error(error)
        if not isinstance(error, Problem):
            _LOG.error("a request failed", exc_info=error)
        return codec.write(number, {"error": said(error)})


def _described(session: Instance) -> Fields:
    """What a client is told of a fresh environment."""
    env, verdict, many = session.env, session.verdict, session.wish.num_envs is not None
    metadata = getattr(env, "metadata", None) or {}
    prefix = "single_" if many else ""
    try:
        spaces = {
            name: space_to_json(getattr(env, f"{prefix}{name}"), style=Style.EXACT)
            for name in ("observation_space", "action_space")
        }
    except SpaceError as error:
        raise EnvFailed(f"environment {session.env_id}: {error}") from None
    return {
        "instance": session.instance_id,
        **spaces,
        "num_envs": session.wish.num_envs,
        "autoreset": _MODE_NAMES.get(metadata.get("autoreset_mode")) if many else None,
        "render_fps": metadata.get("render_fps"),
        "state": None if verdict is None else {"exact": verdict.exact, "reason": verdict.reason},
    }
