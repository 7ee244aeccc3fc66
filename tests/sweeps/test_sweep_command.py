"""``gym-loop sweep``: Ctrl-C, SIGTERM, kill and resume."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.signalling import begin
from tests.sweeps.sweeping_files import RUN, SKILL, manifests, write_files
from tests.waiting import wait_for

SLOW = {
    "agent": {"class": "agent.py:Skilled", "parameters": {"seconds": 0.015}},
    "env": {"name": "Flat-v0", "imports": ["flat.py"]},
    "loop": {
        "parameters": {
            "max_episodes": 40,
            "episodes_per_eval": 8,
            "eval_episodes": 1,
            "episodes_per_checkpoint": 1,
        }
    },
}
COMMAND = [sys.executable, "-m", "gym_loop", "sweep", "-c", "run.yaml", "-s", "sweep.yaml"]


def trials() -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in Path("sweeps/sweep-1/trials").glob("*.json")]
    return sorted(found, key=lambda one: one["number"])


def under_way() -> bool:
    """A trial has finished, and another one is in the first quarter of its training."""
    running = [run for run, facts in manifests().items() if facts["status"] == "running"]
    saved = [max(Path("checkpoints", run).glob("step-*"), default=None) for run in running]
    early = any(path is not None and path.name <= "step-000000040" for path in saved)
    return early and "finished" in [one["status"] for one in trials()]


def cut_off(signum: int) -> None:
    """Send a sweep a signal: to all of its group as a terminal does, SIGTERM to it alone."""
    process = begin(COMMAND, stderr=subprocess.PIPE, start_new_session=True)
    wait_for(under_way, seconds=120.0)
    (os.kill if signum == signal.SIGTERM else os.killpg)(process.pid, signum)
    _, said = process.communicate(timeout=60)
    if signum != signal.SIGKILL:
        assert process.returncode == 128 + signum
        assert "resume:          gym-loop sweep -c run.yaml -s sweep.yaml --resume sweep-1" in said
        assert "Traceback" not in said


def resumed() -> list[dict[str, Any]]:
    """The trials of a sweep that was cut off, after it has been resumed."""
    done = subprocess.run([*COMMAND, "--resume", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["trials"]
    return found


@pytest.mark.parametrize(
    "signum",
    [
        pytest.param(signal.SIGINT, id="ctrl-c"),
        pytest.param(signal.SIGTERM, id="sigterm"),
        pytest.param(signal.SIGKILL, id="kill", marks=pytest.mark.learning),
    ],
)
def test_a_sweep_that_is_cut_off_goes_on(workdir: Path, signum: int) -> None:
    write_files({"parameters": {SKILL: [1.0, 2.0, 3.0]}}, SLOW)
    cut_off(signum)
    over = [one for one in trials() if one["status"] == "finished"]
    before = {run: manifests()[run] for one in over for run in one["runs"].values()}
    assert [(one["value"], one["status"]) for one in resumed()] == [
        (value, "finished") for value in (3.0, 2.0, 1.0)
    ]
    after = manifests()
    assert {run: after[run] for run in before} == before
    assert any(one["resumes"] and one["resumes"][0]["step"] > 0 for one in after.values())


def test_a_dry_run_begins_nothing(workdir: Path, gym_loop_command: Callable[..., Any]) -> None:
    write_files({"parameters": {SKILL: [1.0, 2.0]}})
    outcome = subprocess.run([*COMMAND, "--dry-run"], capture_output=True, text=True, check=True)
    assert outcome.stdout.startswith("2 trials of 1 seed, searcher grid")
    names = {path.name for path in workdir.iterdir()} - {"__pycache__"}
    assert names == {"agent.py", "flat.py", "run.yaml", "sweep.yaml"}
    write_files({"parameters": {"agent.parameters.skil": [1.0]}}, RUN)
    refused = subprocess.run(COMMAND, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith(
        "sweep.yaml:2: agent.parameters.skil: unknown; did you mean skill?"
    )
