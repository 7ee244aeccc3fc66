"""A run trains over ZeroMQ, and resumes."""

import json
from pathlib import Path

import pytest

from gym_loop.training.experiment import train
from tests.serve.zeromq.zmq_serving import BOUNDS, LOCK_STEP, kwargs, serving


def test_a_run_trains_and_resumes_approximately(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(**kwargs(length=20), **LOCK_STEP) as served:
        config = {
            "agent": {"class": "gym_loop.agents.random_agent:RandomAgent"},
            "env": {
                "name": "gym_loop/ZeroMQ-v0",
                "parameters": {"n_actions": 10, "speed": "max", **BOUNDS, **served.ports},
            },
            "loop": {"class": "gym_loop.loops.default_loop:DefaultLoop",
                     "parameters": {"max_episodes": 4, "episodes_per_checkpoint": 2}},
            "seed": 1,
        }  # fmt: skip
        Path("run.yaml").write_text(json.dumps(config))
        first = train("run.yaml")
        assert (first.exit_reason, first.episodes) == ("finished", 4)
        assert first.steps == 80
        warning = capsys.readouterr().err
        assert "resuming will be approximate: the server keeps its state" in warning
        second = train("run.yaml", {"loop.parameters.max_episodes": 7}, resume=True)
    assert (second.exit_reason, second.episodes) == ("finished", 7)
    assert second.mean_return == 210.0
    assert second.steps == 7 * 20
    manifest = json.loads(Path("logs/run-1/manifest.json").read_text())
    assert manifest["resume"]["verdict"] == "approximate"
