"""Two sides of runs compared: a clear difference, none, or doubt."""

import math
from pathlib import Path

import pytest

from gym_loop.errors import RunError, UsageError
from gym_loop.report.comparing import comparison_text
from gym_loop.report.writing import compare
from tests.report.written import returns, rising, two_groups, write_run


def test_a_clear_difference(workdir: Path) -> None:
    two_groups()
    found = compare("low", "high")
    assert found.improvement.value == 1.0
    assert 0.5 < found.improvement.low < 0.9
    assert found.verdict.startswith("high is better: a run of high scores higher than one of low")
    text = comparison_text(found)
    assert "agent.parameters.rate  0.0001 -> 0.001" in text
    assert "B - A, means: +10 (+9.769 to +10.23)" in text
    assert "\N{LOWER ONE EIGHTH BLOCK}" in text
    assert "\N{LOWER ONE EIGHTH BLOCK}" not in comparison_text(found, plots=False)
    assert "note:" not in text


def test_it_is_told_which_side_is_better(workdir: Path) -> None:
    two_groups()
    found = compare("high", "low")
    assert found.improvement.value == 0.0
    assert found.verdict.startswith("high is better: a run of high scores higher than one of low")
    assert "the mean of low is 10 lower than that of high" in found.verdict


def test_no_difference(workdir: Path) -> None:
    for seed in range(6):
        write_run(f"a-{seed + 1}", rising(10.0 + seed), seed=seed)
        write_run(f"b-{seed + 1}", rising(10.2 + seed), seed=seed)
    found = compare("a", "b")
    assert found.verdict.startswith("These runs do not tell a and b apart")
    assert "nothing differs in their run files" in comparison_text(found)


def test_few_runs_leave_doubt(workdir: Path) -> None:
    for seed in range(3):
        write_run(f"a-{seed + 1}", rising(10.0 + 4 * seed), seed=seed)
        write_run(f"b-{seed + 1}", rising(19.0 + 8 * seed), seed=seed)
    found = compare("a", "b")
    assert found.verdict.startswith("b is probably better, but not for sure")
    assert "note: 3 runs where at least 5 seeds are wanted" in comparison_text(found)


def test_one_run_each_is_no_verdict(workdir: Path) -> None:
    two_groups()
    found = compare("low-1", "high-1")
    assert found.verdict.startswith("No verdict: with one run on a side")
    assert found.envs[0].test is None


def test_runs_whose_scores_are_no_numbers_are_named(workdir: Path) -> None:
    two_groups()
    write_run("high-6", returns([math.nan, math.nan]), seed=6)
    found = compare("low", "high")
    assert len(found.envs[0].ours) == 5
    assert any("high-6" in remark and "score" in remark for remark in found.content.remarks)


def test_several_environments(workdir: Path) -> None:
    for env in "AB":
        for seed in range(5):
            write_run(f"low{env}-{seed + 1}", rising(10.0 + seed), env=f"{env}-v0", seed=seed)
            write_run(f"high{env}-{seed + 1}", rising(30.0 + seed), env=f"{env}-v0", seed=seed)
    found = compare("low*", "high*")
    assert [one.env for one in found.envs] == ["A-v0", "B-v0"]
    assert "over 2 environments, the same: 1.00" in comparison_text(found)
    assert found.improvement.low > found.envs[0].improvement.low


def test_several_runs_with_commas(workdir: Path) -> None:
    two_groups()
    found = compare("low-1,low-2", "high-1,high-2,high-3")
    assert [len(group.runs) for group in found.content.groups] == [2, 3]


def test_what_cannot_be_compared(workdir: Path) -> None:
    two_groups()
    write_run("other-1", returns([1.0]), env="Other-v0")
    write_run("empty-1")
    with pytest.raises(UsageError, match="low-2 is on both sides"):
        compare("low", "low-2")
    with pytest.raises(RunError, match="low ran in CartPole-v1, other in Other-v0"):
        compare("low", "other")
    with pytest.raises(RunError, match="no run of one of them has a score yet"):
        compare("low", "empty-1")
