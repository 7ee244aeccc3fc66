"""The commands that read finished runs: report, compare and runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.written import two_groups


def test_report(workdir: Path, gym_loop_command: Callable) -> None:
    two_groups()
    outcome = gym_loop_command("report", "low", "high", "-o", "both.html", "--csv", "numbers")
    assert outcome == (0, "wrote both.html, and numbers\n", "")
    assert Path("both.html").is_file()
    assert Path("numbers/groups.csv").is_file()


def test_report_of_all_runs_by_a_key(workdir: Path, gym_loop_command: Callable) -> None:
    two_groups()
    assert gym_loop_command("report", "--by", "agent").out == "wrote report.html\n"
    assert "rate=0.001" not in Path("report.html").read_text().partition("<main")[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "hihg"], "did you mean high?"),
        (["report", "--by", "rat"], "--by rat: no run has such a key; did you mean rate?"),
        (["report", "-o", "a/b.html"], "there is no directory a"),
        (["compare", "low", "low"], "low-1 is on both sides"),
        (["compare", "low"], "Missing argument"),
    ],
)
def test_what_is_refused(
    workdir: Path, gym_loop_command: Callable, arguments: list[str], said: str
) -> None:
    two_groups()
    outcome = gym_loop_command(*arguments)
    assert outcome.status == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err


def test_compare(workdir: Path, gym_loop_command: Callable) -> None:
    two_groups()
    outcome = gym_loop_command("compare", "low", "high", "-o", "compared.html")
    assert outcome.status == 0
    assert "high is better" in outcome.out
    assert outcome.out.endswith("wrote compared.html\n")
    page = Path("compared.html").read_text()
    assert "<h2>Verdict</h2><p>high is better" in page


def test_compare_as_json(workdir: Path, gym_loop_command: Callable) -> None:
    two_groups()
    outcome = gym_loop_command("compare", "low", "high", "--json", "-o", "compared.html")
    found = json.loads(outcome.out)
    assert outcome.err == "wrote compared.html\n"
    assert found["b"] == {"name": "high", "runs": [f"high-{number}" for number in range(1, 6)]}
    assert found["differing"] == {"agent.parameters.rate": ["0.0001", "0.001"]}
    env = found["environments"]["CartPole-v1"]
    assert env["difference"]["value"] == pytest.approx(10.0)
    assert env["improvement"] == found["improvement"]
    single = json.loads(gym_loop_command("compare", "low-1", "high-1", "--json").out)
    assert single["environments"]["CartPole-v1"]["p"] is None
    assert single["environments"]["CartPole-v1"]["mean"]["a"]["low"] is None


def test_runs_without_a_terminal_are_plain(workdir: Path, gym_loop_command: Callable) -> None:
    two_groups()
    assert gym_loop_command("runs", "--plot").out == gym_loop_command("runs").out
