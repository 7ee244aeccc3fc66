"""Training on a native server: as exact as here, and stopped without loss when the server dies."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import gym_loop
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.checkpoints.tree import first_difference
from gym_loop.envs.remote.native_env import NativeEnv, NativeVectorEnv
from gym_loop.errors import BridgeConnectionError, BridgeError, StateError
from tests.serve import bad_envs
from tests.serve.native.native_serving import native

REMOTE = "gym_loop/Remote-v0"
QUICK = {"batch_size": 32, "n_epochs": 2, "n_steps": 40, "network_parameters": {"hidden": [16]}}
VECTOR, DEFAULT = "gym_loop.loops.vector_loop:VectorLoop", "gym_loop.loops.default_loop:DefaultLoop"
SERVE = (
    "import gym_loop, sys\n"
    "gym_loop.serve('websocket', port=int(sys.argv[1]), ready=lambda at: print(at, flush=True))"
)


def run_file(url: str, env_id: str = "CartPole-v1", cls: str = VECTOR, **loop: Any) -> Any:
    loop = {"max_episodes": None, **({"n_envs": 4} if cls == VECTOR else {}), **loop}
    return {
        "agent": {"class": "gym_loop.agents.ppo:PPO", "parameters": QUICK},
        "env": {"name": REMOTE, "parameters": {"url": url, "env_id": env_id}},
        "loop": {"class": cls, "parameters": loop},
        "seed": 3,
    }


def manifest(run: str) -> Any:
    return json.loads(Path("logs", run, "manifest.json").read_text())


def last_tree(run: str) -> Any:
    return CheckpointStore(Path("checkpoints", run)).newest().tree


@pytest.mark.parametrize(
    ("cls", "env_id"), [(VECTOR, "CartPole-v1"), (VECTOR, "Acrobot-v1"), (DEFAULT, "CartPole-v1")]
)
def test_a_resumed_run_is_the_run(cls: str, env_id: str, workdir: Path) -> None:
    with native() as url:
        wanted = run_file(url, env_id, cls, max_steps=480)
        gym_loop.train(wanted, name="straight")
        half = {"loop.parameters.max_steps": 240}
        gym_loop.train(wanted, half, name="halved")
        assert manifest("halved")["resume"]["verdict"] == "exact"
        gym_loop.train(wanted, {"loop.parameters.max_steps": 480}, resume="halved")
    straight, halved = last_tree("straight"), last_tree("halved")
    for part in ("agent", "loop", "streams"):
        assert not first_difference(straight[part], halved[part], part)


def test_it_is_the_run_without_a_server(workdir: Path) -> None:
    """The same copies with the same seeds: what is learnt does not know of the wire."""
    with native() as url:
        gym_loop.train(run_file(url, max_steps=480), name="far")
    local = run_file(url, max_steps=480)
    local["env"] = {"name": "CartPole-v1"}
    gym_loop.train(local, {"loop.parameters.vectorization": "native"}, name="near")
    far, near = last_tree("far"), last_tree("near")
    for part in ("agent", "loop"):
        assert not first_difference(near[part], far[part], part)


class Server:
    """A server in a process that can be killed, and come back on its port."""

    def __init__(self) -> None:
        self.port = "0"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", SERVE, self.port]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        at = self.process.stdout.readline().strip()
        self.port = at.rpartition(":")[2].partition("/")[0]
        self.url = f"ws://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("cls", [VECTOR, DEFAULT])
def test_a_killed_server(cls: str, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    env_class: Any = NativeVectorEnv if cls == VECTOR else NativeEnv
    step, taken = env_class.step, [0]

    def step_and_kill(self: Any, action: Any) -> Any:
        taken[0] += 1
        if taken[0] == 190:
            server.kill()
        return step(self, action)

    monkeypatch.setattr(env_class, "step", step_and_kill)
    try:
        with pytest.raises(BridgeConnectionError, match=r"step \d+ after reset \d+ was lost"):
            gym_loop.train(run_file(server.url, cls=cls, max_steps=480), name="far")
        before = manifest("far")
        assert before["status"] == "failed"
        saved = CheckpointStore(Path("checkpoints", "far")).newest()
        assert saved.step == before["steps"] > 0
        server.start()
        after = gym_loop.train(run_file(server.url, cls=cls, max_steps=480), resume="far")
        assert after.steps >= 480
    finally:
        server.kill()


def test_a_run_goes_on_only_where_the_server_is(workdir: Path) -> None:
    with native() as url:
        gym_loop.train(run_file(url, max_steps=80), name="far")
    with pytest.raises(BridgeConnectionError, match="is the server running there"):
        gym_loop.train(run_file(url, max_steps=80), resume="far")


# -- episodes of a lost server ------------------------------------------------------------------


def made(url: str, mode: str | None = None) -> NativeVectorEnv:
    return NativeVectorEnv(2, url, "CartPole-v1", autoreset=mode, keep_state=True)


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_lost_copies_are_truncated(mode: str) -> None:
    with native() as url:
        env = made(url, mode)
        env.reset(seed=0)
        last = env.step(np.zeros(2, np.int64))[0]
    with pytest.raises(BridgeConnectionError, match="step 2 after reset 1 was lost"):
        env.step(np.zeros(2, np.int64))
    with pytest.raises(BridgeError, match=r"call reset\(\)"):
        env.step(np.zeros(2, np.int64))
    state = env.get_state()
    env.close()
    with native() as url:
        env = made(url, mode)
        env.set_state(state)
        state = env.get_state()  # saved again before a step
        again = made(url, mode)
        again.set_state(state)
        for one in (env, again):
            observation, reward, terminated, truncated, info = one.step(np.zeros(2, np.int64))
            assert truncated.all()
            assert not terminated.any()
            assert not reward.any()
            assert info["server_lost"].all()
            ended = observation if mode != "same_step" else np.stack(info["final_obs"])
            assert (ended == last).all()
            if mode == "disabled":
                one.reset(options={"reset_mask": truncated})
            elif mode == "next_step":
                assert (one.step(np.zeros(2, np.int64))[0] != last).any()
            assert not one.step(np.zeros(2, np.int64))[3].any()
            assert one.metadata["autoreset_mode"] is AutoresetMode[mode.upper()]
            one.close()


def test_a_reset_makes_what_the_server_has_forgotten() -> None:
    with native(idle_lease=0.3) as url:
        env = gymnasium.make(REMOTE, url=url, env_id="CartPole-v1")
        env.reset(seed=0)
        import time

        time.sleep(1.5)
        with pytest.raises(BridgeError, match="step 1 after reset 1 was lost"):
            env.step(0)
        env.reset()
        env.step(0)
        env.close()


class Secretive(bad_envs.Scripted):
    """Keeps its state where nobody finds it."""

    def __init__(self) -> None:
        super().__init__()
        self._drawn = iter(np.random.default_rng().random, 2.0)

    def step(self, action: Any) -> Any:
        return np.array([next(self._drawn)]), 1.0, False, False, {}


def test_a_state_that_cannot_be_given() -> None:
    gymnasium.register("Secretive-v0", entry_point=Secretive)
    with native() as url:
        env = gymnasium.make(REMOTE, url=url, env_id="Secretive-v0").unwrapped
        env.reset(seed=0)
        with pytest.raises(StateError, match="cannot give its state exactly"):
            env.get_state()
        env.close()
        other = gymnasium.make(REMOTE, url=url, env_id="CartPole-v1").unwrapped
        with pytest.raises(StateError, match="no state of gym_loop/Remote-v0"):
            other.set_state({"server": 1})
        state = other.get_state()
        state["server"]["env"] = {"method": "own"}
        with pytest.raises(StateError, match="saved by 'own'"):
            other.set_state(state)
        other.reset(seed=1)
        other.step(0)
        other.close()
