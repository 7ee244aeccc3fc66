"""Population-based training: how values change, and which may."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import gym_loop
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.checkpoints.tree import first_difference
from gym_loop.config.run_file import load_config
from gym_loop.errors import ConfigError
from gym_loop.runs.directory import RunDirectory
from gym_loop.sweeps.forking import fork_run
from gym_loop.sweeps.population import check_may_change, explored
from gym_loop.sweeps.space import Parameter, Space
from tests.sweeps.sweeping_files import SKILL, write_files

PPO = {"agent": {"class": "gym_loop.agents.ppo:PPO"}, "env": {"name": "CartPole-v1"}}


def test_values_move_a_little_and_stay_in_their_ranges() -> None:
    space = Space(
        [
            Parameter("rate", "log_uniform", (1e-3, 1e-2)),
            Parameter("size", "int_uniform", (8, 12)),
            Parameter("kind", "choice", ("a", "b", "c", "d")),
        ]
    )
    rng = np.random.default_rng(0)
    found = [explored(space, {"rate": 9e-3, "size": 10, "kind": "a"}, 0.0, rng) for _ in range(60)]
    assert {round(one["rate"], 6) for one in found} == {0.0072, 0.01}
    assert {one["size"] for one in found} == {8, 12}
    assert {one["kind"] for one in found} == {"a", "b"}
    drawn = [explored(space, {"rate": 9e-3, "size": 10, "kind": "a"}, 1.0, rng) for _ in range(60)]
    assert {one["kind"] for one in drawn} == {"a", "b", "c", "d"}


def test_what_the_agents_state_does_not_survive_is_refused(workdir: Path) -> None:
    config = load_config(PPO)
    check_may_change(
        config, Space([Parameter("agent.parameters.learning_rate", "uniform", (1e-4, 1e-2))]), "s"
    )
    width = Parameter(
        "agent.parameters.network_parameters", "choice", ({"hidden": [8]}, {"hidden": [16]})
    )
    epochs = Parameter("loop.parameters.max_steps", "int_uniform", (1, 2))
    with pytest.raises(ConfigError) as caught:
        check_may_change(config, Space([width, epochs]), "s.yaml")
    text = str(caught.value)
    assert "s.yaml: agent.parameters.network_parameters: pbt changes it while" in text
    assert "s.yaml: loop.parameters.max_steps: pbt changes parameters of the agent alone" in text


def test_a_copy_goes_on_as_its_model_would_have(workdir: Path) -> None:
    write_files({"parameters": {}})
    gymnasium.registry.pop("Flat-v0", None)
    short = {"loop.parameters.max_episodes": 5}
    model = gym_loop.train("run.yaml", short, seed=3)
    store = CheckpointStore(Path("checkpoints", model.run))
    parents = {"logdir": Path("logs"), "checkpoint_dir": Path("checkpoints")}
    fork_run(model.run, "copy", store.newest().path, {**parents, "eval_logdir": Path("eval_logs")})
    assert RunDirectory("copy", parents).manifest()["forked_from"] == model.run
    both = {"loop.parameters.max_episodes": 9, SKILL: 1.0}
    copied = gym_loop.train("run.yaml", both, resume="copy")
    gone_on = gym_loop.train("run.yaml", both, resume=model.run)
    assert copied.steps == gone_on.steps == 36
    trees = [CheckpointStore(Path("checkpoints", run)).newest().tree for run in ("copy", model.run)]
    first, second = ({**tree, "logs": None, "run": None} for tree in trees)
    assert first_difference(first, second) == ""
    assert len(list(Path("eval_logs/copy").glob("step-*.json"))) == 3
