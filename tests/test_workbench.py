"""The worked examples in agents/ and loops/: each trains, evaluates and resumes from its YAML."""

import ast
import csv
from collections import namedtuple
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import gym_loop
from gym_loop.agents.transition import Transition
from gym_loop.errors import ConfigError, EnvParametersError, SpaceError
from gym_loop.schema.class_strings import load_class
from gym_loop.testing import check_agent
from tests.killing import RUN, differences

ROOT = Path(__file__).parent.parent
QLearning = load_class(f"{ROOT}/agents/q_learning.py:QLearning")
CrossEntropy = load_class(f"{ROOT}/agents/cross_entropy.py:CrossEntropy")
TorchReinforce = load_class(f"{ROOT}/agents/torch_reinforce.py:TorchReinforce")
CurriculumLoop = load_class(f"{ROOT}/loops/curriculum_loop.py:CurriculumLoop")

# What makes each of them learn, and change its level, within a handful of episodes.
QUICK = {
    "agents/q_learning_frozen_lake": {},
    "agents/q_learning_taxi": {},
    "agents/cross_entropy": {"agent.parameters.generation": 2},
    "agents/torch_reinforce": {"agent.parameters.episodes_per_update": 2},
    "loops/curriculum_loop": {"loop.parameters.threshold": -300, "loop.parameters.window": 2},
}
DIRECTORIES = ("checkpoint_dir", "eval_logdir", "eval_record_dir", "logdir", "record_dir")
PUBLIC = {f"gym_loop.{name}" for name in ("agents", "errors", "loops.default_loop", "runs.results")}
Spaces = namedtuple("Spaces", "observation_space action_space")
GRID = Spaces(Discrete(3, start=5), Discrete(2, start=1))
LINE = Spaces(Box(-1.0, 1.0, (2,), np.float32), Discrete(2, start=1))


def quick(name: str, directory: Path, episodes: int) -> dict:
    """Overrides for a training of a few episodes, with all files below ``directory``."""
    parents = {f"loop.parameters.{parent}": str(directory / parent) for parent in DIRECTORIES}
    return {**QUICK[name], **parents, "loop.parameters.max_episodes": episodes, "seed": 4}


@pytest.mark.parametrize("name", QUICK)
def test_it_trains_evaluates_and_resumes_bit_for_bit(name, workdir):
    path = ROOT / f"{name}.yaml"
    straight, stopped = quick(name, workdir / "one", 7), quick(name, workdir / "two", 3)
    gym_loop.train(path, straight, name=RUN)
    gym_loop.train(path, stopped, name=RUN)
    trained = gym_loop.train(path, quick(name, workdir / "two", 7), resume=True)
    assert trained.episodes == 7
    assert differences(workdir / "one", workdir / "two") == []
    evaluated = gym_loop.evaluate(path, straight, episodes=2)
    assert evaluated.run == RUN
    assert len(evaluated.episodes) == 2


@pytest.mark.parametrize("name", QUICK)
def test_its_run_file_works_from_the_root_and_from_elsewhere(name, workdir, monkeypatch):
    elsewhere = gym_loop.load_config(ROOT / f"{name}.yaml")
    monkeypatch.chdir(ROOT)
    here = gym_loop.load_config(f"{name}.yaml")
    assert (here.agent.cls, here.loop.cls) == (elsewhere.agent.cls, elsewhere.loop.cls)
    one, other = here.portable(), elsewhere.portable()
    assert one.agent.class_name == other.agent.class_name
    assert one.loop.class_name == other.loop.class_name


@pytest.mark.parametrize(
    ("agent", "env"),
    [(QLearning, "FrozenLake-v1"), (CrossEntropy, "CartPole-v1"), (TorchReinforce, "CartPole-v1")],
)
def test_it_keeps_the_contract(agent, env):
    check_agent(agent, env)


@pytest.mark.parametrize(
    ("agent", "spaces"), [(QLearning, LINE), (CrossEntropy, GRID), (TorchReinforce, GRID)]
)
def test_it_refuses_other_spaces_and_says_what_to_do(agent, spaces):
    with pytest.raises(SpaceError, match=r"needs .*Discrete.* wrapper.* another agent"):
        agent(**spaces._asdict())


