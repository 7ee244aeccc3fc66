"""A process for one instance, whose environment may crash, hang or hold the interpreter."""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.connection import Connection
from typing import Any, Protocol

from gym_loop.envs.making import describe
from gym_loop.schema.printable import how_ended
from gym_loop.wire.problems import EnvFailed, Problem

_PATIENCE = 2.0  # seconds that a process has to end after its environment was closed
# A process that was forked from one with threads may inherit locks that nobody opens.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["gym_loop.serve.http_api", "gym_loop.serve.native_instances"])


class Copied(Protocol):
    """What has a copy in another process: an `Instance`."""

    SHARED: tuple[str, ...]
    TOLD: tuple[str, ...]
    env_id: str


class Isolated:
    """Runs the methods of an instance in a process that has a copy of it.

    Args:
        instance: nothing was called of it yet; data only, so that it can be sent. After each call
            it is told what `Instance.SHARED` names.
    """

    def __init__(self, instance: Copied) -> None:
        self._instance = instance
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, instance), daemon=True)
        try:
            self._process.start()
        except (AttributeError, TypeError, ValueError) as error:  # it cannot be pickled
            raise EnvFailed(
                f"environment {instance.env_id} cannot be isolated: {describe(error)}; name"
                " ``make`` by a class string"
            ) from error
        theirs.close()

    def run(self, method: str, *args: Any) -> Any:
        """Call a method there; blocks until it returns.

        Raises:
            Problem: it raised; or `EnvFailed`, the process is gone.
        """
        try:
            self._pipe.send((method, args))
            error, result, shared = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(_PATIENCE)
            status = self._process.exitcode
            raise EnvFailed(
                f"environment {self._instance.env_id} is lost: its process"
                f" {'is gone' if status is None else how_ended(status)}; make another instance"
            ) from None
        vars(self._instance).update(shared)
        if error is not None:
            raise error
        return result

    def kill(self) -> None:
        """End the process, whatever it does; the call under way fails."""
        self._process.kill()

    def close(self) -> None:
        """Close the environment and end the process."""
        try:
            self.run("close")
        except EnvFailed:
            pass  # it is gone already
        self._pipe.close()  # which ends its loop
        self._process.join(_PATIENCE)
        self._process.kill()


def _serve(pipe: Connection, instance: Copied) -> None:
    """In the process: do what is asked until nobody is left to ask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    while True:
        try:
            method, args = pipe.recv()
        except (EOFError, OSError):
            return
        error: Problem | None = None
        result = None
        try:
            result = getattr(instance, method)(*args)
        except Problem as problem:
            error = problem
        except BaseException as raised:  # noqa: BLE001 - ours; the server goes on
            error = EnvFailed(f"{method} failed: {describe(raised)}")
        names = instance.SHARED
        if method == "make" and error is None:
            names += instance.TOLD
        shared = {name: getattr(instance, name) for name in names}
        pipe.send((error, result, shared))
