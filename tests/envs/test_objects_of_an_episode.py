"""Environments whose reset makes other objects each time, and that sample their own spaces.

So do MiniGrid's rooms, where keys and doors are objects in a list, and highway-env.
"""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

import gym_loop
from gym_loop.checkpoints.tree import capture, first_difference
from gym_loop.envs.state.keeper import keep_state
from gym_loop.envs.state.proof import Verdict, prove
from gym_loop.envs.workers import StatefulEnv
from gym_loop.errors import StateError
from gym_loop.training.verify import _leaves, verify_resume
from tests.envs.playing import assert_same, play, through_a_file
from tests.envs.sampling import Halved, Opponent, Renewing


class Wall:
    value = 1


class Key:
    def __init__(self, value):
        self.value = value


class Room(gym.Env):
    """A row of cells, each with a wall, a key or nothing in it."""

    observation_space = gym.spaces.Box(0, 1000, (12,), np.int64)
    action_space = gym.spaces.Discrete(12)

    def __init__(self):
        self.cells: list[Any] = [None] * 12
        self.carrying: Any = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        kinds = self.np_random.integers(3, size=12)
        self.cells = [
            (None, Wall(), Key(int(self.np_random.integers(2, 9))))[kind] for kind in kinds
        ]
        self.carrying = None
        return self.seen(), {}

    def seen(self):
        return np.array([cell.value if cell else 0 for cell in self.cells])

    def step(self, action):
        there = self.cells[action]
        if isinstance(there, Key) and self.carrying is None:
            self.carrying, self.cells[action] = there, None
        elif there is None:
            self.carrying, self.cells[action] = None, self.carrying
        over = bool(self.np_random.random() < 0.05)
        return self.seen(), 0.0 if self.carrying is None else 1.0, over, False, {}


class Old(Room):
    """Keeps the objects of the last episode, which then decide the next."""

    def reset(self, *, seed=None, options=None):
        if any(self.cells):
            gym.Env.reset(self, seed=seed)
            return self.seen(), {}
        return super().reset(seed=seed, options=options)


@pytest.mark.parametrize("seed", range(4))
def test_an_exact_verdict_rests_on_no_luck(seed):
    verdict = prove(Room, seed=seed)
    assert (verdict.exact, verdict.method, verdict.left_out) == (True, "replay", ())


def test_copies():
    assert prove(lambda: SyncVectorEnv([Room] * 2), seed=0).method == "sync[replay]"
    workers = [lambda: StatefulEnv(Room())] * 2
    assert prove(lambda: AsyncVectorEnv(workers), seed=0).method == "async[replay]"


@pytest.mark.parametrize("seed", range(8))
def test_an_episode_goes_on_among_its_own_objects(seed):
    original = keep_state(Room(), "replay")
    original.env.action_space.seed(seed)
    original.env.reset(seed=seed)
    play(original.env, 100)
    tree = through_a_file(original.snapshot())
    restored = keep_state(Room(), "replay")
    restored.restore(tree)
    again = restored.snapshot()
    assert first_difference(tree, again) == ""
    space = gym.spaces.Discrete(12, seed=seed)
    expected = play(original.env, 100, space)
    assert_same(expected, play(restored.env, 100, gym.spaces.Discrete(12, seed=seed)))
    assert first_difference(original.snapshot(), restored.snapshot()) == ""  # no less is kept


class Holder:
    def __init__(self, stream):
        self.stream = stream


class Reusing(Room):
    """Makes an object in its first reset, and changes it in the others."""

    def __init__(self):
        super().__init__()
        self.key: Any = None
        self.sensor = Holder(self)  # what refers to the environment refers to the key

    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed, options=options)
        if self.key is None:
            self.key = Key(0)
        self.key.value += 1
        return result


def test_what_has_its_place_after_a_first_reset_stays_in_the_state():
    original, restored = (keep_state(Reusing(), "replay") for _ in range(2))
    original.env.reset(seed=1)
    original.env.reset()
    restored.restore(through_a_file(original.snapshot()))
    for one in (original, restored):
        one.env.reset()
    assert restored.env.unwrapped.key.value == 3
    assert first_difference(original.snapshot(), restored.snapshot()) == ""


def test_objects_that_no_reset_makes_anew_are_missed():
    env = keep_state(Old(), "replay")
    env.env.reset(seed=1)
    env.env.reset()
    with pytest.raises(StateError, match="cells"):
        keep_state(Old(), "replay").restore(through_a_file(env.snapshot()))


