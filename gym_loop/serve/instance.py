"""An environment of a client, in a thread of its own and where it is wanted in a process."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from gym_loop.serve.catalogue import Catalogue
from gym_loop.serve.isolation import Isolated
from gym_loop.serve.served_env import ServedEnv
from gym_loop.wire.pictures import JpegEncoder, as_rgb
from gym_loop.wire.problems import EnvFailed

Report = Callable[["Call", Any, BaseException | None], None]


class Call(NamedTuple):
    """One call, on its way through a thread."""

    future: asyncio.Future[Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]
    asked: float  # by `perf_counter`
    is_use: bool  # by a client, not by somebody who looks on


class EnvThread:
    """A thread that calls functions one after the other; what they return comes to the event loop.

    Python's threads cannot be ended: a function that hangs keeps its thread until the process ends.

    Args:
        report: called in the thread with each call, its result and its error.
    """

    def __init__(self, report: Report) -> None:
        self.began: float | None = None  # when the call under way began, by `perf_counter`
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._report = report
        threading.Thread(target=self._run, name="gym-loop environment", daemon=True).start()

    def put(self, call: Call) -> None:
        """Have a function called after those before it."""
        self._calls.put(call)

    def end(self) -> None:
        """End after the calls that were put."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            result: Any = None
            error: BaseException | None = None
            # A call that was given up is not made; one whose client has only gone is.
            if call.future.cancelled() or not call.future.done():
                self.began = perf_counter()
                try:
                    result = call.function(*call.args)
                except BaseException as raised:  # noqa: BLE001 - raised where it is awaited
                    error = raised
                self.began = None
            try:
                self._report(call, result, error)
            except RuntimeError:  # the event loop is closed: nobody waits any more
                return
            del call, result, error  # an idle thread must not keep the last result alive


class Instance(ServedEnv):
    """An environment that clients use by its id; each protocol has a class of its own.

    All but what `call` is given is for the event loop's thread.

    Attributes:
        SHARED: attributes that an isolated copy tells after each call.
        TOLD: those that it tells once it is made.
    """

    SHARED: tuple[str, ...] = ("steps", "resets", "episodes", "episode_return", "reset_done")
    TOLD: tuple[str, ...] = ("observation_bytes", "draws")

    def __init__(
        self, instance_id: str, env_id: str, catalogue: Catalogue, seed: int | None = None
    ) -> None:
        super().__init__(instance_id, env_id, catalogue, seed)
        self._encoder = JpegEncoder()
        self._be_here()

    def _be_here(self) -> None:
        """Set what a copy in another process has not."""
        self.last_used = time.monotonic()
        self.made = False
        self.size = 1  # environments, copies counted
        self._thread: EnvThread | None = None
        self._under_way: deque[asyncio.Future[Any]] = deque()
        self._stuck: EnvFailed | None = None  # after a call took too long, until it returns
        self._isolate = False
        self._isolated: Isolated | None = None

    def __getstate__(self) -> dict[str, Any]:
        here = ("_thread", "_under_way", "_stuck", "_isolate", "_isolated")
        return {name: value for name, value in vars(self).items() if name not in here}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._be_here()
        vars(self).update(state)

    def begin(self, report: Report, *, isolate: bool) -> None:
        """Start the thread; see `EnvThread` for the first argument, `Isolated` for the second."""
        self._isolate = isolate
        self._thread = EnvThread(report)

    def call(self, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Call a function in the environment's thread, after those that were called before."""
        return self._put(True, function, args)

    def look(self, function: Callable[..., Any]) -> asyncio.Future[Any]:
        """Call a function for somebody who only looks on: the lease runs on."""
        return self._put(False, function, ())

    def _put(
        self, is_use: bool, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> asyncio.Future[Any]:
        assert self._thread is not None
        future = asyncio.get_running_loop().create_future()
        if self._stuck is not None and function != self.close:
            future.set_exception(self._stuck)
            return future
        if self._isolate:
            function, args = self._call_elsewhere, (function.__name__, *args)
        self._under_way.append(future)
        self._thread.put(Call(future, function, args, perf_counter(), is_use))
        return future

    def _call_elsewhere(self, method: str, *args: Any) -> Any:
        """In the thread: have a method called in the process that the instance has for itself."""
        if method == "close":
            return self._isolated.close() if self._isolated is not None else None
        if self._isolated is None:
            self._isolated = Isolated(self)
        return self._isolated.run(method, *args)

    def picture(self) -> tuple[str, bytes] | None:
        """In the thread: which state of the environment is seen, and a JPEG file of it.

        Raises:
            EnvFailed: it cannot be drawn.
        """
        frame = self.render() if self.reset_done else None
        if frame is None:
            return None
        try:
            return self.state, self._encoder.encode(as_rgb(frame))
        except ValueError as error:
            raise EnvFailed(f"environment {self.env_id}: {error}") from None

    @property
    def state(self) -> str:
        """Another one after each reset and each step."""
        return f"{self.resets}-{self.steps}"

    def returned(self, result: Any, error: BaseException | None) -> None:
        """The call that was made first has returned."""
        future = self._under_way.popleft()
        if not self._under_way:
            self._stuck = None
        if future.done():  # nobody waits for it any more
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def give_up_after(self, seconds: float) -> None:
        """Fail the calls of an environment that has not returned from one for so long."""
        began = self._thread.began if self._thread is not None else None
        if not self.made or began is None or perf_counter() - began < seconds:
            return
        self._stuck = EnvFailed(
            f"environment {self.env_id} has not returned for {seconds:g} s (step_timeout)"
            + ("" if self._isolate else "; the instance is of use again once it does")
        )
        for future in self._under_way:
            if not future.done():
                future.set_exception(self._stuck)
        if self._isolated is not None:  # nothing else ends it
            self._isolated.kill()

    def is_idle_since(self, moment: float) -> bool:
        """Whether nobody has used it since then, by `time.monotonic`, or waits for it now."""
        waits = bool(self._under_way) and self._stuck is None
        return self.last_used < moment and not waits

    def end(self) -> None:
        """End the thread after the calls that were put."""
        if self._thread is not None:
            self._thread.end()
