"""What a vector environment returns: flags and rewards of every kind, and rows left out."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from gym_loop import load_config, train
from gym_loop.agents import BaseAgent
from gym_loop.checkpoints.seeding import Seeds
from gym_loop.envs.making import EnvSpec
from gym_loop.envs.vector import make_vector_env
from gym_loop.errors import EnvError, EnvParametersError
from gym_loop.loops.vector_loop import VectorLoop
from gym_loop.runs.training_run import TrainingRun
from gym_loop.training.building import Experiment
from gym_loop.training.check import check
from tests.scripted_copies import BatchJournal

LENGTHS = np.array([7, 8, 9])


class OfLengths(VectorEnv):
    """Three copies with episodes of 7, 8 and 9 steps, which reset in a step of their own."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - as in Gymnasium

    def __init__(self, num_envs: int = 3, flags: Any = bool, rewards: Any = np.ones) -> None:
        self.num_envs, self.flags, self.rewards = num_envs, flags, rewards
        self.single_observation_space = spaces.Box(0, 100, (4,), np.float64)
        self.single_action_space = spaces.Discrete(1000)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.ages = np.zeros(self.num_envs, int)
        return self._seen(), {}

    def _seen(self) -> Any:
        return np.repeat(self.ages[:, None], 4, 1).astype(float)

    def step(self, actions: Any) -> Any:
        before = self.ages == LENGTHS[: self.num_envs]
        self.ages = np.where(before, 0, self.ages + 1)
        over = self.ages == LENGTHS[: self.num_envs]
        info = {"env_ids": "mine", "action_mask": np.ones(self.num_envs)}
        never = np.zeros(self.num_envs, bool)
        rewards = self.rewards(self.num_envs)  # in a reset too, which is no step
        return self._seen(), rewards, self._as(over), self._as(never), info

    def _as(self, flags: Any) -> Any:
        return flags.tolist() if self.flags is list else flags.astype(self.flags)


@pytest.mark.parametrize("flags", [bool, np.int64, np.uint8, np.float32, list], ids=str)
def test_flags_of_every_kind_count_the_same_steps(flags: Any) -> None:
    agent = BatchJournal()
    loop = VectorLoop(agent, OfLengths(flags=flags), max_episodes=9, max_steps=None, n_envs=3)
    loop.train()
    assert (loop.episode, loop.steps) == (9, 79)
    assert sorted(loop.episode_log.last_returns) == [7.0] * 3 + [8.0] * 3 + [9.0] * 3
    assert {one.episode_return for one in loop.evaluate(range(6))} == {7.0, 8.0, 9.0}
    for told in agent.observed:
        assert told.terminated.dtype == told.truncated.dtype == bool
        assert (~told.terminated).sum() == len(told.env_ids) - told.done.sum()


def test_the_steps_of_a_run_file_with_flags_that_are_integers(workdir: Path) -> None:
    name = "tests.loops.test_vector_answers:OfLengths"
    config = {
        "agent": {"class": "gym_loop.agents.random_agent:RandomAgent"},
        "env": {"name": name, "parameters": {"flags": "int64"}},
        "loop": {
            "class": "gym_loop.loops.vector_loop:VectorLoop",
            "parameters": {"max_episodes": 9, "max_steps": None, "n_envs": 3},
        },
        "seed": 0,
    }
    assert train(config).steps == 79


def test_the_attribute_is_the_loops_whatever_the_environment_calls_env_ids() -> None:
    agent = BatchJournal()
    VectorLoop(agent, OfLengths(), max_steps=200, n_envs=3).train()
    assert {one.info["env_ids"] for one in agent.observed} == {"mine"}
    assert {len(one.env_ids) for one in agent.observed} == {1, 2, 3}
    for told in agent.observed:
        ages = told.ob[:, 0]
        assert len(told.last_ob) == len(told.env_ids) == len(ages)
        assert (ages <= LENGTHS[told.env_ids]).all()
        assert (told.terminated == (ages == LENGTHS[told.env_ids])).all()


