"""Environments behind servers of the old protocols play the same game as here."""

import math
from contextlib import closing
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Discrete, MultiBinary

from gym_loop.envs.remote.remote_env import ends
from gym_loop.envs.state.proof import prove
from gym_loop.envs.workers import StatefulEnv
from gym_loop.errors import BridgeProtocolError
from tests.serve.live import live
from tests.serve.old_servers import World
from tests.serve.remote_worlds import IDS, Make, Odd


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


class Untold(Odd):
    observation_space = MultiBinary(3)


def test_a_space_that_the_server_does_not_tell(old: tuple[Make, World]) -> None:
    gymnasium.register("Untold-v0", Untold, disable_env_checker=True)
    with pytest.raises(BridgeProtocolError, match="MultiBinary: the peer does not tell n"):
        old[0]("Untold-v0")


def test_an_id_that_the_server_renews(protocol: str) -> None:
    with live(protocol) as address:
        env = gymnasium.make(IDS[protocol], url=address, env_id="CartPole-v0")
        assert env.action_space == Discrete(2)
        env.close()


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


# -- seeds and state -------------------------------------------------------------------------------


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
