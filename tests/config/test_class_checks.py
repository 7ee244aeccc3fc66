"""What is wrong with a class is said before it is made, in one sentence."""

from typing import Any

import gymnasium
import pytest

from gym_loop.agents import BaseAgent
from gym_loop.config.class_checks import check_contract
from gym_loop.errors import WrongClassError
from gym_loop.loops import BaseLoop
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.schema.old_code import explained, moved


class Whole(BaseAgent):
    def act(self, state, episode_num, greedy=False):
        return 0


class NoEpisode(BaseAgent):
    def act(self, state):  # type: ignore[override]
        return 0


class WithSteps(Whole):
    def memorize(self, last_ob, action, reward, done, ob, global_step, env_id=0):  # type: ignore[override]
        pass


class Observer(Whole):
    def observe(self, transition):
        pass

    def memorize(self, everything):  # type: ignore[override]
        pass


class NoNames(Whole):
    @staticmethod
    def get_default_parameters():
        return ["size"]


class NotStatic(Whole):
    def get_default_parameters(self):  # type: ignore[override]
        return {}


class OwnSeed(Whole):
    @staticmethod
    def get_default_parameters():
        return {"seed": 777, "n_envs": 4, "rate": 0.1}


class WithPolicy(Whole):
    @staticmethod
    def get_default_policy():
        return {"class": "x:Y", "parameters": {}}


class Closed(BaseLoop):
    def __init__(self, agent, env):
        super().__init__(agent, env)


@pytest.mark.parametrize("cls", [Whole, Observer, BaseAgent, BaseLoop, DefaultLoop])
def test_what_can_be_called_is_returned(cls: type) -> None:
    assert check_contract(cls) is cls


@pytest.mark.parametrize(
    ("cls", "problem"),
    [
        (NoEpisode, "act(self, state) is called as act(state, episode_num)"),
        (
            WithSteps,
            "memorize(self, last_ob, action, reward, done, ob, global_step, env_id=0) is called as"
            " memorize(last_ob, action, reward, done, ob): global_step and env_id are not passed"
            " any more",
        ),
        (NoNames, "get_default_parameters() must return a dictionary, not ['size']"),
        (NotStatic, "get_default_parameters must be a @staticmethod"),
        (
            OwnSeed,
            "n_envs is given by the runner: take it out of get_default_parameters();"
            " seed is given by the runner: take it out of get_default_parameters()",
        ),
        (
            WithPolicy,
            "get_default_policy() is not called any more: make the policy in __init__",
        ),
        (
            Closed,
            "__init__(self, agent, env) is called as"
            " __init__(agent=..., env=..., run=..., **parameters)",
        ),
    ],
)
def test_what_cannot_be_called_is_refused(cls: type, problem: str) -> None:
    with pytest.raises(WrongClassError) as raised:
        check_contract(cls)
    assert str(raised.value) == f"{cls.__name__} breaks the contract: {problem}"


def test_names_of_the_first_gym_loop_lead_to_those_of_today() -> None:
    assert moved("gym_loop.loops.multienv_loop:MultiEnvLoop") == (
        "; it is gym_loop.loops.vector_loop:VectorLoop now"
    )
    assert moved("my_package.agents:PPO") == ""


def test_a_parameter_used_as_an_attribute_is_explained() -> None:
    agent: Any = Whole(rate=0.1)
    with pytest.raises(AttributeError) as raised:
        agent.rate  # noqa: B018 - the access is what is tested
    assert explained(raised.value) == "parameters are no attributes: write self.parameters['rate']"
    with pytest.raises(AttributeError) as raised:
        agent.other  # noqa: B018
    assert explained(raised.value) == ""


def test_an_action_outside_its_space_is_explained() -> None:
    env = gymnasium.make("CartPole-v1")
    env.reset()
    with pytest.raises(AssertionError) as raised:
        env.step([1, 2, 3])
    assert "gym-loop check" in explained(raised.value)


def test_what_says_enough_by_itself_is_not_explained() -> None:
    assert explained(ValueError("not enough values to unpack (expected 2, got 1)")) == ""
    assert explained(TypeError("unsupported operand")) == ""
