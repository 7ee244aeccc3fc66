"""What a report says of runs: lines, scores, and what a reader must know."""

import math
from pathlib import Path

import numpy as np
import pytest

from gym_loop.errors import RunError
from gym_loop.report.content import make_content
from gym_loop.report.figures import mean_line
from gym_loop.report.reading import BINS
from gym_loop.report.selection import select_runs
from tests.report.written import returns, rising, two_groups, write_evaluation, write_run


def test_one_line_a_group_with_an_interval_over_seeds(workdir: Path) -> None:
    two_groups()
    content = make_content(select_runs(["logs"]))
    assert [group.name for group in content.groups] == ["rate=0.0001", "rate=0.001"]
    training, evaluation = content.charts
    assert training.title == "Return of training episodes"
    low, high = training.lines
    assert high.y[-1] == pytest.approx(20.2, rel=0.01)
    assert low.low[-1] < low.y[-1] < low.high[-1]
    assert set(low.count) == {5.0}
    assert list(low.runs) == [f"low-{number}" for number in range(1, 6)]
    assert evaluation.key == "eval/return_mean"


def test_groups_are_summed_up_by_their_evaluations(workdir: Path) -> None:
    two_groups()
    content = make_content(select_runs(["logs"]), threshold=15.0)
    assert content.score == "last evaluation"
    low, high = content.summaries
    assert low.runs == (5, 5)
    assert low.mean.value == pytest.approx(10.2)
    assert low.mean.low < 10.2 < low.mean.high
    assert high.reached is not None
    assert low.reached is not None
    assert (low.reached.reached, high.reached.reached) == (0, 5)


def test_what_evaluate_said_of_every_final_agent_is_the_score(workdir: Path) -> None:
    two_groups()
    for name, mean in (("low", 30.0), ("high", 25.0)):
        for number in range(1, 6):
            write_evaluation(f"{name}-{number}", 1, 1000, mean)
    content = make_content(select_runs(["logs"]), threshold=15.0)
    assert content.score == "evaluation of the final agent"
    low, high = content.summaries
    assert (low.mean.value, high.mean.value) == (30.0, 25.0)
    assert low.area.value < high.area.value  # still of the periodic evaluations
    Path("eval_logs/low-3/evaluate-1.json").unlink()
    assert make_content(select_runs(["logs"])).score == "last evaluation"


def test_training_returns_are_the_score_where_a_run_has_no_evaluation(workdir: Path) -> None:
    two_groups()
    write_run("plain-1", returns([5.0] * 100), parameters={"rate": 3})
    content = make_content(select_runs(["logs"]))
    assert content.score == "return of the last 100 episodes"
    assert content.summaries[-1].mean == pytest.approx((5.0, math.nan, math.nan), nan_ok=True)


def test_several_environments_are_brought_to_one_scale(workdir: Path) -> None:
    for env, scale in (("A-v0", 1.0), ("B-v0", 100.0)):
        for agent, top in (("m:Good", 20.0), ("m:Bad", 10.0)):
            for seed in range(2):
                name = f"{agent[2:]}{env[0]}-{seed + 1}"
                write_run(name, rising(scale * (top + seed)), agent=agent, env=env, seed=seed)
    write_run("Lone-1", rising(3.0), agent="m:Lone", env="A-v0")
    content = make_content(select_runs(["logs"]))
    assert content.scores.envs == ["A-v0", "B-v0"]
    assert set(content.scores.of) == {"Good", "Bad"}
    assert content.scores.of["Good"].mean.value == pytest.approx((10 / 11 + 1) / 2)
    assert content.scores.of["Bad"].strata[0].tolist() == pytest.approx([0.0, 1 / 11])
    assert any("for want of one: Lone" in remark for remark in content.remarks)
    assert [chart.title.partition(": ")[2] for chart in content.charts[:2]] == ["A-v0", "B-v0"]
    together = make_content(select_runs(["logs"]), by=["env"])
    assert len(together.charts[0].lines) == 2


def test_what_a_reader_must_know_comes_first(workdir: Path) -> None:
    write_run("a-1", returns([1.0]), seed=1, status="failed")
    write_run("a-2", returns([1.0, 2.0]), seed=1, status="running")
    write_run("a-3", seed=2, status="stopped")
    (Path("logs/a-2") / "run.yaml").unlink()
    remarks = "\n".join(make_content(select_runs(["logs"])).remarks)
    assert "3 runs where at least 5 seeds are wanted" in remarks
    assert "failed with an error: a-1" in remarks
    assert "killed before the end: a-2" in remarks
    assert "stopped before the end: a-3" in remarks
    assert "no metrics yet: a-3" in remarks
    assert "run.yaml is missing or cannot be read: a-2" in remarks
    assert "repetitions of a run with the same seed, so fewer runs than it seems: a-2" in remarks


