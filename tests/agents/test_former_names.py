"""A name of the past, or of stable-baselines3, is answered with what to write."""

from typing import Any

import pytest

from gym_loop.agents.dqn import DQN
from gym_loop.agents.ppo import PPO
from gym_loop.agents.sac import SAC
from gym_loop.agents.td3 import TD3
from gym_loop.schema.parameters import check_parameters

RENAMED = {
    PPO: {
        "discount": "gamma",
        "entropy_coefficient": "ent_coef",
        "epochs": "n_epochs",
        "gae_decay": "gae_lambda",
        "log_std": "log_std_init",
        "max_gradient_norm": "max_grad_norm",
        "normalize_advantages": "normalize_advantage",
        "normalize_observations": "norm_obs",
        "normalize_rewards": "norm_reward",
        "value_clip_range": "clip_range_vf",
        "value_coefficient": "vf_coef",
    },
    DQN: {
        "discount": "gamma",
        "max_gradient_norm": "max_grad_norm",
        "target_every": "target_update_interval",
        "target_mix": "tau",
    },
    SAC: {"discount": "gamma", "log_std": "log_std_init", "target_mix": "tau"},
    TD3: {"discount": "gamma", "target_mix": "tau", "target_noise": "target_policy_noise"},
}
EXPLAINED = [
    (DQN, "epsilon", "exploration_initial_eps, exploration_final_eps and exploration_steps"),
    (DQN, "exploration_fraction", "write exploration_steps, the number of environment steps"),
    (DQN, "policy_kwargs", "{hidden: [64, 64], activation: relu}"),
    (DQN, "train_every", "is called train_freq now, which counts the steps of each copy"),
    (PPO, "policy", "is called network here"),
    (PPO, "use_sde", "SAC has it"),
    (SAC, "temperature", "is called ent_coef now, and auto in place of null"),
    (SAC, "first_temperature", "auto_0.5"),
    (SAC, "state_dependent_exploration", "use_sde true, and sde_sample_freq for the number"),
    (TD3, "noise", "is called noise_type now, and gaussian is called normal"),
]


@pytest.mark.parametrize("agent_class", RENAMED, ids=lambda one: one.__name__)
def test_a_former_name_is_answered_with_the_new_one(agent_class: Any) -> None:
    names = RENAMED[agent_class]
    problems = check_parameters(agent_class, dict.fromkeys(names, 1))[1]
    assert problems == {name: f"is called {new} now" for name, new in names.items()}
    assert set(names.values()) <= agent_class.get_default_parameters().keys()


@pytest.mark.parametrize(("agent_class", "name", "text"), EXPLAINED)
def test_what_has_changed_more_is_explained(agent_class: Any, name: str, text: str) -> None:
    problems = check_parameters(agent_class, {name: 1})[1]
    assert set(problems) == {name}
    assert text in problems[name]
