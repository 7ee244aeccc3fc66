"""A server of the serving benchmark, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from _measure import CannotMeasureError
from _serving_clients import ENV, Connection

HERE = Path(__file__).resolve().parent
CORES = frozenset(os.sched_getaffinity(0))


class Server:
    """A server in a child process on the first core.

    Args:
        command: it prints its address, then serves until it is killed.
    """

    def __init__(self, command: Sequence[str]) -> None:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {min(CORES)})  # which the child inherits
        try:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE)
        finally:
            os.sched_setaffinity(0, cores)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise CannotMeasureError("failed to start")

    def connect(self, dialect: type[Connection], env_id: str = ENV) -> Connection:
        """A new client; the server may still be on its way to listen."""
        end = time.monotonic() + 30
        while True:
            try:
                return dialect(self.address, env_id)
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def cpu(self) -> float:
        """Processor time so far, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self) -> float:
        """Resident memory in MiB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()
