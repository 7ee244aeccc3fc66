"""An environment on a server is the same environment: 200 steps side by side, bit for bit."""

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import gym_loop.envs.remote
from tests.serve import bad_envs
from tests.serve.fuzz_servers import Nested
from tests.serve.native.native_serving import native, same

REMOTE = "gym_loop/Remote-v0"
STEPS = 200
FRAMES = 5
QUICK = [
    "Acrobot-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1",
    "Blackjack-v1", "CliffWalking-v1", "FrozenLake-v1", "Taxi-v4", "LunarLander-v3",
    "HalfCheetah-v5", "Reacher-v5",
]  # fmt: skip


def others() -> list[str]:
    """The newest version of whatever else is registered and can be made here."""
    import ale_py

    gymnasium.register_envs(ale_py)
    newest: dict[str, Any] = {}
    for spec in gymnasium.registry.values():
        if spec.entry_point is None or spec.namespace in ("gym_loop", "GymV21Environment"):
            continue
        before = newest.get(spec.name)
        if before is None or (spec.version or 0) > (before.version or 0):
            newest[spec.name] = spec
    games = [name for name, spec in newest.items() if spec.namespace == "ALE"]
    kept = set(games[::20])  # they are all one class
    names = [spec.id for name, spec in newest.items() if name not in games or name in kept]
    return sorted(set(names) - set(QUICK))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with native(allow_parameters=["*:continuous", "is_slippery"], imports=["ale_py"]) as address:
        yield address


