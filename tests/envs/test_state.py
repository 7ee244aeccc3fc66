"""An environment that is saved and restored continues bit for bit."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from gym_loop.checkpoints.tree import first_difference
from gym_loop.envs.state.keeper import keep_state
from gym_loop.errors import StateError
from tests.envs.playing import assert_same, continues_exactly, make, play, through_a_file

FAMILIES = {
    "CartPole-v1": "attributes",
    "Pendulum-v1": "attributes",
    "Acrobot-v1": "attributes",
    "MountainCar-v0": "attributes",
    "MountainCarContinuous-v0": "attributes",
    "FrozenLake-v1": "attributes",
    "Taxi-v4": "attributes",
    "CliffWalking-v1": "attributes",
    "Blackjack-v1": "attributes",
    "LunarLander-v3": "replay",
    "LunarLanderContinuous-v3": "replay",
    "BipedalWalker-v3": "replay",
    "Hopper-v5": "mujoco",
    "HalfCheetah-v5": "mujoco",
    "Ant-v5": "mujoco",  # its reward reads what only the step before derived
    "InvertedPendulum-v5": "mujoco",
    "ALE/Pong-v5": "ale",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_restored_environment_continues_bit_for_bit(name):
    assert continues_exactly(make(name)) == FAMILIES[name]


@pytest.mark.parametrize("name", ["CartPole-v1", "Taxi-v4", "Hopper-v5"])
def test_replay_is_exact_too(name):
    continues_exactly(make(name), "replay")


@pytest.mark.parametrize("name", ["CartPole-v1", "Hopper-v5", "LunarLander-v3", "ALE/Pong-v5"])
@pytest.mark.parametrize("steps", [None, 0, 1])
def test_snapshots_before_and_right_after_a_reset(name, steps):
    original, restored = keep_state(make(name)()), keep_state(make(name)())
    if steps is not None:
        original.env.reset(seed=4)
        original.env.reset()
        for _ in range(steps):
            original.env.step(original.env.action_space.sample())
    restored.restore(through_a_file(original.snapshot()))
    answers = []
    for env in (original.env, restored.env):
        env.action_space.seed(3)
        first = env.reset(seed=5) if steps is None else ()
        answers.append([first, *play(env, 40)])
    if steps is None:
        assert np.array_equal(answers[0].pop(0)[0], answers[1].pop(0)[0])
        assert_same(answers[0], answers[1])
    else:
        assert_same(answers[0][1:], answers[1][1:])


@pytest.mark.parametrize("name", ["CartPole-v1", "LunarLander-v3", "BipedalWalker-v3"])
def test_snapshot_between_two_episodes(name):
    original, restored = keep_state(make(name)()), keep_state(make(name)())
    original.env.reset(seed=0)
    original.env.action_space.seed(0)
    while True:
        _, _, terminated, truncated, _ = original.env.step(original.env.action_space.sample())
        if terminated or truncated:
            break
    restored.restore(through_a_file(original.snapshot()))
    answers = []
    for keeper in (original, restored):
        keeper.env.action_space.seed(1)
        first, _ = keeper.env.reset()
        answers.append([first, *play(keeper.env, 60)])
    assert_same(answers[0], answers[1])


@pytest.mark.parametrize("name", ["CartPole-v1", "LunarLander-v3", "BipedalWalker-v3"])
def test_a_restored_environment_can_be_saved_again(name):
    first = keep_state(make(name)())
    first.env.reset(seed=0)
    first.env.action_space.seed(0)
    play(first.env, 80)
    second, third = keep_state(make(name)()), keep_state(make(name)())
    second.restore(through_a_file(first.snapshot()))
    for keeper in (first, second):
        keeper.env.action_space.seed(1)
        play(keeper.env, 5)
    third.restore(through_a_file(second.snapshot()))
    answers = []
    for keeper in (first, third):
        keeper.env.action_space.seed(2)
        answers.append(play(keeper.env, 100))
    assert_same(*answers)


def test_a_snapshot_does_not_change_with_the_environment():
    keeper = keep_state(make("CartPole-v1")())
    keeper.env.reset(seed=0)
    tree = keeper.snapshot()
    before = through_a_file(tree)
    play(keeper.env, 30)
    assert_same([before], [tree])


def test_reset_options_are_replayed():
    answers = []
    keeper = keep_state(make("Pendulum-v1")(), "replay")
    keeper.env.reset(seed=0, options={"x_init": 0.1, "y_init": 0.2})
    keeper.env.action_space.seed(0)
    play(keeper.env, 10)
    other = keep_state(make("Pendulum-v1")(), "replay")
    other.restore(through_a_file(keeper.snapshot()))
    for one in (keeper, other):
        one.env.action_space.seed(1)
        answers.append(play(one.env, 20))
    assert_same(*answers)


@pytest.mark.parametrize(
    "name",
    ["CartPole-v1", "Pendulum-v1", "MountainCar-v0", "Taxi-v4", "FrozenLake-v1", "LunarLander-v3"],
)
def test_a_picture_that_was_drawn_before_the_stop_is_in_no_state(name):
    """A resumed environment has drawn nothing yet; its states are those of one that has."""
    method = FAMILIES[name]
    drawn, fresh = (keep_state(gym.make(name, render_mode="rgb_array"), method) for _ in range(2))
    drawn.env.reset(seed=1)
    drawn.env.render()
    if method == "replay":
        drawn.env.reset()  # its state is that of the episode's beginning
    fresh.restore(through_a_file(drawn.snapshot()))
    fresh.env.action_space.seed(2)
    drawn.env.action_space.seed(2)
    for step in range(6):
        for one in (drawn, fresh):
            one.env.step(one.env.action_space.sample())
            if step == 2:
                one.env.reset()
            if step == 4:
                one.env.render()
        assert first_difference(drawn.snapshot(), fresh.snapshot()) == ""


def test_a_rendered_environment_is_restored_into_one_that_is_not():
    rendered = keep_state(gym.make("CartPole-v1", render_mode="rgb_array"))
    rendered.env.reset(seed=0)
    rendered.env.render()
    rendered.env.step(0)
    bare = keep_state(gym.make("CartPole-v1"))
    bare.restore(through_a_file(rendered.snapshot()))
    answers = [play(keeper.env, 5, _Ones()) for keeper in (rendered, bare)]
    assert_same(*answers)
    rendered.restore(through_a_file(bare.snapshot()))
    assert rendered.env.render().shape == (400, 600, 3)
    rendered.env.close()


class _Ones:
    def sample(self):
        return 1


class Actions(gym.Env):
    """Notes the actions it is given, in an attribute that is no data."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def __init__(self):
        self.seen = []
        self.handle = open("/dev/null")  # noqa: SIM115

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seen.clear()
        return 0, {}

    def step(self, action):
        self.seen.append(action)
        return 0, 0.0, False, False, {}

    def close(self):
        self.handle.close()


