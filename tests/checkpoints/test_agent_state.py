"""What agents learn comes back in a resume, wherever they keep it, or it is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.errors import ConfigError, StateError
from tests import stateful_agents
from tests.killing import differences, write_run_file


def config(agent: str, parameters: dict[str, Any] | None = None, **loop: Any) -> dict[str, Any]:
    return {
        "agent": {"class": f"tests.stateful_agents:{agent}", "parameters": parameters or {}},
        "env": {"name": "CartPole-v1"},
        "loop": {"parameters": {"max_episodes": 6, "loggers": [], **loop}},
        "seed": 5,
    }


def manifest(directory: Path) -> Any:
    return json.loads((directory / "logdir" / "run-1" / "manifest.json").read_text())


def test_an_optimiser_and_counters_in_the_network_come_back(tmp_path: Path) -> None:
    at_once, broken = tmp_path / "at_once", tmp_path / "broken"
    whole = gym_loop.train(write_run_file(at_once, config("Reinforce", max_episodes=60)))
    path = write_run_file(broken, config("Reinforce", max_episodes=30))
    gym_loop.train(path)
    resumed = gym_loop.train(path, {"loop.parameters.max_episodes": 60}, resume=True)
    assert (resumed.steps, resumed.episodes) == (whole.steps, 60)
    assert differences(at_once, broken) == []
    tree = CheckpointStore(broken / "checkpoint_dir" / "run-1").newest().tree
    net = tree["agent"]["net"]
    assert net["attributes"][""]["learn_steps"] == whole.steps


def test_parameters_that_training_changes_come_back(tmp_path: Path) -> None:
    at_once, broken = tmp_path / "at_once", tmp_path / "broken"
    gym_loop.train(write_run_file(at_once, config("Decaying", max_episodes=8)))
    path = write_run_file(broken, config("Decaying", max_episodes=4))
    gym_loop.train(path)
    gym_loop.train(path, {"loop.parameters.max_episodes": 8}, resume=True)
    assert differences(at_once, broken) == []
    tree = CheckpointStore(broken / "checkpoint_dir" / "run-1").newest().tree
    saved = tree["agent"]["parameters"]
    assert list(saved) == ["epsilon"]  # what __init__ derives from others is none of them
    assert saved["epsilon"] < 0.9


def test_what_training_changes_in_a_class_or_a_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stateful_agents.InTheClass.steps = 0
    gym_loop.train(write_run_file(tmp_path, config("InTheClass", max_episodes=2)))
    said = capsys.readouterr().err
    for name in ("InTheClass.steps", "InTheClass.table", "tests.stateful_agents.TRIED"):
        assert name in said
    assert said.count("no checkpoint holds") == 1
    assert manifest(tmp_path)["resume"]["verdict"] == "approximate"


def test_code_that_training_puts_in_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gym_loop.train(write_run_file(tmp_path, config("CodeLater", max_episodes=2)))
    assert "no checkpoint holds agent.rule" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("agent", "place", "remedy"),
    [
        ("Lazy", "agent.net: a torch.nn.modules.linear:Linear", "make it in __init__"),
        ("Growing", "agent.nodes[1]: a tests.stateful_agents:Node", "its class a dataclass"),
    ],
)
def test_what_no_resumed_run_could_load_is_refused_when_it_is_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], agent: str, place: str, remedy: str
) -> None:
    gym_loop.train(write_run_file(tmp_path, config(agent, max_episodes=2)))
    said = capsys.readouterr().err
    assert place in said
    assert remedy in said
    assert not CheckpointStore(tmp_path / "checkpoint_dir" / "run-1").steps()


def test_an_object_where_data_is_wanted_is_refused_at_the_start(tmp_path: Path) -> None:
    path = write_run_file(tmp_path, config("Whole"))
    with pytest.raises(StateError, match=r"agent\.net: a torch.* not be made anew"):
        gym_loop.train(path)
    assert not (tmp_path / "logdir").exists()


class TestParametersThatAResumeChanges:
    def trained(self, place: Path, agent: str = "Decaying", **parameters: Any) -> Path:
        path = write_run_file(place, config(agent, parameters, max_episodes=2))
        gym_loop.train(path)
        return path

    def resumed(self, path: Path, **parameters: Any) -> Any:
        wanted = {f"agent.parameters.{name}": value for name, value in parameters.items()}
        gym_loop.train(path, {"loop.parameters.max_episodes": 4, **wanted}, resume=True)
        tree = CheckpointStore(path.parent / "checkpoint_dir" / "run-1").newest().tree
        return tree["agent"]

    def test_one_that_training_has_changed_is_refused(self, tmp_path: Path) -> None:
        path = self.trained(tmp_path)
        with pytest.raises(ConfigError, match=r"agent\.parameters\.epsilon: training has changed"):
            self.resumed(path, epsilon=0.5)
        assert manifest(tmp_path)["resumes"] == []
        assert self.resumed(path)["parameters"]["epsilon"] < 0.9

    def test_what_init_made_of_it_takes_effect(self, tmp_path: Path) -> None:
        path = self.trained(tmp_path)
        assert self.resumed(path, gamma=0.5)["gamma"] == 0.5
        assert self.resumed(path)["gamma"] == 0.5  # the run repeats it

    def test_what_training_has_changed_since_is_refused(self, tmp_path: Path) -> None:
        path = self.trained(tmp_path)
        with pytest.raises(ConfigError, match=r"layers: a new value .* no effect on agent\.scale"):
            self.resumed(path, layers=[16])

    def test_a_part_that_was_none_before(self, tmp_path: Path) -> None:
        path = self.trained(tmp_path, layers=[16])
        assert self.resumed(path, layers=[8])["scale"] < 1.0

    def test_optional_parts_of_ppo(self, tmp_path: Path) -> None:
        content = config("Decaying", {"n_steps": 16, "batch_size": 16}, max_episodes=2)
        content["agent"]["class"] = "gym_loop.agents.ppo:PPO"
        content["env"]["name"] = "Pendulum-v1"
        path = write_run_file(tmp_path, content)
        gym_loop.train(path)
        with pytest.raises(ConfigError, match=r"log_std_init: .* effect on agent\.network"):
            self.resumed(path, log_std_init=-1.0)
        agent = self.resumed(path, norm_obs=True, learning_rate=1e-4)
        assert agent["observation_normalizer"]["attributes"]["moments"]["attributes"]["count"] > 0
        with pytest.raises(ConfigError, match=r"agent\.observation_normalizer"):
            self.resumed(path, norm_obs=False)
        assert gym_loop.evaluate(path, episodes=1).run == "run-1"


def test_what_the_agents_code_has_since_gained_stays_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = tmp_path / "agent.py"
    before = (
        "from tests.stateful_agents import Guessing\n\n\n"
        "class Part:\n    def __init__(self):\n        self.old = 1\n\n\n"
        "class Mine(Guessing):\n    def __init__(self, **params):\n"
        "        super().__init__(**params)\n        self.part = Part()\n"
    )
    after = before.replace("self.old = 1", "self.old, self.inner = 1, 3") + (
        "        self.table = {}\n\n"
        "    def act(self, state, episode_num):\n"
        "        self.table['seen'] = self.part.inner\n"
        "        return super().act(state, episode_num)\n"
    )
    wanted = config("Guessing", max_episodes=2)
    wanted["agent"]["class"] = f"{code}:Mine"
    path = write_run_file(tmp_path, wanted)
    code.write_text(before)
    gym_loop.train(path)
    code.write_text(after)
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == str(code):
            del sys.modules[name]
    capsys.readouterr()
    gym_loop.evaluate(path, episodes=1)
    gym_loop.train(path, {"loop.parameters.max_episodes": 4}, resume=True)
    said = capsys.readouterr().err
    assert said.count("agent.table") == said.count("agent.part.inner") == 2
    assert said.count("has gained since") == 2
    tree = CheckpointStore(tmp_path / "checkpoint_dir" / "run-1").newest().tree
    assert tree["agent"]["table"] == {"seen": 3}


def test_what_a_forward_pass_leaves_is_named_and_no_obstacle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at_once, broken = tmp_path / "at_once", tmp_path / "broken"
    gym_loop.train(write_run_file(at_once, config("Stochastic", max_episodes=4)))
    said = capsys.readouterr().err
    assert "agent.net.chances, agent.net.scores without its distribution, its gradient hist" in said
    assert manifest(at_once)["resume"]["verdict"] == "exact"
    path = write_run_file(broken, config("Stochastic", max_episodes=2))
    gym_loop.train(path)
    gym_loop.train(path, {"loop.parameters.max_episodes": 4}, resume=True)
    assert differences(at_once, broken) == []
