"""Environments behind old servers that are away, lose a step or answer nonsense."""

import json
import queue
import threading
import time
from typing import Any

import gymnasium
import pytest

from gym_loop.envs.making import EnvSpec, make_env
from gym_loop.errors import BridgeConnectionError, BridgeError, BridgeProtocolError, SampleError
from tests.serve.old_servers import World
from tests.serve.remote_worlds import IDS, NOWHERE, OLD, Make


def test_a_lost_step_is_named(old: tuple[Make, World]) -> None:
    env, world = old[0](), old[1]
    env.reset(seed=1)
    env.reset()
    env.step(0)
    world.faults["step"] = [lambda: None]
    with pytest.raises(BridgeConnectionError, match=r"step 2 of episode 2 was lost: .*reset\(\)"):
        env.step(0)
    with pytest.raises(BridgeError, match=r"no episode under way; call reset\(\)"):
        env.step(0)
    env.reset()
    env.step(0)
    assert sum(asked[0] == "step" for asked in world.asked) == 3


def test_what_loses_nothing_is_repeated(old: tuple[Make, World]) -> None:
    make, world = old
    for method in ("make", "observation_space", "action_space", "reset"):
        world.faults[method] = [lambda: None, lambda: None]
    env = make()
    env.reset()
    env.step(0)
    asked = [asked[0] for asked in world.asked]
    assert [asked.count(method) for method in ("make", "observation_space", "reset", "step")] == [
        *(3, 3, 3, 1)
    ]


def test_a_server_that_stays_away_is_given_up(old: tuple[Make, World]) -> None:
    make, world = old
    env = make(timeout=0.2)
    world.faults["reset"] = [lambda: None] * 100
    with pytest.raises(BridgeConnectionError, match=r"closed the connection|connection broke"):
        env.reset()
    world.faults.clear()
    env.reset()


def test_a_slow_server_is_not_waited_for(old: tuple[Make, World]) -> None:
    make, world = old
    env = make(timeout=0.4)
    env.reset()
    world.faults["step"] = [lambda: time.sleep(0.8)]
    with pytest.raises(BridgeConnectionError, match=r"step 1 .* did not answer within 0\.4 s"):
        env.step(0)


def test_a_lost_instance_is_replaced_by_a_reset(old: tuple[Make, World]) -> None:
    env, world = old[0](), old[1]
    env.reset(seed=3)
    world.held.popitem()[1].close()
    with pytest.raises(BridgeProtocolError, match=r"step 1 of episode 1 .* any more"):
        env.step(0)
    env.reset()
    env.step(0)
    makes = [asked[1].get("seed") for asked in world.asked if asked[0] == "make"]
    assert makes[:2] == [None, 3]
    assert makes[2] is not None, "a seed that follows from the first"


def test_nobody_there(protocol: str) -> None:
    started = time.monotonic()
    with pytest.raises(BridgeConnectionError, match="is the server running there"):
        make_env(EnvSpec(IDS[protocol], parameters={"url": NOWHERE[protocol], "env_id": "A-v0"}))
    assert time.monotonic() - started < 5, "a server that never was is not waited for"


def test_an_unknown_environment(old: tuple[Make, World]) -> None:
    with pytest.raises(BridgeProtocolError, match=r"refused: .*Nowhere-v0"):
        old[0]("Nowhere-v0")


def test_a_server_that_ends_and_comes_back(protocol: str) -> None:
    with OLD[protocol]() as (address, _):
        env = gymnasium.make(IDS[protocol], url=address, env_id="CartPole-v1", timeout=10)
        env.reset(seed=1)
        port = int(address.split(":")[2].split("/")[0])
    with pytest.raises(BridgeConnectionError, match="step 1 of episode 1 was lost"):
        env.step(0)
    back: queue.Queue[World] = queue.Queue()
    end = threading.Event()

    def come_back() -> None:
        time.sleep(0.2)
        with OLD[protocol](port=port) as (_, world):
            back.put(world)
            end.wait(20)

    thread = threading.Thread(target=come_back)
    thread.start()
    env.reset()
    env.step(0)
    assert len(back.get().held) == 1
    env.close()
    end.set()
    thread.join()


def test_closing_without_a_server(protocol: str) -> None:
    with OLD[protocol]() as (address, _):
        env = gymnasium.make(IDS[protocol], url=address, env_id="CartPole-v1")
        env.reset()
    started = time.monotonic()
    env.close()
    env.close()
    assert time.monotonic() - started < 5
    with pytest.raises(BridgeError, match="it was closed"):
        env.unwrapped.reset(seed=1)


def test_an_action_that_does_not_fit_is_not_sent(old: tuple[Make, World]) -> None:
    env, world = old[0](), old[1]
    env.reset()
    with pytest.raises(SampleError, match=r"CartPole-v1: the action: .*'left'"):
        env.step("left")
    env.step(1)
    assert sum(asked[0] == "step" for asked in world.asked) == 1


def test_options_cannot_be_said(old: tuple[Make, World]) -> None:
    env = old[0]()
    with pytest.raises(BridgeError, match="knows no options"):
        env.reset(options={"low": 0})


NONSENSE = {
    "observation": [[1, 2], 1.0, False, {}],
    "reward": [[0, 0, 0, 0], "much", False, {}],
    "done": [[0, 0, 0, 0], 1.0, 3, {}],
    "info": [[0, 0, 0, 0], 1.0, False, []],
}


@pytest.mark.parametrize("part", NONSENSE)
def test_nonsense_from_the_server(old: tuple[Make, World], protocol: str, part: str) -> None:
    env, world = old[0](), old[1]
    env.reset()
    values = NONSENSE[part]
    names = ("observation", "reward", "done", "info")
    answer: Any = (200, dict(zip(names, values, strict=True)))
    world.faults["step"] = [lambda: answer if protocol == "http" else json.dumps(values)]
    with pytest.raises(BridgeError, match=f"CartPole-v1: .*{part}"):
        env.step(0)


@pytest.mark.parametrize("text", ["", "{", '"text"', "[1, 2]", "[" * 100_000, "\x00"])
def test_an_answer_of_another_form(old: tuple[Make, World], protocol: str, text: str) -> None:
    env, world = old[0](), old[1]
    env.reset()
    answer: Any = (200, text) if protocol == "http" else text
    world.faults["step"] = [lambda: answer]
    with pytest.raises(BridgeProtocolError, match="step 1 of episode 1 was lost"):
        env.step(0)
    env.reset()
