"""The system's side: what it answers, to whom, and what it refuses."""

import logging
import math
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    MultiBinary,
    MultiDiscrete,
    Sequence,
    Space,
    Text,
)

from gym_loop.envs.remote.nats_client import ERROR_HEADER
from gym_loop.envs.remote.nats_env import NatsEnv
from gym_loop.errors import BridgeConnectionError, ConfigError, EnvError, SpaceError
from gym_loop.serve.nats.settings import NatsSettings
from gym_loop.serve.nats.system import System
from gym_loop.serve.served_env import ServedEnv
from gym_loop.serve.settings import load_settings
from gym_loop.wire import nats as wire
from gym_loop.wire.gym_nats import decode, encode
from gym_loop.wire.nats import Message
from tests.serve.nats import nats_serving
from tests.serve.nats.nats_serving import NatsServer, Odd, Raw, nats_server, system


@pytest.fixture(autouse=True)
def worlds() -> None:
    nats_serving.register()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path) as server:
        yield server


class One:
    """A catalogue of one world."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def make(self, env_id: str, seed: int | None) -> Any:
        return self.env


def made(env: Any) -> System:
    served = ServedEnv("x", "x", One(env), 0)  # type: ignore[arg-type]
    served.make()
    system = System(served)
    system.begin()
    return system


def ask(system: System, subject: str, payload: bytes = b"", reply: str = "_INBOX.a.1") -> Any:
    return system.answer(Message(subject, reply, payload))


# -- spaces --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "numbered"),
    [
        (Discrete(3), [0, 1, 2]),
        (Discrete(2, start=5), [5, 6]),
        (MultiBinary(2), [[0, 0], [0, 1], [1, 0], [1, 1]]),
        (MultiDiscrete([2, 2]), [[0, 0], [0, 1], [1, 0], [1, 1]]),
        (MultiDiscrete([1, 3], start=[4, -1]), [[4, -1], [4, 0], [4, 1]]),
        (MultiBinary([1, 2]), [[[0, 0]], [[0, 1]], [[1, 0]], [[1, 1]]]),
    ],
    ids=str,
)
def test_actions_are_numbered(space: Space, numbered: list[Any]) -> None:
    env = Odd(Discrete(2), space)
    system = made(env)
    assert len(decode(ask(system, "rl.actions").payload, "rl.actions")) == len(numbered)
    ask(system, "rl.reset")
    for number in range(len(numbered)):
        assert ask(system, "rl.action", encode([number])) == (b"", None)
    assert [np.asarray(one).tolist() for one in env.taken] == numbered
    assert all(space.contains(one) for one in env.taken)


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (Box(-1, 1, (2, 3), np.float32), 6),
        (Discrete(4, start=2), 4),
        (MultiBinary([2, 2]), 4),
        (MultiDiscrete([2, 3]), 5),
        (Dict({"a": Discrete(2), "b": Box(0, 255, (3,), np.uint8)}), 5),
        (Text(4, charset="ab"), 4),
    ],
    ids=str,
)
def test_observations_are_flattened(space: Space, size: int) -> None:
    system = made(Odd(space, Discrete(2)))
    space.seed(0)
    wanted = gymnasium.spaces.flatten(space, space.sample())
    assert decode(ask(system, "rl.update").payload, "x", size).tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("observations", "actions", "said"),
    [
        (Discrete(2), Box(-1, 1), "x: this protocol numbers its actions"),
        (Discrete(2), MultiDiscrete([1000, 1000]), "x: .* makes 1000000 numbered actions"),
        (Sequence(Discrete(2)), Discrete(2), "x: observations of .* no fixed length"),
        (Graph(Discrete(2), None), Discrete(2), "x: observations of .* no fixed length"),
    ],
)
def test_spaces_without_a_place_here(observations: Space, actions: Space, said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        made(Odd(observations, actions))


def test_a_space_without_a_place_here_ends_the_command(server: NatsServer) -> None:
    with (
        pytest.raises(SpaceError, match="NatsBox-v0: this protocol numbers"),
        system(server.url, "a=NatsFour-v0", "b=NatsBox-v0"),
    ):
        pass
    with (
        pytest.raises(EnvError, match="NatsFive"),
        system(server.url, "NatsFive-v0"),
    ):
        pass


def test_observations_that_the_server_does_not_carry(tmp_path: Path) -> None:
    with (
        nats_server(tmp_path, "max_payload: 100") as small,
        pytest.raises(SpaceError, match=r"128 bytes is needed.* takes 100; raise max_payload"),
        system(small.url, "NatsFour-v0"),
    ):
        pass


# -- one state, several agents ---------------------------------------------------------------


def test_two_agents_act_on_one_episode(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING, "gym_loop.serve.nats"),
        system(server.url, "NatsFour-v0"),
        closing(NatsEnv(server.url)) as one,
        closing(NatsEnv(server.url)) as other,
    ):
        one.reset()
        seen = [nats_serving.steps_of(env.step(1)[0]) for env in (one, other, one)]
        assert seen == [1, 2, 3]
        assert one.step(1)[2]
        other.reset()  # which is everybody's
        for _ in range(20):
            for env in (one, other):
                if env.step(0)[2]:
                    env.reset()
    said = [one.message for one in caplog.records if "another agent" in one.message]
    assert "both act on one state" in said[0]
    assert 2 <= len(said) <= 7, "forty changes fill no log"


def test_a_repeated_request_of_ours_is_not_taken_twice() -> None:
    system = made(nats_serving.Counter())
    ask(system, "rl.reset")
    for reply, steps in [
        ("_INBOX.gym-loop.a.1", 1), ("_INBOX.gym-loop.a.1", 1), ("_INBOX.gym-loop.a.2", 2),
        # Another's client may have one inbox for everything.
        ("mine", 3), ("mine", 4), ("", 5), ("", 6),
    ]:  # fmt: skip
        ask(system, "rl.action", encode([1.0]), reply)
        found = decode(ask(system, "rl.update").payload, "x")
        assert nats_serving.steps_of(found) == steps
    for number in range(100):
        ask(system, "rl.action", encode([1.0]), f"_INBOX.gym-loop.b.{number}")
    assert len(system._answered) <= 16


def test_what_was_refused_changes_nothing() -> None:
    system = made(nats_serving.Counter(length=2))
    refused = ask(system, "rl.action", encode([1.0]))
    assert "send rl.reset first" in refused.headers[ERROR_HEADER]
    ask(system, "rl.reset")
    ask(system, "rl.action", encode([1.0]))
    assert decode(ask(system, "rl.reward").payload, "x").tolist() == [10.0]
    assert "2 is no action; use 0 to 1" in ask(system, "rl.action", encode([2.0])).headers[
        ERROR_HEADER
    ]  # fmt: skip
    assert decode(ask(system, "rl.reward").payload, "x").tolist() == [10.0]
    assert ask(system, "r.done").payload == b"AAAAAAAA8L8="
    ask(system, "rl.action", encode([1.0]))
    assert ask(system, "r.done").payload == b"AAAAAAAA8D8="
    assert "no episode under way" in ask(system, "rl.action", encode([1.0])).headers[ERROR_HEADER]


def test_an_observation_that_does_not_fit_ends_the_episode_and_no_more() -> None:
    env = Odd(MultiBinary(2), Discrete(2))
    system = made(env)
    ask(system, "rl.reset")
    good, env.observation_space = env.observation_space, Box(0, 1, (3,))
    for wrong in (Box(0, 1, (3,)), Text(3), Dict({"a": Discrete(2)})):
        env.observation_space = wrong
        refused = ask(system, "rl.action", encode([0.0]))
        assert "does not fit its space MultiBinary(2)" in refused.headers[ERROR_HEADER]
        assert ask(system, "r.done").payload == b"AAAAAAAA8D8="
        env.observation_space = good
        assert ask(system, "rl.reset") == (b"", None)
        assert ask(system, "rl.action", encode([0.0])) == (b"", None)


# -- bad messages ----------------------------------------------------------------------------


def bad_requests(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Subjects and payloads of every kind that make no sense, without end."""
    while True:
        yield "rl.action", rng.randbytes(rng.randrange(40))
        yield "rl.action", b"A" * rng.choice([1, 3, 4, 8, 5000, 100_000])
        yield "rl.action", encode([rng.choice([-1.0, 2.0, 0.5, 1e300, math.nan, math.inf])])
        yield "rl.action", encode([1.0] * rng.choice([0, 2, 100]))
        yield "rl.action", b'{"action": 1}'
        yield "rl.action", encode([1.0])[:-1]
        yield "rl.action", "AAAAAAAA8D8=\n".encode("utf-16")
        yield rng.choice(["rl", "rl.nothing", "rl.action.more", "r.reward"]), b"x"
        yield rng.choice(["rl.update", "rl.reward", "r.done", "rl.actions"]), rng.randbytes(9)


