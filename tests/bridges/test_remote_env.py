"""Environments behind servers of the old protocols: the originals' dialect, and their failures."""

import json
import math
import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary
from live import live
from old_servers import World, old_gymie, old_http

import gym_loop.bridges  # noqa: F401 - registers the environments
from gym_loop.bridges.remote_env import ends
from gym_loop.envs.making import EnvSpec, make_env
from gym_loop.envs.state import StatefulEnv, prove
from gym_loop.errors import (
    BridgeConnectionError,
    BridgeError,
    BridgeProtocolError,
    EnvParametersError,
    GymLoopError,
    RenderError,
    SampleError,
)

IDS = {"http": "gym_loop/Http-v0", "websocket": "gym_loop/WebSocket-v0"}
OLD: dict[str, Any] = {"http": old_http, "websocket": old_gymie}
NOWHERE = {"http": "http://127.0.0.1:9", "websocket": "ws://127.0.0.1:9"}

Make = Callable[..., Any]


class Odd(gymnasium.Env):
    """Says what no JSON can: NaN, infinities, a box of its own shape."""

    observation_space = Box(-np.inf, np.inf, (2, 2), np.float32)
    action_space = Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.array([[np.nan, np.inf], [-np.inf, 0.5]], np.float32), {}

    def step(self, action: Any) -> Any:
        observation = np.full((2, 2), np.sum(action), np.float32)
        return observation, math.nan, False, False, {"bound": math.inf}


@pytest.fixture(params=IDS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def old(protocol: str) -> Iterator[tuple[Make, World]]:
    """Makes an environment on a server like the original; and what is behind the server."""
    gymnasium.register("Odd-v0", Odd, disable_env_checker=True)
    made: list[Any] = []

    def make(env_id: str = "CartPole-v1", **parameters: Any) -> Any:
        env = gymnasium.make(IDS[protocol], url=address, env_id=env_id, **parameters)
        made.append(env)
        return env

    with OLD[protocol]() as (address, world):
        yield make, world
        for env in made:
            env.close()
        assert world.held == {}, "environments are left on the server"


def play(env: Any, steps: int, seed: int | None = 5) -> list[Any]:
    """What an environment answers to the same actions, with resets."""
    env.action_space.seed(1)
    notes = [env.reset(seed=seed)]
    for _ in range(steps):
        notes.append(env.step(env.action_space.sample()))
        if notes[-1][2] or notes[-1][3]:
            notes.append(env.reset())
    return notes


def assert_equal(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left[0], right[0], strict=True)
        assert left[1:-1] == right[1:-1]


def test_an_original_server_plays_the_same_game(old: tuple[Make, World]) -> None:
    env, here = old[0](), gymnasium.make("CartPole-v1")
    assert env.observation_space == here.observation_space
    assert env.action_space == here.action_space
    assert_equal(play(env, 100), play(here, 100))
    here.close()


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "Pendulum-v1", "Blackjack-v1", "Acrobot-v1", "CliffWalking-v1"]
)
def test_our_server_plays_the_same_game(protocol: str, env_id: str) -> None:
    with live(protocol) as address:
        env = gymnasium.make(IDS[protocol], url=address, env_id=env_id)
        here = gymnasium.make(env_id)
        assert env.observation_space == here.observation_space
        assert env.action_space == here.action_space
        assert_equal(play(env, 250), play(here, 250))
        env.close()
        here.close()


def test_time_limits_are_truncations(old: tuple[Make, World]) -> None:
    env = old[0]("MountainCar-v0")
    env.reset(seed=1)
    for _ in range(199):
        assert env.step(1)[2:4] == (False, False)
    assert env.step(1)[2:4] == (False, True)


@pytest.mark.parametrize(
    ("done", "info", "expected"),
    [
        (False, {}, (False, False)),
        (True, {}, (True, False)),
        (True, {"TimeLimit.truncated": True}, (False, True)),
        (True, {"TimeLimit.truncated": False}, (True, False)),
        (False, {"TimeLimit.truncated": True}, (False, False)),
        (True, {"terminated": False, "truncated": True}, (False, True)),
        (True, {"terminated": True, "truncated": True}, (True, True)),
        (
            True,
            {"terminated": True, "truncated": False, "TimeLimit.truncated": True},
            (True, False),
        ),
        # An info of the environment's own that contradicts the server is no word of the server's.
        (True, {"terminated": False, "truncated": False}, (True, False)),
        (True, {"terminated": 1, "truncated": 0}, (True, False)),
    ],
)
def test_done_becomes_two(done: bool, info: dict[str, Any], expected: tuple[bool, bool]) -> None:
    assert ends(done, info) == expected


