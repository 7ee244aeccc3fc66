"""Figures and tables as files of their own, and the ticks and numbers in them."""

import csv
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from gym_loop.errors import UsageError
from gym_loop.report.content import make_content
from gym_loop.report.paper import write_csv, write_png, write_svg
from gym_loop.report.selection import select_runs
from gym_loop.report.svg import compact, shares, ticks
from tests.report.written import returns, two_groups, write_run

FIGURES = [
    "eval-return_mean", "scores-iqm", "scores-mean", "scores-profile", "train-episode_return",
]  # fmt: skip


def test_svg_files_stand_alone(workdir: Path) -> None:
    two_groups()
    written = write_svg(make_content(select_runs(["logs"])), Path("figures/svg"))
    assert sorted(path.stem for path in written) == FIGURES
    for path in written:
        root = ET.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        assert any("rate=0.001" in (text or "") for text in texts)


def test_png_files(workdir: Path) -> None:
    two_groups()
    write_run("_x$-1".lstrip("_"), returns([1.0, 2.0]), parameters={"rate": "$_x"})
    written = write_png(make_content(select_runs(["logs"])), Path("png"))
    assert sorted(path.stem for path in written) == FIGURES
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_png_without_matplotlib(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_groups()
    content = make_content(select_runs(["logs"]))
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install \"gym-loop\[report\]\""):
        write_png(content, Path("png"))
    assert not Path("png").exists()


def test_csv_files(workdir: Path) -> None:
    two_groups()
    write_csv(make_content(select_runs(["logs"]), threshold=15.0), Path("csv"))
    tables = {}
    for path in Path("csv").iterdir():
        with open(path, newline="") as file:
            tables[path.name] = list(csv.DictReader(file))
    assert len(tables["runs.csv"]) == 10
    assert tables["runs.csv"][0]["agent.parameters.rate"] == "0.0001"
    low, high = tables["groups.csv"]
    assert (low["group"], low["runs"], low["reached"]) == ("rate=0.0001", "5", "0")
    assert float(high["mean_low"]) < float(high["mean"]) == pytest.approx(20.2)
    assert high["median_steps"] != "inf"
    assert {row["figure"] for row in tables["curves.csv"]} == {
        "train/episode_return", "eval/return_mean",
    }  # fmt: skip
    assert None not in low


def test_a_directory_that_cannot_be_made(workdir: Path) -> None:
    two_groups()
    Path("file").write_text("")
    with pytest.raises(UsageError, match="file cannot be written"):
        write_csv(make_content(select_runs(["logs"])), Path("file"))


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0, 500, [0, 100, 200, 300, 400, 500]),
        (-1.2, 1.1, [-1.0, -0.5, 0.0, 0.5, 1.0]),
        (1e-5, 3e-5, [1e-5, 1.5e-5, 2e-5, 2.5e-5, 3e-5]),
    ],
)
def test_ticks(low: float, high: float, found: list[float]) -> None:
    assert ticks(low, high, 5) == pytest.approx(found)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.25, "-0.25"), (5000, "5000"), (20_000, "20k"), (1.5e6, "1.5M"), (2e9, "2G")],
)
def test_compact_numbers(value: float, text: str) -> None:
    assert compact(value) == text


def test_shares_of_time() -> None:
    root = ET.fromstring(shares({"act": 1.0, "update": 3.0, "x": 0.0}, "PPO"))
    assert [rect.get("width") for rect in root.iter("rect")] == ["140", "420", "0"]
    assert [text.text for text in root.iter("text")] == ["act", "update"]
    assert root.get("aria-label") == "PPO: act 25%, update 75%, x 0%"
