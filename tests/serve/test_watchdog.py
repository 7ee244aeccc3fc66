"""An environment that was fast and then hangs in the event loop is interrupted."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable

import pytest

from gym_loop.serve.sessions import Session, Sessions
from gym_loop.serve.settings import ServerSettings
from gym_loop.serve.stepping import Runner
from gym_loop.serve.watchdog import Watchdog
from gym_loop.wire.problems import EnvFailed


def busy() -> None:
    while True:
        pass


def asleep() -> None:
    time.sleep(3600)


def waiting() -> None:
    threading.Event().wait()


@pytest.mark.parametrize("hang", [busy, asleep, waiting])
def test_a_hanging_step_in_the_loop_fails(hang: Callable[[], None]) -> None:
    async def test() -> None:
        settings = ServerSettings(longest_stall=0.2)
        runner = Runner(Sessions(settings), settings)
        session: Session = await runner.create("CartPole-v1")
        await runner.run(session, session.reset)
        while asyncio.isfuture(step := runner.run(session, session.step, 0)):
            await step
            session.env.reset()
        good, session._step = session._step, lambda action: hang()
        with pytest.raises(EnvFailed, match=r"did not return within 0\.2 s"):
            runner.run(session, session.step, 0)
        session._step = good
        session.env.reset()
        after = runner.run(session, session.step, 0)
        assert asyncio.isfuture(after)  # from now on in a thread
        assert (await after)[1] == 1.0
        assert await runner.close_all()

    before = signal.getsignal(signal.SIGALRM)
    asyncio.run(asyncio.wait_for(test(), 60))
    assert signal.getsignal(signal.SIGALRM) is before


def test_calls_that_return_are_left_alone() -> None:
    watchdog = Watchdog(0.05)
    try:
        for _ in range(10):
            watchdog.since = time.perf_counter()
            time.sleep(0.01)
            watchdog.since = None
        time.sleep(0.2)
    finally:
        watchdog.close()


def test_outside_the_main_thread_it_does_nothing() -> None:
    before = signal.getsignal(signal.SIGALRM)
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            Watchdog(0.01).close()
        except BaseException as error:  # noqa: BLE001 - a thread tells nobody
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert not errors
    assert signal.getsignal(signal.SIGALRM) is before
