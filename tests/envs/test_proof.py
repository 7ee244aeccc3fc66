"""The proof says the truth: exact where it is, and what differs first where it is not."""

import hashlib
import random

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from gym_loop.checkpoints.tree import first_difference
from gym_loop.envs.state.keeper import keep_state
from gym_loop.envs.state.proof import prove
from gym_loop.envs.workers import StatefulEnv
from tests.envs.playing import make, play, through_a_file


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("CartPole-v1", "attributes"),
        ("Taxi-v4", "attributes"),
        ("LunarLander-v3", "replay"),
        ("BipedalWalker-v3", "replay"),
        ("Ant-v5", "mujoco"),
        ("ALE/Pong-v5", "ale"),
    ],
)
def test_the_method_that_is_proved(name, method):
    verdict = prove(make(name), seed=0)
    assert (verdict.exact, verdict.word, verdict.method) == (True, "exact", method)
    assert method in verdict.reason
    assert not verdict.remedy


def test_vector_environments():
    sync = prove(lambda: SyncVectorEnv([make("CartPole-v1")] * 2), seed=0)
    assert (sync.exact, sync.method) == (True, "sync[attributes]")
    workers = prove(lambda: AsyncVectorEnv([lambda: StatefulEnv(make("CartPole-v1")())] * 2), 0)
    assert (workers.exact, workers.method) == (True, "async[attributes]")
    bare = prove(lambda: AsyncVectorEnv([make("CartPole-v1")] * 2), seed=0)
    assert (bare.exact, bare.method) == (False, "async[restart]")
    assert "StatefulEnv" in bare.reason


