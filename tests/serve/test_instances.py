"""Instances: each in a thread of its own, within limits and leases, and none harms another."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from gym_loop.serve import instances as module
from gym_loop.serve.instance import Instance
from gym_loop.serve.instances import Instances, Latency
from gym_loop.serve.settings import ServeSettings
from gym_loop.wire.problems import (
    EnvFailed,
    Problem,
    TooManyInstances,
    UnknownInstance,
    WrongSeed,
)
from tests.serve import bad_envs


@pytest.fixture(autouse=True)
def environments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "CLOSING_TIME", 0.2)
    bad_envs.register()
    bad_envs.RELEASE.clear()
    yield
    bad_envs.RELEASE.set()


@asynccontextmanager
async def holding(**options: Any) -> AsyncIterator[Instances]:
    instances = Instances(ServeSettings(**options))
    yield instances
    await instances.close_all()


async def begun(instances: Instances, env_id: str) -> Instance:
    instance = await instances.create(Instance, env_id)
    await instance.call(instance.reset)
    return instance


def run(test: Awaitable[None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test, 60)

    asyncio.run(bounded())


def ours() -> int:
    return sum(one.name == "gym-loop environment" for one in threading.enumerate())


# -- threads -------------------------------------------------------------------------------


def test_every_environment_has_one_thread_from_make_to_close() -> None:
    async def test() -> None:
        async with holding() as instances:
            one, other = [await begun(instances, "Scripted-v0") for _ in range(2)]
            threads = [await each.call(threading.get_ident) for each in (one, other, one)]
            assert threads[0] == threads[2] != threads[1]
            assert threading.get_ident() not in threads

    run(test())


def test_calls_of_one_instance_keep_their_order() -> None:
    async def test() -> None:
        async with holding() as instances:
            instance = await begun(instances, "Scripted-v0")
            steps = await asyncio.gather(*(instance.call(instance.step, 0) for _ in range(200)))
            assert [float(step[0][0]) for step in steps] == list(map(float, range(1, 201)))

    run(test())


@pytest.mark.parametrize("env_id", ["Slow-v0", "Busy-v0", "Hanging-v0"])
def test_one_long_step_stalls_nobody(env_id: str) -> None:
    async def test() -> None:
        async with holding() as instances:
            long = await begun(instances, env_id)
            quick = await begun(instances, "Scripted-v0")
            pending = [long.call(long.step, 0) for _ in range(2)]
            for _ in range(20):
                await quick.call(quick.step, 0)
            assert not pending[1].done()
            bad_envs.RELEASE.set()
            assert [step[1] for step in await asyncio.gather(*pending)] == [1.0, 1.0]

    run(test())


@pytest.mark.parametrize("env_id", ["Exiting-v0", "Interrupting-v0", "Cancelling-v0"])
def test_whatever_is_raised_is_that_instances_error(env_id: str) -> None:
    async def test() -> None:
        async with holding() as instances:
            instance = await begun(instances, env_id)
            for _ in range(2):
                with pytest.raises(EnvFailed, match=r"failed in step\(\)"):
                    await instance.call(instance.step, 0)
            await instance.call(instance.reset)

    run(test())


def test_a_step_that_takes_too_long_is_that_instances_error() -> None:
    async def test() -> None:
        async with holding(step_timeout=0.1) as instances:
            instance, other = [await begun(instances, one) for one in ("Hanging-v0", "Scripted-v0")]
            await instance.call(instance.step, 0)
            hanging = [instance.call(instance.step, 0) for _ in range(3)]
            while not hanging[0].done():
                await asyncio.sleep(0.02)
                instances.sweep()
            for step in hanging:
                with pytest.raises(EnvFailed, match=r"has not returned for 0\.1 s"):
                    await step
            with pytest.raises(EnvFailed, match="has not returned"):
                await instance.call(instance.step, 0)
            assert (await other.call(other.step, 0))[1] == 1.0
            bad_envs.RELEASE.set()
            while True:  # it is of use again, and no step was taken that had been given up
                try:
                    observation = (await instance.call(instance.step, 0))[0]
                    break
                except EnvFailed:
                    await asyncio.sleep(0.01)
            assert observation == [3.0]

    run(test())


def test_threads_end() -> None:
    async def test() -> None:
        async with holding(max_instances=300) as instances:
            made = await asyncio.gather(*(begun(instances, "Scripted-v0") for _ in range(200)))
            assert len(made) == 200
        while ours() > before:
            await asyncio.sleep(0.01)

    before = ours()
    run(test())


def test_the_step_under_way_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSING_TIME", 20)

    async def test() -> None:
        async with holding() as instances:
            instance = await begun(instances, "Slow-v0")
            step = instance.call(instance.step, 0)
            await instances.close_all()
            assert step.result()[1] == 1.0
            assert instance.env is None

    run(test())


def test_a_client_that_has_gone_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with holding() as instances:
            making = asyncio.ensure_future(instances.create(Instance, "Scripted-v0"))
            await asyncio.sleep(0)
            making.cancel()
            while instances.as_dict()["instances"]:
                await asyncio.sleep(0.01)
            instance = await instances.create(Instance, "Scripted-v0")
            instance.call(instance.reset).cancel()  # is done all the same
            assert (await instance.call(instance.step, 0))[1] == 1.0

    run(test())


# -- limits and leases -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", [-1, 1.0, "1", True, [1]])
def test_wrong_seeds(seed: object) -> None:
    async def test() -> None:
        async with holding() as instances:
            with pytest.raises(WrongSeed):
                await instances.create(Instance, "CartPole-v1", seed)
            assert instances.as_dict()["instances_made"] == 0

    run(test())


@pytest.mark.parametrize("instance_id", ["", "x", None, 3, [], {}, "0" * 100_000])
def test_unknown_instances(instance_id: object) -> None:
    with pytest.raises(UnknownInstance) as caught:
        Instances(ServeSettings()).get(instance_id, Instance)
    assert len(caught.value.message) < 200


def test_ids_are_hexadecimal_and_unlike() -> None:
    async def test() -> None:
        async with holding() as instances:
            made = [await instances.create(Instance, "Scripted-v0", digits=8) for _ in range(20)]
            ids = {one.instance_id for one in made}
            assert len(ids) == 20
            assert all(len(one) == 8 and int(one, 16) >= 0 for one in ids)

    run(test())


def test_the_limit() -> None:
    async def test() -> None:
        async with holding(max_instances=3) as instances:
            held = [await instances.create(Instance, "CartPole-v1") for _ in range(3)]
            with pytest.raises(TooManyInstances, match="3 environments"):
                await instances.create(Instance, "CartPole-v1")
            instances.close(held[0])
            await instances.create(Instance, "CartPole-v1")

    run(test())


def test_hanging_environments_are_not_without_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGERING", 0.0)

    async def test() -> None:
        async with holding(max_instances=2) as instances:
            for _ in range(2):
                instances.close(await instances.create(Instance, "HangingClose-v0"))
            await asyncio.sleep(0.01)
            with pytest.raises(TooManyInstances):
                await instances.create(Instance, "Scripted-v0")

    run(test())


def test_what_could_not_be_made_takes_no_place() -> None:
    async def test() -> None:
        async with holding(max_instances=3) as instances:
            for env_id in ["Unmakeable-v0"] * 5 + ["Nothing-v0", "nothing", 3]:
                with pytest.raises(Problem):
                    await instances.create(Instance, env_id)
            assert instances.as_dict()["instances"] == 0

    run(test())


def test_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with holding(idle_lease=60) as instances:
            old, used = [await begun(instances, "CartPole-v1") for _ in range(2)]
            now = time.monotonic()
            monkeypatch.setattr(time, "monotonic", lambda: now + 50)
            assert instances.get(used.instance_id, Instance) is used
            await old.look(old.render)  # is no use
            instances.sweep()
            assert instances.all() == [old, used]
            monkeypatch.setattr(time, "monotonic", lambda: now + 70)
            instances.sweep()
            assert instances.all() == [used]
            with pytest.raises(UnknownInstance):
                instances.get(old.instance_id, Instance)
            monkeypatch.undo()

    run(test())


def test_totals_outlive_instances() -> None:
    async def test() -> None:
        async with holding() as instances:
            instance = await begun(instances, "Scripted-v0")
            for _ in range(12):
                await instance.call(instance.step, 0)
            instances.statistics.error(EnvFailed("x"))
            instances.close(instance)
            told = instances.as_dict()
            assert (told["steps"], told["episodes"], told["instances_made"]) == (12, 1, 1)
            assert told["instances"] == 0
            assert told["calls"] == 14  # make and reset
            assert told["errors"] == {"EnvFailed": 1}
            latency = told["latency_ms"]
            assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]

    run(test())


# -- latency -----------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [1, 50, 90, 99, 99.9])
def test_percentiles_are_upper_bounds_near_the_truth(percent: float) -> None:
    durations = np.exp(np.random.default_rng(0).normal(-9, 2, 10_000))
    latency = Latency()
    for duration in durations:
        latency.add(float(duration))
    true = np.percentile(durations, percent)
    assert true * 0.99 <= latency.percentile(percent) <= true * 1.27


def test_extremes() -> None:
    latency = Latency()
    assert (latency.count, latency.percentile(99), latency.longest) == (0, 0.0, 0.0)
    for duration in (0.0, 1e-9, 1e6):
        latency.add(duration)
    assert latency.count == 3
    assert latency.percentile(100) == latency.longest == 1e6
    assert latency.percentile(50) == 1e-6
