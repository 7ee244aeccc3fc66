"""gymz's configuration files: read unchanged, checked whole."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from gym_loop.errors import ConfigError, UsageError
from gym_loop.schema.parameters import documentation
from gym_loop.serve.zeromq.config import (
    MonitorArgs,
    Sections,
    ZeroMQConfig,
    demand_keys,
    load_config,
)
from gym_loop.serve.zeromq.settings import ZeroMQSettings

# The whole default configuration of gymz, by key.
GYMZ: dict[str, dict[str, Any]] = {
    "All": {
        "seed": 12345, "time_stamp_tolerance": 0.01, "prefix": None, "write_report": True,
        "report_file": "./report.json", "overwrite_files": False, "flush_report_interval": None,
    },
    "Env": {
        "env": "MountainCar-v0", "initial_reward": None, "final_reward": None,
        "final_reward_null": None, "min_reward": -1.0, "max_reward": 1.0,
        "inter_trial_observation": [9999.0, 9999.0], "render": True, "monitor": False,
        "monitor_dir": "./experiment-0/", "monitor_args": {},
    },
    "EnvRunner": {"update_interval": 0.02, "inter_trial_duration": 0.4},
    "CommandReceiver": {"socket": 5555, "time_stamp_tolerance": 0.01},
    "ObservationSender": {"socket": 5556, "update_interval": 0.01},
    "RewardSender": {"socket": 5557, "update_interval": 0.01},
}  # fmt: skip


# What is a mapping in the file, and declared key by key here.
MONITOR = {"Env": {"monitor_args": MonitorArgs().model_dump()}}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def findings(file: Path | None = None, overrides: Any = ()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides)
    return [str(finding) for finding in caught.value.findings]


def test_the_defaults_are_those_of_gymz() -> None:
    config = ZeroMQConfig()
    told = config.model_dump(by_alias=True, exclude_defaults=False)
    for section, keys in GYMZ.items():
        assert {key: told[section][key] for key in keys} == {**keys, **MONITOR.get(section, {})}


@pytest.mark.parametrize("indent", [None, 4, "\t"])
def test_json_of_gymz_is_read_unchanged(tmp_path: Path, indent: Any) -> None:
    file = write(tmp_path / "config.json", json.dumps(GYMZ, indent=indent))
    config = load_config(file)
    assert config == ZeroMQConfig(directory=tmp_path)
    assert config.prefix == tmp_path


def test_what_is_given_stands_over_the_defaults(tmp_path: Path) -> None:
    text = """{"Env": {"env": "Pendulum-v1", "inter_trial_observation": [NaN, -Infinity, 1],},
               "EnvRunner": {"update_interval": 1}, "All": {"prefix": "out"}, }"""
    config = load_config(write(tmp_path / "c.json", text), ["EnvRunner.speed=max", "All.seed=-1"])
    assert config.env.env == "Pendulum-v1"
    between_trials: Any = config.env.inter_trial_observation
    first, second, third = between_trials
    assert math.isnan(first)
    assert (second, third) == (-math.inf, 1)
    assert config.env_runner.update_interval == 1.0
    assert config.env_runner.inter_trial_duration == 0.4
    assert config.env_runner.speed == "max"
    assert config.all.seed == -1
    assert config.prefix == Path("out")


def test_yaml_means_the_same(tmp_path: Path) -> None:
    text = "Env:\n  env: CartPole-v1\n  env_params:\n    max_episode_steps: 7\nRewardSender:\n"
    config = load_config(write(tmp_path / "config.yaml", text))
    assert config.env.env_params.max_episode_steps == 7
    assert config.reward_sender.socket == 5557


def test_every_finding_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = (
        "Env:\n  enw: CartPole-v1\n  final_reward: [1, 2]\n  env_params: {steps: 3}\n"
        "  monitor_args: {forse: true}\n"
        "EnvRuner: {}\nEnvRunner:\n  update_interval: 0\n  inter_trial_duration: -1\n"
        "  speed: fast\nRewardSender:\n  socket: 70000\nCommandReceiver: 5\n"
    )
    file = write(tmp_path / "c.yaml", text)
    found = findings(file)
    assert f"{file}:2: Env.enw: unknown; did you mean env?" in found
    assert any("Env.final_reward" in one and "rewards are scalars" in one for one in found)
    assert f"{file}:6: EnvRuner: unknown; did you mean EnvRunner?" in found
    assert any(":10: EnvRunner.speed" in one and '"real" or "max"' in one for one in found)
    assert any(":12: RewardSender.socket: 70000 is not a port" in one for one in found)
    assert any(
        ":13: CommandReceiver: must be a mapping (with the keys host" in one for one in found
    )


def test_values_are_checked_where_their_types_are_right(tmp_path: Path) -> None:
    text = (
        "All: {flush_report_interval: 0, time_stamp_tolerance: -1}\n"
        "Env:\n  env_params: {steps: 3, max_episode_steps: 0, kwargs: [1]}\n"
        "  imports: [3]\n  monitor_args: {forse: true, video_callable: x}\n"
        "EnvRunner: {update_interval: 0, inter_trial_duration: -1}\n"
        "CommandReceiver: {socket: 0}\nObservationSender: {update_interval: .inf}\n"
    )
    found = "\n".join(findings(write(tmp_path / "c.yaml", text)))
    for place in (
        "flush_report_interval: 0 is too small",
        "time_stamp_tolerance: -1 must",
        "env_params.steps: unknown",
        "max_episode_steps: 0 is too small",
        "env_params.kwargs: ",
        "imports.0: 3 is int",
        "forse: unknown; did you mean force",
        "video_callable: 'x' is str",
        "update_interval: 0 must",
        "inter_trial_duration: -1 must",
        "CommandReceiver.socket: 0 is not a port; use 1",
        "ObservationSender.update_interval: inf must",
    ):
        assert place in found


def test_keys_belong_together() -> None:
    told = findings(None, {"Security.secret_key": "a"})[0]
    assert "agent_key: secret_key and agent_key belong together" in told
    assert "is of no use without" in findings(None, {"Security.listener_keys": ["b"]})[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "the keys All, Env"),
        ("{", "not valid YAML"),
        ("All: {seed: 1, seed: 2}", "is given twice"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    assert words in findings(write(tmp_path / "c.json", text))[0]


def test_no_such_file(tmp_path: Path) -> None:
    assert findings(tmp_path / "none.json") == [f"{tmp_path / 'none.json'}: there is no such file"]


def test_findings_of_the_command_line_name_the_option() -> None:
    assert findings(None, ["All.seed=x"])[0].startswith("--set All.seed: All.seed: 'x' is str")
    assert findings(None, ["Foo.seed=1"])[0].startswith("--set Foo.seed: Foo: unknown")


@pytest.mark.parametrize("sender", ["ObservationSender", "RewardSender"])
def test_listening_beyond_the_machine_demands_keys(sender: str) -> None:
    with pytest.raises(UsageError, match=rf"{sender}\.host: \* .*Security\.secret_key"):
        demand_keys(load_config(None, {f"{sender}.host": "*"}))
    keys = {"Security.secret_key": "a", "Security.agent_key": "b"}
    demand_keys(load_config(None, {f"{sender}.host": "*", **keys}))
    demand_keys(load_config(None, {f"{sender}.host": "localhost"}))


def test_options_stand_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "Env: {env: CartPole-v1, render: true}\n")
    given = {
        "env": "Pendulum-v1", "render": False, "host": "127.0.0.2", "speed": "max", "imports": None,
        "set": ["Env.min_reward=-9", "Env.env=Other-v0"],
    }  # fmt: skip
    config = ZeroMQSettings.load(file, given)
    assert isinstance(config, ZeroMQConfig)
    assert (config.env.env, config.env.render, config.env.min_reward) == ("Pendulum-v1", False, -9)
    assert config.observation_sender.host == config.reward_sender.host == "127.0.0.2"
    assert config.env_runner.speed == "max"
    config = ZeroMQSettings.load(file, {"imports": ["a", "b.py"]})
    assert isinstance(config, ZeroMQConfig)
    assert config.env.imports == ["a", "b.py"]
    with pytest.raises(ConfigError, match="unknown"):
        ZeroMQSettings.load(file, {"emv": "x"})


def test_every_key_is_described() -> None:
    for section in Sections.model_fields.values():
        for doc in documentation(section.annotation).values():
            assert doc.text, doc
