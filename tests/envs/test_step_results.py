"""What an environment returns from a step: rewards, flags and observations of every kind."""

from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.agents import BaseAgent
from gym_loop.agents.dqn import DQN
from gym_loop.agents.ppo import PPO
from gym_loop.agents.sac import SAC
from gym_loop.agents.td3 import TD3
from gym_loop.agents.transition import Transition
from gym_loop.envs.step_results import own_copy
from gym_loop.errors import EnvError
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.training.check import check
from tests.scripted import make_loop


class Told(BaseAgent):
    """Acts 0, and keeps what it is told as it is."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.told: deque[Transition] = deque()

    def act(self, state: Any, episode_num: int) -> Any:
        space = self.parameters["action_space"]
        return 0 if isinstance(space, spaces.Discrete) else np.zeros(space.shape, space.dtype)

    def observe(self, transition: Transition) -> None:
        self.told.append(transition)


class Steady(gymnasium.Env):
    """Gives the same reward and flags at every step; episodes of ``length`` steps."""

    observation_space = spaces.Discrete(5)
    action_space = spaces.Discrete(2)

    def __init__(self, reward: Any, length: int, over: Any = True, going: Any = False) -> None:
        self.reward, self.length, self.over, self.going = reward, length, over, going

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        self.age = 0
        return 0, {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict]:
        self.age += 1
        flag = self.over if self.age == self.length else self.going
        return 0, self.reward, flag, False, {}


def trained(env: Any, **parameters: Any) -> tuple[DefaultLoop, list[float], Told]:
    agent = Told(observation_space=env.observation_space, action_space=env.action_space)
    loop = DefaultLoop(agent, env, **parameters)
    loop.train()
    return loop, list(loop.episode_log.last_returns), agent


# -- rewards -------------------------------------------------------------------------------------

SUMS: dict[str, tuple[Any, int, float]] = {
    "float16": (np.float16(1), 3000, 3000.0),
    "float32": (np.float32(0.1), 4999, 499.9000074),
    "float64": (np.float64(0.5), 3000, 1500.0),
    "int8": (np.int8(1), 300, 300.0),
    "uint8": (np.uint8(200), 300, 60000.0),
    "int": (2, 30, 60.0),
    "bool": (True, 30, 30.0),
    "NumPy's bool": (np.True_, 30, 30.0),
    "array of none": (np.array(1.5), 4, 6.0),
    "array of one": (np.array([1.0]), 4, 4.0),
    "matrix of one": (np.array([[0.1]], np.float32), 4999, 499.9000074),
}


@pytest.mark.parametrize(("reward", "length", "wanted"), SUMS.values(), ids=SUMS)
def test_returns_are_sums_in_double_precision(reward: Any, length: int, wanted: float) -> None:
    loop, returns, agent = trained(Steady(reward, length), max_episodes=2)
    assert returns == pytest.approx([wanted] * 2, rel=1e-9)
    assert all(type(one) is float for one in returns)
    assert all(isinstance(one.reward, float) for one in agent.told)
    (result,) = loop.evaluate([1])
    assert result.episode_return == pytest.approx(wanted, rel=1e-9)
    assert type(result.episode_return) is float


NO_NUMBERS: list[Any] = [
    None,
    "1.5",
    "a",
    np.str_("1"),
    [1.0],
    np.array([1.0, 2.0]),
    np.array([]),
    {},
    1j,
]


@pytest.mark.parametrize("reward", NO_NUMBERS, ids=repr)
def test_a_reward_that_is_no_number_is_one_sentence(reward: Any) -> None:
    env = Steady(reward, 4)
    with pytest.raises(EnvError, match="reward") as raised:
        trained(env, max_episodes=1)
    assert repr(reward) in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(EnvError, match="reward"):
        DefaultLoop(Told(action_space=env.action_space), env).evaluate([1])


@pytest.mark.parametrize("reward", [np.array([0.0, -1.0]), [0.5, 0.5], {"first": 1.0}], ids=repr)
def test_rewards_of_objectives_and_agents_name_a_remedy(reward: Any) -> None:
    with pytest.raises(EnvError, match=r"env\.wrappers.*LinearReward"):
        trained(Steady(reward, 4), max_episodes=1)


def test_a_tensor_is_a_reward() -> None:
    torch = pytest.importorskip("torch")
    assert trained(Steady(torch.tensor([0.5]), 4), max_episodes=1)[1] == [2.0]
    with pytest.raises(EnvError, match="no number"):
        trained(Steady(torch.zeros(2), 4), max_episodes=1)


# -- flags ---------------------------------------------------------------------------------------

FLAGS: dict[str, tuple[Any, Any]] = {
    "bool": (True, False),
    "NumPy's bool": (np.True_, np.False_),
    "int": (1, 0),
    "uint8": (np.uint8(1), np.uint8(0)),
    "float": (1.0, 0.0),
    "array": (np.array([True]), np.array([False])),
    "list": ([True], [False]),
}


@pytest.mark.parametrize(("over", "going"), FLAGS.values(), ids=FLAGS)
def test_flags_of_every_kind(over: Any, going: Any) -> None:
    env = Steady(1.0, 5, over, going)
    loop, returns, agent = trained(env, max_episodes=2)
    assert returns == [5.0, 5.0]
    flags = [False, False, False, False, True] * 2
    assert [bool(one.terminated) for one in agent.told] == flags
    assert [bool(one.done) for one in agent.told] == flags
    assert all(isinstance(one.terminated, (bool, np.bool_)) for one in agent.told)
    assert loop.evaluate([1])[0].length == 5


@pytest.mark.parametrize("flag", [None, "yes", np.array([True, False]), []], ids=repr)
def test_a_flag_that_is_none_is_one_sentence(flag: Any) -> None:
    with pytest.raises(EnvError, match="neither true nor false") as raised:
        trained(Steady(1.0, 3, flag), max_episodes=1)
    assert "terminated" in str(raised.value)


def test_done_of_flags_that_are_numbers_with_a_point() -> None:
    one = Transition(0, 0, 0.0, np.array([1.0, 0.0]), np.array([0.0, 0.0]), 0, {})
    assert one.done.tolist() == [True, False]


# -- observations that the environment writes to again -------------------------------------------

STEPS = 5


class Rewriting(gymnasium.Env):
    """Counts its steps in memory that it returns and writes to again; episodes of five steps."""

    def __init__(
        self, observation_space: Any, give: Callable[[Any], Any], action_space: Any
    ) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.memory = own_copy(observation_space.sample())
        self.give = give

    def _fill(self, memory: Any) -> None:
        if isinstance(memory, np.ndarray):
            memory[:] = self.count
        else:
            for part in memory.values() if isinstance(memory, dict) else memory:
                self._fill(part)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        self.count = 0
        self._fill(self.memory)
        return self.give(self.memory), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.count += 1
        self._fill(self.memory)
        return self.give(self.memory), 1.0, self.count == STEPS, False, {}


def values(observation: Any) -> set[int]:
    """What stands in an observation."""
    if isinstance(observation, np.ndarray):
        return {int(one) for one in observation.ravel()}
    parts = observation.values() if isinstance(observation, dict) else observation
    return set().union(*map(values, parts))


VECTOR = spaces.Box(0, 100, (3,))
PICTURE = spaces.Box(0, 255, (8, 8, 4), np.uint8)
KINDS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "itself": (VECTOR, lambda memory: memory),
    "a view": (VECTOR, lambda memory: memory[:]),
    "picture": (PICTURE, lambda memory: memory),
    "Dict": (spaces.Dict(a=VECTOR, b=VECTOR), lambda memory: memory),
    "Dict anew": (spaces.Dict(a=VECTOR, b=VECTOR), dict),
    "Tuple": (spaces.Tuple([VECTOR, spaces.Dict(c=VECTOR)]), lambda memory: memory),
}
FEW, BOX = spaces.Discrete(2), spaces.Box(-1, 1, (1,))


@pytest.mark.parametrize(("space", "give"), KINDS.values(), ids=KINDS)
def test_an_agent_keeps_what_it_was_told(space: Any, give: Any) -> None:
    told = trained(Rewriting(space, give, FEW), max_episodes=30)[2].told
    assert [values(one.last_ob) for one in told] == [{0}, {1}, {2}, {3}, {4}] * 30
    assert [values(one.ob) for one in told] == [{1}, {2}, {3}, {4}, {5}] * 30


@pytest.mark.parametrize(("space", "give"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("agent_class", [DQN, SAC, TD3])
def test_replays_hold_the_observations_before_a_step(
    agent_class: Any, space: Any, give: Any
) -> None:
    env = Rewriting(space, give, FEW if agent_class is DQN else BOX)
    spaces_of = {"observation_space": space, "action_space": env.action_space}
    agent = agent_class(**spaces_of, seed=0, n_envs=1, buffer_size=50, learning_starts=1000)
    DefaultLoop(agent, env, max_episodes=4).train()
    batch = agent.replay.batch(np.arange(20))
    before, after = (
        agent.encoder.unpack(one).reshape(20, -1)[:, 0]
        for one in (batch.observations, batch.next_observations)
    )
    assert before.tolist() == [0, 1, 2, 3, 4] * 4
    assert after.tolist() == [1, 2, 3, 4, 5] * 4


def test_ppo_learns_from_the_observations_that_it_acted_on() -> None:
    env = Rewriting(VECTOR, lambda memory: memory, FEW)
    agent = PPO(observation_space=VECTOR, action_space=FEW, seed=0, n_envs=1, n_steps=100)
    DefaultLoop(agent, env, max_episodes=4).train()
    assert agent.rollout.observations[:20, 0, 0].tolist() == [0, 1, 2, 3, 4] * 4


class Alternating(Rewriting):
    """Writes to one of two arrays in turn, and to the last one in a reset."""

    def __init__(self) -> None:
        super().__init__(VECTOR, lambda memory: memory, FEW)
        self.other = self.memory.copy()

    def _fill(self, memory: Any) -> None:
        if self.count:
            self.memory, self.other = self.other, self.memory
        self.memory[:] = self.count


def test_an_agent_keeps_what_lay_in_one_of_two_arrays() -> None:
    told = trained(Alternating(), max_episodes=3)[2].told
    assert [values(one.last_ob) for one in told] == [{0}, {1}, {2}, {3}, {4}] * 3
    assert [values(one.ob) for one in told] == [{1}, {2}, {3}, {4}, {5}] * 3


class Fresh(Rewriting):
    """Gives a new array at each step."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        super().__init__(VECTOR, self._new, FEW)

    def _new(self, memory: Any) -> Any:
        self.given.append(memory.copy())
        return self.given[-1]


