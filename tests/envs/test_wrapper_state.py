"""Every wrapper with a memory of its own comes back with it."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers

from gym_loop.envs.state.keeper import keep_state
from tests.envs.playing import assert_same, continues_exactly, make, play, through_a_file

METHODS = ("attributes", "replay")


class Wind(gym.ActionWrapper):
    """A user's wrapper: its own random stream, a counter, a function, a link, an open file."""

    def __init__(self, env):
        super().__init__(env)
        self.rng = np.random.default_rng(3)
        self.blown = 0
        self.core = env.unwrapped
        self.shape = lambda x: x
        self.log = open("/dev/null", "w")  # noqa: SIM115

    def action(self, action):
        self.blown += 1
        return self.shape(action + self.rng.normal(size=action.shape) * self.blown * 1e-3)

    def close(self):
        self.log.close()
        super().close()


class Curriculum(gym.Wrapper):
    """Changes the environment from outside, by a count that lives through resets."""

    episodes = 0

    def reset(self, **arguments):
        self.episodes += 1
        self.unwrapped.g = 10.0 + self.episodes
        return super().reset(**arguments)


class Lazy(gym.Wrapper):
    """Makes what it remembers in its first reset."""

    def reset(self, **arguments):
        self.memory = Memory()
        return super().reset(**arguments)

    def step(self, action):
        observation, reward, *rest = super().step(action)
        self.memory.total += reward
        return observation, self.memory.total, *rest


class Memory:
    def __init__(self):
        self.total = 0.0


STACKS = {
    "time_limit": [lambda env: wrappers.TimeLimit(env, 17)],
    "autoreset": [wrappers.Autoreset],
    "frame_stack": [lambda env: wrappers.FrameStackObservation(env, 4)],
    "frame_stack_zero": [lambda env: wrappers.FrameStackObservation(env, 3, padding_type="zero")],
    "normalize": [wrappers.NormalizeObservation, wrappers.NormalizeReward],
    "statistics": [lambda env: wrappers.RecordEpisodeStatistics(env, buffer_length=2)],
    "clip": [wrappers.ClipAction, lambda env: wrappers.ClipReward(env, -1, 1)],
    "rescale": [lambda env: wrappers.RescaleAction(env, np.float32(-1), np.float32(1))],
    "transform": [
        lambda env: wrappers.TransformObservation(env, lambda x: x * 2, None),
        lambda env: wrappers.TransformReward(env, lambda r: r / 2),
    ],
    "time_aware": [wrappers.TimeAwareObservation],
    "delay": [lambda env: wrappers.DelayObservation(env, 2)],
    "sticky": [lambda env: wrappers.StickyAction(env, 0.4)],
    "repeat": [lambda env: wrappers.MaxAndSkipObservation(env, 3)],
    "user": [Wind],
    "lazy": [Lazy],
    "curriculum": [Curriculum],
    "all_at_once": [
        wrappers.RecordEpisodeStatistics,
        Wind,
        lambda env: wrappers.FrameStackObservation(env, 2),
        wrappers.FlattenObservation,
        wrappers.NormalizeObservation,
        wrappers.NormalizeReward,
    ],
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stack", STACKS)
def test_a_wrapper_comes_back(stack, method):
    # Pendulum never terminates: episodes end by a time limit below the wrappers.
    make_env = make("Pendulum-v1", *STACKS[stack], max_episode_steps=23)
    assert continues_exactly(make_env, method, before=60, after=70) == method


@pytest.mark.parametrize("method", METHODS)
def test_one_hot_and_discrete_stacks(method):
    stack = (wrappers.FlattenObservation, lambda env: wrappers.FrameStackObservation(env, 3))
    continues_exactly(make("FrozenLake-v1", *stack), method, before=60, after=60)


def test_atari_preprocessing():
    stack = (wrappers.AtariPreprocessing, lambda env: wrappers.FrameStackObservation(env, 4))
    make_env = make("ALE/Pong-v5", *stack, frameskip=1)
    assert continues_exactly(make_env, before=20, after=40) == "ale"


def test_statistics_hold_what_was_counted():
    original, restored = (
        keep_state(wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1"))) for _ in range(2)
    )
    original.env.reset(seed=0)
    original.env.action_space.seed(0)
    play(original.env, 100)
    restored.restore(through_a_file(original.snapshot()))
    assert restored.env.episode_count == original.env.episode_count >= 2
    assert restored.env.return_queue == original.env.return_queue
    assert restored.env.return_queue.maxlen == 100


def test_a_recorder_of_videos_keeps_its_counters_but_not_its_frames(tmp_path):
    def make_env():
        env = gym.make("CartPole-v1", render_mode="rgb_array")
        return wrappers.RenderCollection(env)

    original, restored = keep_state(make_env()), keep_state(make_env())
    original.env.reset(seed=0)
    original.env.step(0)
    tree = original.snapshot()
    assert len(original.env.frame_list) == 2
    assert "frame_list" not in tree["wrappers"][0]["attributes"]
    restored.restore(through_a_file(tree))
    assert_same(play(original.env, 0), play(restored.env, 0))
    assert np.array_equal(original.env.step(1)[0], restored.env.step(1)[0])
    original.env.close()
    restored.env.close()
