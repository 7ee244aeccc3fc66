"""Messages, warnings and the progress line, on a terminal and elsewhere."""

import io
import os
import pty
import sys

import pytest

from gym_loop.runs.console import Console, format_count, format_duration

ERASE = "\r\x1b[K"


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def clock():
    return Clock()


def progress(console, episode=120, last=False):
    console.progress(episode, 24_300, 187.43, 41_200.4, 72.0, last=last)


LINE = "episode 120  steps 24,300  return(100) 187.4  41,200 steps/s  1m12s left"


def test_the_live_line_on_a_terminal(clock):
    stream = Terminal()
    console = Console(stream, clock=clock)
    progress(console)
    assert stream.getvalue() == ERASE + LINE
    console.close()
    assert stream.getvalue() == ERASE + LINE + "\n"
    console.close()
    assert stream.getvalue().count("\n") == 1


def test_the_live_line_is_redrawn_ten_times_a_second_at_most(clock):
    stream = Terminal()
    console = Console(stream, clock=clock)
    for episode in range(1000):
        progress(console, episode)
        clock.now += 0.01
    drawn = stream.getvalue().split(ERASE)[1:]
    assert 90 <= len(drawn) <= 101
    assert all(line.startswith("episode") for line in drawn)


def test_messages_go_above_the_live_line(clock):
    stream = Terminal()
    console = Console(stream, clock=clock)
    console.message("run-1: begun")
    progress(console)
    console.message("checkpoint saved")
    console.close()
    assert stream.getvalue() == (f"run-1: begun\n{ERASE}{LINE}{ERASE}checkpoint saved\n{LINE}\n")


def test_the_last_progress_stands_whatever_the_pace(clock):
    stream = Terminal()
    console = Console(stream, clock=clock)
    progress(console, 119)
    progress(console, 120, last=True)
    console.message("done")
    console.close()
    assert stream.getvalue().endswith(f"{ERASE}{LINE}\ndone\n")


def test_plain_lines_at_growing_intervals_elsewhere(clock):
    stream = io.StringIO()
    console = Console(stream, clock=clock)
    shown = []
    for _ in range(1200):
        before = len(stream.getvalue())
        progress(console)
        if len(stream.getvalue()) > before:
            shown.append(clock.now - 100.0)
        clock.now += 0.125
    assert shown == [5.0, 15.0, 35.0, 65.0, 95.0, 125.0]
    assert stream.getvalue() == f"{LINE}\n" * 6


def test_a_short_run_without_a_terminal_shows_its_last_line_only(clock):
    stream = io.StringIO()
    console = Console(stream, clock=clock)
    progress(console)
    progress(console, last=True)
    console.close()
    assert stream.getvalue() == f"{LINE}\n"


def test_quiet_hides_all_but_warnings(clock):
    stream = Terminal()
    console = Console(stream, quiet=True, clock=clock)
    console.message("hidden")
    progress(console)
    progress(console, last=True)
    console.warning("the disk is full")
    console.close()
    assert stream.getvalue().endswith("the disk is full\n")
    assert "hidden" not in stream.getvalue()
    assert "episode" not in stream.getvalue()


def test_colour_only_where_it_is_wanted(clock, monkeypatch):
    for stream, environment, coloured in (
        (Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
    ):
        with monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            Console(stream, clock=clock).warning("mind the gap")
        assert ("\x1b" in stream.getvalue()) == coloured
        assert "warning:" in stream.getvalue()


def test_a_dumb_terminal_gets_plain_lines(clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    console = Console(stream, clock=clock)
    progress(console, last=True)
    assert stream.getvalue() == f"{LINE}\n"


def test_an_end_beyond_a_year_is_left_out(clock):
    stream = io.StringIO()
    Console(stream, clock=clock).progress(1, 5, None, 3.0, 4e7, last=True)
    assert "left" not in stream.getvalue()


def test_what_is_not_known_is_left_out(clock):
    stream = io.StringIO()
    console = Console(stream, clock=clock)
    console.progress(0, 0, None, 0.0, None, last=True)
    console.progress(1, 5, -0.25, float("inf"), float("inf"), last=True)
    console.progress(1, 5, -12_345.67, 3.25, -1.0, last=True)
    assert stream.getvalue().splitlines() == [
        "episode 0  steps 0  0 steps/s",
        "episode 1  steps 5  return(100) -0.250  inf steps/s",
        "episode 1  steps 5  return(100) -12,345.7  3.2 steps/s  0.0s left",
    ]


def test_the_live_line_is_cut_to_the_width_of_a_real_terminal(clock):
    import fcntl
    import struct
    import termios

    leader, follower = pty.openpty()
    try:
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
        with open(follower, "w", closefd=False) as stream:
            console = Console(stream, clock=clock)
            progress(console)
            assert os.read(leader, 1000).decode() == ERASE + LINE[:29]
            clock.now += 1
            fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
            progress(console)
            assert os.read(leader, 1000).decode() == ERASE + LINE
    finally:
        os.close(leader)
        os.close(follower)


def test_a_reader_that_has_gone_does_not_stop_the_training(clock):
    reading, writing = os.pipe()
    with open(writing, "w") as stream:
        console = Console(stream, clock=clock)
        console.message("heard")
        os.close(reading)
        console.message("x" * 100_000)
        console.warning("nobody is there")
        progress(console, last=True)
        console.close()
    assert console._stream is None


def test_a_closed_stream_does_not_stop_the_training(clock):
    stream = io.StringIO()
    console = Console(stream, clock=clock)
    stream.close()
    console.message("nobody is there")
    progress(console, last=True)
    assert not Console(stream, clock=clock)._live


def test_a_stream_that_lacks_a_character_gets_the_rest(clock):
    raw = io.BytesIO()
    console = Console(io.TextIOWrapper(raw, encoding="ascii"), clock=clock)
    console.message("caf\N{LATIN SMALL LETTER E WITH ACUTE}")
    console.message("next")
    assert raw.getvalue() == b"caf?\nnext\n"


def test_a_message_of_a_signal_handler_in_the_middle_of_a_write_is_survived(clock):
    class Interrupted(io.StringIO):
        def write(self, text):
            raise RuntimeError("reentrant call inside <_io.BufferedWriter>")

    stream = Interrupted()
    console = Console(stream, clock=clock)
    console.message("one")
    assert stream.getvalue() == ""
    assert console._stream is stream


def test_standard_error_is_the_default(capsys):
    Console().message("to standard error")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "to standard error\n")


def test_without_standard_error_nothing_is_written(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    console = Console()
    console.warning("nowhere to go")
    progress(console, last=True)
    assert console._stream is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (0.44, "0.4s"),
        (1, "1s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (72, "1m12s"),
        (3599.7, "1h00m"),
        (7500, "2h05m"),
        (86400 * 2 + 3600 * 3 + 59, "2d03h"),
        (float("inf"), "?"),
        (float("nan"), "?"),
    ],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (3.25, "3.2"),
        (3.0, "3"),
        (12.7, "13"),
        (24_300, "24,300"),
        (1e9, "1,000,000,000"),
        (float("inf"), "inf"),
    ],
)
def test_format_count(number, text):
    assert format_count(number) == text


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "file"])
def test_messages_give_the_terminal_no_orders(stream):
    console = Console(stream)
    console.message("a run named \x1b]0;owned\x07")
    console.warning("two\nlines \x9b2J")
    written = stream.getvalue().replace("\x1b[33m", "").replace("\x1b[0m", "")
    assert written == "a run named \\x1b]0;owned\\x07\nwarning: two\nlines \\x9b2J\n"