ACTIONS: dict[str, list[Any]] = {
    "ints": [0, 1, 1],
    "numpy_ints": [np.int64(0), np.int64(1)],
    "floats": [0.5, np.float32(0.25)],
    "arrays": [np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0], np.float32)],
    "zero_d": [np.array(3), np.array(4)],
    "empty": [np.zeros(0), np.zeros(0)],
    "two_dtypes": [np.zeros(2, np.float32), np.ones(2), np.zeros(2, np.float32)],
    "mixed": [0, np.ones(2), np.int64(3), {"move": np.ones(1), "jump": 1}, (1, np.zeros(1))],
    "none": [],
}


@pytest.mark.parametrize("kind", ACTIONS)
def test_actions_come_back_with_their_types(kind):
    original, restored = keep_state(Actions()), keep_state(Actions())
    assert original.method == "replay"
    original.env.reset(seed=0)
    for action in ACTIONS[kind]:
        original.env.step(action)
    for action in ACTIONS[kind]:
        if isinstance(action, np.ndarray):
            action += 7  # the agent may reuse its array
    restored.restore(through_a_file(original.snapshot()))
    want, have = ([type(item) for item in one.env.unwrapped.seen] for one in (original, restored))
    assert want == have
    assert len(have) == len(ACTIONS[kind])
    for was, action in zip(ACTIONS[kind], restored.env.unwrapped.seen, strict=True):
        if isinstance(was, np.ndarray):
            assert was.dtype == action.dtype
            assert np.array_equal(was - 7, action)
    original.env.close()
    restored.env.close()


class Board:
    def __init__(self):
        self.cells = np.zeros((3, 3), int)


LEVEL = np.zeros((3, 3), int)
MAZE = [[0, 0], [0, 0]]


