"""metrics.csv as its readers find it: after a resume, a kill, and on a full disk."""

import csv
import json
import math
import os

import numpy as np
import pytest

from gym_loop.errors import RunError
from gym_loop.runs.loggers import csv_logger
from gym_loop.runs.loggers.csv_logger import CsvLogger
from gym_loop.runs.metrics import Metrics
from gym_loop.schema.printable import from_cell
from tests.runs.full_disk import largest_file
from tests.runs.made_up_training import HYPERPARAMETERS, kill, scalars_at, train


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_csv_columns_are_in_order_of_appearance(tmp_path):
    logger = CsvLogger(tmp_path, "run-1")
    logger.start(HYPERPARAMETERS)
    logger.log(10, {"b": 1.5, "a": 2}, 0.5)
    logger.log(20, {"a": 3, "b": 0.1}, 0.75)
    logger.log(20, {"eval/x": -1e300}, 0.8)
    logger.log(30, {"b": math.nan, "c": math.inf, "a": 0.1 + 0.2}, 61.23456)
    logger.close("finished")
    assert (tmp_path / "metrics.csv").read_text() == (
        "step,seconds,b,a,eval/x,c\n"
        "10,0.500,1.5,2,,\n"
        "20,0.750,0.1,3,,\n"
        "20,0.800,,,-1e+300,\n"
        "30,61.235,nan,0.30000000000000004,,inf\n"
    )


def test_csv_numbers_read_back_exactly(tmp_path):
    values = np.random.default_rng(0).standard_normal(200) * 10.0 ** np.arange(-100, 100)
    logger = CsvLogger(tmp_path, "run-1")
    for step, value in enumerate(values.tolist()):
        logger.log(step, {"x": value}, step * 0.1)
    logger.close("finished")
    assert [float(row[2]) for row in rows_of(tmp_path / "metrics.csv")[1:]] == values.tolist()


def test_csv_names_with_commas_quotes_and_line_breaks_stay_one_cell(tmp_path):
    logger = CsvLogger(tmp_path, "run-1")
    logger.log(1, {'agent/a,"b"': 1.0, "agent/c\nd": 2.0}, 0.0)
    logger.flush()
    logger.log(2, {"late": 3.0}, 2.0)
    state = logger.state_dict()
    logger.close("stopped")
    resumed = CsvLogger(tmp_path, "run-1")
    resumed.load_state_dict(state)
    resumed.log(3, {"agent/c\nd": 4.0}, 3.0)
    resumed.close("finished")
    assert rows_of(tmp_path / "metrics.csv") == [
        ["step", "seconds", 'agent/a,"b"', "agent/c d", "late"],
        ["1", "0.000", "1.0", "2.0", ""],
        ["2", "2.000", "", "", "3.0"],
        ["3", "3.000", "", "4.0", ""],
    ]


def test_csv_is_written_about_once_a_second(tmp_path):
    path = tmp_path / "metrics.csv"
    logger = CsvLogger(tmp_path, "run-1")
    lengths = []
    for tenth in range(31):
        logger.log(tenth, {"x": 1.0}, 100 + tenth / 10)
        lengths.append(len(rows_of(path)) - 1)
    logger.close("finished")
    assert lengths == [1] * 10 + [11] * 10 + [21] * 10 + [31]


def test_csv_stays_right_with_very_many_sets_of_metrics(tmp_path):
    logger = CsvLogger(tmp_path, "run-1")
    names = [f"m{bit}" for bit in range(9)]
    expected = []
    for step in range(512):
        scalars = {
            name: float(step) for bit, name in enumerate(names) if step >> bit & 1 or bit == 0
        }
        expected.append({name: str(value) for name, value in scalars.items()})
        logger.log(step, scalars, step * 0.01)
    logger.close("finished")
    with open(tmp_path / "metrics.csv", newline="") as file:
        read = [
            {name: cell for name, cell in row.items() if name in names and cell}
            for row in csv.DictReader(file)
        ]
    assert read == expected
    assert len(logger._layouts) <= csv_logger.MAX_LAYOUTS


