"""Making vector environments: which kind, with which limits, and what is refused."""

import os
import signal
import sys
import types
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Text, Tuple
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space

from gym_loop.envs.autoreset import Copies, row_taker
from gym_loop.envs.making import EnvSpec, WrapperSpec, make_env
from gym_loop.envs.state.proof import prove
from gym_loop.envs.vector import EnvPoolEnv, make_vector_env, why_not_native
from gym_loop.envs.workers import WorkersEnv
from gym_loop.errors import (
    EnvError,
    EnvParametersError,
    EnvUnknownError,
    EnvWorkerError,
    RenderError,
)
from tests.scripted_copies import OwnVectorEnv, ScriptedCopy, make_copies

CART_POLE = EnvSpec("CartPole-v1")
NATIVE = "CartPoleVectorEnv"


def made(*arguments: Any, **options: Any) -> Any:
    env = make_vector_env(*arguments, **options)
    env.close()
    return env


@pytest.fixture
def creators(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """An importable module whose members are named by class strings."""
    module = types.ModuleType("own_creators")
    monkeypatch.setitem(sys.modules, "own_creators", module)
    return module


class TestWhichKind:
    def test_auto_is_native_where_that_is_possible(self) -> None:
        assert type(made(CART_POLE, 2).unwrapped).__name__ == NATIVE
        assert type(made(CART_POLE, 2, "native").unwrapped).__name__ == NATIVE
        assert isinstance(made(EnvSpec("Pendulum-v1"), 2), SyncVectorEnv)

    @pytest.mark.parametrize(
        ("spec", "options", "reason"),
        [
            (EnvSpec("Pendulum-v1"), {}, "no vector entry point"),
            (
                EnvSpec("CartPole-v1", wrappers=[WrapperSpec("gymnasium.wrappers:Autoreset")]),
                {},
                "wrappers",
            ),
            (CART_POLE, {"record": True}, "recorded"),
            (EnvSpec("CartPole-v1", parameters={"length": 2}), {}, "does not take length"),
        ],
    )
    def test_native_names_what_forbids_it(
        self, spec: EnvSpec, options: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(EnvParametersError, match=rf"natively: .*{reason}.*auto or sync"):
            make_vector_env(spec, 2, "native", **options)

    def test_auto_goes_round_what_forbids_it(self) -> None:
        assert isinstance(made(CART_POLE, 2, record=True), SyncVectorEnv)
        assert why_not_native(CART_POLE) == ""

    def test_native_parameters(self) -> None:
        spec = EnvSpec("CartPole-v1", parameters={"sutton_barto_reward": True})
        assert made(spec, 2).unwrapped._sutton_barto_reward is True

    def test_modes(self) -> None:
        assert made(CART_POLE, 2, "sync").metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        workers = made(CART_POLE, 2, "async")
        assert isinstance(workers, WorkersEnv)
        assert workers.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP

    @pytest.mark.parametrize("vectorization", ["native", "sync", "async"])
    @pytest.mark.parametrize(("limit", "longest"), [(None, 7), (7, None), (7, 20), (20, 7)])
    def test_time_limits(self, vectorization: str, limit: int | None, longest: int | None) -> None:
        spec = EnvSpec("CartPole-v1", max_episode_steps=limit)
        env = make_vector_env(spec, 2, vectorization, longest=longest)
        copies = Copies(env)
        copies.reset([1, 2])
        for _ in range(7):
            _, _, terminated, truncated, _, _, _, _ = copies.step(np.array([0, 1]))
            last = terminated, truncated
        env.close()
        assert last[1].all()
        assert not last[0].any()


class TestPictures:
    def test_copies_in_workers_have_none(self) -> None:
        with pytest.raises(EnvParametersError, match="worker process cannot be shown"):
            make_vector_env(CART_POLE, 2, "async", record=True)

    def test_the_first_copy_gives_frames(self) -> None:
        env = make_vector_env(CART_POLE, 2, record=True)
        assert [copy.render_mode for copy in env.envs] == ["rgb_array", None]
        assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
        env.close()

    def test_an_environment_without_frames(self) -> None:
        with pytest.raises(RenderError, match="cannot give frames"):
            make_vector_env(_blind(), 2, record=True)


def _blind() -> EnvSpec:
    class Blind(ScriptedCopy):
        metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

        def __init__(self, render_mode: str | None = None) -> None:
            super().__init__(0)

    gymnasium.register("Blind-v0", Blind)
    return EnvSpec("Blind-v0")


class TestClassStrings:
    def test_a_class(self, creators: Any) -> None:
        creators.Own = OwnVectorEnv
        spec = EnvSpec("own_creators:Own", parameters={"mode": AutoresetMode.SAME_STEP})
        env = made(spec, 2)
        assert isinstance(env, OwnVectorEnv)
        assert env.num_envs == 2

    def test_the_limit_is_handed_on(self, creators: Any) -> None:
        def make(num_envs: int, max_episode_steps: int) -> Any:
            env = OwnVectorEnv(num_envs=num_envs)
            env.limit = max_episode_steps
            return env

        creators.make = make
        assert made(EnvSpec("own_creators:make", max_episode_steps=9), 2).limit == 9

    @pytest.mark.parametrize(
        ("options", "remedy"),
        [
            ({"vectorization": "sync"}, "set vectorization to auto"),
            ({"record": True}, "set render and record to false"),
            ({"longest": 5}, "max_episode_steps in place of max_episode_len"),
        ],
    )
    def test_refusals(self, creators: Any, options: dict[str, Any], remedy: str) -> None:
        creators.Own = OwnVectorEnv
        with pytest.raises(EnvParametersError, match=f"own_creators:Own .*{remedy}"):
            make_vector_env(EnvSpec("own_creators:Own"), 2, **options)

    def test_single_environments_are_refused(self, creators: Any) -> None:
        creators.one = lambda num_envs: ScriptedCopy(0)
        with pytest.raises(EnvError, match=r"gave a ScriptedCopy, .*no .*VectorEnv"):
            make_vector_env(EnvSpec("own_creators:one"), 2)

    def test_another_number_of_copies_is_refused(self, creators: Any) -> None:
        creators.three = lambda num_envs: OwnVectorEnv(num_envs=3)
        with pytest.raises(EnvError, match="gave 3 copies when it was asked for 2"):
            make_vector_env(EnvSpec("own_creators:three"), 2)

    def test_unknown_names(self, creators: Any) -> None:
        creators.make_own = OwnVectorEnv
        with pytest.raises(EnvUnknownError, match="did you mean make_own"):
            make_vector_env(EnvSpec("own_creators:make_ow"), 2)

    def test_refused_parameters_name_those_that_are_taken(self, creators: Any) -> None:
        creators.Own = OwnVectorEnv
        with pytest.raises(EnvParametersError, match=r"refused .*takes mode, num_envs"):
            make_vector_env(EnvSpec("own_creators:Own", parameters={"speed": 3}), 2)

    def test_a_loop_of_single_environments_says_which_loop_to_use(self, creators: Any) -> None:
        creators.Own = OwnVectorEnv
        with pytest.raises(EnvError, match="VectorLoop"):
            make_env(EnvSpec("own_creators:Own"))


class Pool(OwnVectorEnv):
    """Behaves as EnvPool's: a seed when it is made, spaces of a single copy."""

    def __init__(self, num_envs: int, seed: int = 42) -> None:
        super().__init__(num_envs=num_envs)
        self.observation_space = self.single_observation_space
        self.action_space = self.single_action_space
        self.seed = seed

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        assert seed is None
        return super().reset(options=options)


class TestEnvPool:
    def make(self) -> EnvPoolEnv:
        return EnvPoolEnv(lambda **seed: Pool(num_envs=2, **seed))

    def test_spaces_have_a_row_a_copy(self) -> None:
        env = self.make()
        assert env.action_space == batch_space(ScriptedCopy.action_space, 2)
        assert env.observation_space == batch_space(ScriptedCopy.observation_space, 2)

    def test_a_seeded_reset_makes_it_anew(self) -> None:
        env = self.make()
        first = env.env
        env.reset(seed=2**31 + 5)
        assert first.closed
        assert env.env.seed == 5
        again = env.env
        env.reset()
        assert env.env is again


class TestCopies:
    def test_metadata_must_say_the_mode(self) -> None:
        env = OwnVectorEnv()
        env.metadata = {}
        with pytest.raises(EnvError, match=r"OwnVectorEnv does not say .*NEXT_STEP"):
            Copies(env)

    def test_a_last_observation_that_is_missing(self) -> None:
        env = OwnVectorEnv(AutoresetMode.SAME_STEP)
        step = env.step

        def without(actions: Any) -> Any:
            *answers, info = step(actions)
            info.pop("final_obs", None)
            return *answers, info

        env.step = without
        copies = Copies(env)
        copies.reset([1, 2, 3])
        with pytest.raises(EnvError, match="last observation is lost"):
            copies.step(np.zeros(3, np.int64))

    def test_each_copy_has_its_seed(self) -> None:
        env = make_copies("sync", AutoresetMode.DISABLED)
        copies = Copies(env)
        assert copies.each_is_seeded
        copies.reset([4, 5, 6])
        assert list(env.np_random_seed) == [4, 5, 6]
        copies.step(np.zeros(3, np.int64), lambda ended: [7, None, None])
        assert list(env.np_random_seed) == [7, 5, 6]

    def test_an_environment_of_its_own_kind_gets_the_first_seed(self) -> None:
        env = OwnVectorEnv()
        Copies(env).reset([4, 5, 6])
        assert list(env._inner.np_random_seed) == [4, 5, 6]  # from 4, by itself

    def test_rows_of_any_space(self) -> None:
        space = Dict({"a": Box(0, 9, (2,)), "b": Tuple((Discrete(9), Text(3)))})
        batch = {"a": np.arange(6).reshape(3, 2), "b": (np.arange(3), ("x", "y", "z"))}
        rows = row_taker(space)(batch, np.array([2, 0]))
        assert rows["a"].tolist() == [[4, 5], [0, 1]]
        assert rows["b"][0].tolist() == [2, 0]
        assert rows["b"][1] == ("z", "x")


class Raising(ScriptedCopy):
    """Raises, ends its process, or draws from the global random stream."""

    def step(self, action: Any) -> Any:
        if action == 13:
            raise ValueError("no thirteen")
        if action == 14:
            os._exit(3)
        return super().step(action)


def workers(cls: type) -> WorkersEnv:
    gymnasium.registry.pop("Raising-v0", None)
    gymnasium.register("Raising-v0", cls, kwargs={"copy": 0})
    return make_vector_env(EnvSpec("Raising-v0"), 2, "async")


class TestWorkers:
    def test_what_a_copy_raises_comes_with_its_traceback(self) -> None:
        env = workers(Raising)
        env.reset(seed=[1, 2])
        with pytest.raises(EnvWorkerError) as caught:
            env.step(np.array([5, 13]))
        text = str(caught.value)
        assert "copy 1 of Raising-v0 raised ValueError: no thirteen" in text
        assert "its last action was 13" in text
        assert 'raise ValueError("no thirteen")' in text
        with pytest.raises(EnvWorkerError, match="lost"):
            env.step(np.array([5, 5]))
        env.close()

    def test_a_process_that_ends(self) -> None:
        env = workers(Raising)
        env.reset(seed=[1, 2])
        with pytest.raises(EnvWorkerError, match=r"copy 0 .*exit status 3; its last action was 14"):
            env.step(np.array([14, 5]))
        env.close()

    def test_killed_before_the_first_action(self) -> None:
        env = workers(Raising)
        os.kill(env.processes[0].pid, signal.SIGKILL)
        env.processes[0].join()
        with pytest.raises(EnvWorkerError, match=r"SIGKILL \(is the memory .*no action yet"):
            env.reset(seed=[1, 2])
        env.close()

    def test_signals_to_the_whole_job_leave_the_copies_alive(self) -> None:
        env = workers(Raising)
        env.reset(seed=[1, 2])
        for process in env.processes:
            os.kill(process.pid, signal.SIGINT)
            os.kill(process.pid, signal.SIGTERM)
        ob, *_ = env.step(np.array([5, 5]))
        assert ob.shape == (2, 4)
        env.close()
        assert [process.exitcode for process in env.processes] == [0, 0]

    def test_closing_ends_a_worker_that_is_busy(self) -> None:
        env = workers(Raising)
        env.reset(seed=[1, 2])
        env.step_async(np.array([5, 5]))
        env.close()
        assert not any(process.is_alive() for process in env.processes)

    def test_global_streams_follow_from_the_seed(self) -> None:
        class Drawing(ScriptedCopy):
            def step(self, action: Any) -> Any:
                import random

                ob, _, terminated, truncated, info = super().step(action)
                return ob, random.random() + np.random.random(), terminated, truncated, info

        rewards = []
        for _ in range(2):
            env = workers(Drawing)
            env.reset(seed=[1, 2])
            rewards.append(env.step(np.array([5, 5]))[1].tolist())
            env.close()
        assert rewards[0] == rewards[1]
        assert rewards[0][0] != rewards[0][1]


def test_an_environment_that_keeps_its_state_to_itself_is_approximate() -> None:
    class Hidden(OwnVectorEnv, gymnasium.Env):
        """Both kinds at once, as EnvPool's; its state is no data."""

        def __init__(self) -> None:
            super().__init__()
            self.handle = iter(())

    verdict = prove(Hidden, 0)
    assert (verdict.exact, verdict.method) == (False, "restart")