def test_one_seed_with_several_values_is_no_repetition(workdir: Path) -> None:
    for number in range(5):
        write_run(f"a-{number + 1}", rising(9.0), seed=1, parameters={"rate": number})
    assert make_content(select_runs(["logs"]), by=["agent"]).remarks == []


def test_unequal_budgets_are_said(workdir: Path) -> None:
    for seed in range(5):
        write_run(f"long-{seed + 1}", returns([1.0] * 100), seed=seed, parameters={"rate": 1})
        write_run(f"short-{seed + 1}", returns([1.0] * 50), seed=seed, parameters={"rate": 2})
    assert make_content(select_runs(["logs"])).remarks == [
        "unequal training in CartPole-v1: 500 steps of rate=2, 1,000 of rate=1; each score is that"
        " of its own end"
    ]


def test_nothing_to_draw(workdir: Path) -> None:
    write_run("a-1")
    with pytest.raises(RunError, match="no metrics yet in a-1"):
        make_content(select_runs(["a-1"]))


def test_constant_metrics_are_not_drawn(workdir: Path) -> None:
    write_run("a-1", returns([1.0, 2.0], **{"agent/clip_range": 0.2}))
    charts = make_content(select_runs(["a-1"])).charts
    assert [chart.key for chart in charts] == ["train/episode_return"]


def test_the_band_of_a_single_run_is_the_range_of_its_values(workdir: Path) -> None:
    write_run("a-1", returns([float(number % 4) for number in range(4 * BINS)], 1))
    (line,) = make_content(select_runs(["a-1"])).charts[0].lines
    assert (line.low[5], line.high[5]) == (0.0, 3.0)


def test_too_many_groups_are_switched_off_but_for_the_best(workdir: Path) -> None:
    for number in range(15):
        write_run(f"a-{number + 1}", rising(float(number)), parameters={"rate": number})
    content = make_content(select_runs(["logs"]))
    assert content.hidden == [0, 1, 2]


def test_time_is_summed_over_the_runs_of_a_group(workdir: Path) -> None:
    write_run("a-1", returns([1.0, 2.0], **{"time/loop": 0.5, "time/act": 1.0}))
    write_run("a-2", returns([1.0], **{"time/act": 1.0, "time/update": 4.0}), seed=1)
    write_run("b-1", returns([1.0], **{"time/mine": 2.0}), agent="m:Other")
    write_run("c-1", returns([1.0]), agent="m:Third")
    first, second = make_content(select_runs(["logs"])).time
    assert first == ("PPO", {"act": 3.0, "update": 4.0, "mine": 0.0, "loop": 1.0})
    assert second == ("Other", {"act": 0.0, "update": 0.0, "mine": 2.0, "loop": 0.0})
    assert list(first[1]) == list(second[1]) == ["act", "update", "mine", "loop"]


class TestMeanLine:
    def test_interval_beside_the_plain_bootstrap(self) -> None:
        values = np.random.default_rng(0).normal(0.0, 1.0, 10)
        mean, low, high, count = mean_line([np.full(BINS, value) for value in values])
        half = 1.96 * values.std() / math.sqrt(10)
        assert mean[0] == pytest.approx(values.mean())
        assert low[0] == pytest.approx(values.mean() - half, abs=0.08)
        assert high[0] == pytest.approx(values.mean() + half, abs=0.08)
        assert (low == low[0]).all()
        assert count[0] == 10

    def test_it_begins_with_the_last_run_and_ends_with_half_of_them(self) -> None:
        curves = np.tile(np.arange(BINS, dtype=float), (4, 1))
        curves[0, :20] = np.nan
        curves[1, 50:] = np.nan
        curves[2, 100:] = np.nan
        mean, *_, count = mean_line(list(curves))
        assert np.flatnonzero(np.isfinite(mean))[[0, -1]].tolist() == [20, 99]
        assert mean[60] == 60.0
        assert count[[30, 60]].tolist() == [4.0, 3.0]

    def test_runs_without_a_step_in_common_are_all_drawn(self) -> None:
        curves = np.full((2, BINS), np.nan)
        curves[0, :10], curves[1, 50:60] = 1.0, 2.0
        mean, *_ = mean_line(list(curves))
        assert np.isfinite(mean).sum() == 20
