"""A file that grows by whole pieces, or not at all."""

import os

import pytest

from gym_loop.runs.loggers.append_file import AppendFile
from tests.runs.full_disk import largest_file


def test_a_failed_write_leaves_no_part_behind(tmp_path):
    path = tmp_path / "log"
    file = AppendFile(path)
    file.append(b"kept\n")
    with largest_file(4096), pytest.raises(OSError, match="too large"):
        file.append(b"x" * 10_000)
    assert path.read_bytes() == b"kept\n"
    file.append(b"later\n")
    assert path.read_bytes() == b"kept\nlater\n"
    assert file.size == 11
    file.close()
    again = AppendFile(path)
    again.append(b"end\n")
    again.close()
    assert path.read_bytes() == b"kept\nlater\nend\n"


def test_nothing_but_a_regular_file_is_written(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("as it was")
    (tmp_path / "link").symlink_to(outside)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    for name in ("link", "fifo", "directory"):
        with pytest.raises(OSError):  # noqa: PT011 - the system's own words
            AppendFile(tmp_path / name)
    assert outside.read_text() == "as it was"


def test_the_end_is_known_after_every_change(tmp_path):
    file = AppendFile(tmp_path / "log")
    assert file.end == b""
    file.append(b"0123456789" * 3)
    assert file.end == b"4567890123456789"
    file.append(b"")
    assert file.end == b"4567890123456789"
    file.truncate(4)
    assert file.end == b"0123"
    file.close()
    again = AppendFile(tmp_path / "log")
    assert again.end == b"0123"
    again.close()
