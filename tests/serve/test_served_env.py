"""One served environment: what it returns is checked, and what it raises told."""

import numpy as np
import pytest

from gym_loop.serve.catalogue import Catalogue
from gym_loop.serve.served_env import ServedEnv
from gym_loop.wire.problems import EnvFailed, ResetNeeded, UnknownInstance, WrongAction
from tests.serve import bad_envs


@pytest.fixture(autouse=True)
def environments() -> None:
    bad_envs.register()


def made(env_id: str, seed: int | None = None) -> ServedEnv:
    env = ServedEnv("x", env_id, Catalogue(), seed)
    env.make()
    return env


def begun(env_id: str) -> ServedEnv:
    env = made(env_id)
    env.reset()
    return env


def test_an_episode() -> None:
    env = made("CartPole-v1", seed=0)
    first, info = env.reset()
    assert (first.shape, info) == ((4,), {})
    done = False
    while not done:
        observation, reward, terminated, truncated, info = env.step(1)
        assert env.observation_space.contains(observation)
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
        done = terminated or truncated
    assert env.steps == env.episode_return > 5
    assert env.episodes == 1
    env.reset()
    assert (env.episode_return, env.episodes) == (0.0, 1)


@pytest.mark.filterwarnings("ignore:.*calling 'step.*")
def test_a_step_after_the_end_is_the_environments_affair() -> None:
    env = begun("CartPole-v1")
    while not env.episodes:
        env.step(1)
    steps = env.steps
    assert env.step(1)[2] is True
    assert (env.steps, env.episodes) == (steps + 1, 1)


def test_seeds_repeat() -> None:
    one, other = (made("CartPole-v1", seed=0) for _ in range(2))
    assert one.reset()[0].tobytes() == other.reset()[0].tobytes()
    actions = [[env.action_space.sample() for _ in range(20)] for env in (one, other)]
    assert actions[0] == actions[1]
    second = one.reset()[0].tobytes()
    assert second == other.reset()[0].tobytes()
    assert second != one.reset(seed=0)[0].tobytes()
    assert one.reset(seed=5)[0].tobytes() == other.reset(seed=5)[0].tobytes()


def test_options_reach_the_environment() -> None:
    env = made("Scripted-v0")
    assert env.reset(options={"a": 1})[1] == {"options": {"a": 1}}
    assert env.reset()[1] == {"options": None}


def test_no_step_before_a_reset() -> None:
    env = made("CartPole-v1")
    with pytest.raises(ResetNeeded):
        env.step(0)
    with pytest.raises(ResetNeeded):
        env.render()


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
def test_wrong_actions(action: object) -> None:
    env = begun("CartPole-v1")
    with pytest.raises(WrongAction, match="is not in Discrete"):
        env.step(action)
    assert env.step(np.int64(1))[1] == 1.0


def test_a_shifted_discrete_space(monkeypatch: pytest.MonkeyPatch) -> None:
    from gymnasium.spaces import Discrete

    monkeypatch.setattr(bad_envs.Scripted, "action_space", Discrete(3, start=-1))
    env = begun("Scripted-v0")
    for action in (-1, 0, 1):
        env.step(action)
    for action in (-2, 2):
        with pytest.raises(WrongAction):
            env.step(action)


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Interrupting-v0", r"failed in step\(\): KeyboardInterrupt"),
        ("Cancelling-v0", r"failed in step\(\): CancelledError"),
        ("Raising-v0", r"failed in step\(\): ZeroDivisionError: the third step always fails"),
        ("Exiting-v0", r"failed in step\(\): SystemExit: 3"),
        ("Nonsense-v0", r"broken: step\(\) returned other than .*: None"),
    ],
)
def test_steps_that_fail(env_id: str, message: str) -> None:
    env = begun(env_id)
    if env_id == "Raising-v0":
        for _ in range(2):
            env.step(0)
    with pytest.raises(EnvFailed, match=message):
        env.step(0)
    env.reset()
    assert env.reset_done


def test_every_nonsense_is_found() -> None:
    env = begun("Nonsense-v0")
    for _ in bad_envs.Nonsense.WRONG:
        with pytest.raises(EnvFailed, match="broken"):
            env.step(0)
    assert env.steps == 0


@pytest.mark.parametrize("env_id", ["RaisingReset-v0", "NonsenseReset-v0"])
def test_resets_that_fail(env_id: str) -> None:
    env = made(env_id)
    with pytest.raises(EnvFailed, match=r"reset\(\)"):
        env.reset()
    with pytest.raises(ResetNeeded):
        env.step(0)


def test_frames() -> None:
    assert begun("CartPole-v1").render().dtype == np.uint8
    assert begun("Scripted-v0").render() is None


def test_closing(caplog: pytest.LogCaptureFixture) -> None:
    env = begun("RaisingClose-v0")
    env.close()
    assert "the door is stuck" in caplog.text
    for call in (lambda: env.step(0), env.reset, env.render):
        with pytest.raises(UnknownInstance):
            call()
    env.close()