def play(local: Any, remote: Any, frames: bool, steps: int = STEPS) -> None:
    """Step both with the same actions, over the ends of episodes."""
    local.action_space.seed(7)
    assert local.observation_space == remote.observation_space
    assert local.action_space == remote.action_space
    assert same(local.reset(seed=3), remote.reset(seed=3))
    for step in range(steps):
        action = local.action_space.sample()
        want, have = local.step(copy.deepcopy(action)), remote.step(copy.deepcopy(action))
        assert want[1] == have[1]
        assert same((want[0], *want[2:]), (have[0], *have[2:])), (step, want, have)
        if frames and step % (steps // FRAMES) == 0:
            assert same(local.render(), remote.render())
        if want[2] or want[3]:
            assert same(local.reset(), remote.reset())


def made(env_id: str, **parameters: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old version says so
        return gymnasium.make(env_id, **parameters)


def compare(server: str, env_id: str, **parameters: Any) -> None:
    entry_point = gymnasium.spec(env_id).entry_point
    creator: Any = entry_point
    if isinstance(entry_point, str):
        creator = gymnasium.envs.registration.load_env_creator(entry_point)
    modes = (getattr(creator, "metadata", None) or {}).get("render_modes", [])
    # MuJoCo's frames need OpenGL, which a machine without a display lacks.
    drawn = "rgb_array" in modes and "mujoco" not in creator.__module__
    render_mode = "rgb_array" if drawn else None
    shown = {} if render_mode is None else {"render_mode": render_mode}
    local = made(env_id, **shown, **parameters)
    remote = gymnasium.make(
        REMOTE, url=server, env_id=env_id, render_mode=render_mode, env_parameters=parameters,
        keep_state=False,
    )  # fmt: skip
    try:
        play(local, remote, render_mode is not None)
    finally:
        local.close()
        remote.close()


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.parametrize("env_id", QUICK)
def test_the_same(server: str, env_id: str) -> None:
    compare(server, env_id)


@pytest.mark.learning
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("env_id", others())
def test_all_others(server: str, env_id: str) -> None:
    try:
        made(env_id).close()
    except Exception:  # noqa: BLE001 - what cannot be made here needs no comparing
        return
    compare(server, env_id)


def test_parameters(server: str) -> None:
    compare(server, "FrozenLake-v1", is_slippery=False)


def test_every_space(server: str) -> None:
    gymnasium.register("Nested-v0", entry_point=Nested, disable_env_checker=True)
    remote = gymnasium.make(REMOTE, url=server, env_id="Nested-v0", keep_state=False)
    space = Nested.observation_space
    assert remote.observation_space == space
    remote.reset()
    for _ in range(5):
        action = space.sample()
        observation, _, _, _, info = remote.step(action)
        assert space.contains(observation)
        assert set(info) == {"action"}
        assert all(
            same(one, other)
            for one, other in zip(plain(action), plain(info["action"]), strict=True)
        )
    remote.close()


def plain(sample: dict[str, Any]) -> list[Any]:
    """Parts that can be compared: a graph as a tuple."""
    return [tuple(one) if isinstance(one, spaces.GraphInstance) else one for one in sample.values()]


class Telling(bad_envs.Scripted):
    """Everything that an info can hold."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, _ = super().step(action)
        info = {
            "nested": {"list": [1, 2.5, None, "text", b"bytes"], "tuple": (1, (2,))},
            "array": np.arange(3, dtype=np.int16), "scalar": np.float32(0.1), "int64": 2**62,
            "nan": float("nan"), "inf": -np.inf, 5: "a key that is no text", "$a": [],
            "huge": 2**70, "true": True, "ünï": "\N{SNOWMAN}", "count": self.count,
        }  # fmt: skip
        return observation, reward, terminated, truncated, info


def test_infos(server: str) -> None:
    gymnasium.register("Telling-v0", entry_point=Telling)
    compare(server, "Telling-v0")


class Saying(bad_envs.Scripted):
    """An info that a vector environment can put together."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, _ = super().step(action)
        info = {
            "nested": {"number": self.count, "text": "t"}, "array": np.arange(3.0),
            "flag": True, "large": 2**62, "none": None,
        }  # fmt: skip
        return observation, reward, terminated, truncated, info


MODES = [None, *AutoresetMode]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Saying-v0"])
def test_copies(server: str, env_id: str, mode: AutoresetMode | None) -> None:
    gymnasium.register("Saying-v0", entry_point=Saying)
    name = None if mode is None else mode.name.lower()
    remote = gymnasium.make_vec(REMOTE, 3, url=server, env_id=env_id, autoreset=name)
    if mode is None and env_id == "CartPole-v1":
        local: Any = gymnasium.make_vec(env_id, 3, vectorization_mode="vector_entry_point")
    elif mode is AutoresetMode.NEXT_STEP and env_id == "CartPole-v1":
        local = gymnasium.make_vec(env_id, 3, vectorization_mode="vector_entry_point")
    else:
        mode = mode or AutoresetMode.SAME_STEP
        local = SyncVectorEnv([lambda: gymnasium.make(env_id)] * 3, autoreset_mode=mode)
    assert remote.metadata["autoreset_mode"] is local.metadata["autoreset_mode"]
    assert local.observation_space == remote.observation_space
    assert local.action_space == remote.action_space
    assert same(local.reset(seed=5), remote.reset(seed=5))
    local.action_space.seed(1)
    for _ in range(60):
        actions = local.action_space.sample()
        want, have = local.step(actions), remote.step(actions)
        assert same(copy.deepcopy(want), have)
        over = want[2] | want[3]
        if local.metadata["autoreset_mode"] is AutoresetMode.DISABLED and over.any():
            options = {"reset_mask": over}
            assert same(
                copy.deepcopy(local.reset(options=dict(options))), remote.reset(options=options)
            )
    local.close()
    remote.close()


def test_a_seed_a_copy(server: str) -> None:
    local = SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 3)
    remote = gymnasium.make_vec(
        REMOTE, 3, url=server, env_id="CartPole-v1", vectorization="sync", keep_state=False
    )
    seeds = [4, 9, 2]
    assert same(local.reset(seed=seeds), remote.reset(seed=seeds))
    remote.close()


def test_frames_of_copies_and_jpeg(server: str) -> None:
    remote = gymnasium.make_vec(
        REMOTE, 2, url=server, env_id="CartPole-v1", render_mode="rgb_array", keep_state=False
    )
    remote.reset(seed=0)
    frames = remote.render()
    assert len(frames) == 2
    remote.close()
    single = gymnasium.make(
        REMOTE, url=server, env_id="CartPole-v1", render_mode="rgb_array", jpeg=True
    )
    single.reset(seed=0)
    compressed = single.render().astype(int)
    single.close()
    assert compressed.shape == frames[0].shape
    assert np.abs(compressed - frames[0]).mean() < 3


def test_the_registered_id_is_a_vector_environment_as_well() -> None:
    assert gymnasium.spec(REMOTE).vector_entry_point is not None
    remote = gym_loop.envs.remote
    assert remote.VECTOR_ENVIRONMENTS.keys() <= remote.ENVIRONMENTS.keys()
