"""A section of an rl-baselines3-zoo file becomes a run file; what does not fit is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ale_py  # noqa: F401 - registers its environments before the registry is put back
import pytest

from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.config.zoo import literal, zoo_run_file
from gym_loop.errors import ConfigError, UsageError

PPO = """
atari:
  env_wrapper:
    - stable_baselines3.common.atari_wrappers.AtariWrapper
  frame_stack: 4
  policy: 'CnnPolicy'
  n_envs: 8
  n_steps: 128
  n_epochs: 4
  batch_size: 256
  n_timesteps: !!float 1e7
  learning_rate: lin_2.5e-4
  clip_range: lin_0.1
  ent_coef: 0.01

CartPole-v1: &small
  n_envs: 8
  n_timesteps: !!float 1e5
  policy: 'MlpPolicy'
  n_steps: 32
  gae_lambda: 0.8
  gamma: 0.98
  learning_rate: lin_0.001
  clip_range: lin_0.2
  clip_range_vf: -1

Pendulum-v0:
  <<: *small
  n_envs: 1
  normalize: "{'norm_obs': True, 'norm_reward': False}"
  use_sde: True
  sde_sample_freq: 4
  policy_kwargs: "dict(log_std_init=-2, ortho_init=False, activation_fn=nn.ReLU,
                       net_arch=[dict(pi=[64, 32], vf=[64])])"
  callback:
    - rl_zoo3.callbacks.ParallelTrainCallback

Acrobot-v1:
  n_timesteps: 1000
  normalize: true
  env_wrapper:
    - gym.wrappers.time_limit.TimeLimit: {max_episode_steps: 90}
    - rl_zoo3.wrappers.HistoryWrapper: {horizon: 2}
    - gymnasium.wrappers.FlattenObservation
  env_kwargs: "dict(render_mode=None)"
  policy_kwargs: {net_arch: [32, 32], activation_fn: nn.GELU, optimizer_kwargs: {eps: 1.0e-5}}
"""
DQN = """
CartPole-v1:
  n_timesteps: !!float 5e4
  policy: 'MlpPolicy'
  learning_rate: !!float 2.3e-3
  batch_size: 64
  learning_starts: 1000
  target_update_interval: 10
  train_freq: 256
  gradient_steps: 128
  exploration_fraction: 0.16
  exploration_final_eps: 0.04
  policy_kwargs: "dict(net_arch=[256, 256])"

atari:
  env_wrapper: stable_baselines3.common.atari_wrappers.AtariWrapper
  frame_stack: 4
  policy: CnnPolicy
  n_timesteps: 1000000
  optimize_memory_usage: False

MountainCar-v0:
  n_timesteps: 1000
"""
SAC = """
MountainCarContinuous-v0:
  n_timesteps: !!float 50000
  policy: 'MlpPolicy'
  ent_coef: 'auto_0.1'
  train_freq: 32
  gradient_steps: -1
  use_sde: True
  policy_kwargs: "dict(log_std_init=-3.67, net_arch=dict(pi=[64, 64], qf=[32]))"

Pendulum-v1:
  n_timesteps: 20000
  train_freq: [1, "episode"]
  target_update_interval: 2
  normalize: True
  noise_type: normal
  noise_std: 0.1
"""
TD3 = """
Pendulum-v1:
  n_timesteps: 20000
  noise_type: 'normal'
  noise_std: 0.1

MountainCarContinuous-v0:
  n_timesteps: 300000
  train_freq: [4, "step"]
