"""The report: one valid JSON object at every moment."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gym_loop.errors import ReportExistsError, UsageError
from gym_loop.serve.zeromq.report import Report, check_free


def play(report: Report, rewards: list[float | None], end: bool = True) -> None:
    for number, reward in enumerate(rewards):
        report.add(np.array([number, 0.5], np.float32), reward)
    if end:
        report.finish()
        report.begin()


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_an_entry_an_episode(tmp_path: Path) -> None:
    path = tmp_path / "made" / "report.json"
    report = Report(path, None)
    assert read(path) == {}
    play(report, [1.0, None])
    assert list(read(path)) == ["1"]
    play(report, [3.0])
    report.close()
    found = read(path)
    assert list(found) == ["1", "2"]
    assert found["1"]["reward"] == [1.0, None]
    assert found["1"]["obervation"] == found["1"]["observation"] == [[0.0, 0.5], [1.0, 0.5]]
    assert 0 <= found["2"]["duration"] < 10


def test_the_episode_under_way_is_written_at_the_end(tmp_path: Path) -> None:
    report = Report(tmp_path / "r.json", None)
    play(report, [1.0])
    play(report, [2.0, 3.0], end=False)
    assert list(read(tmp_path / "r.json")) == ["1"]
    report.close()
    report.close()
    assert read(tmp_path / "r.json")["2"]["reward"] == [2.0, 3.0]


def test_flushing_every_few_steps(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    report = Report(path, 3)
    for number in range(1, 11):
        report.add(4, float(number))
        assert len(read(path).get("1", {"reward": []})["reward"]) == number // 3 * 3
    report.finish()
    report.begin()
    for _ in range(20):  # shorter and longer entries follow each other
        play(report, [0.0] * 2)
        assert read(path)
    report.close()
    assert len(read(path)) == 21


def test_a_shorter_text_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 0.1234567890123, 1.0])
    monkeypatch.setattr("gym_loop.serve.zeromq.report.time.monotonic", lambda: next(times))
    report = Report(tmp_path / "r.json", 1)
    report.add(1, 1.0)
    report.finish()
    assert read(tmp_path / "r.json")["1"]["duration"] == 1.0
    report._file.close()


def test_numbers_that_json_has_not(tmp_path: Path) -> None:
    report = Report(tmp_path / "r.json", None)
    report.add(np.array([np.nan, np.inf]), -np.inf)
    report.finish()
    report.close()
    text = (tmp_path / "r.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["1"]["obervation"] == [[None, 1e100]]
    assert json.loads(text)["1"]["reward"] == [-1e100]


def test_an_existing_report_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    check_free(path, overwrite=False)
    path.write_text("precious")
    with pytest.raises(ReportExistsError, match=r"r\.json exists; .*overwrite_files") as caught:
        check_free(path, overwrite=False)
    assert caught.value.exit_status == 1
    check_free(path, overwrite=True)
    Report(path, None).close()
    assert read(path) == {}


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        Report(tmp_path / "file" / "r.json", None)