def test_env_ids_are_in_info_too_and_the_environments_own_dictionary_is_left_alone() -> None:
    class Constant(OfLengths):
        info: dict[str, Any] = {}  # noqa: RUF012 - the same one at every step

        def step(self, actions: Any) -> Any:
            return (*super().step(actions)[:4], self.info)

    agent = BatchJournal()
    VectorLoop(agent, Constant(), max_steps=200, n_envs=3).train()
    assert all(one.info["env_ids"] is one.env_ids for one in agent.observed)
    assert Constant.info == {}


BAD_REWARDS: dict[str, Any] = {
    "a column": lambda count: np.ones((count, 1)),
    "one for all": lambda count: 1.0,
    "an array of one": lambda count: np.ones(1),
    "none": lambda count: [None] * count,
    "text": lambda count: np.array(["1"] * count),
    "ragged": lambda count: [[1.0]] * (count - 1) + [1.0],
}


@pytest.mark.parametrize("rewards", BAD_REWARDS.values(), ids=BAD_REWARDS)
def test_rewards_of_a_wrong_shape_are_one_sentence(rewards: Any) -> None:
    env = OfLengths(rewards=rewards)
    with pytest.raises(EnvError, match="OfLengths gave rewards of shape") as raised:
        VectorLoop(BatchJournal(), env, max_steps=20, n_envs=3).train()
    assert "\n" not in str(raised.value)


# -- agents that take whole batches only ---------------------------------------------------------


class Published(BaseAgent):
    """A ``[T, N]`` buffer, as in most published scripts."""

    supports_batch = True

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.rewards = np.zeros((64, self.parameters["n_envs"]))
        self.dones = np.zeros((64, self.parameters["n_envs"]))
        self.step = 0

    def act(self, state: Any, episode_num: int) -> Any:
        return self.rng.integers(self.parameters["action_space"].n, size=len(state))

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        self.rewards[self.step % 64] = reward
        self.dones[self.step % 64] = done
        self.step += 1


class Partial(Published):
    """Takes fewer rows, and says so."""

    supports_partial_batch = True

    def observe(self, transition: Any) -> None:
        at = self.step % 64, transition.env_ids
        self.rewards[at], self.dones[at] = transition.reward, transition.done
        self.step += 1


HERE = "tests.loops.test_vector_answers"


def of(agent: str, env: str = "CartPole-v1", **parameters: Any) -> dict[str, Any]:
    loop = {"class": "gym_loop.loops.vector_loop:VectorLoop", "parameters": parameters}
    return {
        "agent": {"class": f"{HERE}:{agent}"},
        "env": {"name": env},
        "loop": loop,
        "seed": 3,
    }


def kind_of(config: dict[str, Any]) -> str:
    experiment = Experiment(load_config(config), TrainingRun(Seeds(3)))
    name = type(experiment.env.unwrapped).__name__
    experiment.env.close()
    return name


def test_an_agent_of_a_published_script_gets_every_row(workdir: Path) -> None:
    config = of("Published", n_envs=3, max_steps=600)
    assert not [one for one in check(config) if one.level == "error"]
    assert train(config).steps == 600  # it died at step 44
    assert kind_of(config) == "SyncVectorEnv"
    assert kind_of(of("Published", n_envs=3, vectorization="sync")) == "SyncVectorEnv"


def test_an_agent_that_takes_fewer_rows_gets_native_copies(workdir: Path) -> None:
    config = of("Partial", n_envs=3, max_steps=600)
    assert kind_of(config) == "CartPoleVectorEnv"
    assert train(config).steps >= 600
    config["agent"]["class"] = "gym_loop.agents.ppo:PPO"
    assert kind_of(config) == "CartPoleVectorEnv"


@pytest.mark.parametrize(
    "config",
    [
        of("Published", n_envs=3, vectorization="native"),
        of("Published", f"{HERE}:OfLengths", n_envs=3),
    ],
    ids=["native", "class string"],
)
def test_copies_that_skip_rows_are_refused_by_the_flags_name(
    workdir: Path, config: dict[str, Any]
) -> None:
    errors = [one.text for one in check(config) if one.level == "error"]
    assert len(errors) == 1
    assert "supports_partial_batch" in errors[0]
    assert "\n" not in errors[0]
    with pytest.raises(EnvParametersError, match="supports_partial_batch"):
        train(config)
    assert not list(workdir.iterdir())


