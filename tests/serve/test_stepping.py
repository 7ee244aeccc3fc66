"""Fast environments in the loop, slow ones in threads, and nobody waits for another."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gym_loop.serve.sessions import Session, Sessions
from gym_loop.serve.settings import ServerSettings
from gym_loop.serve.statistics import Statistics
from gym_loop.serve.stepping import PROBATION, Runner
from gym_loop.wire.problems import EnvFailed, ResetNeeded, TooManyInstances, UnknownEnvId
from tests.serve import bad_envs


@pytest.fixture(autouse=True)
def environments() -> Iterator[None]:
    bad_envs.register()
    bad_envs.RELEASE.clear()
    yield
    bad_envs.RELEASE.set()


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Runner]:
    settings = ServerSettings(**options)
    runner = Runner(Sessions(settings), settings)
    yield runner
    await runner.close_all(0.2)


async def call(runner: Runner, session: Session, function: Callable[..., Any], *args: Any) -> Any:
    result = runner.run(session, function, *args)
    return await result if asyncio.isfuture(result) else result


async def proved(runner: Runner, env_id: str = "Scripted-v0") -> Session:
    """A session whose steps are made in the loop."""
    session = await runner.create(env_id)
    await call(runner, session, session.reset)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        result = runner.run(session, session.step, 0)
        if not asyncio.isfuture(result):
            return session
        *_, terminated, truncated, _ = await result
        if terminated or truncated:  # a busy machine needs more than an episode
            await call(runner, session, session.reset)
    raise AssertionError("it never came into the loop")


def run(test: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def where() -> str:
    return threading.current_thread().name


def test_an_environment_proves_itself_in_a_thread() -> None:
    async def test() -> None:
        async with running() as runner:
            session = await runner.create("Scripted-v0")
            first = runner.run(session, session.reset)
            assert asyncio.isfuture(first)
            await first
            for _ in range(PROBATION):
                future = runner.run(session, where)
                assert await future == "gym-loop environment"
            assert runner.run(session, where) == "MainThread"
            # Another function has to prove itself anew.
            assert (await runner.run(session, session.step, 0))[1] == 1.0

    run(test())


def test_calls_of_one_session_keep_their_order() -> None:
    async def test() -> None:
        async with running() as runner:
            session = await proved(runner)
            order: list[str] = []

            def slow_render() -> None:
                time.sleep(0.05)
                order.append("render")

            slow_render.__name__ = "render"
            waiting = runner.run(session, slow_render)
            steps = [runner.run(session, session.step, 0) for _ in range(3)]
            assert all(asyncio.isfuture(one) for one in steps)
            reset = runner.run(session, session.reset)
            for one in (waiting, *steps, reset):
                one.add_done_callback(lambda done: order.append(str(id(done))))
            await reset
            await asyncio.sleep(0)
            assert order == ["render", *(str(id(one)) for one in (waiting, *steps, reset))]

    run(test())


@pytest.mark.parametrize("env_id", ["Slow-v0", "Busy-v0"])
def test_one_long_step_stalls_nobody(env_id: str) -> None:
    async def test() -> None:
        async with running() as runner:
            slow, quick = await runner.create(env_id), await proved(runner)
            await call(runner, slow, slow.reset)
            long_step = runner.run(slow, slow.step, 0)
            times = []
            while not long_step.done():
                start = time.perf_counter()
                await call(runner, quick, quick.step, 0)
                await asyncio.sleep(0)
                times.append(time.perf_counter() - start)
            assert (await long_step)[1] == 1.0
            assert len(times) > 20

    run(test())


def test_what_becomes_slow_leaves_the_loop() -> None:
    async def test() -> None:
        async with running() as runner:
            session = await proved(runner, "BecomingSlow-v0")
            while session.env.unwrapped.count < 50:
                await call(runner, session, session.step, 0)
            await call(runner, session, session.step, 0)
            future = runner.run(session, session.step, 0)
            assert asyncio.isfuture(future)
            await future
            session.env.unwrapped.count = -1000  # quick again: after a while it may come back
            assert await call(runner, session, session.step, 0)

    run(test())


def test_an_environment_may_have_its_own_thread() -> None:
    async def test() -> None:
        async with running(own_threads=True) as runner:
            one, other = [await runner.create("Scripted-v0") for _ in range(2)]
            seen: dict[str, set[int]] = {"one": set(), "other": set()}
            for _ in range(3 * PROBATION):
                seen["one"].add(await runner.run(one, threading.get_ident))
                seen["other"].add(await runner.run(other, threading.get_ident))
            assert len(seen["one"]) == len(seen["other"]) == 1
            assert seen["one"] != seen["other"]

    run(test())


def test_what_was_rendered_stays_in_its_thread() -> None:
    async def test() -> None:
        async with running() as runner:
            session = await proved(runner, "CartPole-v1")
            await runner.run(session, session.reset)
            assert (await runner.run(session, session.render)).shape == (400, 600, 3)
            threads = {await runner.run(session, threading.get_ident) for _ in range(20)}
            assert len(threads) == 1
            assert threading.get_ident() not in threads

    run(test())


def test_errors_reach_who_asked() -> None:
    async def test() -> None:
        async with running() as runner:
            with pytest.raises(UnknownEnvId):
                runner.create("Nothing-v0")
            with pytest.raises(EnvFailed, match="the engine is missing"):
                await runner.create("Unmakeable-v0")
            assert len(runner.sessions) == 0
            session = await runner.create("Raising-v0")
            with pytest.raises(ResetNeeded):
                await runner.run(session, session.step, 0)
            await call(runner, session, session.reset)
            for _ in range(2):
                await call(runner, session, session.step, 0)
            with pytest.raises(EnvFailed):
                await call(runner, session, session.step, 0)

            def stop() -> None:
                raise StopIteration

            with pytest.raises(RuntimeError, match="StopIteration"):
                await runner.run(session, stop)

    run(test())


def test_errors_in_the_loop_are_raised_at_once() -> None:
    async def test() -> None:
        async with running() as runner:
            session = await proved(runner)
            session.env = None
            session._step = lambda action: 1 / 0
            with pytest.raises(EnvFailed, match="ZeroDivisionError"):
                runner.run(session, session.step, 0)

    run(test())


def test_a_hanging_environment_harms_nobody() -> None:
    async def test() -> None:
        async with running(max_instances=20) as runner:
            hanging = [await runner.create("Hanging-v0") for _ in range(6)]
            stuck = []
            for session in hanging:
                await call(runner, session, session.reset)
                await call(runner, session, session.step, 0)
                stuck.append(runner.run(session, session.step, 0))
            quick = await proved(runner)
            for session in hanging:
                runner.sessions.close(session.instance_id)
            assert runner.sessions.all() == [quick]
            assert runner.sessions.lingering == 6
            assert not any(future.done() for future in stuck)
            assert await runner.close_all(0.1) is False
            bad_envs.RELEASE.set()
            await asyncio.wait_for(asyncio.gather(*stuck), 10)
            while runner.sessions.lingering:
                await asyncio.sleep(0.01)
            assert all(session.closed for session in hanging)

    run(test())


def test_hanging_environments_are_not_without_number() -> None:
    async def test() -> None:
        async with running(max_instances=2) as runner:
            for _ in range(2):
                session = await runner.create("HangingClose-v0")
                runner.sessions.close(session.instance_id)
            with pytest.raises(TooManyInstances):
                runner.create("Scripted-v0")

    run(test())


def test_a_client_that_has_gone_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with running() as runner:
            runner.create("Scripted-v0").cancel()
            while len(runner.sessions) or runner.sessions.lingering:
                await asyncio.sleep(0.01)
            session = await runner.create("Scripted-v0")
            runner.run(session, session.reset).cancel()
            assert (await runner.run(session, session.step, 0))[1] == 1.0

    run(test())


def test_threads_end() -> None:
    def ours() -> int:
        return sum(one.name == "gym-loop environment" for one in threading.enumerate())

    async def test() -> None:
        async with running(max_instances=300) as runner:
            sessions = await asyncio.gather(*(runner.create("Scripted-v0") for _ in range(200)))
            await asyncio.gather(*(runner.run(one, one.reset) for one in sessions))
            assert ours() <= before + 8
            assert await runner.close_all() is True
        while ours() > before:
            await asyncio.sleep(0.01)

    before = ours()
    run(test())


def test_the_step_under_way_is_finished() -> None:
    async def test() -> None:
        async with running() as runner:
            session = await runner.create("Slow-v0")
            await call(runner, session, session.reset)
            step = runner.run(session, session.step, 0)
            assert await runner.close_all() is True
            assert step.result()[1] == 1.0
            assert session.closed

    run(test())


def test_statistics() -> None:
    async def test() -> None:
        async with running() as runner:
            session = await proved(runner)
            for _ in range(100):
                await call(runner, session, session.step, 0)
            statistics: Statistics = runner.statistics
            statistics.error(EnvFailed("x"))
            told = statistics.as_dict()
            assert told["instances"] == told["instances_made"] == 1
            assert told["steps"] == session.steps > 100
            assert told["calls"] == session.steps + 2  # make and reset
            assert told["episodes"] == session.episodes
            assert told["errors"] == {"EnvFailed": 1}
            latency = told["latency_ms"]
            assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]

    run(test())


def test_who_looks_on_has_a_thread_and_leaves_the_steps_in_the_loop() -> None:
    async def test() -> None:
        async with running() as runner:
            session, other = await proved(runner), await proved(runner)
            threads = []

            def look() -> None:
                session.look()
                threads.append(threading.get_ident())

            for _ in range(3):
                await runner.run(session, look)
                await call(runner, other, other.render)  # takes the thread that came free
                assert not asyncio.isfuture(runner.run(session, session.step, 0))
            assert len(set(threads)) == 1
            assert threads[0] != threading.get_ident()

    run(test())


def test_looking_on_is_no_use_and_no_call_of_a_client() -> None:
    async def test() -> None:
        async with running() as runner:
            session = await proved(runner)
            before, calls = session.last_used, runner.statistics.latency.count

            def look() -> None:
                time.sleep(0.02)

            await runner.run(session, look)
            assert session.last_used == before
            assert runner.statistics.latency.count == calls

    run(test())
