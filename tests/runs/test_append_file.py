"""A file that grows by whole pieces, or not at all."""

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