def test_a_loop_made_by_hand_refuses_them_when_it_trains() -> None:
    env = gymnasium.make_vec("CartPole-v1", 3, "vector_entry_point")
    agent = Published(n_envs=3, seed=0, action_space=env.single_action_space)
    loop = VectorLoop(agent, env, max_steps=60, n_envs=3)
    with pytest.raises(EnvParametersError, match="supports_partial_batch"):
        loop.train()
    assert len(loop.evaluate([1])) == 1


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_copies_that_skip_none_are_taken(mode: AutoresetMode) -> None:
    kwargs: dict[str, Any] = {"autoreset_mode": mode}
    env = gymnasium.make_vec("CartPole-v1", 3, "sync", vector_kwargs=kwargs)
    space = env.single_action_space
    agent = Published(n_envs=3, seed=0, action_space=space)
    VectorLoop(agent, env, max_steps=600, n_envs=3).train()
    assert agent.step == 200


# -- copies of our own ---------------------------------------------------------------------------


class Rewriting(gymnasium.Env):
    """Counts in one array, which it returns; episodes of five steps; odd rewards and flags."""

    observation_space = spaces.Box(0, 100, (4,), np.float64)
    action_space = spaces.Discrete(1000)

    def __init__(self, reward: Any = None, flag: Any = None) -> None:
        self.memory, self.count = np.zeros(4), 0
        self.reward, self.flag = reward, flag

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        self.memory[:] = 0
        return self.memory, {}

    def step(self, action: Any) -> Any:
        self.count += 1
        self.memory[:] = self.count
        over = self.count == 5
        reward = np.array([1.0]) if self.reward == "array" else 1.0
        if self.reward == "none":
            reward = None  # type: ignore[assignment]
        return self.memory, reward, np.array([over]) if self.flag else over, False, {}


@pytest.fixture
def rewriting() -> str:
    gymnasium.register("Rewriting-v0", f"{HERE}:Rewriting", disable_env_checker=True)
    return "Rewriting-v0"


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("mode", AutoresetMode)
def test_the_last_observation_outlives_the_reset(
    rewriting: str, vectorization: str, mode: AutoresetMode
) -> None:
    env = make_vector_env(EnvSpec(rewriting), 2, vectorization, autoreset=mode)
    agent = BatchJournal()
    VectorLoop(agent, env, max_steps=300, n_envs=2).train()
    env.close()
    for told in agent.observed:
        assert (told.ob[:, 0] == told.last_ob[:, 0] + 1).all()
        assert (told.terminated == (told.ob[:, 0] == 5)).all()


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_rewards_and_flags_of_copies_may_be_arrays_of_one(
    rewriting: str, vectorization: str
) -> None:
    spec = EnvSpec(rewriting, parameters={"reward": "array", "flag": "array"})
    env = make_vector_env(spec, 2, vectorization)
    loop = VectorLoop(BatchJournal(), env, max_steps=300, n_envs=2)
    loop.train()
    env.close()
    assert set(loop.episode_log.last_returns) == {5.0}


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_rewards_of_copies_that_are_none_are_one_sentence(
    rewriting: str, vectorization: str
) -> None:
    env = make_vector_env(EnvSpec(rewriting, parameters={"reward": "none"}), 2, vectorization)
    with pytest.raises(EnvError, match="gave the reward None") as raised:
        VectorLoop(BatchJournal(), env, max_steps=300, n_envs=2).train()
    env.close()
    assert "\n" not in str(raised.value)


def test_a_copy_is_watched_only_at_first() -> None:
    env = make_vector_env(EnvSpec("CartPole-v1"), 1, "sync")
    (copy,) = env.envs
    assert "step" not in vars(copy)
    env.reset(seed=0)
    for _ in range(150):
        env.step(np.zeros(1, int))
    assert copy.step == copy.env.step
