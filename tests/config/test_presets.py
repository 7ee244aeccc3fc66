"""Every preset is a good run file that trains."""

import csv
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ale_py  # noqa: F401 - registers its environments before the registry is put back
import pytest

import gym_loop
from gym_loop.config.json_schema import SCHEMA_LINE
from gym_loop.config.presets import list_presets, preset_config, preset_run_file, preset_text
from gym_loop.config.run_file import flatten, load_config
from gym_loop.errors import UsageError
from gym_loop.schema.yaml_file import read_yaml
from gym_loop.training.check import check

ROOT = Path(gym_loop.__file__).parents[1]
NAMES = list_presets()
SHORT = {
    "agent.parameters.batch_size": 32,
    "agent.parameters.n_steps": 8,
    "env.max_episode_steps": 16,
    "loop.parameters.max_steps": 256,
}
OFF_POLICY = {"agent.parameters.learning_starts": 128}
FIRST = {"ppo": {}, **dict.fromkeys(("dqn", "sac", "td3"), OFF_POLICY)}


def own_values(name: str) -> dict[str, Any]:
    """What the preset's own file holds, with dotted keys."""
    return flatten(read_yaml(preset_text(name)).data)


def test_the_names() -> None:
    assert sorted(NAMES) == NAMES
    assert {
        "dqn/ALE-Pong-v5",
        "dqn/Acrobot-v1",
        "dqn/CartPole-v1",
        "dqn/FrozenLake-v1",
        "dqn/LunarLander-v3",
        "dqn/MountainCar-v0",
        "ppo/Acrobot-v1",
        "ppo/CartPole-v1",
        "ppo/FrozenLake-v1",
        "ppo/LunarLander-v3",
        "ppo/MountainCar-v0",
        "ppo/Pendulum-v1",
        *(
            f"{agent}/{env}"
            for agent in ("sac", "td3")
            for env in (
                "BipedalWalker-v3",
                "HalfCheetah-v5",
                "Hopper-v5",
                "LunarLanderContinuous-v3",
                "MountainCarContinuous-v0",
                "Pendulum-v1",
            )
        ),
    } <= set(NAMES)


PONG = pytest.param("dqn/ALE-Pong-v5", marks=pytest.mark.needs("torch"))  # its network
PRESETS = [PONG if name in PONG.values else name for name in NAMES]


@pytest.mark.parametrize("name", PRESETS)
class TestEveryPreset:
    def test_names_its_environment_and_where_its_values_come_from(self, name: str) -> None:
        text = preset_text(name)
        assert re.match(r"# From \S.*\n", text)
        assert preset_config(name).env.name.replace("/", "-") == name.partition("/")[2]

    def test_holds_only_what_differs_from_the_defaults(self, name: str) -> None:
        config = preset_config(name)
        classes = {"agent.class", "loop.class", "env.name"}
        defaults: dict[str, object] = {}
        for section, part in (("agent", config.agent), ("loop", config.loop)):
            for key, value in part.cls.get_default_parameters().items():
                defaults[f"{section}.parameters.{key}"] = value
        given = own_values(name)
        assert classes <= given.keys()
        repeated = {key for key, value in given.items() if defaults.get(key, key) == value}
        assert repeated == set()

    def test_schedules_last_as_long_as_the_training(self, name: str) -> None:
        steps = {key: value for key, value in own_values(name).items() if key.endswith(".steps")}
        exploring = "agent.parameters.exploration_steps", "agent.parameters.ent_coef.steps"
        exploration = max(steps.pop(key, own_values(name).get(key, 0)) for key in exploring)
        budget = preset_config(name).loop.parameters["max_steps"]
        assert all(value == budget for value in steps.values()), steps
        assert exploration <= budget

    def test_is_checked_without_findings(self, name: str, workdir: Path) -> None:
        results = check(preset_config(name).as_dict())
        assert len(results) > 5
        theirs = "has no __module__ attribute"  # said by Box2D's bindings, when first imported
        assert [one for one in results if one.level != "ok" and theirs not in one.text] == []

    def test_learns_a_few_steps_and_is_evaluated(self, name: str, workdir: Path) -> None:
        config = preset_config(name)
        short = SHORT | FIRST[name.partition("/")[0]]
        result = gym_loop.train(config, short, seed=1)
        assert result.exit_reason == "finished"
        assert result.steps >= 256
        with open(result.directories["logdir"] / "metrics.csv", newline="") as file:
            *_, last = csv.DictReader(file)
        updates = (
            256 // config.loop.parameters.get("n_envs", 1) // 8
        )  # at least one for each rollout
        assert float(last["agent/updates"]) >= updates
        evaluated = gym_loop.evaluate(config, short, run=result.run, episodes=1, seed=1)
        assert (evaluated.run, len(evaluated.episodes)) == (result.run, 1)

    def test_the_written_file_is_complete_and_says_the_same(
        self, name: str, workdir: Path, gym_loop_command: Callable
    ) -> None:
        outcome = gym_loop_command("create-default", "--preset", name, "-c", "run.yaml")
        assert outcome == (0, "wrote run.yaml; next: gym-loop train -c run.yaml\n", "")
        text = (workdir / "run.yaml").read_text()
        assert text == SCHEMA_LINE + preset_run_file(name)
        assert text.splitlines()[1] == preset_text(name).splitlines()[0]
        assert re.search(r"\n    # Step size of the optimizer; a number or a schedule", text)
        assert read_yaml(text).data == preset_config(name).as_dict()
        assert load_config("run.yaml").agent == preset_config(name).agent


class TestCommand:
    def test_list(self, gym_loop_command: Callable) -> None:
        outcome = gym_loop_command("create-default", "--list-presets")
        assert outcome == (0, "".join(f"{name}\n" for name in NAMES), "")

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("ppo/CartPol-v1", "; did you mean ppo/CartPole-v1?"),
            ("cartpole", "; did you mean ppo/CartPole-v1?"),
            ("../ppo/CartPole-v1", "; did you mean ppo/CartPole-v1?"),
            ("zzz", ""),
        ],
    )
    def test_unknown(self, name: str, hint: str, workdir: Path, gym_loop_command: Callable) -> None:
        outcome = gym_loop_command("create-default", "-c", "run.yaml", "--preset", name)
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err == (
            f"gym-loop: there is no preset {name}{hint}"
            " (gym-loop create-default --list-presets shows all)\n"
        )
        assert list(workdir.iterdir()) == []

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            (("-a", "my_agent.py:MyAgent"), "--agent"),
            (("--loop", "x:Y"), "--loop"),
            (("-e", "Pendulum-v1", "-a", "x:Y"), "--agent and --env"),
        ],
    )
    def test_classes_beside_a_preset_are_refused(
        self, options: tuple[str, ...], named: str, workdir: Path, gym_loop_command: Callable
    ) -> None:
        outcome = gym_loop_command(
            "create-default", "-c", "run.yaml", "--preset", "ppo/CartPole-v1", *options
        )
        assert outcome.status == 2
        assert outcome.err == (
            "gym-loop: --preset ppo/CartPole-v1 names agent, loop and environment:"
            f" leave out {named}\n"
        )
        assert list(workdir.iterdir()) == []

    def test_unknown_in_python(self) -> None:
        with pytest.raises(UsageError, match="no preset ppo/Nothing-v0"):
            preset_config("ppo/Nothing-v0")


def test_the_wheel_holds_the_presets(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    assert {f"gym_loop/config/presets/{name}.yaml" for name in NAMES} <= inside
