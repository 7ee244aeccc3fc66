"""A run's files are read, whole or damaged."""

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gym_loop.report.reading import BINS, RunData, centres, read_runs
from gym_loop.runs.listing import list_runs
from tests.report.written import returns, write_evaluation, write_run


def read(logs: Path) -> RunData:
    (run,), _ = read_runs([logs])
    return run


def test_facts_of_a_run(workdir: Path) -> None:
    logs = write_run("a-1", returns([1.0, 2.0]), seed=7, parameters={"rate": 0.1}, episodes=2)
    run = read(logs)
    assert (run.run, run.env, run.seed, run.status) == ("a-1", "CartPole-v1", 7, "finished")
    assert (run.steps, run.episodes, run.seconds, run.steps_per_second) == (20, 2, 10.0, 2.0)
    assert run.config["agent.parameters.rate"] == 0.1
    assert run.problems == []


def test_bins_hold_means_and_extremes(workdir: Path) -> None:
    values = [float(number % 4) for number in range(4 * BINS)]
    run = read(write_run("a-1", returns(values, 1)))
    curve = run.curves["train/episode_return"]
    # Rows stand at the ends of their episodes: the last of each four falls into the next bin.
    assert curve.mean[1:-1] == pytest.approx(1.5)
    assert set(curve.low[1:-1]) == {0.0}
    assert set(curve.high[1:-1]) == {3.0}
    assert centres(4.0 * BINS)[:2].tolist() == [2.0, 6.0]


def test_rows_that_stand_for_several_episodes_weigh_more(workdir: Path) -> None:
    rows = returns([10.0, 40.0], 1)
    rows = [{**row, "train/episodes": count} for row, count in zip(rows, (90, 30), strict=True)]
    rows[1] = {**rows[1], "step": 1}
    run = read(write_run("a-1", rows, steps=1))
    assert run.curves["train/episode_return"].mean[-1] == pytest.approx((90 * 10 + 30 * 40) / 120)
    assert run.final_return == pytest.approx((70 * 10 + 30 * 40) / 100)
    assert run.episodes == 120


def test_values_between_are_linear_and_the_last_holds(workdir: Path) -> None:
    rows = [
        {"step": 0, "seconds": 0.0, "eval/return_mean": 0.0, "train/episode_return": 1.0},
        {"step": 100, "seconds": 0.0, "eval/return_mean": 10.0},
        {"step": 200, "seconds": 0.0, "agent/loss": 3.0},
    ]
    run = read(write_run("a-1", rows))
    mean = run.curves["eval/return_mean"].mean
    assert mean[50] == pytest.approx(5.0)
    assert mean[-1] == 10.0
    assert np.isnan(run.curves["agent/loss"].mean[:-1]).all()
    assert (run.evaluation, run.best_evaluation) == (10.0, 10.0)


def test_runs_of_an_environment_share_their_bins(workdir: Path) -> None:
    logs = [
        write_run("a-1", returns([1.0] * 10)),
        write_run("a-2", returns([1.0] * 5)),
        write_run("b-1", returns([1.0] * 30), env="Other-v0"),
    ]
    runs, ends = read_runs(logs)
    assert ends == {"CartPole-v1": 100.0, "Other-v0": 300.0}
    short = runs[1].curves["train/episode_return"].mean
    assert np.isfinite(short).sum() == BINS // 2 + 1


def test_where_the_time_went(workdir: Path) -> None:
    run = read(write_run("a-1", returns([1.0, 2.0], **{"time/act": 0.25, "time/loop": 1.0})))
    assert run.seconds_of == {"act": 0.5, "loop": 2.0}
    assert "time/act" not in run.curves


def test_a_file_cut_in_the_middle_of_a_row(workdir: Path) -> None:
    logs = write_run("a-1", returns([1.0, 2.0, 3.0]), status="running")
    with open(logs / "metrics.csv", "a") as file:
        file.write("40,0.4,99999")
    run = read(logs)
    assert run.final_return == 2.0
    assert run.status == "killed"
    assert run.problems == []


def test_damaged_rows_are_left_out_and_said(workdir: Path) -> None:
    logs = write_run("a-1", returns([1.0, 2.0]))
    with open(logs / "metrics.csv", "a") as file:
        file.write("garbage\n40,0.4,what\n50,0.5,5.0\n")
    run = read(logs)
    assert run.final_return == pytest.approx((1 + 2 + 5) / 3)
    assert run.problems == ["1 rows of its metrics.csv are damaged"]


def test_values_that_are_not_finite_are_left_out(workdir: Path) -> None:
    run = read(write_run("a-1", returns([1.0, math.nan, math.inf, 3.0])))
    assert run.final_return == 2.0
    assert np.isfinite(run.curves["train/episode_return"].mean).all()
    assert run.problems == ["returns or evaluations that are no finite numbers are left out"]


