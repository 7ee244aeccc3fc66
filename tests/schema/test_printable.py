"""Text from elsewhere, where it is shown."""

from pathlib import Path

import pytest

import gym_loop
from gym_loop.schema.printable import as_cell, from_cell, printable, printable_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("one\rtwo\x7f\x00", r"one\rtwo\x7f\x00"),
        ("a\u202eb\u2066c\u2028d", r"a\u202eb\u2066c\u2028d"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("Größe 猫 ≥ \\x1b", "Größe 猫 ≥ \\x1b"),
    ],
)
def test_a_terminal_is_told_nothing_but_text(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_line_is_one_line() -> None:
    assert printable_line("a\nb\tc\x1b") == r"a\nb\tc\x1b"
    assert printable_line(5) == "5"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=1", "''-1"])
def test_what_a_spreadsheet_would_compute_is_text(text: str) -> None:
    assert as_cell(text) == f"'{text}"
    assert from_cell(as_cell(text)) == text


@pytest.mark.parametrize("text", ["", "plain", "'quoted'", "a=b", "1-1", "'"])
def test_other_cells_are_as_they_were(text: str) -> None:
    assert as_cell(text) == text == from_cell(text)


def test_every_command_prints_through_one_function() -> None:
    package = Path(gym_loop.__file__).parent
    printing = {
        path.name: path.read_text().count("typer.echo(")
        for path in (package / "cli").glob("*.py")
        if "typer.echo(" in path.read_text()
    }
    assert printing == {"options.py": 2}  # for people, and JSON