MAKERS = {
    "one": Opponent,
    "wrapped": lambda: Halved(Opponent()),
    "sync": lambda: SyncVectorEnv([Opponent] * 2),
    "workers": lambda: AsyncVectorEnv([lambda: StatefulEnv(Opponent())] * 2),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_spaces_of_an_environment_are_state(make):
    verdict = prove(make, seed=0)
    assert verdict.exact, verdict.reason


def test_random_actions_are_the_seeds_after_a_reset_that_makes_its_space_anew(workdir):
    config = {
        "env": {"name": "Renewing-v0"},
        "loop": {"parameters": {"max_episodes": 4, "random_episodes": 3}},
        "seed": 3,
    }
    first, second = (gym_loop.train(config, quiet=True).mean_return for _ in range(2))
    assert first == second


class Eager(Opponent):
    """Is reset when it is made, by nobody's seed, and gives its stream to another object."""

    def __init__(self):
        super().__init__()
        self.reset()

    def reset(self, *, seed=None, options=None):
        gym.Env.reset(self, seed=seed)
        self.road = Holder(self.np_random)
        self.__dict__ = {"road": self.__dict__.pop("road"), **self.__dict__}  # the first one met
        return super().reset(options=options)


def test_what_a_stream_spawns_later_follows_from_the_saved_seed():
    original, restored = keep_state(Eager(), "attributes"), keep_state(Eager(), "attributes")
    original.env.reset(seed=4)
    restored.restore(through_a_file(original.snapshot()))
    streams = [one.env.road.stream for one in (original, restored)]
    assert restored.env.np_random is streams[1]
    children = [stream.spawn(1)[0].random() for stream in streams]
    assert children[0] == children[1]


@pytest.mark.parametrize("method", ["attributes", "replay"])
def test_a_space_that_a_reset_made_is_not_the_runs(method):
    original = keep_state(Renewing(), method)
    original.env.reset(seed=1)
    restored = keep_state(Renewing(), method)
    runs = restored.env.action_space
    restored.restore(through_a_file(original.snapshot()))
    runs.seed(7)  # as when the run's streams are put back
    spaces = [one.env.unwrapped.action_space for one in (original, restored)]
    assert spaces[0].sample() == spaces[1].sample()


def test_a_stream_is_compared_as_a_whole():
    # A part of two streams of the operating system's may agree by chance.
    trees = [capture(gym.spaces.Discrete(9, seed=seed)) for seed in (1, 2)]
    assert list(_leaves(trees[0], trees[1], "spaces")) == ["spaces[0]"]


class Miscounting(Renewing):
    """Its info is by chance in one part, and not in another, which no resume may lose."""

    def __init__(self):
        super().__init__()
        self.rounds = iter(range(10**6))

    def reset(self, *, seed=None, options=None):
        ob, info = super().reset(seed=seed)
        return ob, {**info, "round": next(self.rounds)}


def test_what_no_seed_repeats_in_info_is_no_state():
    for make in (Renewing, lambda: SyncVectorEnv([Renewing] * 2)):
        verdict = prove(make, seed=0)
        assert verdict.exact, verdict.reason
        assert "does not repeat" in verdict.reason
        assert "action" in verdict.reason
    verdict = prove(Miscounting, seed=0)
    assert not verdict.exact
    assert "info.round" in verdict.reason


@pytest.mark.parametrize("loop", ["one", "wrapped", "sync", "async", "wrapped sync"])
def test_the_seed_decides_what_an_environment_samples(loop, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])  # where the children find this module
    wrappers = [{"class": f"{Opponent.__module__}:Halved"}] if "wrapped" in loop else []
    parameters: dict[str, Any] = {"max_steps": 120, "episodes_per_eval": 2, "eval_episodes": 2}
    config: dict[str, Any] = {
        "agent": {"class": "gym_loop.agents.random_agent:RandomAgent"},
        "env": {
            "imports": [Opponent.__module__],
            "name": "Opponent-v0",
            "max_episode_steps": 20,
            "wrappers": wrappers,
        },
        "loop": {"parameters": parameters},
        "seed": 3,
    }
    for name in ("logdir", "checkpoint_dir", "eval_logdir"):
        parameters[name] = str(tmp_path / name)
    if "sync" in loop:
        config["loop"]["class"] = "gym_loop.loops.vector_loop:VectorLoop"
        parameters |= {"n_envs": 2, "vectorization": loop.split()[-1]}
    results = [gym_loop.train(config, quiet=True) for _ in range(2)]
    verified = verify_resume(config, steps=100)
    first, second = ((one.mean_return, one.best_evaluation) for one in results)
    assert first == second
    assert verified.identical, verified.differences


def test_a_state_that_is_no_longer_proved_begins_a_new_episode(workdir, monkeypatch, capsys):
    config = {
        "env": {"name": "CartPole-v1"},
        "loop": {"parameters": {"max_steps": 50}},
        "seed": 3,
    }
    (workdir / "run.yaml").write_text(json.dumps(config))
    gym_loop.train("run.yaml", quiet=True)
    unproved = Verdict(False, "restart", "slow", "wait")
    monkeypatch.setattr("gym_loop.training.building.prove", lambda *args, **options: unproved)
    result = gym_loop.train("run.yaml", {"loop.parameters.max_steps": 90}, resume=True, quiet=True)
    assert result.steps == 90
    assert "approximate: slow" in capsys.readouterr().err