def test_what_json_cannot_say_is_understood(old: tuple[Make, World]) -> None:
    env = old[0]("Odd-v0")
    assert env.observation_space == Odd.observation_space
    observation, _ = env.reset()
    expected = np.array([[np.nan, np.inf], [-np.inf, 0.5]], np.float32)
    np.testing.assert_array_equal(observation, expected, strict=True)
    observation, reward, _, _, info = env.step(np.array([0.25, 0.5], np.float32))
    assert observation.tolist() == [[0.75, 0.75], [0.75, 0.75]]
    assert math.isnan(reward)
    assert info == {"bound": math.inf}


def test_a_space_that_the_server_does_not_tell(old: tuple[Make, World]) -> None:
    gymnasium.register("Untold-v0", lambda: Untold(), disable_env_checker=True)
    with pytest.raises(BridgeProtocolError, match="MultiBinary: the peer does not tell n"):
        old[0]("Untold-v0")


class Untold(Odd):
    observation_space = MultiBinary(3)


# -- seeds ---------------------------------------------------------------------------------


def test_a_seed_makes_a_new_instance(old: tuple[Make, World]) -> None:
    env, world = old[0](), old[1]
    first = env.reset(seed=7)[0]
    assert len(world.held) == 1
    env.reset()
    np.testing.assert_array_equal(env.reset(seed=7)[0], first)
    assert len(world.held) == 1
    makes = [asked[1] for asked in world.asked if asked[0] == "make"]
    assert [wish.get("seed") for wish in makes] == [None, 7, 7]


def test_a_restored_stream_of_seeds_goes_on(old: tuple[Make, World]) -> None:
    """A resumed run is as reproducible as the server lets it be."""
    starts = []
    for _ in range(2):
        env = old[0]()
        env.unwrapped._np_random = np.random.default_rng(3)
        starts.append(env.reset()[0])
    np.testing.assert_array_equal(*starts)


# -- failures ------------------------------------------------------------------------------


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
    env = make(timeout=0.1)
    env.reset()
    world.faults["step"] = [lambda: time.sleep(0.4)]
    with pytest.raises(BridgeConnectionError, match=r"step 1 .* did not answer within 0\.1 s"):
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
    plain = (
        (
            200,
            text,
        )
        if protocol == "http"
        else text
    )
    if protocol == "http":
        world.faults["step"] = [lambda: plain]
    else:
        world.faults["step"] = [lambda: text]
    with pytest.raises(BridgeProtocolError, match="step 1 of episode 1 was lost"):
        env.step(0)
    env.reset()


# -- parameters ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"url": "ftp://127.0.0.1"}, "is no address of a server; write"),
        ({"url": "127.0.0.1:5000"}, "is no address of a server"),
        ({"url": None}, "is no address of a server"),
        ({"url": "{scheme}://127.0.0.1:99999"}, "is no address of a server"),
        ({"url": "{scheme}://me:secret@127.0.0.1"}, "as the parameter token"),
        ({"url": "{scheme}://127.0.0.1/?a=b"}, "holds more than an address"),
        ({"url": "{scheme}://127.0.0.1/a b"}, "must be escaped"),
        ({"env_id": ""}, "env_id: '' is no id"),
        ({"env_id": 3}, "env_id: 3 is no id"),
        ({"timeout": 0}, "timeout: 0 is no number of seconds above 0"),
        ({"timeout": "long"}, "timeout: 'long' is no number"),
        ({"token": "a\nb"}, "token: write printable ASCII"),
    ],
)
def test_bad_parameters(protocol: str, parameters: dict[str, Any], message: str) -> None:
    given = {"url": NOWHERE[protocol], "env_id": "CartPole-v1", **parameters}
    if isinstance(given["url"], str):
        given["url"] = given["url"].format(scheme="http" if protocol == "http" else "ws")
    with pytest.raises(EnvParametersError, match=message):
        make_env(EnvSpec(IDS[protocol], parameters=given))


