"""The native protocol at ``/native``: the operations, from a message to its reply."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

from gym_loop.serve.instances import Instances
from gym_loop.serve.native_instances import NativeInstance, Proofs
from gym_loop.serve.native_requests import (
    BadRequest,
    Fields,
    WrongVersion,
    flag,
    make_request,
    only,
    reset_of,
    said,
)
from gym_loop.serve.settings import ServeSettings
from gym_loop.serve.websocket import Reply
from gym_loop.wire import native as codec
from gym_loop.wire.json_values import short
from gym_loop.wire.problems import Problem

_LOG = logging.getLogger("gym_loop.serve")
Result = asyncio.Future[bytes] | bytes


class NativeApi:
    """Answers one message after the other, whichever connection they come from.

    Args:
        instances: the environments.
        settings: limits, and what clients may ask for.
    """

    binary = True

    def __init__(self, instances: Instances, settings: ServeSettings) -> None:
        self._instances = instances
        self._settings = settings
        self._proofs = Proofs(instances.catalogue)
        self._operations: dict[str, Callable[[int, Fields], Result]] = {
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

    def answer(self, data: bytes) -> Reply:
        """Begin to answer a message; whatever is wrong with it, there is a reply."""
        number, size = codec.number_of(data), 0
        result: Result | Exception
        try:
            # A copy that can be written to: an environment may clip its action in place.
            number, fields = codec.read(bytearray(data))
            operation = self._operation(fields)
            if "instance" in fields:
                size = self._instance(fields).observation_bytes
            result = operation(number, fields)
        except Exception as error:  # noqa: BLE001 - bytes of a stranger: others go on
            result = error
        return Reply(result, partial(self._refused, number), size)

    def _refused(self, number: int, error: Exception) -> bytes:
        self._instances.statistics.error(error)
        if not isinstance(error, Problem):
            _LOG.error("a request failed", exc_info=error)
        return codec.write(number, {"error": said(error)})

    def _operation(self, fields: Fields) -> Callable[[int, Fields], Result]:
        op = fields.get("op")
        found = self._operations.get(op) if isinstance(op, str) else None
        if found is None:
            known = ", ".join(self._operations)
            raise BadRequest(f"op {short(op)} is no operation; known are {known}")
        return found

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
        return codec.write(number, {"env_ids": self._instances.catalogue.ids()})

    # -- the life of an environment --------------------------------------------------------------

    def _instance(self, fields: Fields) -> NativeInstance:
        return self._instances.get(fields.get("instance"), NativeInstance)

    def _make(self, number: int, fields: Fields) -> Result:
        request = make_request(fields, self._settings)
        kind = partial(NativeInstance, request=request, proofs=self._proofs)

        async def make() -> bytes:
            self._instances.check_copies(request.size)
            made = await self._instances.create(kind, request.env_id)
            return codec.write(number, made.description)

        return asyncio.ensure_future(make())

    def _step(self, number: int, fields: Fields) -> Result:
        instance = self._instance(fields)
        only(fields, "instance", "action")
        if "action" not in fields:
            raise BadRequest("step needs the field action")
        return instance.call(instance.answer_step, number, fields["action"])

    def _reset(self, number: int, fields: Fields) -> Result:
        instance = self._instance(fields)
        wanted = reset_of(fields, instance.request.num_envs)
        return instance.call(instance.answer_reset, number, wanted)

    def _render(self, number: int, fields: Fields) -> Result:
        only(fields, "instance", "jpeg")
        instance = self._instance(fields)
        return instance.call(instance.answer_render, number, flag(fields, "jpeg"))

    def _get_state(self, number: int, fields: Fields) -> Result:
        only(fields, "instance")
        instance = self._instance(fields)
        return instance.call(instance.answer_get_state, number)

    def _set_state(self, number: int, fields: Fields) -> Result:
        only(fields, "instance", "state")
        instance = self._instance(fields)
        return instance.call(instance.answer_set_state, number, fields.get("state"))

    def _close(self, number: int, fields: Fields) -> Result:
        only(fields, "instance")
        self._instances.close(self._instance(fields))
        return codec.write(number, {})
