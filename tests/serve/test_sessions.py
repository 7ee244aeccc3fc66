"""Sessions: the contract of their environments, limits and leases."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from gym_loop.serve.sessions import Session, Sessions
from gym_loop.serve.settings import ServerSettings
from gym_loop.wire.problems import (
    EnvFailed,
    Problem,
    ResetNeeded,
    TooManyInstances,
    UnknownInstance,
    WrongAction,
    WrongSeed,
)
from tests.serve import bad_envs


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    bad_envs.register()
    sessions = Sessions(ServerSettings(max_instances=3, idle_lease=60))
    yield sessions
    sessions.close_all()


def begun(sessions: Sessions, env_id: str) -> Session:
    session = sessions.create(env_id)
    session.reset()
    return session


def test_an_episode(sessions: Sessions) -> None:
    session = sessions.create("CartPole-v1", seed=0)
    first, info = session.reset()
    assert (first.shape, info) == ((4,), {})
    done = False
    while not done:
        observation, reward, terminated, truncated, info = session.step(1)
        assert session.observation_space.contains(observation)
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
        done = terminated or truncated
    assert session.steps == session.episode_return > 5
    assert session.episodes == sessions.episodes == 1
    session.reset()
    assert (session.episode_return, session.episodes) == (0.0, 1)


@pytest.mark.filterwarnings("ignore:.*calling 'step.*")
def test_a_step_after_the_end_is_the_environments_affair(sessions: Sessions) -> None:
    session = begun(sessions, "CartPole-v1")
    while not session.episodes:
        session.step(1)
    steps = session.steps
    assert session.step(1)[2] is True
    assert (session.steps, session.episodes) == (steps + 1, 1)


def test_seeds_repeat(sessions: Sessions) -> None:
    one, other = (sessions.create("CartPole-v1", seed=0) for _ in range(2))
    assert one.reset()[0].tobytes() == other.reset()[0].tobytes()
    actions = [[session.action_space.sample() for _ in range(20)] for session in (one, other)]
    assert actions[0] == actions[1]
    second = one.reset()[0].tobytes()
    assert second == other.reset()[0].tobytes()
    assert second != one.reset(seed=0)[0].tobytes()
    assert one.reset(seed=5)[0].tobytes() == other.reset(seed=5)[0].tobytes()


def test_options_reach_the_environment(sessions: Sessions) -> None:
    session = sessions.create("Scripted-v0")
    assert session.reset(options={"a": 1})[1] == {"options": {"a": 1}}
    assert session.reset()[1] == {"options": None}


@pytest.mark.parametrize("seed", [-1, 1.0, "1", True, [1]])
def test_wrong_seeds(sessions: Sessions, seed: object) -> None:
    with pytest.raises(WrongSeed):
        sessions.create("CartPole-v1", seed)  # type: ignore[arg-type]
    assert len(sessions) == 0


def test_no_step_before_a_reset(sessions: Sessions) -> None:
    session = sessions.create("CartPole-v1")
    with pytest.raises(ResetNeeded):
        session.step(0)
    with pytest.raises(ResetNeeded):
        session.render()


@pytest.mark.parametrize(
    "action",
    [
        2,
        -1,
        10**30,
        pytest.param(10**5000, id="huge"),
        0.5,
        float("nan"),
        None,
        "0",
        [],
        {},
        np.zeros(2),
        object(),
    ],
)
def test_wrong_actions(sessions: Sessions, action: object) -> None:
    session = begun(sessions, "CartPole-v1")
    with pytest.raises(WrongAction, match="is not in Discrete"):
        session.step(action)
    assert session.step(np.int64(1))[1] == 1.0


def test_a_shifted_discrete_space(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    from gymnasium.spaces import Discrete

    monkeypatch.setattr(bad_envs.Scripted, "action_space", Discrete(3, start=-1))
    session = begun(sessions, "Scripted-v0")
    for action in (-1, 0, 1):
        session.step(action)
    for action in (-2, 2):
        with pytest.raises(WrongAction):
            session.step(action)


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Raising-v0", r"failed in step\(\): ZeroDivisionError: the third step always fails"),
        ("Exiting-v0", r"failed in step\(\): SystemExit: 3"),
        ("Nonsense-v0", r"broken: step\(\) returned other than .*: None"),
    ],
)
def test_steps_that_fail(sessions: Sessions, env_id: str, message: str) -> None:
    session = begun(sessions, env_id)
    if env_id == "Raising-v0":
        for _ in range(2):
            session.step(0)
    with pytest.raises(EnvFailed, match=message):
        session.step(0)
    session.reset()
    assert sessions.get(session.instance_id) is session


def test_every_nonsense_is_found(sessions: Sessions) -> None:
    session = begun(sessions, "Nonsense-v0")
    for _ in bad_envs.Nonsense.WRONG:
        with pytest.raises(EnvFailed, match="broken"):
            session.step(0)
    assert session.steps == 0


@pytest.mark.parametrize("env_id", ["RaisingReset-v0", "NonsenseReset-v0"])
def test_resets_that_fail(sessions: Sessions, env_id: str) -> None:
    session = sessions.create(env_id)
    with pytest.raises(EnvFailed, match=r"reset\(\)"):
        session.reset()
    with pytest.raises(ResetNeeded):
        session.step(0)


def test_frames(sessions: Sessions) -> None:
    assert begun(sessions, "CartPole-v1").render().dtype == np.uint8
    assert begun(sessions, "Scripted-v0").render() is None


def test_closing(sessions: Sessions, caplog: pytest.LogCaptureFixture) -> None:
    session = begun(sessions, "RaisingClose-v0")
    sessions.close(session.instance_id)
    assert "the door is stuck" in caplog.text
    for call in (lambda: session.step(0), session.reset, session.render):
        with pytest.raises(UnknownInstance):
            call()
    with pytest.raises(UnknownInstance):
        sessions.close(session.instance_id)
    session.close()


@pytest.mark.parametrize("instance_id", ["", "x", None, 3, [], {}, "0" * 100_000])
def test_unknown_instances(sessions: Sessions, instance_id: object) -> None:
    with pytest.raises(UnknownInstance) as caught:
        sessions.get(instance_id)
    assert len(caught.value.message) < 200


def test_ids_are_hexadecimal_and_unlike() -> None:
    sessions = Sessions(ServerSettings(), id_digits=8)
    ids = {sessions.create("CartPole-v1").instance_id for _ in range(20)}
    assert len(ids) == 20
    assert all(len(one) == 8 and int(one, 16) >= 0 for one in ids)
    sessions.close_all()
    assert len(sessions) == 0


def test_the_limit(sessions: Sessions) -> None:
    held = [sessions.create("CartPole-v1") for _ in range(3)]
    with pytest.raises(TooManyInstances, match="3 environments"):
        sessions.create("CartPole-v1")
    sessions.close(held[0].instance_id)
    sessions.create("CartPole-v1")


def test_what_could_not_be_made_takes_no_place(sessions: Sessions) -> None:
    for _ in range(5):
        with pytest.raises(EnvFailed):
            sessions.create("Unmakeable-v0")
    for env_id in ("Nothing-v0", "nothing", 3):
        with pytest.raises(Problem):
            sessions.create(env_id)  # type: ignore[arg-type]
    assert len(sessions) == 0


def test_leases(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    old, used = sessions.create("CartPole-v1"), sessions.create("CartPole-v1")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 50)
    sessions.get(used.instance_id)
    assert sessions.expire() == []
    monkeypatch.setattr(time, "monotonic", lambda: now + 70)
    assert sessions.expire() == [old]
    assert old.closed
    assert sessions.all() == [used]
    with pytest.raises(UnknownInstance):
        sessions.get(old.instance_id)


def test_the_limit_lets_ended_leases_go(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        sessions.create("CartPole-v1")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    sessions.create("CartPole-v1")
    assert len(sessions) == 1


def test_totals_outlive_sessions(sessions: Sessions) -> None:
    session = begun(sessions, "Scripted-v0")
    for _ in range(12):
        session.step(0)
    sessions.close(session.instance_id)
    assert (sessions.steps, sessions.episodes, sessions.made) == (12, 1, 1)