@pytest.mark.parametrize(
    ("host", "asked"), [("nowhere.invalid", "nowhere.invalid"), ("é.invalid", "xn--9ca.invalid")]
)
def test_an_unknown_host(protocol: str, host: str, asked: str) -> None:
    url = NOWHERE[protocol].replace("127.0.0.1", host)
    with pytest.raises(BridgeConnectionError, match=f"there is no host {asked}"):
        gymnasium.make(IDS[protocol], url=url, env_id="CartPole-v1")


def test_frames_do_not_travel(protocol: str) -> None:
    parameters = {"url": NOWHERE[protocol], "env_id": "CartPole-v1"}
    with pytest.raises(RenderError, match="its render modes are none"):
        make_env(EnvSpec(IDS[protocol], parameters=parameters), render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium's own: the mode is not in the metadata
        with pytest.raises(RenderError, match="cannot be rendered here"):
            gymnasium.make(IDS[protocol], render_mode="rgb_array", **parameters)


def test_the_token(protocol: str) -> None:
    with live(protocol, token="secret") as address:
        parameters = {"url": address, "env_id": "CartPole-v1"}
        env = gymnasium.make(IDS[protocol], token="secret", **parameters)
        env.reset()
        env.close()
        for token in (None, "wrong"):
            with pytest.raises(BridgeProtocolError, match="demands another token"):
                gymnasium.make(IDS[protocol], token=token, **parameters)


def test_missing_packages_are_one_clear_error(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, f"gym_loop.bridges.{protocol}.client", raising=False)
    monkeypatch.setitem(sys.modules, "orjson", None)
    with pytest.raises(GymLoopError, match=r"needs? the module orjson.*gym-loop\[bridges\]"):
        make_env(EnvSpec(IDS[protocol], parameters={"url": NOWHERE[protocol], "env_id": "A-v1"}))


# -- many, and their state -----------------------------------------------------------------


def test_copies_have_connections_of_their_own(protocol: str) -> None:
    with live(protocol) as address:
        parameters = {"url": address, "env_id": "CartPole-v1"}
        envs = gymnasium.vector.SyncVectorEnv(
            [lambda: gymnasium.make(IDS[protocol], **parameters)] * 3
        )
        here = gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="sync")
        with closing(envs), closing(here):
            for ours, theirs in zip(envs.reset(seed=4)[0], here.reset(seed=4)[0], strict=True):
                np.testing.assert_array_equal(ours, theirs)
            for _ in range(60):
                action = here.action_space.sample()
                for ours, theirs in zip(envs.step(action), here.step(action), strict=True):
                    if not isinstance(ours, dict):
                        np.testing.assert_array_equal(ours, theirs)


def test_the_state_is_elsewhere(old: tuple[Make, World]) -> None:
    verdict = prove(lambda: old[0]("CliffWalking-v1"), seed=0)
    assert (verdict.word, verdict.method) == ("approximate", "restart")
    assert verdict.reason == "the state is on the server, and the protocol cannot ask for it"
    assert verdict.remedy.startswith("a resumed run begins a new episode")
    copies = [lambda: old[0]()] * 2
    verdict = prove(lambda: gymnasium.vector.SyncVectorEnv(copies), seed=0)
    assert (verdict.word, verdict.method) == ("approximate", "sync[restart]")
    assert "on the server" in verdict.reason


class Away(Odd):
    state_elsewhere = "over the hills"


@pytest.mark.parametrize("wrap", [StatefulEnv, gymnasium.Wrapper])
def test_the_state_of_copies_in_workers_is_elsewhere_too(wrap: Any) -> None:
    make = lambda: gymnasium.vector.AsyncVectorEnv([lambda: wrap(Away())] * 2)  # noqa: E731
    verdict = prove(make, seed=0)
    assert (verdict.method, verdict.reason) == ("async[restart]", "over the hills")


def test_an_id_that_the_server_renews(protocol: str) -> None:
    with live(protocol) as address:
        env = gymnasium.make(IDS[protocol], url=address, env_id="CartPole-v0")
        assert env.action_space == Discrete(2)
        env.close()
