"""Text from elsewhere, made harmless where it is shown: on a terminal, and in a spreadsheet."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Sequence
from typing import Any

# What a terminal or a reader takes for more than text: control characters (escape sequences begin
# with one) but for line breaks and tabs, and marks that turn the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_FORMULA = re.compile("'*[=+\\-@\t\r]")
ERASE = "\r\x1b[K"  # what a terminal has in the line of the cursor
_said: set[str] = set()  # the warnings so far


def printable(text: object) -> str:
    r"""Text for a terminal: control characters are shown as ``\x1b``, not obeyed."""
    return _CONTROLS.sub(_as_escape, str(text))


def printable_line(text: object) -> str:
    """Text for one line or one cell of a table: without line breaks and tabs, too."""
    return re.sub("[\t\n]", _as_escape, printable(text))


def encodable(text: str) -> str:
    r"""Text that UTF-8 can hold: a byte of a file's name that is no text is written ``\udce9``."""
    return text.encode("utf-8", "backslashreplace").decode()


def short_warning(message: Warning | str, *_: Any, **__: Any) -> str:
    """A ``warnings.formatwarning`` that gives one line, the first time a text is said.

    Python forgets what it has said at each ``catch_warnings``, which each evaluation needs.
    """
    # Gymnasium colours its own, whether or not a terminal reads them.
    plain = str(message).removeprefix("\x1b[33mWARN: ").removesuffix("\x1b[0m")
    if plain in _said:
        return ""
    _said.add(plain)
    # A progress line may stand there.
    erase = ERASE if sys.stderr is not None and sys.stderr.isatty() else ""
    return f"{erase}warning: {printable(plain)}\n"


def _as_escape(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]


def as_cell(text: str) -> str:
    """Text for a CSV cell; a spreadsheet would compute what begins like a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def from_cell(cell: str) -> str:
    """The text that `as_cell` made a cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows in columns of one width: the first ``left`` are text, the others numbers."""
    rows = [[printable_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def how_ended(status: int) -> str:
    """What became of a process, by its exit status: ``was killed by SIGKILL``."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
