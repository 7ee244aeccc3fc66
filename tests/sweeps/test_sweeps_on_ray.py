"""Sweeps on a real Ray: one instance for all tests of this file."""

import warnings
from collections.abc import Iterator
from os import environ
from pathlib import Path
from typing import Any

import pytest

from gym_loop import train
from gym_loop.envs.ray_workers import QUIET_RAY, WANTED_RAY, environment, start_ray
from gym_loop.errors import SweepError
from gym_loop.runs.listing import list_runs
from gym_loop.sweeps.result import SweepResult
from gym_loop.sweeps.sweeping import sweep
from tests.sweeps.sweeping_files import RUN, SKILL, manifest, write_files


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with environment(QUIET_RAY | WANTED_RAY), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        import ray

        start_ray(None, 2)
        yield
        ray.shutdown()


@pytest.fixture(autouse=True)
def _here(workdir: Path) -> None:
    """Every test has files of its own."""


def swept(file: dict[str, Any], run: dict[str, Any] | None = None) -> SweepResult:
    write_files(file, run)
    return sweep("run.yaml", "sweep.yaml", address="local")


def test_trials_are_ordinary_runs_and_one_that_fails_stops_no_other() -> None:
    fates = ["none", "raise", "kill"]
    result = swept({"parameters": {"agent.parameters.fate": fates}, "seeds": 2})
    found = {one.values["agent.parameters.fate"]: one for one in result.records}
    assert [found[fate].status for fate in fates] == ["finished", "failed", "failed"]
    assert found["none"].per_seed == [1.0, 1.0]
    assert str(found["raise"].error).endswith(": ValueError: boom")
    assert str(found["kill"].error).endswith(": its process was killed by SIGKILL")
    runs = {one.run: one.status for one in list_runs(Path("logs"))}
    assert [runs[run] for run in found["none"].runs.values()] == ["finished"] * 2
    said = (result.directory / "output" / f"{found['none'].runs[0]}.txt").read_text()
    assert said == ""


def test_room_is_asked_for_before_anything_begins() -> None:
    with pytest.raises(SweepError, match="asks for 64 cpu and 0 gpu, but the largest node has"):
        swept({"parameters": {SKILL: [1.0]}, "resources": {"cpu": 64}})
    assert not list(Path("logs").glob("*"))


def test_runs_of_seeds_are_on_ray_too_and_print_here(capfd: pytest.CaptureFixture[str]) -> None:
    run = {**RUN, "agent": {"class": "agent.py:Skilled", "parameters": {"fate": "print"}}}
    write_files({"parameters": {SKILL: [1.0]}}, run)
    first, second = train("run.yaml", seeds=[3, 4], ray="local")
    assert [manifest(one.run)["seed"] for one in (first, second)] == [3, 4]
    assert first.steps == second.steps == 36
    said = capfd.readouterr().err.splitlines()
    for one in (first, second):
        assert f"{one.run}: threads {environ.get('OMP_NUM_THREADS', '1')}" in said
