"""What the tests of environment state share: play, note, compare, and copy as a file would."""

import copy
import json
import warnings

import ale_py
import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from gym_loop.checkpoints import files
from gym_loop.checkpoints.tree import capture, first_difference
from gym_loop.envs.state.keeper import keep_state

with warnings.catch_warnings():
    # With warnings as errors, importing Box2D's SWIG module ends the process.
    warnings.simplefilter("ignore")
    import Box2D  # type: ignore[import-untyped]  # noqa: F401

gym.register_envs(ale_py)


def through_a_file(tree):
    """A deep copy that knows only what a checkpoint can hold."""
    document, arrays = files.encode(tree)
    copies = {name: np.array(array, order="C") for name, array in arrays.items()}
    return files.decode(json.loads(json.dumps(document)), copies)


def without_times(info):
    if isinstance(info, dict):
        return {key: without_times(item) for key, item in info.items() if key not in ("t", "_t")}
    return info


def play(env, steps, space=None):
    """Take random actions, resetting without a seed; every answer as data."""
    space = space or env.action_space
    is_vector = isinstance(env.unwrapped, VectorEnv)
    notes = []
    for _ in range(steps):
        *answers, info = env.step(space.sample())
        notes.append(capture([*answers, without_times(info)]))
        over = np.logical_or(answers[2], answers[3])
        if not is_vector and over:
            notes.append(capture(list(env.reset())))
        elif is_vector and env.metadata["autoreset_mode"] == AutoresetMode.DISABLED and over.any():
            notes.append(capture(list(env.reset(options={"reset_mask": over}))))
    return notes


def assert_same(want, have):
    assert len(want) == len(have)
    for number, (one, other) in enumerate(zip(want, have, strict=True)):
        found = first_difference(one, other)
        assert not found, f"answer {number}: {found}"


def continues_exactly(make_env, method=None, before=200, after=300, seed=1):
    """Snapshot in the middle of an episode, restore into a fresh copy, and compare."""
    original, restored = keep_state(make_env(), method), keep_state(make_env(), method)
    try:
        space = copy.deepcopy(original.env.action_space)
        space.seed(seed)
        original.env.reset(seed=seed)
        play(original.env, before, space)
        original.env.reset()
        play(original.env, 9, space)
        tree = through_a_file(original.snapshot())
        space.seed(seed + 1)
        want = play(original.env, after, space)
        restored.restore(tree)
        space.seed(seed + 1)
        assert_same(want, play(restored.env, after, space))
        return original.method
    finally:
        original.env.close()
        restored.env.close()


def make(name, *wrappers, **parameters):
    def make_env():
        env = gym.make(name, **parameters)
        for wrapper in wrappers:
            env = wrapper(env)
        return env

    return make_env
