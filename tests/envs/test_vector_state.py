"""Copies in this process, in worker processes, and vector environments that are one object."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as vector_wrappers

from gym_loop.envs.state.keeper import keep_state, ways
from gym_loop.envs.workers import StatefulEnv
from gym_loop.errors import StateError
from tests.envs.playing import assert_same, continues_exactly, make, play, through_a_file

MODES = list(AutoresetMode)


def sync(name, mode=AutoresetMode.NEXT_STEP, count=3, wrap=(), **parameters):
    def make_env():
        env = SyncVectorEnv([make(name, **parameters)] * count, autoreset_mode=mode)
        for wrapper in wrap:
            env = wrapper(env)
        return env

    return make_env


def workers(name, mode=AutoresetMode.NEXT_STEP, count=2, shared_memory=True, wrap=(), **parameters):
    def make_env():
        env = AsyncVectorEnv(
            [lambda: StatefulEnv(gym.make(name, **parameters))] * count,
            autoreset_mode=mode,
            shared_memory=shared_memory,
        )
        for wrapper in wrap:
            env = wrapper(env)
        return env

    return make_env


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["CartPole-v1", "LunarLander-v3"])
def test_sync(name, mode):
    method = continues_exactly(sync(name, mode), before=70, after=150)
    assert method == {"CartPole-v1": "sync[attributes]", "LunarLander-v3": "sync[replay]"}[name]


@pytest.mark.parametrize("mode", MODES)
def test_async(mode):
    assert continues_exactly(workers("CartPole-v1", mode), before=70, after=100) == (
        "async[attributes]"
    )


def test_async_with_replay_and_without_shared_memory():
    make_env = workers("LunarLander-v3", shared_memory=False)
    assert continues_exactly(make_env, before=60, after=100) == "async[replay]"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make_env", [sync, workers])
def test_snapshot_on_the_step_that_ends_an_episode(make_env, mode):
    """What an autoreset still owes is part of the state."""
    original, restored = (
        keep_state(make_env("CartPole-v1", mode, max_episode_steps=9)()) for _ in range(2)
    )
    original.env.action_space.seed(0)
    original.env.reset(seed=2)
    answers = []
    over = np.zeros(1, bool)
    while not over.any():
        _, _, terminated, truncated, _ = original.env.step(original.env.action_space.sample())
        over = np.logical_or(terminated, truncated)
    tree = through_a_file(original.snapshot())
    restored.restore(tree)
    for keeper in (original, restored):
        keeper.env.action_space.seed(1)
        first = ()
        if mode == AutoresetMode.DISABLED:
            first, _ = keeper.env.reset(options={"reset_mask": over})
        answers.append([first, *play(keeper.env, 60)])
    assert_same(*answers)
    # A second generation, saved on a step that a reset has just been taken in.
    third = keep_state(make_env("CartPole-v1", mode, max_episode_steps=9)())
    third.restore(through_a_file(restored.snapshot()))
    answers = []
    for keeper in (original, third):
        keeper.env.action_space.seed(2)
        answers.append(play(keeper.env, 30))
    assert_same(*answers)
    for keeper in (original, restored, third):
        keeper.env.close()


def test_saved_again_before_the_reset_that_is_owed():
    first, second, third = (keep_state(workers("CartPole-v1")()) for _ in range(3))
    first.env.action_space.seed(0)
    first.env.reset(seed=2)
    while not first.env.step(first.env.action_space.sample())[2].any():
        pass
    second.restore(through_a_file(first.snapshot()))
    third.restore(through_a_file(second.snapshot()))
    answers = []
    for keeper in (first, third):
        keeper.env.action_space.seed(1)
        answers.append(play(keeper.env, 40))
        keeper.env.close()
    second.env.close()
    assert_same(*answers)


@pytest.mark.parametrize("mode", MODES)
def test_vector_wrappers(mode):
    wrap = [vector_wrappers.RecordEpisodeStatistics]
    if mode == AutoresetMode.NEXT_STEP:  # the only one that these know
        wrap += [vector_wrappers.NormalizeObservation, vector_wrappers.NormalizeReward]
    continues_exactly(sync("CartPole-v1", mode, wrap=wrap), before=70, after=100)


def test_vector_wrappers_around_workers():
    wrap = (vector_wrappers.NormalizeObservation, vector_wrappers.RecordEpisodeStatistics)
    continues_exactly(workers("CartPole-v1", wrap=wrap), before=40, after=60)


def test_stateful_copies_in_this_process():
    def make_env():
        return SyncVectorEnv([lambda: StatefulEnv(gym.make("CartPole-v1"))] * 2)

    assert continues_exactly(make_env, before=40, after=60) == "sync[attributes]"


def test_a_vector_environment_of_its_own_kind():
    def make_env():
        return gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="vector_entry_point")

    assert continues_exactly(make_env, before=70, after=100) == "attributes"


def test_nested_observations_in_shared_memory():
    def make_env():
        return AsyncVectorEnv([lambda: StatefulEnv(Nested())] * 2)

    continues_exactly(make_env, before=10, after=20)


class Nested(gym.Env):
    observation_space = gym.spaces.Dict(
        {
            "a": gym.spaces.Box(-10, 10, (2,), np.float64),
            "b": gym.spaces.Tuple((gym.spaces.Discrete(100), gym.spaces.Box(0, 1, (1,)))),
        }
    )
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.answer(), {}

    def answer(self):
        noise = self.np_random.random(1).astype(np.float32)
        return {"a": np.full(2, self.count * 0.1), "b": (self.count, noise)}

    def step(self, action):
        self.count += 1
        return self.answer(), 1.0, self.count > 6, False, {}


def test_a_partial_reset_after_a_restore_shows_the_other_copies_unchanged():
    original, restored = (
        keep_state(workers("CartPole-v1", AutoresetMode.DISABLED)()) for _ in range(2)
    )
    original.env.reset(seed=0)
    original.env.step(original.env.action_space.sample())
    restored.restore(through_a_file(original.snapshot()))
    mask = np.array([True, False])
    first, second = (k.env.reset(options={"reset_mask": mask})[0] for k in (original, restored))
    assert np.array_equal(first, second)
    assert first[1].any()
    original.env.close()
    restored.env.close()


def test_workers_that_cannot_answer():
    env = AsyncVectorEnv([make("CartPole-v1")] * 2)
    assert ways(env)[0] == ["async[restart]"]
    with pytest.raises(StateError, match="StatefulEnv"):
        keep_state(env, "async[attributes]")
    keeper = keep_state(env)
    assert not keeper.continues
    env.reset(seed=0)
    tree = keeper.snapshot()
    keeper.restore(through_a_file(tree))
    assert env.step(env.action_space.sample())[0].shape == (2, 4)
    env.close()


class Handle(Nested):
    def get_state(self):
        return iter(())

    def set_state(self, state):
        raise AssertionError


def test_a_problem_in_a_worker_is_an_error_here_and_the_worker_lives():
    env = AsyncVectorEnv([lambda: StatefulEnv(Handle())] * 2)
    keeper = keep_state(env, "async[own]")
    env.reset(seed=0)
    with pytest.raises(StateError, match=r"copy 0: Handle.get_state\(\).*copy 1"):
        keeper.snapshot()
    assert env.step(env.action_space.sample())[1].shape == (2,)
    env.close()


def test_another_number_of_copies_is_refused():
    keeper = keep_state(sync("CartPole-v1")())
    tree = keeper.snapshot()
    with pytest.raises(StateError, match="3 copies, this one has 2"):
        keep_state(sync("CartPole-v1", count=2)()).restore(tree)
