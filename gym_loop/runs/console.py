"""What a person sees of a run: messages, warnings, one line of progress, and short forms."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from gym_loop.schema.printable import ERASE, printable

REDRAW_SECONDS = 0.1
FIRST_LINE_SECONDS = 5.0  # without a terminal: the first line, then twice as long each time
LINE_SECONDS = 30.0
LONGEST_LEFT = 365 * 86_400.0  # seconds; beyond a year the end is anyone's guess
LEVELS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"  # of a sparkline, low to high
YELLOW, NO_COLOUR = "\x1b[33m", "\x1b[0m"


class Console:
    """Writes messages and progress to a terminal, a file or a pipe.

    On a terminal, progress is one line that is redrawn in place and that messages go
    above. Anywhere else it is a plain line now and then.

    Args:
        stream: where to write; standard error by default, so that a command's result can
            have standard output for itself.
        quiet: show warnings only.
        clock: seconds, for the pace of the progress line.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream: TextIO | None = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._clock = clock
        self._live = _is_terminal(self._stream)
        self._line = ""  # the progress line that is on the terminal now
        self._due: float | None = None  # when the next progress is shown
        self._interval = FIRST_LINE_SECONDS

    def message(self, text: str) -> None:
        """Write a line, unless the console is quiet."""
        if not self._quiet:
            self._write_line(printable(text))

    def warning(self, text: str) -> None:
        """Write a line that is always shown."""
        coloured = self._live and not os.environ.get("NO_COLOR")
        label = f"{YELLOW}warning:{NO_COLOUR}" if coloured else "warning:"
        self._write_line(f"{label} {printable(text)}")

    def progress(
        self,
        episode: int,
        steps: int,
        mean_return: float | None,
        steps_per_second: float,
        seconds_left: float | None,
        *,
        last: bool = False,
    ) -> None:
        """Show how far the training is; cheap enough to be called after every episode.

        Args:
            episode: episodes finished.
            steps: environment steps taken.
            mean_return: mean return of the last 100 episodes; None before the first.
            steps_per_second: speed of the training.
            seconds_left: expected seconds to its end; None where it cannot be known.
            last: the training is over: show this in any case, and let it stand.
        """
        if self._quiet or self._stream is None or not (last or self._is_due()):
            return
        parts = [f"episode {format_count(episode)}", f"steps {format_count(steps)}"]
        if mean_return is not None:
            parts.append(f"return(100) {_return(mean_return)}")
        parts.append(f"{format_count(steps_per_second)} steps/s")
        if seconds_left is not None and seconds_left < LONGEST_LEFT:
            parts.append(f"{format_duration(max(0.0, seconds_left))} left")
        self._show("  ".join(parts), last)

    def evaluation(self, done: int, total: int, steps: int, mean_return: float | None) -> None:
        """Show how far an evaluation is, at the pace of `progress`.

        Args:
            done: episodes that are over.
            total: how many there will be.
            steps: environment steps taken.
            mean_return: of the episodes that are over; None before the first.
        """
        if self._quiet or self._stream is None or not self._is_due():
            return
        line = f"evaluation {done} of {total} episodes  steps {format_count(steps)}"
        if mean_return is not None:
            line += f"  return {_return(mean_return)}"
        self._show(line)

    def clear(self) -> None:
        """Take the live line away: what it told of is over."""
        if self._line:
            self._write(ERASE)
            self._line = ""

    def _show(self, line: str, last: bool = False) -> None:
        if not self._live:
            self._write(f"{line}\n")
        elif last:
            self._line = ""
            self._write(f"{ERASE}{line[: self._width()]}\n")
        else:
            self._line = line[: self._width()]
            self._write(f"{ERASE}{self._line}")

    def close(self) -> None:
        """Leave the cursor on a line of its own."""
        if self._line:
            self._write("\n")
            self._line = ""

    def _is_due(self) -> bool:
        now = self._clock()
        if self._due is None:
            self._due = now if self._live else now + self._interval
        if now < self._due:
            return False
        if not self._live:
            self._interval = min(2 * self._interval, LINE_SECONDS)
        self._due = now + (REDRAW_SECONDS if self._live else self._interval)
        return True

    def _width(self) -> int:
        """Columns of the terminal but one: in the last one some terminals start a new line."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns  # type: ignore[union-attr]
        except (OSError, ValueError):
            columns = 0
        return (columns or 80) - 1

    def _write_line(self, text: str) -> None:
        self._write(f"{ERASE}{text}\n{self._line}" if self._line else f"{text}\n")

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError as error:
                self._stream.write(text.encode(error.encoding, "replace").decode(error.encoding))
            self._stream.flush()
        except (OSError, ValueError):  # closed: whoever was reading has gone, training goes on
            self._stream = None
        except RuntimeError:  # a signal handler's message, while a write was under way
            pass


def format_count(number: float) -> str:
    """Format a count or a speed: ``24,300``; below ten with one decimal if it has any."""
    if not math.isfinite(number):
        return str(number)
    if number != int(number) and abs(number) < 10:
        return f"{number:.1f}"
    return f"{round(number):,}"


def format_duration(seconds: float) -> str:
    """Format a duration with its two largest units: ``0.4s``, ``45s``, ``1m12s``, ``2d03h``."""
    if not math.isfinite(seconds):
        return "?"
    if abs(seconds) < 1:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for unit, size, smaller, part in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "m", 60),
        ("m", 60, "s", 1),
    ):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02d}{smaller}"
    return f"{whole}s"


def _return(mean: float) -> str:
    return f"{mean:,.{1 if abs(mean) >= 10 else 3}f}"


def _is_terminal(stream: TextIO | None) -> bool:
    """Tell a terminal that can move its cursor from a file, a pipe and a dumb terminal."""
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def sparkline(values: Sequence[float], low: float | None = None, high: float | None = None) -> str:
    """One block a value; a gap where there is none.

    Args:
        values: NaN for a gap.
        low: what the lowest block stands for; by default the least value.
        high: what the highest stands for.
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return " " * len(values)
    low = min(known) if low is None else low
    high = max(known) if high is None else high
    size = len(LEVELS) / (high - low) if high > low else 0.0
    return "".join(
        LEVELS[min(max(int((value - low) * size), 0), len(LEVELS) - 1)]
        if math.isfinite(value)
        else " "
        for value in values
    )


def shows_sparklines(stream: TextIO) -> bool:
    """Whether somebody looks at a stream, and its encoding has the blocks."""
    try:
        LEVELS.encode(getattr(stream, "encoding", None) or "ascii")
        return stream.isatty()
    except (LookupError, UnicodeEncodeError, ValueError):  # a closed stream has no terminal
        return False
