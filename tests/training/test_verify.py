"""verify-resume: neither a false alarm nor a false assurance."""

from pathlib import Path
from typing import Any

import pytest

from gym_loop.cli.output import verification_report
from gym_loop.training.verify import Verification, verify_resume
from tests.killing import write_run_file
from tests.verified import register


@pytest.fixture
def verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(Path(__file__).parents[2])
    register()

    def verified(env: Any, loop: str | None = None, **parameters: Any) -> Verification:
        wanted: dict[str, Any] = {
            "agent": {"class": "tests.resumable:Drifting"},
            "env": {"imports": ["tests.verified"], **env},
            "loop": {"parameters": {"eval_episodes": 2, **parameters}},
            "seed": 5,
        }
        if loop:
            wanted["loop"]["class"] = loop
        return verify_resume(write_run_file(tmp_path, wanted), steps=200)

    return verified


@pytest.mark.parametrize(
    ("wrapper", "place"),
    [
        ("gymnasium.wrappers:RecordEpisodeStatistics", "time"),
        ("tests.verified:Clocked", "since"),
    ],
)
def test_a_wall_clock_is_no_difference(verify: Any, wrapper: str, place: str) -> None:
    found = verify({"name": "CartPole-v1", "wrappers": [wrapper]}, episodes_per_eval=3)
    assert found.differences == []
    assert found.notes
    assert all("never stopped" in note and place in note for note in found.notes)
    assert "note: not compared" in verification_report(found)


def test_checkpoints_of_evaluations_are_no_difference(verify: Any) -> None:
    found = verify({"name": "Paying-v0"}, episodes_per_eval=2)
    assert (found.identical, found.notes) == (True, [])


def test_evaluations_that_go_on_in_another_way_are_a_difference(verify: Any) -> None:
    loop = "tests.verified:Forgetting"
    found = verify({"name": "Paying-v0"}, loop, episodes_per_eval=2)
    assert not found.identical
    assert "eval/return" in found.differences[0]
    rare = verify({"name": "Paying-v0"}, loop, episodes_per_eval=100)
    assert rare.identical
    assert "no evaluation was due" in rare.notes[0]


def test_what_the_state_leaves_out_is_named(verify: Any) -> None:
    found = verify({"name": "Digesting-v0"})
    assert (found.identical, found.verdict) == (False, "exact")
    assert "Digesting.digest" in found.notes[0]
    assert "Digesting.digest" in verification_report(found)


def test_a_run_that_its_seed_does_not_repeat_is_called_so(verify: Any) -> None:
    found = verify({"name": "Unseeded-v0"})
    assert not found.identical
    assert "does not give the same run" in found.differences[0]
