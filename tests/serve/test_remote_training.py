"""PPO trains on what others serve: over each protocol, stopped and resumed."""

import json
from pathlib import Path
from typing import Any

import pytest

import gym_loop
from tests.serve.live import live
from tests.serve.remote_worlds import IDS, OLD

QUICK = {"batch_size": 32, "n_epochs": 2, "n_steps": 40, "network_parameters": {"hidden": [16]}}


def run_file(protocol: str, address: str, agent: dict[str, Any], **loop: Any) -> dict[str, Any]:
    return {
        "agent": {"class": "gym_loop.agents.ppo:PPO", "parameters": agent},
        "env": {
            "name": IDS[protocol],
            "parameters": {"url": address, "env_id": "CartPole-v1"},
        },
        "loop": {"class": "gym_loop.loops.vector_loop:VectorLoop", "parameters": loop},
        "seed": 0,
    }


def manifest(workdir: Path) -> Any:
    (path,) = workdir.glob("logs/*/manifest.json")
    return json.loads(path.read_text())


def metric_steps(workdir: Path) -> list[int]:
    (path,) = workdir.glob("logs/*/metrics.csv")
    names, *rows = [line.split(",") for line in path.read_text().splitlines()]
    return [int(float(row[names.index("step")])) for row in rows]


@pytest.mark.parametrize("protocol", IDS)
def test_a_run_is_stopped_and_resumed(
    protocol: str, workdir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with live(protocol) as address:
        wanted = run_file(protocol, address, QUICK, n_envs=2, max_episodes=None, max_steps=400)
        trained = gym_loop.train(wanted, name="far")
        assert trained.steps == 400
        assert "resuming will be approximate: the state is on the server" in capfd.readouterr().err
        assert manifest(workdir)["resume"]["verdict"] == "approximate"
        resumed = gym_loop.train(wanted, {"loop.parameters.max_steps": 800}, resume="far")
        assert resumed.steps == 800
        assert resumed.episodes > trained.episodes
        steps = metric_steps(workdir)
        assert steps == sorted(steps)
        assert steps[-1] > 400


@pytest.mark.parametrize("protocol", IDS)
def test_a_run_on_an_original_server(protocol: str, workdir: Path) -> None:
    with OLD[protocol]() as (address, world):
        wanted = run_file(protocol, address, QUICK, n_envs=2, max_episodes=None, max_steps=200)
        assert gym_loop.train(wanted).steps == 200
        assert world.held == {}


@pytest.mark.parametrize("protocol", IDS)
def test_a_lost_step_ends_the_run_with_a_checkpoint(protocol: str, workdir: Path) -> None:
    with OLD[protocol]() as (address, world):
        wanted = run_file(protocol, address, QUICK, n_envs=2, max_episodes=None, max_steps=300)

        def lose() -> None:
            world.faults.clear()

        answered = [0]

        def sometimes(method: str) -> Any:
            answered[0] += method == "step"
            return lose if method == "step" and answered[0] == 300 else None

        world.fault = sometimes
        with pytest.raises(gym_loop.errors.BridgeConnectionError, match=r"step \d+ of episode"):
            gym_loop.train(wanted, name="far")
        before = manifest(workdir)
        assert before["exit_reason"] != "finished"
        assert gym_loop.train(wanted, resume="far").steps == 300


@pytest.mark.learning
@pytest.mark.parametrize("protocol", IDS)
def test_it_reaches_475(protocol: str, workdir: Path) -> None:
    with live(protocol) as address:
        wanted = run_file(protocol, address, {}, max_episodes=None, max_steps=50_000)
        half = gym_loop.train(wanted, name="far")
        assert half.steps >= 50_000
        trained = gym_loop.train(wanted, {"loop.parameters.max_steps": 100_000}, resume="far")
        assert trained.steps >= 100_000
        evaluated = gym_loop.evaluate(wanted, run="far", episodes=50)
        assert evaluated.returns.mean >= 475