@pytest.mark.parametrize("saved_at", [0, 1, 5, 21, 26, 39, 40, 60])
def test_a_resumed_run_leaves_the_same_csv(tmp_path, saved_at):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for directory in (whole, parts):
        directory.mkdir()
    straight = Metrics([CsvLogger(whole, "run-1")], pytest.fail)
    train(straight, 0, 80)
    straight.close("finished")
    logger = CsvLogger(parts, "run-1")
    killed = Metrics([logger], pytest.fail)
    train(killed, 0, saved_at)
    state = json.loads(json.dumps(killed.state_dict()))
    train(killed, saved_at, 72)
    killed.flush()
    kill(logger)
    with open(parts / "metrics.csv", "ab") as file:
        file.write(b"73,2.7,0.")  # killed in the middle of a write
    resumed = Metrics([CsvLogger(parts, "run-1")], pytest.fail)
    resumed.load_state_dict(state)
    resumed.start(HYPERPARAMETERS)
    train(resumed, saved_at, 80)
    resumed.close("finished")
    assert (parts / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert os.listdir(parts) == ["metrics.csv"]


def test_a_run_killed_before_its_first_checkpoint_begins_the_csv_anew(tmp_path):
    killed = CsvLogger(tmp_path, "run-1")
    killed.log(1, {"old": 1.0}, 0.0)
    kill(killed)
    again = CsvLogger(tmp_path, "run-1")
    again.log(2, {"new": 2.0}, 0.0)
    again.close("finished")
    assert (tmp_path / "metrics.csv").read_text() == "step,seconds,new\n2,0.000,2.0\n"


@pytest.mark.parametrize("damage", ["shorter", "gone"])
def test_csv_rows_that_are_missing_are_reported_and_it_goes_on(tmp_path, damage):
    path = tmp_path / "metrics.csv"
    logger = CsvLogger(tmp_path, "run-1")
    for step in range(5):
        logger.log(step, {"x": 1.0}, step)
    logger.close("stopped")
    if damage == "gone":
        path.unlink()
    else:
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    resumed = CsvLogger(tmp_path, "run-1")
    kept = 0 if damage == "gone" else 2
    with pytest.raises(RunError, match=rf"metrics.csv holds {kept} of the 5 rows"):
        resumed.load_state_dict(logger.state_dict())
    resumed.log(5, {"x": 2.0}, 5)
    resumed.close("finished")
    assert [row[0] for row in rows_of(path)[1:]] == [*map(str, range(kept)), "5"]


def test_csv_loses_nothing_to_a_disk_that_is_full_for_a_while(tmp_path):
    heard: list[str] = []
    metrics = Metrics([CsvLogger(tmp_path, "run-1")], heard.append)
    train(metrics, 0, 30)
    with largest_file(2048):
        for step in range(30, 200):
            metrics.log(step, {**scalars_at(step), "late": 1.0}, step * 0.037)
        metrics.flush()
    assert len(heard) == 1
    assert "CsvLogger cannot write now" in heard[0]
    metrics.flush()
    assert "nothing was lost" in heard[1]
    metrics.close("finished")
    assert [row[0] for row in rows_of(tmp_path / "metrics.csv")[1:]] == [*map(str, range(200))]
    assert os.listdir(tmp_path) == ["metrics.csv"]


def test_csv_gives_up_when_too_much_waits_for_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_logger, "MAX_WAITING_ROWS", 100)
    heard: list[str] = []
    metrics = Metrics([CsvLogger(tmp_path, "run-1")], heard.append)
    with largest_file(10):
        for step in range(300):
            metrics.log(step, {"x": 1.0}, step)
    assert ["cannot write now" in text for text in heard] == [True, False]
    assert "switched off" in heard[1]
    assert "101 rows could not be written" in heard[1]


def test_csv_names_that_look_like_formulas_are_text(tmp_path):
    names = ["=cmd()", "+x", "-x", "@x", "'=x", "'x", "plain", "a=b", "=a,b"]
    logger = CsvLogger(tmp_path, "run-1")
    logger.log(1, dict.fromkeys(names, -1.5), 0.0)
    logger.close("stopped")
    head, row = rows_of(tmp_path / "metrics.csv")
    assert head[2:] == ["'=cmd()", "'+x", "'-x", "'@x", "''=x", "'x", "plain", "a=b", "'=a,b"]
    assert [from_cell(cell) for cell in head[2:]] == names
    assert set(row[2:]) == {"-1.5"}
    resumed = CsvLogger(tmp_path, "run-1")
    resumed.load_state_dict(logger.state_dict())
    resumed.log(2, {"=cmd()": 2.0}, 0.0)
    resumed.close("finished")
    assert rows_of(tmp_path / "metrics.csv")[0] == head


@pytest.mark.parametrize(
    "state",
    [{}, {"rows": -1, "columns": []}, {"rows": "1", "columns": []}, {"rows": 1, "columns": "x"}],
)
def test_a_damaged_position_in_the_csv_file_is_said(tmp_path, state):
    logger = CsvLogger(tmp_path, "run-1")
    with pytest.raises(RunError, match="damaged"):
        logger.load_state_dict(state)


@pytest.mark.parametrize("name", ["metrics.csv", ".metrics.csv.new"])
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_csv_writes_to_no_other_file(tmp_path, name, kind):
    outside = tmp_path / "outside"
    outside.write_text("as it was\n")
    run = tmp_path / "run"
    run.mkdir()
    (run / name).symlink_to(outside) if kind == "link" else os.mkfifo(run / name)
    heard: list[str] = []
    metrics = Metrics([CsvLogger(run, "run-1")], heard.append)
    metrics.load_state_dict({"CsvLogger": {"rows": 1, "columns": ["x"]}})
    metrics.log(1, {"x": 1.0}, 0.0)
    metrics.close("finished")
    assert outside.read_text() == "as it was\n"
    assert rows_of(run / "metrics.csv") == [["step", "seconds", "x"], ["1", "0.000", "1.0"]]
    assert len(heard) >= 1