@pytest.mark.parametrize("content", [None, "", "step,seconds\n", "\x00\xff,a\n1,2\n"])
def test_a_run_without_metrics(workdir: Path, content: str | None) -> None:
    logs = write_run("a-1")
    if content is not None:
        (logs / "metrics.csv").write_bytes(content.encode("latin-1"))
    run = read(logs)
    assert run.curves == {}
    assert math.isnan(run.final_return)
    assert run.problems


def test_a_run_with_nothing_but_metrics(workdir: Path) -> None:
    logs = write_run("a-1", returns([4.0]))
    (logs / "manifest.json").write_text("{")
    (logs / "run.yaml").write_text("a: [")
    run = read(logs)
    assert (run.env, run.agent, run.status) == ("?", "?", "unknown")
    assert run.final_return == 4.0
    assert len(run.problems) == 2


def test_a_manifest_of_other_types(workdir: Path) -> None:
    odd: dict[str, Any] = {"seed": "x", "steps": None, "env": 3, "started": 0, "seconds": "?"}
    logs = write_run("a-1", returns([4.0]), **odd)
    run = read(logs)
    assert (run.seed, run.steps, run.env, run.seconds) == (None, 10, "?", 0.1)


def test_the_newest_evaluation_is_found(workdir: Path) -> None:
    logs = write_run("a-1", returns([1.0]))
    assert read(logs).evaluated == pytest.approx((math.nan, 0), nan_ok=True)
    directory = Path("eval_logs/a-1")
    directory.mkdir(parents=True)
    for name, mean in (("evaluate-9", 1.0), ("evaluate-10", 2.0), ("step-99", 3.0)):
        content = {"return": {"mean": mean}, "episodes": 20}
        (directory / f"{name}.json").write_text(json.dumps(content))
    assert read(logs).evaluated == (2.0, 20)
    for text in ('{"return": {"mean": null}}', '{"return": 3}', "[]", "{"):
        (directory / "evaluate-10.json").write_text(text)
        assert read(logs).evaluated[1] == 0


def test_only_the_final_agents_evaluation_is_its_score(workdir: Path) -> None:
    logs = write_run("a-1", returns([1.0, 2.0]))
    assert math.isnan(read(logs).final_evaluation)
    write_evaluation("a-1", 1, 20, 3.0)
    write_evaluation("a-1", 2, 20, 4.0)
    write_evaluation("a-1", 3, 10, 9.0)
    run = read(logs)
    assert (run.final_evaluation, run.evaluated[0]) == (4.0, 9.0)


def test_videos_are_found_beside_the_logs(workdir: Path) -> None:
    logs = write_run("a-1", returns([1.0]))
    film = Path("videos/a-1/episode-000000.mp4")
    film.parent.mkdir(parents=True)
    film.write_bytes(b"\0\0\0\x20ftypisom")
    assert [one.name for one in read(logs.resolve()).videos] == [film.name]


def test_files_that_are_no_recordings_of_the_run_are_left_out(workdir: Path) -> None:
    logs = write_run("a-1", returns([1.0]))
    private = workdir / "private"
    private.mkdir()
    (private / "key").write_text("a private key")
    (private / "episode.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    place = Path("videos/a-1")
    place.mkdir(parents=True)
    (place / "episode-1.mp4").symlink_to(private / "episode.mp4")
    (place / "episode-2.mp4").symlink_to(private / "key")
    (place / "episode-3.mp4").write_text("no film")
    (place / "holiday.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    os.mkfifo(place / "episode-4.mp4")
    run = read(logs)
    assert run.videos == []
    assert any("left out" in problem for problem in run.problems)
    shutil.rmtree(place)
    place.symlink_to(private)  # the run's directory itself
    assert read(logs).videos == []


@pytest.mark.parametrize("name", ["manifest.json", "run.yaml", "metrics.csv"])
@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_files_that_are_none_are_neither_waited_for_nor_followed(
    workdir: Path, name: str, kind: str
) -> None:
    logs = write_run("a-1", returns([1.0]))
    path = logs / name
    content = path.read_text()
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        (workdir / "elsewhere").write_text(content)
        path.symlink_to(workdir / "elsewhere")
    assert read(logs).problems
    assert [one.run for one in list_runs(Path("logs"))] == ["a-1"]


def test_absurd_numbers_overflow_nothing(workdir: Path) -> None:
    rows = returns([1.0, 1e308, 3.0])
    rows = [*rows, {"step": 1e300, "seconds": -5.0, "train/episode_return": 7.0}]
    logs = write_run("a-1", rows, steps=3e9, seconds=1e200)
    with open(logs / "metrics.csv", "a") as file:
        file.write("-7,0.1,9.0\n")
    run = read(logs)
    assert run.final_return == 2.0
    assert run.steps == 3_000_000_000
    assert run.seconds == pytest.approx(0.3)
    assert np.nanmax(run.curves["train/episode_return"].high) == 3.0
