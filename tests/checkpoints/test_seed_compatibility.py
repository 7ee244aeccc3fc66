"""Run files and classes for the first gym-loop train, or say in one line what to change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]

# The run file that its README shows, and the agent that is written after its page.
README_RUN = """\
agent:
        class: AGENT
        parameters: {}
env:
        imports: []
        name: Pendulum-v0
        parameters: {}
loop:
        class: gym_loop.loops.default_loop:DefaultLoop
        parameters:
                episodes_per_checkpoint: 10
                eval_episodes: 10
                eval_logdir: ./eval_logs
                eval_record: false
                eval_record_dir: ./eval_records
                eval_render: false
                logdir: ./logs
                max_episode_len: 20
                max_episodes: 5
                random_episodes: 2
                record: false
                record_dir: ./episode_records
                render: false
                time_per_checkpoint: null
"""
README_AGENT = """\
from gym_loop.agents import BaseAgent


class Sampler(BaseAgent):
    @staticmethod
    def get_default_parameters():
        return {"scale": 0.5}

    def __init__(self, **params):
        super().__init__(**params)
        self.seen = 0

    def act(self, state, episode_num):
        return self.parameters["scale"] * self.parameters["action_space"].sample()

    def memorize(self, last_ob, action, reward, done, ob):
        self.seen += 1

    def update(self, episode_num):
        assert self.seen
"""
# Its code had grown away from its README: parameters as attributes, more arguments, a policy.
CODE_AGENT = """\
from gym_loop.agents import BaseAgent


class Stepper(BaseAgent):
    @staticmethod
    def get_default_parameters():
        return {"scale": 0.5}

    def act(self, state, global_step, env_id=0):
        return self.scale * self.action_space.sample()

    def memorize(self, last_ob, action, reward, done, ob, global_step=0, env_id=0):
        self.last = reward

    def update(self, global_step):
        pass

    def metrics(self, episode_num):
        return None


class Strict(Stepper):
    def memorize(self, last_ob, action, reward, done, ob, global_step):
        self.last = reward
"""
CODE_RUN = """\
agent:
  class: gym_loop.agents.pytorch_ppo:PPO
  parameters: {lr: 1.0e-4}
  policy:
    class: gym_loop.policies.noisy_actor_critic:DiscreteNoisyActorCritic
    parameters: {}
env:
  name: CartPole-v0
loop:
  class: gym_loop.loops.multienv_loop:MultiEnvLoop
  parameters: {n_envs: 4}
"""
CODE_LOOP = """\
from gym_loop.loops import BaseLoop


class Own(BaseLoop):
    @staticmethod
    def get_default_parameters():
        return {"logdir": "./logs"}

    def __init__(self, agent, env, **params):
        super().__init__(**params)
        self.agent, self.env = agent, env
"""
OLD_ENV = """\
import gymnasium as gym
import numpy as np


class Old(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32)

    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, {}


