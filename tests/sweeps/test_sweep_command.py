"""``gym-loop sweep``: Ray started and stopped by it, Ctrl-C, kill and resume."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweeping_files import RUN, SKILL, write_files

SLOW = {
    "agent": {"class": "agent.py:Skilled", "parameters": {"seconds": 0.01}},
    "env": {"name": "Flat-v0", "imports": ["flat.py"]},
    "loop": {
        "parameters": {
            "max_episodes": 40,
            "episodes_per_eval": 5,
            "eval_episodes": 1,
            "episodes_per_checkpoint": 1,
        }
    },
}
COMMAND = [sys.executable, "-m", "gym_loop", "sweep", "-c", "run.yaml", "-s", "sweep.yaml"]


def trials() -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in Path("sweeps/sweep-1/trials").glob("*.json")]
    return sorted(found, key=lambda one: one["number"])


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)


def under_way() -> bool:
    """Two trials have ended, and another one is in the middle of its training."""
    logs = [json.loads(path.read_text()) for path in Path("logs").glob("*/manifest.json")]
    running = [one["run"] for one in logs if one["status"] == "running"]
    saved = [run for run in running if list(Path("checkpoints", run).glob("step-*"))]
    return len(trials()) > 2 and trials()[0]["status"] == "finished" and bool(saved)


@pytest.mark.parametrize(
    "signum",
    [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.learning)],
    ids=["ctrl-c", "kill"],
)
def test_a_sweep_that_is_cut_off_goes_on(workdir: Path, signum: int) -> None:
    write_files({"parameters": {SKILL: [1.0, 2.0, 3.0, 4.0]}, "seeds": 2}, SLOW)
    process = subprocess.Popen(COMMAND, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(under_way)
    os.killpg(process.pid, signum)  # as a terminal sends it: to all of the group
    _, said = process.communicate(timeout=60)
    if signum == signal.SIGINT:
        assert process.returncode == 130
        assert "resume:          gym-loop sweep -c run.yaml -s sweep.yaml --resume sweep-1" in said
        assert "Traceback" not in said
    finished = {
        run: json.loads(Path("logs", run, "manifest.json").read_text())
        for one in trials()
        if one["status"] == "finished"
        for run in one["runs"].values()
    }
    assert finished
    done = subprocess.run([*COMMAND, "--resume", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [(one["value"], one["status"]) for one in result["trials"]] == [
        (value, "finished") for value in (4.0, 3.0, 2.0, 1.0)
    ]
    for run, facts in finished.items():
        assert json.loads(Path("logs", run, "manifest.json").read_text()) == facts
    resumed = [
        json.loads(path.read_text())["resumes"] for path in Path("logs").glob("*/manifest.json")
    ]
    assert any(one and one[0]["step"] > 0 for one in resumed)


def test_a_dry_run_begins_nothing(workdir: Path, gym_loop_command: Callable[..., Any]) -> None:
    write_files({"parameters": {SKILL: [1.0, 2.0]}})
    outcome = subprocess.run([*COMMAND, "--dry-run"], capture_output=True, text=True, check=True)
    assert outcome.stdout.startswith("2 trials of 1 seed, searcher grid")
    assert sorted(path.name for path in workdir.iterdir()) == [
        "agent.py",
        "flat.py",
        "run.yaml",
        "sweep.yaml",
    ]
    write_files({"parameters": {"agent.parameters.skil": [1.0]}}, RUN)
    refused = subprocess.run(COMMAND, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith(
        "sweep.yaml:2: agent.parameters.skil: unknown; did you mean skill?"
    )
