"""The tutorial's commands do what it shows, in the order in which it shows them."""

import os
import re
import shlex
import subprocess
import sys
from glob import glob
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.rst"
NUMBER = re.compile(r"\d[\d,.]*|inf\b")
pytestmark = pytest.mark.timeout(1200)  # for all trainings together, on a small or a busy machine
PROGRESS = re.compile(r"evaluation \d+ of")  # of an evaluation that takes a while
TIME = re.compile(r"\b(?:\d+m)?[\d.]+m?s\b")


def shown() -> list[tuple[str, str]]:
    """Every command of the page with what it is said to print."""
    blocks = re.findall(r"\.\. code-block:: console\n\n((?:(?: {3}.*)?\n)+)", PAGE.read_text())
    lines = [line[3:] for block in blocks for line in block.splitlines() if line.strip()]
    found: list[tuple[str, str]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            command, output = found.pop()
            found.append((command, f"{output}{line}\n"))
    return found


def without_figures(text: str) -> str:
    """Output without what machines differ in: numbers, widths, how often progress is shown."""
    lines = [TIME.sub("T", line) for line in text.splitlines() if not PROGRESS.match(line)]
    kept = [
        line
        for line, following in zip(lines, [*lines[1:], ""], strict=False)
        if not (line.startswith("episode ") and following.startswith("episode "))
    ]
    return "\n".join(" ".join(NUMBER.sub("N", line).split()) for line in kept)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each command of the page printed, all of them run in one new directory."""
    directory = tmp_path_factory.mktemp("tutorial")
    outputs = {}
    for command, _ in shown():
        words = [
            path
            for word in shlex.split(command)
            for path in sorted(glob(word, root_dir=directory)) or [word]  # as a shell does
        ]
        if words[0] == "gym-loop":
            words = [sys.executable, "-m", "gym_loop", *words[1:]]
        # Standard error first: the page shows what a terminal shows, and there results come last.
        done = subprocess.run(
            words,
            cwd=directory,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "SDL_VIDEODRIVER": "dummy"},
        )
        outputs[command] = done.stderr + done.stdout
    return outputs


def test_every_command_prints_what_is_shown(printed: dict[str, str]) -> None:
    commands = shown()
    assert len(commands) >= 12
    for command, output in commands:
        assert without_figures(printed[command]) == without_figures(output), command


def test_the_agent_solves_it(printed: dict[str, str]) -> None:
    (table,) = [text for command, text in printed.items() if command.endswith("--episodes 100")]
    returns = next(line for line in table.splitlines() if line.startswith("return"))
    assert float(returns.split()[1]) >= 475


def test_a_run_in_two_halves_ends_as_one(printed: dict[str, str]) -> None:
    whole = printed["gym-loop train -c cartpole.yaml --seed 1"]
    (halves,) = [text for command, text in printed.items() if "--resume half" in command]
    ends = re.compile(r" finished: ([\d,]+ episodes, [\d,]+ steps)")
    assert ends.findall(whole) == ends.findall(halves) != []


def test_the_shown_figures_are_those_of_one_run(printed: dict[str, str]) -> None:
    """Episodes and steps of a seed follow from it wherever no matrix product decides."""
    (shown_random,) = [text for command, text in shown() if command.endswith("max_episodes=200")]
    (random,) = [text for command, text in printed.items() if command.endswith("max_episodes=200")]
    summary = re.compile(r"first-2 finished: [\d,]+ episodes, [\d,]+ steps")
    assert summary.findall(random) == summary.findall(shown_random)
