"""Where the environments are called: fast ones in the event loop itself, slow ones in threads.

A call in the loop costs nothing beside the environment; a call in a thread costs some 15
microseconds and keeps the loop free. So an environment proves itself in a thread first; from
then on it is called in the loop, until a call is measured slow.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from gym_loop.serve.memory import memory_returner
from gym_loop.serve.sessions import Session, Sessions
from gym_loop.serve.settings import ServerSettings
from gym_loop.serve.statistics import Statistics
from gym_loop.serve.watchdog import Watchdog

SLOW = 0.002  # seconds: longer calls have no place in the loop
PROBATION = 8  # calls in a row that must not be slow
CLOSING = 5.0  # seconds that all environments together have to close
_STALL = 0.02  # seconds: a call in the loop that others have felt
_AGAIN = 32  # steps within which a second slow one is no accident of a busy machine
_FORGIVEN = 60.0  # seconds after which a stall counts no longer
_MOST_NEEDED = 4096
_SHARED_THREADS = 4  # for calls of environments that have no thread of their own
_PATIENCE = 0.1  # seconds after which a call in a shared thread no longer holds up others
_MANY = 200  # closed environments that leave memory worth giving back
_QUIET = 3.0  # seconds without a closing, after which that is done
_LOOKING_ON = "look"  # the name of functions that are no use of an environment
_NEVER_IN_LOOP = frozenset({"make", "render", "close", _LOOKING_ON})  # often slow at random


class Pending(NamedTuple):
    """A reply that an environment in a thread is still at work on.

    Args:
        future: of the environment's call.
        finish: makes the reply, once the future is done; raises what the protocol refuses with.
    """

    future: asyncio.Future[Any]
    finish: Callable[[], bytes]


class _Lane:
    """What the runner knows about one session."""

    __slots__ = (
        "busy",
        "credit",
        "needed",
        "own",
        "quick",
        "slow",
        "slow_step",
        "stalled_at",
        "waiting",
        "worker",
    )

    def __init__(self) -> None:
        self.quick: set[str] = set()  # functions that may be called in the loop
        self.slow: set[str] = set()  # functions that need a thread
        self.credit: dict[str, int] = {}  # by function: calls in a row that were not slow
        self.needed = PROBATION
        self.slow_step = -_AGAIN  # the session's last slow step in the loop
        self.stalled_at = -_FORGIVEN
        self.own = False  # has its worker for itself
        self.busy = False
        self.worker: _Worker | None = None
        self.waiting: deque[_Call] = deque()


class _Call:
    """One call, on its way through a thread."""

    __slots__ = ("args", "error", "function", "future", "queued", "result", "session", "took")

    def __init__(
        self,
        session: Session,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        future: asyncio.Future[Any],
    ) -> None:
        self.session, self.function, self.args, self.future = session, function, args, future
        self.queued = perf_counter()
        self.took = 0.0
        self.result: Any = None
        self.error: BaseException | None = None


class _Worker(threading.Thread):
    """A thread that calls what comes, and tells the loop. A daemon: an environment may hang."""

    def __init__(self, deliver: Callable[[_Worker, _Call], None]) -> None:
        super().__init__(name="gym-loop environment", daemon=True)
        self.inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self.shared_since: float | None = None  # when the call of a shared worker began
        self._deliver = deliver

    def run(self) -> None:
        while (call := self.inbox.get()) is not None:
            start = perf_counter()
            try:
                call.result = call.function(*call.args)
            except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
                call.error = error
            call.took = perf_counter() - start
            try:
                self._deliver(self, call)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return
            del call  # an idle thread must not keep the last result alive


class Runner:
    """Calls the functions of sessions, one at a time a session and in order.

    All methods are to be called in the event loop's thread. It lets threads switch more often
    than Python does by default, for the loop's sake.

    Args:
        sessions: it closes what they dispose of.
        settings: ``own_threads`` and ``longest_stall``.
        statistics: gets the time of every call, waiting included; None makes new ones.
        loop: the event loop; None is the running one.
    """

    def __init__(
        self,
        sessions: Sessions,
        settings: ServerSettings,
        statistics: Statistics | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.sessions = sessions
        self.statistics = statistics or Statistics(sessions)
        sessions.dispose = self._dispose
        self._loop = loop or asyncio.get_running_loop()
        self._own_threads = settings.own_threads
        # Made now and kept: what lives long must not lie between what comes and goes, or the
        # memory of thousands of closed environments can't be given back.
        self._give_back_memory = memory_returner()
        self._lasting = [self._new_worker() for _ in range(_SHARED_THREADS)]
        self._idle = list(self._lasting)
        self._closed = 0  # environments, since memory was given back
        self._tidies = False
        self._shared: set[_Worker] = set()  # busy ones
        self._queue: deque[Session] = deque()  # sessions that wait for a shared worker
        self._closing: set[asyncio.Future[Any]] = set()
        self._looks_again = False
        self._record = self.statistics.latency.add
        self._watchdog = Watchdog(settings.longest_stall)
        sys.setswitchinterval(min(sys.getswitchinterval(), 0.001))

    def run(
        self, session: Session, function: Callable[..., Any], *args: Any
    ) -> Any | asyncio.Future[Any]:
        """Call a function that uses the session's environment.

        Args:
            session: whose calls are kept in order.
            function: such as ``session.step``; functions of one name should take alike long.
            *args: for the function.

        Returns:
            What it returned (then what it raises is raised at once), or a future of it.
        """
        lane = session.lane
        # As `is_in_loop` says; here every step passes, and a call more can be measured.
        if lane is None or lane.busy or function.__name__ not in lane.quick:
            return self._enqueue(session, function, args)
        watchdog = self._watchdog
        watchdog.since = start = perf_counter()
        try:
            return function(*args)
        finally:
            watchdog.since = None
            took = perf_counter() - start
            self._record(took)
            if took > SLOW:
                self._leave_loop(session, lane, function.__name__, took)

    def is_in_loop(self, session: Session, function: Callable[..., Any]) -> bool:
        """Whether `run` would call it in the loop now, and return no future."""
        lane = session.lane
        return lane is not None and not lane.busy and function.__name__ in lane.quick

    def create(
        self, env_id: Any, seed: Any = None, kind: Callable[..., Session] = Session
    ) -> asyncio.Future[Session]:
        """Make an environment in a thread; see `Sessions.reserve` for what is raised at once."""
        session = self.sessions.reserve(env_id, seed, kind)
        future = self._enqueue(session, session.make, ())

        def undo(done: asyncio.Future[Session]) -> None:
            if done.cancelled() or done.exception() is not None:
                self.sessions.forget(session)
                self._dispose(session)

        future.add_done_callback(undo)
        return future

    async def close_all(self, patience: float | None = None) -> bool:
        """Close every environment, after the call that it is in.

        Args:
            patience: seconds to wait for them, by default 5; what hangs is left to the end of
                the process.

        Returns:
            Whether all are closed.
        """
        self._watchdog.close()
        self.sessions.close_all()
        if self._closing:
            await asyncio.wait(self._closing, timeout=CLOSING if patience is None else patience)
        while self._idle:
            self._idle.pop().inbox.put(None)
        return not self._closing

    # -- threads -------------------------------------------------------------------------

    def _enqueue(
        self, session: Session, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> asyncio.Future[Any]:
        lane = session.lane
        if lane is None:
            lane = session.lane = _Lane()
            lane.own = self._own_threads
        future = self._loop.create_future()
        lane.waiting.append(_Call(session, function, args, future))
        if not lane.busy:
            lane.busy = True
            self._hand_over(session)
        return future

    def _hand_over(self, session: Session) -> None:
        """Give the session's next call to a thread, as soon as there is one for it."""
        lane = session.lane
        if lane.own:
            if lane.worker is None:
                lane.worker = self._take_worker()
            lane.worker.inbox.put(lane.waiting.popleft())
        else:
            self._queue.append(session)
            self._serve_queue()

    def _serve_queue(self) -> None:
        """Hand the waiting sessions to shared threads; of those, some may hang for ever."""
        if not self._queue:
            return
        now = self._loop.time()
        free = _SHARED_THREADS - sum(
            now - (worker.shared_since or now) < _PATIENCE for worker in self._shared
        )
        while self._queue and free > 0:
            session = self._queue.popleft()
            worker = session.lane.worker = self._take_worker()
            worker.shared_since = now
            self._shared.add(worker)
            worker.inbox.put(session.lane.waiting.popleft())
            free -= 1
        if self._queue and not self._looks_again:
            self._looks_again = True
            self._loop.call_later(_PATIENCE / 2, self._look_again)

    def _look_again(self) -> None:
        self._looks_again = False
        self._serve_queue()

    def _take_worker(self) -> _Worker:
        return self._idle.pop() if self._idle else self._new_worker()

    def _new_worker(self) -> _Worker:
        worker = _Worker(self._deliver)
        worker.start()
        return worker

    def _deliver(self, worker: _Worker, call: _Call) -> None:
        self._loop.call_soon_threadsafe(self._finish, worker, call)

    def _finish(self, worker: _Worker, call: _Call) -> None:
        """Back in the loop: hand out the result, and go on with the session's next call."""
        session, name = call.session, call.function.__name__
        lane: _Lane = session.lane
        if name != _LOOKING_ON:
            session.touch()
            self._record(perf_counter() - call.queued)
        self._judge(session, lane, name, call.took)
        self._shared.discard(worker)
        if not lane.own:
            lane.worker = None
            self._put_back(worker)
        if not call.future.done():  # else who waited for it has gone
            if isinstance(call.error, StopIteration):  # which no future takes
                call.error = RuntimeError("StopIteration")
            if call.error is not None:
                call.future.set_exception(call.error)
            else:
                call.future.set_result(call.result)
        if lane.waiting:
            self._hand_over(session)
        else:
            lane.busy = False
            if session.closed:
                session.lane = None
        self._serve_queue()

    def _put_back(self, worker: _Worker) -> None:
        worker.shared_since = None
        if worker in self._lasting:
            self._idle.append(worker)
        else:
            worker.inbox.put(None)

    # -- where a session belongs ---------------------------------------------------------

    def _judge(self, session: Session, lane: _Lane, name: str, took: float) -> None:
        """After a call in a thread: keep the session there, or let it into the loop."""
        if session.closed:
            lane.own = False
        elif self._own_threads or session.rendered:
            lane.own = True  # what draws by OpenGL belongs to the thread that drew first
            lane.quick.clear()
        elif name in _NEVER_IN_LOOP:
            lane.own = lane.own or session.looked_at  # drawn here, and from now on nowhere else
        elif took > SLOW:
            lane.credit[name] = 0
            lane.slow.add(name)
            lane.own = True
        else:
            lane.credit[name] = lane.credit.get(name, 0) + 1
            if lane.credit[name] >= lane.needed:
                lane.quick.add(name)
                lane.slow.discard(name)
                lane.own = bool(lane.slow) or session.looked_at

    def _leave_loop(self, session: Session, lane: _Lane, name: str, took: float) -> None:
        """After a slow call in the loop: make the next ones in a thread, if it was no accident."""
        if took < _STALL and name == "step":
            last, lane.slow_step = lane.slow_step, session.steps
            if session.steps - last >= _AGAIN:
                return
        lane.quick.discard(name)
        lane.credit[name] = 0
        lane.slow.add(name)
        lane.own = True
        if took >= _STALL:  # whoever does it again has to prove itself for longer
            now = time.monotonic()
            recent = now - lane.stalled_at < _FORGIVEN
            lane.needed = min(lane.needed * 4, _MOST_NEEDED) if recent else PROBATION
            lane.stalled_at = now

    def _tidy(self, closed: int) -> None:
        """Give memory back, once no more environments are being closed."""
        if self._closed > closed:
            self._loop.call_later(_QUIET, self._tidy, self._closed)
        else:
            self._tidies, self._closed = False, 0
            self._give_back_memory()

    def _dispose(self, session: Session) -> None:
        """Close an environment in its thread, whenever its last call returns."""
        if session.env is None and (session.lane is None or not session.lane.busy):
            session.close()
            return
        self.sessions.lingering += 1
        future = self._enqueue(session, session.close, ())
        self._closing.add(future)

        def done(closed: asyncio.Future[Any]) -> None:
            self._closing.discard(closed)
            self.sessions.lingering -= 1
            self._closed += 1
            if self._closed >= _MANY and not self._tidies:
                self._tidies = True
                self._loop.call_later(_QUIET, self._tidy, self._closed)

        future.add_done_callback(done)