@pytest.mark.parametrize("path", [*ROOT.glob("agents/*.py"), *ROOT.glob("loops/*.py")], ids=str)
def test_it_is_short_and_imports_only_the_public_interface(path):
    source = path.read_text(encoding="utf-8")
    modules = {
        node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)
    }
    ours = {module for module in modules if module and module.startswith("gym_loop")}
    assert ours <= PUBLIC
    assert 40 <= len(source.splitlines()) <= 95


# -- Q-learning --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terminated", "truncated", "target"), [(False, False, 6), (False, True, 6), (True, False, 1)]
)
def test_q_learning_bootstraps_unless_the_episode_terminated(terminated, truncated, target):
    agent = QLearning(**GRID._asdict(), seed=0, learning_rate=0.5, gamma=0.5)
    agent.values[2] = [10.0, 4.0]
    agent.observe(Transition(5, 2, 1.0, terminated, truncated, 7, {}))
    agent.update(0)
    assert agent.values[0].tolist() == [0.0, target / 2]
    assert agent.metrics(0)["td_error"] == target


def test_q_learning_explores_less_and_less_and_never_in_an_evaluation():
    exploration = {"exploration_final_eps": 0.2, "exploration_episodes": 4}
    agent = QLearning(**GRID._asdict(), seed=0, **exploration)
    shown = [agent.metrics(episode)["epsilon"] for episode in (0, 2, 4, 100)]
    assert shown == pytest.approx([1.0, 0.6, 0.2, 0.2])
    agent.values[0] = [0.0, 1.0]
    assert {agent.act(5, 0) for _ in range(50)} == {1, 2}
    with agent.evaluating():
        assert {agent.act(5, 0) for _ in range(50)} == {2}


def test_q_learning_breaks_ties_at_random():
    exploration = {"exploration_initial_eps": 0.0, "exploration_final_eps": 0.0}
    agent = QLearning(**GRID._asdict(), seed=0, **exploration)
    assert {agent.act(5, 0) for _ in range(50)} == {1, 2}


# -- the cross-entropy method --------------------------------------------------------------------


def test_cross_entropy_moves_to_the_best_of_a_generation():
    agent = CrossEntropy(**LINE._asdict(), seed=0, generation=4, elite_fraction=0.5, noise=0.25)
    ob, tried = np.zeros(2, np.float32), []
    for episode, reward in enumerate([1.0, 7.0, 3.0, 5.0]):
        tried.append(agent.weights)
        for done in (False, True):  # two steps an episode
            agent.memorize(ob, 1, reward, done, ob)
            agent.update(episode)
    assert agent.mean == pytest.approx((tried[1] + tried[3]) / 2)
    assert agent.std == pytest.approx(np.abs(tried[1] - tried[3]) / 2 + 0.25)
    assert agent.metrics(4)["fits"] == 1


def test_cross_entropy_counts_no_reward_of_random_episodes():
    agent = CrossEntropy(**LINE._asdict(), seed=0)
    ob = np.zeros(2, np.float32)
    agent.memorize(ob, 1, 100.0, True, ob)  # observed without an update
    agent.memorize(ob, 1, 2.0, True, ob)
    agent.update(1)
    assert [episode_return for episode_return, _ in agent.tried] == [2.0]


def test_cross_entropy_plays_the_mean_in_an_evaluation():
    agent = CrossEntropy(**LINE._asdict(), seed=0)
    agent.weights = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    agent.mean = agent.weights[::-1]
    assert agent.act(np.ones(2, np.float32), 0) == 1
    with agent.evaluating():
        assert agent.act(np.ones(2, np.float32), 0) == 2


