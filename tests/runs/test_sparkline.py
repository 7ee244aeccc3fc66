"""Curves of block characters, where the terminal has them."""

import io
import math
from pathlib import Path

import pytest

from gym_loop.cli.output import runs_table
from gym_loop.runs.console import LEVELS, shows_sparklines, sparkline
from gym_loop.runs.listing import list_runs, return_curve
from tests.report.written import returns, write_run


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_blocks() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == LEVELS
    assert sparkline([3.0, 3.0]) == LEVELS[0] * 2
    assert sparkline([0.0, math.nan, 1.0]) == f"{LEVELS[0]} {LEVELS[-1]}"
    assert sparkline([math.nan]) == " "
    assert sparkline([]) == ""
    assert sparkline([0.0, 1.0], 0.0, 2.0) == LEVELS[0] + LEVELS[4]
    assert sparkline([-5.0, 9.0], 0.0, 2.0) == LEVELS[0] + LEVELS[-1]


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", True), ("latin-1", False)])
def test_only_where_the_terminal_has_the_blocks(encoding: str, shown: bool) -> None:
    assert shows_sparklines(Terminal(io.BytesIO(), encoding)) is shown
    assert shows_sparklines(io.StringIO()) is False


def test_a_closed_stream_shows_none() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
    stream.close()
    assert shows_sparklines(stream) is False


def test_the_curve_of_a_run(workdir: Path) -> None:
    logs = write_run("a-1", returns([1.0, 3.0, 5.0, math.nan, 7.0, 9.0]))
    assert return_curve(logs, 2) == [pytest.approx(2.0), pytest.approx(7.0)]
    assert return_curve(logs, 50) == [1.0, 3.0, 5.0, 7.0, 9.0]
    assert return_curve(write_run("a-2"), 10) == []


def test_the_list_with_sparklines(workdir: Path) -> None:
    for name, values in (("a-1", [1.0, 2.0]), ("a-2", [])):
        write_run(name, returns(values))
    found = list_runs(Path("logs"))
    lines = runs_table(found, [return_curve(Path("logs", one.run), 8) for one in found]).split("\n")
    assert lines[0].endswith("  return")
    assert lines[1].endswith(f"  {LEVELS[0]}{LEVELS[-1]}")
    assert LEVELS[0] not in lines[2]


def test_the_best_return_of_a_run_is_a_number(workdir: Path) -> None:
    write_run("a-1", returns([math.nan, 2.0, math.nan, 1.0]))
    write_run("b-1", returns([math.nan, math.nan]))
    found = {one.run: one for one in list_runs(Path("logs"))}
    assert (found["a-1"].best_return, found["b-1"].best_return) == (2.0, None)