"""
FILES = {"ppo": PPO, "dqn": DQN, "sac": SAC, "td3": TD3}


@pytest.fixture
def convert(workdir: Path) -> Callable[..., tuple[RunConfig, list[str]]]:
    """Convert a section and read the run file."""
    for name, text in FILES.items():
        (workdir / f"{name}.yml").write_text(text)

    def call(name: str, env: str) -> tuple[RunConfig, list[str]]:
        text, notes = zoo_run_file(Path(f"{name}.yml"), env)
        (workdir / "run.yaml").write_text(text)
        assert all(f"# - {note}\n" in text for note in notes)
        return load_config("run.yaml"), notes

    return call


def own(config: RunConfig) -> dict[str, Any]:
    """The parameters of the agent that are not its defaults."""
    defaults = config.agent.cls.get_default_parameters()
    return {key: one for key, one in config.agent.parameters.items() if one != defaults[key]}


def test_ppo(convert: Callable) -> None:
    config, notes = convert("ppo", "CartPole-v1")
    assert notes == []
    assert own(config) == {
        "batch_size": 64,
        "clip_range": {"linear": [0.2, 0.0], "steps": 100_000},
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "learning_rate": {"linear": [0.001, 0.0], "steps": 100_000},
        "n_steps": 32,
    }
    assert config.loop.class_name == "gym_loop.loops.vector_loop:VectorLoop"
    assert config.loop.parameters["n_envs"] == 8
    assert config.loop.parameters["max_steps"] == 100_000
    assert config.env.name == "CartPole-v1"


def test_the_section_of_another_version_and_what_ppo_has_not(convert: Callable) -> None:
    config, notes = convert("ppo", "Pendulum-v1")
    found = own(config)
    assert found["norm_obs"] is True
    assert "norm_reward" not in found
    assert found["log_std_init"] == -2.0
    assert found["network_parameters"] == {
        "activation": "relu",
        "hidden": [64, 32],
        "init": "uniform",
    }
    assert config.loop.class_name == "gym_loop.loops.default_loop:DefaultLoop"
    assert config.loop.parameters["max_episodes"] is None
    nothing = "(there is nothing like it here)"
    assert sorted(notes) == [
        f"callback: ['rl_zoo3.callbacks.ParallelTrainCallback'] {nothing}",
        "policy_kwargs.net_arch.vf: [64] (it has the layers of the policy)",
        f"sde_sample_freq: 4 {nothing}",
        f"use_sde: True {nothing}",
    ]


def test_wrappers_and_what_is_left_of_a_policy(convert: Callable) -> None:
    config, notes = convert("ppo", "Acrobot-v1")
    assert own(config)["norm_reward"] is True
    assert own(config)["learning_rate"] == 3e-4
    assert own(config)["n_steps"] == 2048
    assert own(config)["network_parameters"] == {"hidden": [32, 32]}
    assert config.env.max_episode_steps == 90
    assert config.env.parameters == {"render_mode": None}
    assert [one.class_name for one in config.env.wrappers] == [
        "gymnasium.wrappers:FlattenObservation"
    ]
    assert [note.partition(":")[0] for note in notes] == [
        "env_wrapper",
        "policy_kwargs.activation_fn",
        "policy_kwargs.optimizer_kwargs",
    ]
    assert "HistoryWrapper" in notes[0]
    assert "nn.GELU" in notes[1]


@pytest.mark.needs("torch")
@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_atari(convert: Callable, name: str) -> None:
    config, notes = convert(name, "ALE/Pong-v5")
    assert config.agent.parameters["network"] == "gym_loop.nn.torch_network:NatureCNN"
    assert config.agent.parameters["network_parameters"] == {}
    assert config.env.parameters == {"frameskip": 1, "repeat_action_probability": 0.0}
    assert [(one.class_name.partition(":")[2], one.parameters) for one in config.env.wrappers] == [
        ("AtariPreprocessing", {"terminal_on_life_loss": True}),
        ("ClipReward", {"max_reward": 1.0, "min_reward": -1.0}),
        ("FrameStackObservation", {"stack_size": 4}),
    ]
    assert notes[0].startswith("env_wrapper.AtariWrapper: FIRE after a reset")


def test_dqn(convert: Callable) -> None:
    config, notes = convert("dqn", "CartPole-v1")
    assert notes == []
    assert own(config) == {
        "buffer_size": 1_000_000,
        "double": False,
        "exploration_final_eps": 0.04,
        "exploration_steps": 8_000,
        "gradient_steps": 128,
        "learning_rate": 2.3e-3,
        "network_parameters": {"activation": "relu", "hidden": [256, 256], "init": "uniform"},
        "target_update_interval": 10,
        "train_freq": 256,
    }


def test_defaults_are_those_of_stable_baselines3(convert: Callable) -> None:
    assert own(convert("dqn", "MountainCar-v0")[0]) == {
        "batch_size": 32,
        "buffer_size": 1_000_000,
        "double": False,
        "exploration_steps": 100,
        "learning_rate": 1e-4,
        "learning_starts": 100,
        "network_parameters": {"activation": "relu", "init": "uniform"},
        "target_update_interval": 10_000,
    }


def test_sac(convert: Callable) -> None:
    config, notes = convert("sac", "MountainCarContinuous-v0")
    assert notes == []
    assert own(config) == {
        "critic_parameters": {"hidden": [32]},
        "ent_coef": "auto_0.1",
        "log_std_init": -3.67,
        "network_parameters": {"hidden": [64, 64]},
        "train_freq": 32,
        "use_sde": True,
    }
    config, notes = convert("sac", "Pendulum-v1")
    assert own(config) == {"gradient_steps": 1}
    assert [note.partition(":")[0] for note in notes] == [
        "train_freq",
        "target_update_interval",
        "normalize.norm_obs",
        "normalize.norm_reward",
        "noise_type",
    ]


def test_td3(convert: Callable) -> None:
    layers = {"hidden": [400, 300]}
    config, notes = convert("td3", "Pendulum-v1")
    assert own(config) == {"gradient_steps": 1, "network_parameters": layers}
    assert config.agent.parameters["noise_std"] == 0.1
    config, notes = convert("td3", "MountainCarContinuous-v0")
    assert notes == []
    assert own(config)["noise_std"] == 0.0
    assert own(config)["train_freq"] == 4


def test_the_command(workdir: Path, gym_loop_command: Callable) -> None:
    (workdir / "ppo.yml").write_text(PPO)
    (workdir / "tuned.yml").write_text(PPO)
    command = ("create-default", "-c", "run.yaml", "--zoo", "ppo.yml", "-e", "Pendulum-v1")
    outcome = gym_loop_command(*command)
    assert outcome.status == 0
    assert outcome.out == "wrote run.yaml; next: gym-loop train -c run.yaml\n"
    assert "not carried over: use_sde: True" in outcome.err
    text = (workdir / "run.yaml").read_text()
    assert "# From rl-baselines3-zoo, ppo.yml, Pendulum-v0, for Pendulum-v1.\n" in text
    short = ("--set", "loop.parameters.max_steps=100", "--set", "agent.parameters.n_steps=50")
    assert gym_loop_command("train", "-c", "run.yaml", *short).status == 0
    renamed = ("create-default", "-c", "a.yaml", "--zoo", "tuned.yml", "-e", "CartPole-v1")
    unnamed = gym_loop_command(*renamed)
    assert unnamed.status == 2
    assert "tuned is none of the algorithms ppo, dqn, sac, td3" in unnamed.err
    assert gym_loop_command(*renamed, "--agent", "ppo").status == 0
    for option, value in (("--loop", "gym_loop.loops.default_loop:DefaultLoop"), ("--preset", "x")):
        assert f"leave out {option}" in gym_loop_command(*command, "-f", option, value).err
    assert "--zoo needs --env" in gym_loop_command(*command[:5]).err


@pytest.mark.parametrize(
    ("env", "line", "message"),
    [
        ("CartPol-v1", "n_epochs: 3", "there is no section CartPol-v1; did you mean CartPole-v1?"),
        ("Cart-Pole-v3", "n_epochs: 3", "there is no environment Cart-Pole-v3"),
        ("CartPole-v1", "n_epochs: often", "x.yml:6: CartPole-v1.n_epochs: 'often' is str"),
        ("CartPole-v1", "n_envs: 0", "x.yml:6: CartPole-v1.n_envs: 0 must be a whole number"),
        ("CartPole-v1", "n_envs: .inf", "inf must be a whole number"),
        ("CartPole-v1", "learning_rate: cos_0.1", "cos_0.1 is no number and no lin_0.001"),
        ("CartPole-v1", "learning_rate: lin_", "lin_ is no number"),
        ("CartPole-v1", "gamma: 1.5", "x.yml:6: CartPole-v1.gamma: 1.5 must be from 0 to 1"),
    ],
)
def test_what_is_wrong_is_placed_in_the_file(
    workdir: Path, env: str, line: str, message: str
) -> None:
    section = f"CartPole-v1:\n  n_timesteps: 100\n\n\n\n  {line}\nCart-Pole-v3:\n  n_timesteps: 1\n"
    (workdir / "x.yml").write_text(section)
    with pytest.raises(ConfigError) as raised:
        zoo_run_file(Path("x.yml"), env, "ppo")
    assert message in str(raised.value)


@pytest.mark.parametrize("text", ["[]", "CartPole-v1: 3", "CartPole-v1: {n_envs: 2}", "", "a: [b"])
def test_what_is_no_section(workdir: Path, text: str) -> None:
    (workdir / "ppo.yml").write_text(text)
    with pytest.raises(ConfigError, match=r"ppo\.yml"):
        zoo_run_file(Path("ppo.yml"), "CartPole-v1")


def test_other_algorithms_are_refused(workdir: Path) -> None:
    with pytest.raises(UsageError, match="a2c is none of the algorithms ppo, dqn, sac, td3"):
        zoo_run_file(Path("a2c.yml"), "CartPole-v1")


HOSTILE = {
    "a call": "__import__('os').system('touch taken')",
    "a call inside": "dict(net_arch=open('taken', 'w'))",
    "arguments": "dict([('a', 1)])",
    "unpacking": "dict(**{'a': 1})",
    "a product": "dict(net_arch=[64] * 10**9)",
    "a comprehension": "[[0] * 9 for _ in range(10**9)]",
    "a lambda": "lambda: 0",
    "a formatted text": "f'{open}'",
    "deep brackets": "[" * 1500 + "]" * 1500,
    "many minuses": "-" * 1900 + "1",
    "many attributes": "a" + ".a" * 900,
    "long": "[" + "0," * 10_000 + "]",
    "unfinished": "dict(",
    "a null": "dict(a='\0')\0",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_literals_are_read_and_never_evaluated(workdir: Path, text: str) -> None:
    content = {"n_timesteps": 10, "policy_kwargs": text, "normalize": text, "env_kwargs": text}
    (workdir / "ppo.yml").write_text(json.dumps({"CartPole-v1": content}))
    written, notes = zoo_run_file(Path("ppo.yml"), "CartPole-v1")
    assert not Path("taken").exists()
    if text != HOSTILE["many attributes"]:  # a name is a text
        with pytest.raises(ValueError, match="it is"):
            literal(text)
    assert len(notes) >= 2
    assert all(len(note) < 300 for note in notes)
    (workdir / "run.yaml").write_text(written)
    assert load_config("run.yaml").agent.parameters["network_parameters"] == {}


def test_plain_literals() -> None:
    text = "dict(a=[1, -2.5, (True, None)], b={'c': 'd'}, e=nn.ReLU, f=Tanh)"
    assert literal(text) == {
        "a": [1, -2.5, [True, None]],
        "b": {"c": "d"},
        "e": "nn.ReLU",
        "f": "Tanh",
    }


@pytest.mark.parametrize(
    "section",
    [
        'callback: "x\\nagent: {class: evil}"',
        '"callback\\nagent: 3": 1',
        '"\\u2028seed: 5": 1',
        'env_wrapper: [{"a\\nseed: 5": {}}]',
        "env_wrapper: [[[[[]]]]]",
        "policy: !!binary aGVsbG8=",
        "callback: 2020-01-01",
        "3: 4",
        "atari: 5\n  net_arch: 7\n  __init__: 3",
    ],
)
def test_what_is_left_out_stays_a_comment(workdir: Path, section: str) -> None:
    (workdir / "ppo.yml").write_text(f"CartPole-v1:\n  n_timesteps: 10\n  {section}\n")
    text, notes = zoo_run_file(Path("ppo.yml"), "CartPole-v1")
    assert notes
    (workdir / "run.yaml").write_text(text)
    config = load_config("run.yaml")
    assert config.seed is None
    assert config.agent.class_name == "gym_loop.agents.ppo:PPO"


def test_endless_nesting_ends(workdir: Path) -> None:
    (workdir / "ppo.yml").write_text("CartPole-v1: {callback: " + "[" * 5_000 + "]" * 5_000 + "}")
    with pytest.raises(ConfigError, match="nested too deeply"):
        zoo_run_file(Path("ppo.yml"), "CartPole-v1")
