"""Sweeps on a real Ray: one instance for all tests of this file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gym_loop.errors import SweepError
from gym_loop.runs.listing import list_runs
from gym_loop.sweeps.result import SweepResult
from gym_loop.sweeps.sweeping import sweep
from gym_loop.sweeps.tuning import ray_running
from tests.sweeps.sweeping_files import RUN, SKILL, manifest, write_files

SLOWLY = {
    **RUN,
    "agent": {"class": "agent.py:Skilled", "parameters": {"seconds": 0.02}},
    "loop": {"parameters": {"max_episodes": 9, "episodes_per_eval": 1, "eval_episodes": 1}},
}
ASHA = {
    "parameters": {SKILL: [9.0, 8.0, 2.0, 1.0]},
    "seeds": 2,
    "scheduler": {"asha": {"grace": 1, "reduction": 2}},
}


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with ray_running(None, []):
        yield


@pytest.fixture(autouse=True)
def _here(workdir: Path) -> None:
    """Every test has files of its own."""


def swept(file: dict[str, Any], run: dict[str, Any] | None = None) -> SweepResult:
    write_files(file, run)
    return sweep("run.yaml", "sweep.yaml")


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
    assert not (result.directory / "ray").exists()


def test_bad_trials_end_early_and_a_resumed_sweep_runs_nothing_again() -> None:
    first = swept(ASHA, SLOWLY)
    found = {one.values[SKILL]: one for one in first.records}
    assert found[9.0].status == "finished"
    assert found[1.0].status == "pruned"
    assert found[1.0].steps < found[9.0].steps == 36
    assert [one["evaluation"] for one in found[9.0].reports] == list(range(1, 10))
    assert first.ranked[0] is found[9.0]
    before = {run: manifest(run) for one in first.records for run in one.runs.values()}
    assert before[found[1.0].runs[0]]["status"] == "stopped"
    second = sweep("run.yaml", "sweep.yaml", resume=True)
    assert second.sweep == first.sweep
    assert {run: manifest(run) for run in before} == before
    assert second.as_dict()["trials"] == first.as_dict()["trials"]


def test_room_is_asked_for_before_anything_begins() -> None:
    with pytest.raises(SweepError, match="asks for 64 cpu and 0 gpu, but the largest node has"):
        swept({"parameters": {SKILL: [1.0]}, "resources": {"cpu": 64}})


def test_a_population_copies_its_best_members_and_changes_their_values() -> None:
    run = {
        **SLOWLY,
        "loop": {"parameters": {"max_episodes": 6, "episodes_per_eval": 1, "eval_episodes": 1}},
    }
    result = swept(
        {
            "parameters": {SKILL: {"uniform": [0.0, 100.0]}},
            "trials": 2,
            "searcher": "random",
            "seeds": 2,
            "scheduler": {"pbt": {"interval": 2, "quantile": 0.5, "resample": 0.0}},
        },
        run,
    )
    assert [one.status for one in result.records] == ["finished"] * 2
    copied = [run for one in result.records for run in one.runs.values() if ".e" in run]
    assert copied
    for run_id in copied:
        facts = manifest(run_id)
        assert facts["forked_from"] != run_id
        assert facts["status"] == "finished"
        assert facts["steps"] == 24
    for one in result.records:
        assert one.value == pytest.approx(one.values[SKILL], rel=1e-5)
        assert [manifest(run)["overrides"][SKILL] for run in one.runs.values()] == [
            one.values[SKILL]
        ] * 2


def test_a_population_is_the_same_with_the_same_seed() -> None:
    limits = {"max_episodes": 3, "episodes_per_eval": 1, "eval_episodes": 1}
    run = {**RUN, "loop": {"parameters": limits}}
    file = {
        "parameters": {SKILL: {"uniform": [0.0, 100.0]}},
        "trials": 4,
        "searcher": "random",
        "scheduler": {"pbt": {"interval": 1, "quantile": 0.5, "resample": 0.5}},
    }
    first, second = ([one.values for one in swept(file, run).records] for _ in range(2))
    assert first == second