def test_nothing_is_copied_where_no_memory_is_shared() -> None:
    env = Fresh()
    told = trained(env, max_episodes=100)[2].told
    kept = {id(one) for one in env.given}
    after = [id(one.ob) in kept for one in told]
    assert not any(after[:64])  # who knows yet?
    assert all(after[-5:])
    assert [values(one.last_ob) for one in told] == [{0}, {1}, {2}, {3}, {4}] * 100


def test_graphs_and_tensors_are_copied_as_what_they_are() -> None:
    torch = pytest.importorskip("torch")
    graph = spaces.Graph(spaces.Box(0, 1, (2,)), None, seed=0).sample(num_nodes=3)
    copy = own_copy({"graph": graph, "tensor": torch.ones(2), "text": "a", "list": [np.ones(1)]})
    assert type(copy["graph"]) is type(graph)
    assert copy["graph"].nodes is not graph.nodes
    assert np.array_equal(copy["graph"].nodes, graph.nodes)
    assert torch.equal(copy["tensor"], torch.ones(2))
    assert copy["text"] == "a"
    assert copy["list"] == [np.ones(1)]


# -- an environment's own info ---------------------------------------------------------------------


@pytest.mark.parametrize("agent_class", [PPO, DQN, SAC, TD3])
@pytest.mark.parametrize("own", [7, "seven", [1, 2, 3], None], ids=repr)
def test_an_environment_may_say_env_ids_itself(agent_class: Any, own: Any) -> None:
    class Saying(Rewriting):
        def step(self, action: Any) -> Any:
            return (*super().step(action)[:4], {"env_ids": own})

    env = Saying(VECTOR, np.copy, BOX if agent_class in (SAC, TD3) else FEW)
    spaces_of = {"observation_space": VECTOR, "action_space": env.action_space}
    small: dict[str, Any] = {"batch_size": 8, "network_parameters": {"hidden": [8]}}
    small |= {"n_steps": 10} if agent_class is PPO else {"learning_starts": 20}
    agent = agent_class(**spaces_of, seed=0, n_envs=1, **small)
    DefaultLoop(agent, env, max_steps=60).train()
    assert agent.metrics(0)["updates"] > 0