# -- REINFORCE ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("terminated", "after"), [(True, 0.0), (False, 8.0)])
def test_reinforce_discounts_returns_and_bootstraps_unless_terminated(terminated, after):
    agent = TorchReinforce(**LINE._asdict(), seed=0, gamma=0.5)
    agent.baseline = lambda ob: 8.0
    ob = np.zeros(2, np.float32)
    agent.observe(Transition(ob, 1, 1.0, False, False, ob, {}))
    agent.observe(Transition(ob, 2, 2.0, terminated, not terminated, ob, {}))
    assert [(action, value) for _, action, value in agent.batch] == [
        (1, 2.0 + after / 2),
        (0, 2.0 + after / 4),
    ]


def test_reinforce_makes_the_better_action_likelier():
    agent = TorchReinforce(**LINE._asdict(), seed=0, episodes_per_update=8)
    ob = np.ones(2, np.float32)
    for episode in range(400):
        action = agent.act(ob, episode)
        agent.observe(Transition(ob, action, float(action == 2), True, False, ob, {}))
        agent.update(episode)
    assert np.mean([agent.act(ob, 400) == 2 for _ in range(100)]) > 0.9
    assert agent.metrics(400)["loss"] != 0.0


# -- the curriculum -------------------------------------------------------------------------------


def curriculum(**parameters):
    env = gymnasium.make("MountainCar-v0", max_episode_steps=5)
    agent = CrossEntropy(
        observation_space=env.observation_space, action_space=env.action_space, seed=0
    )
    given = {"attribute": "force", "levels": [0.3, 0.2, 0.1], "threshold": -5.0, "window": 2}
    return CurriculumLoop(agent, env, **{**given, "eval_episodes": 1, **parameters})


def test_a_level_ends_when_its_last_episodes_are_good_enough():
    loop, forces = curriculum(max_episodes=7), []
    original = loop.env.reset

    def reset(**seed):
        forces.append(loop.env.unwrapped.force)
        return original(**seed)

    loop.env.reset = reset
    loop.train()
    assert forces == [0.3, 0.3, 0.2, 0.2, 0.1, 0.1, 0.1]


def test_a_level_goes_on_while_the_returns_are_too_low():
    loop = curriculum(max_episodes=7, threshold=-4.0)
    loop.train()
    assert loop.level == 0


def test_an_evaluation_plays_the_last_level_and_the_training_goes_on_at_its_own():
    loop = curriculum(max_episodes=1)
    loop.train()
    loop.evaluate([1])
    assert loop.env.unwrapped.force == 0.1
    loop.begin_episode()
    assert loop.env.unwrapped.force == 0.3


def test_the_level_is_logged_and_resumed(workdir):
    name = "loops/curriculum_loop"
    overrides = {**quick(name, workdir, 5), "loop.parameters.episodes_per_eval": 2}
    gym_loop.train(ROOT / f"{name}.yaml", overrides, name=RUN)
    with open(workdir / "logdir" / RUN / "metrics.csv", newline="") as file:
        levels = [row["curriculum/level"] for row in csv.DictReader(file)]
    assert [float(level) for level in levels if level] == [0, 0, 1, 1, 2]
    fresh = curriculum()
    loop = curriculum(max_episodes=3)
    loop.train()
    fresh.load_state_dict(loop.state_dict())
    assert (fresh.level, list(fresh.returns)) == (1, [-5.0])
    assert fresh.env.unwrapped.force == 0.2


def test_mistakes_in_a_curriculum_are_named(workdir):
    with pytest.raises(
        EnvParametersError, match=r"attribute: .* has no 'power'; name one of .*force"
    ):
        curriculum(attribute="power")
    path = ROOT / "loops/curriculum_loop.yaml"
    wrong = {"loop.parameters.levels": [], "loop.parameters.window": 0}
    with pytest.raises(ConfigError) as caught:
        gym_loop.load_config(path, wrong)
    text = str(caught.value)
    assert "loop.parameters.levels: is empty; list the attribute's values" in text
    assert "loop.parameters.window: 0 is too small" in text


def test_the_curriculum_s_defaults_are_a_run():
    config = gym_loop.load_config(
        {"loop": {"class": f"{ROOT}/loops/curriculum_loop.py:CurriculumLoop"}}
    )
    env = config.loop.cls.make_env(config.env, dict(config.loop.parameters))
    assert env.has_wrapper_attr(config.loop.parameters["attribute"])
