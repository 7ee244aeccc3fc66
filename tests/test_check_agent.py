"""What `gym_loop.testing.check_agent` refuses; our own agents pass it in their tests."""

import collections
import threading
import time
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
import pytest

from gym_loop.agents import BaseAgent
from gym_loop.agents.random_agent import RandomAgent
from gym_loop.errors import ContractError
from gym_loop.testing import check_agent


class Counting(RandomAgent):
    """Keeps every promise, and has something that it learns."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.seen = 0

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        self.seen += 1


class OutOfSpace(Counting):
    def act(self, state: Any, episode_num: int) -> Any:
        return 7


class Unseeded(Counting):
    def act(self, state: Any, episode_num: int) -> Any:
        return int(np.random.default_rng().integers(2))


class TextMetrics(Counting):
    def metrics(self, episode_num: int) -> Any:
        return {"mood": "good"}


class LearnsWhileEvaluated(Counting):
    def act(self, state: Any, episode_num: int) -> Any:
        self.seen += 1
        return super().act(state, episode_num)


class YieldsNothing(Counting):
    @contextmanager
    def evaluating(self) -> Any:
        yield None


class StaysInTraining(Counting):
    @contextmanager
    def evaluating(self) -> Any:
        yield self


class StaysInEvaluation(Counting):
    @contextmanager
    def evaluating(self) -> Any:
        self.training = False
        yield self


class Forgetful(Counting):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict({**state, "seen": 0})


class NoData(Counting):
    def state_dict(self) -> dict[str, Any]:
        return {"lock": threading.Lock()}


class ActsDifferently(Counting):
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lost = True

    def act(self, state: Any, episode_num: int) -> Any:
        return int(hasattr(self, "lost"))


class LearnsDifferently(Counting):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.memorize = lambda *step: None


class SharedDefault(Counting):
    LAYERS = [64]  # noqa: RUF012 - the fault that is looked for

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        return {"layers": SharedDefault.LAYERS}


class NoDefaults(Counting):
    @staticmethod
    def get_default_parameters() -> Any:
        return None


def test_an_agent_that_keeps_its_promises_passes() -> None:
    check_agent(Counting, steps=40)
    with gymnasium.make("CartPole-v1") as env:
        check_agent(Counting, env, steps=40)
        env.reset()  # it is the caller's, and still open


@pytest.mark.parametrize(
    ("agent", "problem"),
    [
        (dict, "it must derive from gym_loop.agents.BaseAgent"),
        (NoDefaults, r"get_default_parameters\(\) must return a dict"),
        (SharedDefault, "the default of layers is shared by all agents: make it anew"),
        (OutOfSpace, r"act\(\) gave 7, which is not in Discrete\(2\)"),
        (Unseeded, "the same seed gave other actions: draw random numbers|acts differently"),
        (TextMetrics, r"metrics\(\) gave 'mood': 'good'; it must give numbers by name"),
        (
            LearnsWhileEvaluated,
            r"state_dict\(\)\['seen'\] changed while the agent was evaluated .seen is",
        ),
        (YieldsNothing, r"evaluating\(\) must yield the agent itself"),
        (StaysInTraining, r"training must be False inside evaluating\(\)"),
        (StaysInEvaluation, r"training must be True again after evaluating\(\)"),
        (Forgetful, r"after load_state_dict\(\) seen differs .*: state_dict\(\) must carry it"),
        (NoData, r"state_dict\(\) is no data: lock: a _thread"),
        (ActsDifferently, "acts differently, 0 steps later"),
        (LearnsDifferently, "learns differently: seen differs"),
    ],
)
def test_a_broken_promise_is_named(agent: type[BaseAgent], problem: str) -> None:
    with pytest.raises(ContractError, match=problem) as error:
        check_agent(agent, steps=40)
    assert "breaks the agent contract:" in str(error.value).splitlines()[0]


def test_parameters_are_checked_first() -> None:
    with pytest.raises(ContractError, match=r"parameters.speed: unknown; there are no parameters"):
        check_agent(Counting, parameters={"speed": 1})


class Store:
    """Something with a state_dict of its own that forgets what it counts."""

    def __init__(self) -> None:
        self.rows, self.count = [0], 0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]


class Hiding(Counting):
    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.part = {"store": Store()}

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        store = self.part["store"]
        store.count += 1
        store.rows = [*store.rows[-5:], store.count]


class Deep(Counting):
    """Loads less than it saved, deep inside."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.tables: dict[str, Any] = {"values": [np.zeros(2), {"seen": 0}]}

    def update(self, episode_num: int) -> None:
        self.tables["values"][1]["seen"] += 1

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.tables["values"][1]["seen"] = 0


class Timed(Counting):
    """Notes the time of day, which no two agents agree on."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.asked_at = 0.0

    def update(self, episode_num: int) -> None:
        self.asked_at = time.perf_counter()


def test_the_path_inside_an_attribute_is_named() -> None:
    with pytest.raises(ContractError, match=r"tables differs \(tables\.values\[1\]\.seen is 0 ins"):
        check_agent(Deep, steps=40)


def test_what_an_object_in_the_agent_forgets_is_named() -> None:
    with pytest.raises(ContractError, match=r"part\.store\.count is 0 instead of 20") as error:
        check_agent(Hiding, steps=40)
    assert "learns differently: part differs (part.store.rows" in str(error.value)


def test_the_time_of_day_is_no_broken_promise() -> None:
    check_agent(Timed, steps=40)


class PartialAlone(Counting):
    supports_batch = False


def test_an_agent_that_takes_part_of_a_batch_takes_batches() -> None:
    with pytest.raises(ContractError, match="so supports_batch must be"):
        check_agent(PartialAlone)


class Awkward(gymnasium.Env):
    """Makes its spaces anew, writes into one array, and gives flags and rewards as arrays."""

    @property
    def observation_space(self) -> Any:
        return gymnasium.spaces.Box(0, 10, (1,), np.float64)

    @property
    def action_space(self) -> Any:
        return gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.memory = np.zeros(1)
        return self.memory, {}

    def step(self, action: Any) -> Any:
        self.memory += 1.0
        return self.memory, np.ones(1), np.array([self.memory[0] == 5]), np.zeros(1, bool), {}


def test_an_awkward_environment_is_no_fault_of_the_agent() -> None:
    seen = []

    class Ordered(Counting):
        def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
            super().memorize(last_ob, action, reward, done, ob)
            seen.append((float(last_ob[0]), float(ob[0]), reward, done))

    check_agent(Ordered, Awkward(), steps=20)
    assert seen[:6] == [(step, step + 1.0, 1.0, step == 4) for step in [0, 1, 2, 3, 4, 0]]


class WritesIntoItsArray(Counting):
    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.table = np.zeros(3)

    def act(self, state: Any, episode_num: int) -> Any:
        self.table[1] += not self.training
        return super().act(state, episode_num)


def test_an_array_that_an_evaluation_writes_into_is_named() -> None:
    with pytest.raises(ContractError, match=r"evaluated \(table\[1\] is 10.0 instead of 0.0\)"):
        check_agent(WritesIntoItsArray, steps=40)


class Remembering(Counting):
    """A replay as a deque of tuples, whose observations are the loop's own arrays."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.memory: collections.deque[Any] = collections.deque(maxlen=100)

    def memorize(self, *step: Any) -> None:
        self.memory.append(step)


def test_a_replay_of_tuples_keeps_its_promises() -> None:
    check_agent(Remembering, steps=300)