def test_a_transition_of_default_loop_is_of_no_copies() -> None:
    loop, journal = make_loop(max_episodes=1)
    loop.train()
    told = [entry[1] for entry in journal if entry[0] == "observe"]
    assert [one.env_ids for one in told] == [None] * 3
    assert all("env_ids" not in one.info and len(one) == 7 for one in told)


@pytest.mark.parametrize("reward", ["none", "text", "vector"])
def test_check_finds_rewards_that_are_no_numbers(workdir: Path, reward: str) -> None:
    gymnasium.register("Odd-v0", "tests.envs.test_step_results:odd", disable_env_checker=True)
    config = {"env": {"name": "Odd-v0", "parameters": {"kind": reward}}, "seed": 0}
    errors = [one.text for one in check(config) if one.level == "error"]
    assert len(errors) == 1
    assert "gave the reward" in errors[0]
    assert "\n" not in errors[0]


def test_check_takes_an_array_of_one(workdir: Path) -> None:
    gymnasium.register("Odd-v0", "tests.envs.test_step_results:odd", disable_env_checker=True)
    config = {"env": {"name": "Odd-v0", "parameters": {"kind": "one"}}, "seed": 0}
    assert not [one.text for one in check(config) if one.level == "error"]


def odd(kind: str) -> Steady:
    rewards = {"none": None, "text": "1", "vector": np.ones(2), "one": np.ones(1)}
    return Steady(rewards[kind], 5)


def test_a_copy_of_an_observation_is_of_its_kind() -> None:
    ob: Any = OrderedDict(goal=np.zeros(2), parts=(np.ones(1), OrderedDict(a=np.ones(1))))
    copied = own_copy(ob)
    assert type(copied) is type(copied["parts"][1]) is OrderedDict
    assert list(copied) == list(ob)
    ob["goal"][:] = ob["parts"][1]["a"][:] = 5
    assert copied["goal"].tolist() == [0.0, 0.0]
    assert copied["parts"][1]["a"].tolist() == [1.0]