class Grid(gym.Env):
    """A pure Python environment with what users write: shared constants, nested objects."""

    observation_space = gym.spaces.Box(0, 1000, (3, 3), int)
    action_space = gym.spaces.Discrete(9)

    def __init__(self):
        self.level = LEVEL
        self.maze = MAZE
        self.score = {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.rng = np.random.default_rng(self.np_random.integers(1000))
        self.board = Board()  # nothing stands in its place before the first reset
        self.level = LEVEL.copy()
        self.maze = [row.copy() for row in MAZE]
        self.queue = [self.board.cells]  # the same array twice
        return self.board.cells.copy(), {}

    def step(self, action):
        self.queue[0].flat[action] += self.rng.integers(5)
        self.level += action
        self.maze[0][1] += action
        self.score[int(action)] = self.score.get(int(action), 0) + 1
        total = int(self.board.cells.sum() + self.level.sum() + self.maze[0][1])
        return self.board.cells.copy(), total, total > 900, False, {"score": dict(self.score)}


def test_nested_objects_aliases_and_shared_constants():
    assert continues_exactly(Grid) == "attributes"
    assert not LEVEL.any()
    assert MAZE == [[0, 0], [0, 0]]


class Own(Grid):
    """Its own state functions, over an attribute that is no data."""

    def __init__(self):
        super().__init__()
        self.stream = iter(())

    def get_state(self):
        board = getattr(self, "board", Board())
        rng = self.rng.bit_generator.state if hasattr(self, "rng") else None
        return {
            "cells": board.cells.copy(),
            "level": self.level.copy(),
            "maze": [list(row) for row in self.maze],
            "score": tuple(self.score.items()),
            "rng": rng,
        }

    def set_state(self, state):
        self.reset()
        self.board.cells[:] = state["cells"]
        self.level, self.maze = state["level"], state["maze"]
        self.score = dict(state["score"])
        self.rng.bit_generator.state = state["rng"]


def test_own_state_functions_are_preferred():
    assert continues_exactly(Own) == "own"
    assert continues_exactly(lambda: gym.wrappers.TimeLimit(Own(), 40)) == "own"


def test_functions_of_the_same_name_with_another_meaning_are_not_taken():
    class Old(Grid):
        def get_state(self):
            return np.zeros(2)

        def set_state(self, qpos, qvel):
            raise AssertionError

    assert keep_state(Old()).method == "attributes"


def test_a_state_of_another_stack_is_refused():
    keeper = keep_state(make("CartPole-v1")())
    keeper.env.reset(seed=0)
    tree = keeper.snapshot()
    with pytest.raises(StateError, match="wrappers"):
        keep_state(gym.wrappers.ClipAction(make("Pendulum-v1")())).restore(tree)
    with pytest.raises(StateError, match=r"CartPoleEnv where this one has a .*PendulumEnv"):
        keep_state(make("Pendulum-v1")()).restore(tree)
    with pytest.raises(StateError, match="saved by 'attributes'"):
        keep_state(make("CartPole-v1")(), "replay").restore(tree)
    with pytest.raises(StateError, match="'telepathy' is no way"):
        keep_state(make("CartPole-v1")(), "telepathy")


def test_another_mujoco_model_is_refused():
    keeper = keep_state(make("Hopper-v5")())
    keeper.env.reset(seed=0)
    tree = keeper.snapshot()
    tree["core"]["integration"] = tree["core"]["integration"][:-1]
    with pytest.raises(StateError, match="another model's"):
        keep_state(make("Hopper-v5")()).restore(tree)


@pytest.mark.parametrize("frameskip", [1, (2, 5)])
@pytest.mark.parametrize("sticky", [0.0, 0.25, 0.9])
def test_the_action_that_an_emulator_may_repeat(sticky, frameskip):
    """The emulator's own state leaves it out: one restore in five went astray without it."""

    make_env = make("ALE/Pong-v5", repeat_action_probability=sticky, frameskip=frameskip)
    for seed in range(4):
        assert continues_exactly(make_env, before=3 * seed, after=8, seed=seed) == "ale"


def test_an_atari_game_without_any_wrapper():
    def make_env():
        return make("ALE/Pong-v5")().unwrapped

    keeper = keep_state(make_env())
    assert keeper.env is not keeper.env.unwrapped
    for seed in range(5):
        continues_exactly(make_env, before=seed, after=8, seed=seed)


def test_an_environment_that_is_kept_twice():
    def make_env():
        return keep_state(make("LunarLander-v3")()).env

    assert continues_exactly(make_env) == "replay"


def test_restart_brings_the_stream_back_but_not_the_episode():
    original, restored = (keep_state(make("LunarLander-v3")(), "restart") for _ in range(2))
    assert not original.continues
    original.env.reset(seed=0)
    original.env.step(0)
    restored.restore(through_a_file(original.snapshot()))
    assert np.array_equal(original.env.reset()[0], restored.env.reset()[0])