class Base(gym.Env):
    """Counts; what is added is what each test is about."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gym.spaces.Discrete(3)
    last = 30

    def __init__(self):
        self.count = 0
        self.closed = False

    def added(self):
        return 0.0

    def answer(self):
        return np.array([self.count + self.added()])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.answer(), {}

    def step(self, action):
        self.count += int(action)
        return self.answer(), 0.0, self.count > self.last, False, {}

    def close(self):
        self.closed = True


def counter():
    total = 0

    def count():
        nonlocal total
        total += 1
        return total

    return count


class Closure(Base):
    def __init__(self):
        super().__init__()
        self.added = counter()


class Iterator(Base):
    """Its state is in a generator, and the generator outlives an episode."""

    def __init__(self):
        super().__init__()
        self.numbers = (n * 0.5 for n in range(100_000))

    def added(self):
        return next(self.numbers)


calls = counter()


class Global(Base):
    def added(self):
        return calls()


@pytest.mark.parametrize("kind", [Closure, Iterator, Global])
def test_hidden_state_is_found(kind):
    verdict = prove(kind, seed=0)
    assert (verdict.exact, verdict.word, verdict.method) == (False, "approximate", "restart")
    assert "after a restore: observation[0] is " in verdict.reason
    assert "get_state()" in verdict.remedy
    assert "set_state(state)" in verdict.remedy
    # What it says to use instead works, and asks for a reset.
    keeper = keep_state(kind(), verdict.method)
    keeper.env.reset(seed=0)
    tree = keeper.snapshot()
    again = keep_state(kind(), verdict.method)
    again.restore(through_a_file(tree))
    assert not again.continues
    again.env.reset()


class FreshIterator(Base):
    """Its state is in a generator that each reset makes anew."""

    def reset(self, *, seed=None, options=None):
        gym.Env.reset(self, seed=seed)
        start = int(self.np_random.integers(100))
        self.numbers = (start + n * 0.5 for n in range(1000))
        return super().reset()

    def added(self):
        return next(self.numbers)


def test_what_each_reset_makes_anew_is_replayed():
    verdict = prove(FreshIterator, seed=0)
    assert (verdict.exact, verdict.method) == (True, "replay")


class Resets(FreshIterator):
    """What it counts out of sight is how often it was reset."""

    last = 10**6

    def __init__(self):
        super().__init__()
        self.next_number = counter()

    def reset(self, *, seed=None, options=None):
        self.episode = self.next_number()
        return super().reset(seed=seed)

    def added(self):
        return super().added() + self.episode


def test_what_follows_from_earlier_episodes_is_found():
    assert not prove(Resets, seed=0).exact


class WrongOwn(Base):
    """Its own functions forget half of the state."""

    def __init__(self):
        super().__init__()
        self.noise = 0.0

    def added(self):
        self.noise += self.np_random.random()
        return self.noise

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = state["count"]


def test_own_functions_that_forget_are_passed_over():
    verdict = prove(WrongOwn, seed=0)
    assert (verdict.exact, verdict.method) == (True, "attributes")
    only = prove(WrongOwn, seed=0, method="own")
    assert not only.exact
    assert only.reason.startswith("own: step 1 after a restore: observation[0] is")


class BrokenOwn(WrongOwn):
    def get_state(self):
        raise ZeroDivisionError("no luck")


def test_own_functions_that_raise_are_passed_over():
    assert prove(BrokenOwn, seed=0).method == "attributes"
    reason = prove(BrokenOwn, seed=0, method="own").reason
    assert "ZeroDivisionError was raised" in reason


class GlobalStream(Base):
    """Draws from the stream that agents draw from as well, and cannot be saved by attributes."""

    def __init__(self):
        super().__init__()
        self.handle = iter(())

    def added(self):
        return random.random() + np.random.random()


def test_a_replay_that_would_share_the_agents_stream_is_no_proof():
    verdict = prove(GlobalStream, seed=0)
    assert not verdict.exact
    assert "global random streams" in verdict.reason


class GlobalStreamAsData(GlobalStream):
    def __init__(self):
        Base.__init__(self)


def test_attributes_with_a_global_stream_are_exact():
    # The run saves the global streams itself.
    assert prove(GlobalStreamAsData, seed=0).method == "attributes"


def test_nothing_outside_is_touched():
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist()
    training = make("CartPole-v1")()
    training.reset(seed=0)
    space = training.action_space.np_random.bit_generator.state
    made = []

    def make_env():
        made.append(GlobalStream())
        return made[-1]

    prove(make_env, seed=0)
    prove(make("CartPole-v1"), seed=0)
    assert (random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist()) == before
    assert training.action_space.np_random.bit_generator.state == space
    assert made
    assert all(env.closed for env in made)
    assert play(training, 1)


class OtherMass(gym.Wrapper):
    """Domain randomisation: each episode has a body of another mass."""

    def reset(self, **arguments):
        result = super().reset(**arguments)
        self.unwrapped.model.body_mass[1] = 3.0 + self.unwrapped.np_random.random()
        return result


def test_a_changed_mujoco_model_is_replayed():
    verdict = prove(make("Hopper-v5", OtherMass), seed=0)
    assert (verdict.exact, verdict.method) == (True, "replay")
    assert not prove(make("Hopper-v5", OtherMass), seed=0, method="mujoco").exact


class Times(Base):
    def step(self, action):
        *answer, _ = super().step(action)
        return *answer, {"elapsed": object(), "episode": {"t": random.SystemRandom().random()}}


class Info(Base):
    def step(self, action):
        *answer, _ = super().step(action)
        self.step_number = getattr(self, "step_number", iter(range(10**9)))
        return *answer, {"luck": random.SystemRandom().random(), "code": len}


def test_info_is_compared_but_for_times():
    assert prove(Times, seed=0).exact
    verdict = prove(Info, seed=0)
    assert not verdict.exact
    assert "info.luck is" in verdict.reason


class Raises(Base):
    def step(self, action):
        raise RuntimeError("no game today")


def test_an_environment_that_raises_is_not_exact():
    verdict = prove(Raises, seed=0)
    assert not verdict.exact
    assert "RuntimeError was raised while it was tried: no game today" in verdict.reason


class Pool:
    """Like EnvPool: no class of Gymnasium's, its state in C++."""

    num_envs = 2
    observation_space = gym.spaces.Box(0, 1, (2, 1))
    action_space = gym.spaces.MultiDiscrete([2, 2])
    metadata = None

    def __init__(self):
        self.handle = iter(())

    def close(self):
        pass


class NativePool(VectorEnv):
    num_envs = 2
    observation_space = gym.spaces.Box(0, 1, (2, 1))
    action_space = gym.spaces.MultiDiscrete([2, 2])
    metadata = None

    def __init__(self):
        self.handle = iter(())


@pytest.mark.parametrize("kind", [Pool, NativePool])
def test_a_pool_is_approximate(kind):
    verdict = prove(kind, seed=0)
    assert (verdict.exact, verdict.method) == (False, "restart")
    assert f"{kind.__name__} keeps its state outside Python's data" in verdict.reason
    keeper = keep_state(kind(), verdict.method)
    keeper.restore(through_a_file(keeper.snapshot()))