def test_a_thousand_bad_messages_between_good_ones(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    bad = bad_requests(random.Random(3))
    with (
        caplog.at_level(logging.WARNING, "gym_loop.serve.nats"),
        system(server.url, "NatsCounter-v0"),
        closing(Raw(server.url)) as raw,
        closing(NatsEnv(server.url)) as env,
    ):
        env.reset()
        for step in range(1, 101):
            for index in range(10):
                subject, payload = next(bad)
                headers = {"Anything": "at all"} if index % 3 == 0 else None
                reply = ["", "nobody.hears", f"{raw.inbox}.0"][index % 3]
                raw.send(wire.publish(subject, payload, reply, headers))
            observation, reward, *_ = env.step(1)
            assert nats_serving.steps_of(observation) == step
            assert reward == 10.0
    said = [one.message for one in caplog.records if "refused" in one.message]
    assert 8 <= len(said) <= 12
    assert all("rl.action" in one for one in said)


def test_a_bad_message_is_answered_with_the_reason(server: NatsServer) -> None:
    with system(server.url, "NatsFour-v0"), closing(Raw(server.url)) as raw:
        for payload, said in [
            (b"%", "rl.action: '%' is not base64"),
            (b"AAAA", "rl.action: 3 bytes are no whole float64"),
            (encode([1.0, 1.0]), "rl.action: 2 numbers came where 1 belong"),
            (encode([math.nan]), "rl.action: NaN at index 0"),
            (encode([7.0]), "7 is no action; use 0 to 1"),
        ]:
            reply = raw.ask("rl.action", payload)
            assert reply.payload == b""
            assert said in (reply.header(ERROR_HEADER) or "")


def test_an_answer_that_may_not_be_sent_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = """
    authorization { users: [
      {user: system, password: a, permissions: {publish: "_INBOX.>", subscribe: ["rl.*", "r.*", "_INBOX.>"]}}
      {user: agent, password: b}
    ] }"""  # noqa: E501
    with nats_server(tmp_path, config) as server, caplog.at_level(logging.WARNING):
        agent = server.url.replace("//", "//agent:b@")
        with (
            system(server.url, "NatsFour-v0", user="system", password="a"),
            closing(NatsEnv(agent)) as env,
        ):
            env.reset()
            for _ in range(20):
                env._client._send(b"PUB rl.update forbidden 0\r\n\r\n")
            assert nats_serving.steps_of(env.step(1)[0]) == 1
        with (
            pytest.raises(BridgeConnectionError, match=r"refuses us: .*Subscription"),
            system(server.url, "a=NatsFour-v0", user="system", password="a"),
        ):
            pass
        with pytest.raises(BridgeConnectionError, match=r"rl\.update: .*Violation.* \"rl\.update"):
            NatsEnv(server.url, user="system", password="a")
    said = [one.message for one in caplog.records if "an answer was refused" in one.message]
    assert 1 <= len(said) <= 5, "twenty refusals fill no log"


# -- what it is told -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "env: names no environment"),
        ({"env": ["A-v0", "B-v0"]}, "several environments on the same subjects"),
        ({"env": ["a=A-v0", "a.=B-v0"]}, "several environments on the same subjects"),
        ({"env": ["a b=A-v0"]}, "'a b' is no subject prefix"),
        ({"env": ["A-v0"], "queue": "workers"}, "'workers' is refused: in a queue group each"),
        ({"env": ["A-v0"], "timeout": 0}, "0 is too small; it must be above 0"),
        ({"env": ["A-v0"], "seed": -1}, "-1 is too small; it must be at least 0"),
    ],
)
def test_options_of_no_use(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_settings(NatsSettings, None, options)


def test_secrets_are_not_shown() -> None:
    shown = repr(NatsSettings(env=("A-v0",), password="hidden", token="hidden"))
    assert "hidden" not in shown


def test_seeds(server: NatsServer) -> None:
    first = []
    for _ in range(2):
        with (
            system(server.url, "CartPole-v1", seed=5),
            closing(NatsEnv(server.url, observation_space="box")) as env,
        ):
            first.append(env.reset()[0].tolist())
    assert first[0] == first[1]
