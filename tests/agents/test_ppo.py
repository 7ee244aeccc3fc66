"""PPO learns, keeps the contract of agents, and names the parameters that it refuses."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.agents.ppo import PPO
from gym_loop.agents.transition import Transition, VectorTransition
from gym_loop.checkpoints.tree import capture, first_difference, restore
from gym_loop.errors import ConfigError, SpaceError
from gym_loop.schema.parameters import check_parameters, documentation
from gym_loop.testing import check_agent
from tests.agents.batch_games import (
    TORCH_NET,
    Identity,
    Salary,
    assert_continues,
    make,
    play,
    reward_in_evaluation,
)

QUICK: dict[str, Any] = {
    "n_steps": 32,
    "batch_size": 64,
    "n_epochs": 4,
    "learning_rate": 3e-3,
    "gamma": 0.5,
}
SPACES = [
    spaces.Discrete(4, start=-1),
    spaces.MultiDiscrete([3, 2], start=[1, 0]),
    spaces.MultiBinary(3),
    spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 2.0], np.float32)),
]
ALL_OPTIONS = {
    "clip_range": {"linear": [0.3, 0.1], "steps": 5000},
    "ent_coef": 0.01,
    "learning_rate": {"exponential": [3e-3, 1e-3], "steps": 5000},
    "network_parameters": {"hidden": [32], "activation": "relu", "shared": True},
    "norm_obs": True,
    "norm_reward": True,
    "target_kl": 0.1,
    "clip_range_vf": 0.5,
}


# -- learning ------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_learns_to_do_what_it_sees(space: spaces.Space) -> None:
    game = Identity(space, 8)
    agent = make(PPO, game, **QUICK)
    assert reward_in_evaluation(agent, game) < 0.8
    play(agent, game, 1500)
    assert reward_in_evaluation(agent, game) > 0.93


def test_learns_with_a_single_environment_without_an_axis() -> None:
    game = Identity(spaces.Discrete(3), 1)
    agent = make(PPO, game, **{**QUICK, "n_steps": 64})
    play(agent, game, 3000, single=True)
    assert reward_in_evaluation(agent, game) > 0.95


def test_learns_with_every_option() -> None:
    game = Identity(spaces.Discrete(4), 8)
    agent = make(PPO, game, **QUICK | ALL_OPTIONS)
    play(agent, game, 1500)
    assert reward_in_evaluation(agent, game) > 0.95


@pytest.mark.parametrize("space", [SPACES[1], SPACES[3]], ids=str)
@pytest.mark.needs("torch")
def test_learns_with_a_module_of_the_users(workdir: Path, space: spaces.Space) -> None:
    (workdir / "net.py").write_text(TORCH_NET)
    game = Identity(space, 8)
    network = {"network": "net.py:Net", "network_parameters": {"width": 32}}
    agent = make(PPO, game, **QUICK, **network)
    play(agent, game, 1000)
    assert reward_in_evaluation(agent, game) > 0.85


@pytest.mark.needs("torch")
def test_plays_images_with_the_convolutional_network() -> None:
    game = Identity(spaces.Discrete(2), 2)
    game.observation_space = spaces.Box(0, 255, (36, 36, 3), np.uint8)
    game.seen = np.full((2, 36, 36, 3), 200, np.uint8)
    game.step = lambda actions: (game.seen, actions * 1.0, *np.zeros((2, 2), bool))
    agent = make(
        PPO,
        game,
        network="gym_loop.nn.torch_network:NatureCNN",
        network_parameters={"hidden": 8},
        **{**QUICK, "n_steps": 8, "batch_size": 8},
    )
    assert agent.rollout.observations.dtype == np.uint8
    play(agent, game, 200)
    assert reward_in_evaluation(agent, game) == 1.0


def test_value_of_endless_work_that_is_only_truncated() -> None:
    learn = {**QUICK, "gamma": 0.9, "learning_rate": 3e-3, "network_parameters": {"hidden": [8]}}
    values = []
    for terminates in (False, True):
        game = Salary(8, 5, terminates=terminates)
        agent = make(PPO, game, **learn)
        play(agent, game, 3000)
        values.append(float(agent._values(game.seen).mean()))
    assert values[0] == pytest.approx(1 / (1 - 0.9), rel=0.03)
    sums = [(1 - 0.9**left) / (1 - 0.9) for left in range(1, 6)]
    assert values[1] == pytest.approx(np.mean(sums), rel=0.1)


def test_copies_that_are_reset_in_place_of_a_step_leave_gaps() -> None:
    game = Salary(8, 5, terminates=False)
    agent = make(PPO, game, **{**QUICK, "gamma": 0.9, "norm_reward": True})
    ages, told = game.ages, 0
    for _ in range(64):
        rows = (ages >= 0).nonzero()[0]
        action = agent.act(game.seen, 0)
        over = ages == 4
        ages += 1
        ages[ages == 5] = -1  # the next step resets it
        step = VectorTransition(
            game.seen[rows], action[rows], np.ones(len(rows)), over[rows] & False, over[rows],
            game.seen[rows], {"env_ids": rows},
        )  # fmt: skip
        agent.observe(step)
        agent.update(0)
        told += len(rows)
    assert 0 < told < 64 * 8
    assert agent.steps == told
    assert agent.reward_normalizer.moments.count == told
    # of each copy, 4 to 6 of 32 steps were resets: four epochs of batches of 64
    assert agent.optimizer.updates == 2 * 4 * 4
    assert agent._rollout_batch(64).values.shape == (int(agent.rollout.taken.sum()),)


def test_cartpole_within_50000_steps_as_it_comes() -> None:
    env = gymnasium.make_vec("CartPole-v1", 8, vectorization_mode="vector_entry_point")
    agent = PPO(
        observation_space=env.single_observation_space,
        action_space=env.single_action_space,
        n_envs=8,
        seed=1,
    )
    ob, _ = env.reset(seed=1)
    for _ in range(50_000 // 8):
        action = agent.act(ob, 0)
        after, reward, terminated, truncated, info = env.step(action)
        agent.observe(Transition(ob, action, reward, terminated, truncated, after, info))
        agent.update(0)
        ob = after
    ob, _ = env.reset(seed=2)
    total, alive = np.zeros(8), np.ones(8, bool)
    with agent.evaluating():
        for _ in range(500):
            ob, reward, terminated, truncated, _ = env.step(agent.act(ob, 0))
            total += reward * alive
            alive &= ~(terminated | truncated)
    env.close()
    assert total.mean() > 475


# -- what it stands on -----------------------------------------------------------------------


def test_the_first_update_starts_from_the_policy_that_acted() -> None:
    game = Identity(SPACES[0], 4)
    agent = make(PPO, game, **{**QUICK, "n_epochs": 1, "batch_size": None})
    play(agent, game, QUICK["n_steps"])
    found = agent.metrics(0)
    assert found["approximate_kl"] == pytest.approx(0.0, abs=1e-7)
    assert found["clip_fraction"] == 0.0
    assert found["policy_loss"] == pytest.approx(0.0, abs=1e-6)  # advantages of mean 0
    assert found["entropy"] == pytest.approx(np.log(4), rel=1e-3)
    assert found["updates"] == 1.0


def test_target_kl_ends_the_epochs() -> None:
    def updates(target: float | None) -> float:
        game = Identity(SPACES[0], 4)
        agent = make(PPO, game, **{**QUICK, "learning_rate": 0.1, "target_kl": target})
        play(agent, game, QUICK["n_steps"])
        return agent.metrics(0)["updates"]

    assert updates(None) == QUICK["n_epochs"] * 2
    assert 1 <= updates(0.001) < QUICK["n_epochs"] * 2


def test_schedules_follow_the_steps() -> None:
    game = Identity(SPACES[0], 4)
    falling = {"linear": [1e-3, 0.0], "steps": 256}
    agent = make(PPO, game, **{**QUICK, "learning_rate": falling, "clip_range": falling})
    rates = []
    for _ in range(4):
        play(agent, game, QUICK["n_steps"])
        rates.append(agent.metrics(0)["learning_rate"])
    assert rates == pytest.approx([1e-3, 5e-4, 0.0, 0.0])
    assert agent.metrics(0)["clip_range"] == 0.0


def test_smaller_last_batches_and_whole_rollouts() -> None:
    for batch_size, updates in ((50, 3), (128, 1), (1000, 1), (None, 1)):
        game = Identity(SPACES[0], 4)
        agent = make(PPO, game, **{**QUICK, "n_epochs": 1, "batch_size": batch_size})
        play(agent, game, QUICK["n_steps"])
        assert agent.optimizer.updates == updates


def test_only_its_own_actions_are_learnt_from() -> None:
    game = Identity(SPACES[0], 1)
    agent = make(PPO, game, **QUICK)
    for _ in range(100):  # random episodes: observe() without act()
        agent.observe(Transition(game.seen[0], 0, 1.0, False, True, game.seen[0], {}))
    assert (agent.rollout.step, agent.steps) == (0, 0)
    play(agent, game, 3, single=True)
    assert (agent.rollout.step, agent.steps) == (3, 3)


def test_a_full_rollout_waits_for_the_update() -> None:
    game = Identity(SPACES[0], 2)
    agent = make(PPO, game, **QUICK)
    agent.update = lambda episode_num: None
    play(agent, game, QUICK["n_steps"] + 5)
    assert agent.rollout.full
    assert agent.optimizer.updates == 0
    PPO.update(agent, 0)
    assert agent.optimizer.updates == 4
    assert agent.rollout.step == 0


def test_evaluation_takes_the_likeliest_action_and_changes_nothing() -> None:
    game = Identity(SPACES[3], 4)
    agent = make(PPO, game, **QUICK | ALL_OPTIONS)
    play(agent, game, 50)
    before = capture(agent.state_dict())
    with agent.evaluating():
        first, second = (agent.act(np.tile(game.seen, (3, 1)), 0) for _ in range(2))
        single = agent.act(game.seen[0], 0)
    np.testing.assert_array_equal(first, second)
    assert first.shape == (12, 2)
    np.testing.assert_allclose(single, first[0], rtol=1e-5)
    assert not first_difference(before, capture(agent.state_dict()))


def test_metrics_are_what_people_look_at() -> None:
    game = Identity(SPACES[3], 4)
    agent = make(PPO, game, **QUICK)
    assert agent.metrics(0) == {}
    play(agent, game, QUICK["n_steps"])
    assert set(agent.metrics(0)) == {
        "policy_loss", "value_loss", "entropy", "approximate_kl", "clip_fraction",
        "explained_variance", "learning_rate", "clip_range", "updates", "standard_deviation",
    }  # fmt: skip
    assert all(np.isfinite(value) for value in agent.metrics(0).values())


# -- the contract ------------------------------------------------------------------------------


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
@pytest.mark.parametrize("options", [{}, ALL_OPTIONS], ids=["plain", "all options"])
def test_keeps_the_contract(env: str, options: dict) -> None:
    check_agent(PPO, env, {"n_steps": 40, "batch_size": 20, "n_epochs": 2, **options})


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_same_seed_same_actions(space: spaces.Space) -> None:
    def actions(seed: int) -> np.ndarray:
        game = Identity(space, 3)
        return play(make(PPO, game, **QUICK, seed=seed), game, 100)

    np.testing.assert_array_equal(actions(1), actions(1))
    assert (actions(1) != actions(2)).any()


@pytest.mark.parametrize("options", [{}, ALL_OPTIONS], ids=["plain", "all options"])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_continues_bit_for_bit_from_the_middle_of_a_rollout(
    space: spaces.Space, options: dict
) -> None:
    parameters = QUICK | options
    game = Identity(space, 3)
    agent, other = (make(PPO, game, **parameters) for _ in range(2))
    play(agent, game, 77)
    flat, first = other.network.parameters, other.network.named_parameters
    assert_continues(agent, other, game, steps=100)
    assert other.network.parameters is flat
    assert all(np.shares_memory(view, flat) for view in first.values() if view.size)


def test_a_resumed_run_may_change_what_a_parameter_says() -> None:
    game = Identity(SPACES[0], 3)
    agent = make(PPO, game, **QUICK)
    play(agent, game, 40)
    other = make(PPO, game, **{**QUICK, "learning_rate": 0.5})
    other.load_state_dict(restore(None, capture(agent.state_dict())))
    assert other.learning_rate(0) == 0.5


def test_every_parameter_is_documented_and_its_default_is_right() -> None:
    assert set(documentation(PPO)) == set(PPO.get_default_parameters())
    assert check_parameters(PPO, PPO.get_default_parameters())[1] == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_steps", 0, "0 is too small; it must be at least 1"),
        ("batch_size", 0, "at least 1"),
        ("n_epochs", 0, "at least 1"),
        ("threads", 0, "at least 1"),
        ("gamma", 1.5, "1.5 must be from 0 to 1"),
        ("gae_lambda", -0.1, "must be from 0 to 1"),
        ("max_grad_norm", 0, "must be above 0"),
        ("target_kl", -1.0, "must be above 0"),
        ("ent_coef", -1.0, "-1.0 is too small; it must be at least 0"),
        ("vf_coef", -1.0, "-1.0 is too small; it must be at least 0"),
        ("learning_rate", -1.0, "at least 0"),
        ("learning_rate", {"linear": [1e-3, 0.0]}, "needs steps"),
        ("clip_range", {"linaer": [1e-3, 0.0], "steps": 9}, "did you mean linear"),
        ("clip_range_vf", -0.2, "at least 0"),
    ],
)
def test_values_out_of_range_are_named(name: str, value: Any, message: str) -> None:
    problems = check_parameters(PPO, {name: value})[1]
    assert set(problems) == {name}
    assert message in problems[name]


def test_spaces_that_it_cannot_handle_are_refused() -> None:
    nested = spaces.Dict({"a": spaces.Text(2)})
    with pytest.raises(SpaceError, match=r"PPO cannot learn from .*FlattenObservation"):
        PPO(observation_space=nested, action_space=spaces.Discrete(2))
    with pytest.raises(SpaceError, match="PPO cannot act in Text"):
        PPO(observation_space=spaces.Discrete(2), action_space=spaces.Text(3))


def test_a_gpu_needs_a_torch_network() -> None:
    with pytest.raises(ConfigError, match="lives on the cpu"):
        PPO(observation_space=spaces.Discrete(2), action_space=spaces.Discrete(2), device="cuda")