def test_restart_is_never_called_exact():
    verdict = prove(make("CartPole-v1"), seed=0, method="restart")
    assert (verdict.exact, verdict.method) == (False, "restart")


@pytest.mark.parametrize(
    ("want", "have", "found"),
    [
        (1, 1, ""),
        (1, 1.0, "it is 1.0 instead of 1"),
        (float("nan"), float("nan"), ""),
        (0.0, -0.0, "it is -0.0 instead of 0.0"),
        ([1, 2], [1, 3], "[1] is 3 instead of 2"),
        ([1], [1, 2], "it has 2 items instead of 1"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b is 2 instead of 1"),
        ({"a": 1}, {"b": 1}, "it has the keys ['b'] instead of ['a']"),
        ({"x": np.zeros(2)}, {"x": np.zeros(3)}, "x has dtype float64 and shape (3,)"),
        ({"x": np.zeros(1)}, {"x": np.zeros(1, "f4")}, "x has dtype float32"),
        ({"x": np.float32(1)}, {"x": np.float32(2)}, "x is 2.0 instead of"),
        ({"x": np.array([[0, 1]])}, {"x": np.array([[0, 2]])}, "x[0, 1] is 2 instead"),
        ({"x": np.array([np.nan])}, {"x": np.array([np.nan])}, ""),
    ],
)
def test_first_difference(want, have, found):
    text = first_difference(want, have)
    assert text.startswith(found)
    assert bool(text) == bool(found)


class Slow(Base):
    """Four steps a second, on a clock that only it moves."""

    now = 0.0

    def step(self, action):
        Slow.now += 0.25
        return super().step(action)


class SlowAndWrong(WrongOwn, Slow):
    """The best method fails: two are tried."""


@pytest.mark.parametrize("kind", [Slow, SlowAndWrong])
def test_a_slow_environment_is_proved_by_fewer_steps_and_says_so(kind):
    Slow.now = 0.0
    said: list[str] = []
    verdict = prove(kind, seed=0, tell=said.append, clock=lambda: Slow.now)
    assert verdict.exact
    assert Slow.now < 15
    assert "32 would take too long" in verdict.reason
    assert 6 <= int(verdict.reason.split()[2]) < 32
    assert len(said) == 1
    assert "this takes a while" in said[0]


def test_a_fast_environment_is_proved_whole_and_in_silence():
    said: list[str] = []
    verdict = prove(Base, seed=0, tell=said.append, clock=lambda: 5.0)
    assert verdict.reason == "equal for 32 steps after a restore by attributes"
    assert not said


class Digesting(Base):
    """Keeps a digest of all its actions, and needs it long after the proof."""

    def __init__(self):
        super().__init__()
        self.digest = hashlib.sha256()
        self.fresh = None

    def reset(self, *, seed=None, options=None):
        self.fresh = iter(())  # no data either, but no reset goes by without a new one
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.digest.update(bytes([action]))
        return super().step(action)


class Holding(gym.Wrapper):
    def __init__(self, env):
        super().__init__(env)
        self.digest = hashlib.sha256()
        self.function = len


def test_what_is_left_out_is_named():
    assert prove(Base, seed=0).left_out == ()
    assert prove(make("LunarLander-v3"), seed=0).left_out == ()
    replayed = prove(Digesting, seed=0)
    assert (replayed.exact, replayed.method) == (True, "replay")
    assert replayed.left_out == ("Digesting.digest (_hashlib:HASH)",)
    wrapped = prove(lambda: Holding(Base()), seed=0)
    assert (wrapped.method, wrapped.left_out) == ("attributes", ("Holding.digest (_hashlib:HASH)",))
    copies = [
        lambda: SyncVectorEnv([lambda: Holding(Digesting())] * 2),
        lambda: SyncVectorEnv([lambda: Holding(Base())] * 2),
        lambda: AsyncVectorEnv([lambda: StatefulEnv(Holding(Base()))] * 2),
    ]
    for make_copies in copies:
        verdict = prove(make_copies, seed=0)
        assert verdict.exact
        assert verdict.left_out[0] == "Holding.digest (_hashlib:HASH)"
        assert len(verdict.left_out) == 1 + ("replay" in verdict.method)