gym.register("Old-v0", entry_point=Old, max_episode_steps=20)
"""


def write_run(directory: Path, agent: str, env: str = "Pendulum-v1") -> None:
    text = README_RUN.replace("AGENT", agent).replace("Pendulum-v0", env)
    (directory / "old.yaml").write_text(text)


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_the_default_run_file_of_the_readme_names_the_environment_to_use(
    workdir: Path, gym_loop_command: Command
) -> None:
    write_run(workdir, "gym_loop.agents.random_agent:RandomAgent", "Pendulum-v0")
    outcome = gym_loop_command("train", "-c", "old.yaml")
    assert outcome.status == 2
    assert outcome.err == (
        "gym-loop: old.yaml:6: env.name: there is no environment Pendulum-v0; use Pendulum-v1\n"
    )


def test_it_trains_with_that_line_changed(workdir: Path, gym_loop_command: Command) -> None:
    write_run(workdir, "gym_loop.agents.random_agent:RandomAgent")
    outcome = gym_loop_command("train", "-c", "old.yaml")
    assert outcome.status == 0
    assert "old-1 finished: 5 episodes, 100 steps" in outcome.err


def test_an_agent_of_the_readme_trains_and_is_evaluated_unchanged(
    workdir: Path, gym_loop_command: Command
) -> None:
    (workdir / "my_agent.py").write_text(README_AGENT)
    created = gym_loop_command(
        "create-default", "--agent", "my_agent.py:Sampler", "--run-config", "made.yaml"
    )
    assert created.status == 0
    assert "scale: 0.5" in (workdir / "made.yaml").read_text()
    write_run(workdir, "my_agent.py:Sampler")
    assert gym_loop_command("train", "-c", "old.yaml").status == 0
    evaluated = gym_loop_command("evaluate", "-c", "old.yaml", "--episodes", "2")
    assert evaluated.status == 0
    assert "2 episodes of old-1" in evaluated.out


def test_memorize_with_a_further_argument_is_refused_before_the_training(
    workdir: Path, gym_loop_command: Command
) -> None:
    (workdir / "my_agent.py").write_text(CODE_AGENT)
    write_run(workdir, "my_agent.py:Strict")
    outcome = gym_loop_command("train", "-c", "old.yaml")
    assert outcome.status == 2
    assert outcome.err == (
        "gym-loop: old.yaml:2: agent.class: Strict breaks the contract: memorize(self, last_ob,"
        " action, reward, done, ob, global_step) is called as memorize(last_ob, action, reward,"
        " done, ob): global_step is not passed any more\n"
    )
    assert not (workdir / "logs").exists()


def test_parameters_as_attributes_are_explained_in_one_line(
    workdir: Path, gym_loop_command: Command
) -> None:
    (workdir / "my_agent.py").write_text(CODE_AGENT)
    write_run(workdir, "my_agent.py:Stepper")
    outcome = gym_loop_command("train", "-c", "old.yaml")
    assert outcome.status == 1
    (warning,) = [line for line in outcome.err.splitlines() if line.startswith("warning:")]
    assert warning.endswith("parameters are no attributes: write self.parameters['scale']")


def test_optional_further_arguments_and_metrics_that_are_none_do_no_harm(
    workdir: Path, gym_loop_command: Command
) -> None:
    text = CODE_AGENT.replace("self.scale", 'self.parameters["scale"]')
    text = text.replace("self.action_space", 'self.parameters["action_space"]')
    (workdir / "my_agent.py").write_text(text)
    write_run(workdir, "my_agent.py:Stepper")
    assert gym_loop_command("train", "-c", "old.yaml").status == 0


def test_a_policy_section_and_classes_that_moved_are_told_at_once(
    workdir: Path, gym_loop_command: Command
) -> None:
    (workdir / "old.yaml").write_text(CODE_RUN)
    outcome = gym_loop_command("train", "-c", "old.yaml")
    assert outcome.status == 2
    agent, policy, loop = outcome.err.splitlines()
    assert "old.yaml:2: agent.class:" in agent
    assert agent.endswith("; it is gym_loop.agents.ppo:PPO now")
    assert policy.startswith("old.yaml:4: agent.policy: is no key any more: name the network by")
    assert loop.endswith("; it is gym_loop.loops.vector_loop:VectorLoop now")


def test_a_loop_that_keeps_agent_and_environment_from_its_base_says_what_to_call(
    workdir: Path, gym_loop_command: Command
) -> None:
    (workdir / "my_loop.py").write_text(CODE_LOOP)
    write_run(workdir, "gym_loop.agents.random_agent:RandomAgent")
    setting = "loop={class: my_loop.py:Own}"
    outcome = gym_loop_command("train", "-c", "old.yaml", "--set", setting)
    assert outcome.status == 2
    assert "the loop my_loop.py:Own could not be made:" in outcome.err
    assert last_line(outcome.err) == "call super().__init__(agent, env, run, **parameters)"


def test_a_seed_among_the_environment_s_parameters_is_sent_to_its_place(
    workdir: Path, gym_loop_command: Command
) -> None:
    write_run(workdir, "gym_loop.agents.random_agent:RandomAgent")
    outcome = gym_loop_command("train", "-c", "old.yaml", "--set", "env.parameters.seed=3")
    assert outcome.status == 2
    assert outcome.err.endswith("; the run's seed is the key seed of the run file\n")


def test_a_module_that_imports_the_old_gym_is_told_its_new_name(
    workdir: Path, gym_loop_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gym", None)  # also where it is installed
    (workdir / "my_agent.py").write_text(f"import gym\n{README_AGENT}")
    write_run(workdir, "my_agent.py:Sampler")
    outcome = gym_loop_command("train", "-c", "old.yaml")
    assert outcome.status == 2
    assert "import gymnasium as gym" in outcome.err.splitlines()[0]


def test_an_environment_of_the_old_gym_is_told_what_to_change(
    workdir: Path, gym_loop_command: Command
) -> None:
    (workdir / "old_env.py").write_text(OLD_ENV)
    write_run(workdir, "gym_loop.agents.random_agent:RandomAgent", "Old-v0")
    outcome = gym_loop_command("train", "-c", "old.yaml", "--set", "env.imports=[old_env.py]")
    assert outcome.status == 2
    assert "of the old Gym: its reset() must be" in last_line(outcome.err)


def test_the_command_eval_is_evaluate(workdir: Path, gym_loop_command: Command) -> None:
    outcome = gym_loop_command("eval", "-c", "old.yaml")
    assert outcome.status == 2
    assert "Did you mean 'evaluate'?" in outcome.err
