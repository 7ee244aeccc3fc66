"""The report's page needs nothing else, runs no foreign script, and overwrites only reports."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gym_loop.errors import UsageError
from gym_loop.report.page import VIDEO_BYTES
from gym_loop.report.writing import report
from tests.report.written import returns, two_groups, write_run

VOID = {"meta", "link", "br"}


class Checker(HTMLParser):
    """Elements are closed in order, and nothing is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        named = dict(attrs)
        assert "style" not in named, "the page's policy forbids it"
        assert not any(name.startswith("on") for name in named)
        self.addresses += [named[name] or "" for name in ("src", "href") if name in named]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(*runs: str, **options: object) -> str:
    (path, *_) = report(runs, **options)  # type: ignore[arg-type]
    return path.read_text()


def test_the_page_needs_nothing_but_itself(workdir: Path) -> None:
    two_groups()
    text = page()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert [one for one in checker.addresses if not one.startswith(("data:", "#"))] == []
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


def test_its_policy_allows_its_own_style_and_script_alone(workdir: Path) -> None:
    two_groups()
    text = page()
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in text


def test_the_data_of_its_figures(workdir: Path) -> None:
    two_groups()
    text = page()
    (inside,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    data = json.loads(inside)
    lines = data["charts"]["train/episode_return"]
    assert [line["name"] for line in lines] == ["rate=0.0001", "rate=0.001"]
    assert len(lines[0]["y"]) == 200
    assert len(lines[0]["x"]) == 2
    keys = re.findall(r'data-chart="([^"]+)"', text)
    assert sorted(keys) == sorted(data["charts"])


def test_names_are_text_never_markup(workdir: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    for seed in range(2):
        write_run(f"a-{seed + 1}", returns([1.0, 2.0], **{f"agent/{evil}": seed + 0.0}),
                  seed=seed, env=evil, parameters={"text": f"{evil}{seed}"})  # fmt: skip
    text = page()
    assert "<img" not in text
    Checker().feed(text)
    assert text.count("</script>") == 2


def test_videos_are_in_the_page_while_they_are_small(workdir: Path) -> None:
    for number, size in ((1, 100), (2, VIDEO_BYTES)):
        write_run(f"a-{number}", returns([1.0, 2.0]), seed=number)
        film = Path(f"videos/a-{number}/episode #1.mp4")
        film.parent.mkdir(parents=True)
        film.write_bytes(b"\0\0\0\x20ftyp".ljust(size, b"f"))
    Path("pages").mkdir()
    text = page(output=Path("pages/report.html"))
    assert text.count("<video") == 1
    assert 'href="../videos/a-2/episode%20%231.mp4"' in text


def test_a_single_run_still_training(workdir: Path) -> None:
    write_run("a-1", returns([1.0]), status="running", steps=None, seconds=None)
    text = page()
    assert "1 run in CartPole-v1" in text
    assert "Killed before the end: a-1." in text
    assert "Probability that a run" not in text


def test_a_report_is_overwritten_and_nothing_else_is(workdir: Path) -> None:
    two_groups()
    page()
    assert page().startswith("<!DOCTYPE html>")
    Path("report.html").write_text("mine")
    with pytest.raises(UsageError, match=r"report\.html exists and is no report"):
        page()
    assert page(force=True).startswith("<!DOCTYPE html>")
    with pytest.raises(UsageError, match="is a directory"):
        page(output=Path("logs"))
    with pytest.raises(UsageError, match="there is no directory nowhere"):
        page(output=Path("nowhere/report.html"))


def test_time_and_threshold_are_shown(workdir: Path) -> None:
    write_run("a-1", returns([1.0, 2.0, 9.0], **{"time/act": 1.0, "time/update": 3.0}))
    text = page(threshold=5.0)
    assert "Reached 5" in text
    assert 'aria-label="PPO: act 25%, update 75%"' in text
