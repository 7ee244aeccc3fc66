"""One run in a process of its own, on this machine: started, told its job, heard, and stopped."""

from __future__ import annotations

import json
import math
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# A run has a core of its own, so a matrix product that is shared out would only get slower.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PATIENCE = 10.0  # seconds that a process has to end after it was told to end at once
LOOK = 0.5  # seconds between two looks whether a process has ended
# Not -m: that would look for modules in the working directory first, and gym-loop does not.
START = (
    "import sys; sys.path[:] = sys.argv[1].split('\\n');"
    " from gym_loop.training.run_worker import main; main()"
)
Tell = Callable[[dict[str, Any]], None]


def threads_of_a_run() -> dict[str, str]:
    """The variables that say how many threads a run's libraries use: one, unless the user says."""
    return {name: os.environ.get(name, "1") for name in THREAD_VARIABLES}


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def gpus() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    devices = sorted(Path("/dev").glob("nvidia[0-9]*"))
    return [path.name.removeprefix("nvidia") for path in devices]


class RunProcess:
    """A process that has imported what runs need, waits for its job, and then trains one run.

    It takes signals as lines on its standard input; when that is closed, it saves and ends. On its
    standard output come messages, JSON lines, and on its standard error whatever the run prints.

    Args:
        environment: variables to set beside those of this process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.gpus: list[str] = []
        self._is_heard = False  # then its streams are closed by the thread that reads them
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, "\n".join(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            start_new_session=True,  # a Ctrl-C of the terminal comes by us, and only once
            bufsize=0,
        )

    def train(self, job: Mapping[str, Any], tell: Tell) -> None:
        """Send the job; ``tell`` is called in a thread with each message, `ended` being the last.

        Args:
            job: see `run_worker.train_job`.
            tell: is given the run's messages, ``{"output": line}`` for each line that it prints,
                and ``{"ended": exit status}``.
        """
        self._send(json.dumps(job))
        self._is_heard = True
        threading.Thread(target=self._listen, args=(tell,), daemon=True).start()

    def signal(self, signum: int) -> None:
        """Send a signal: the first lets the run finish its step and save."""
        self._send(str(int(signum)))

    def end(self, patience: float = PATIENCE) -> None:
        """Wait for the end of the process; kill it if that takes too long."""
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        streams = (self._process.stdin, self._process.stdout, self._process.stderr)
        for stream in streams[:1] if self._is_heard else streams:
            assert stream is not None
            stream.close()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode())
        except (OSError, ValueError):  # it has ended
            pass

    def _listen(self, tell: Tell) -> None:
        messages, output = self._process.stdout, self._process.stderr
        assert messages is not None
        assert output is not None
        rest = {messages: b"", output: b""}
        with messages, output, selectors.DefaultSelector() as selector:
            for stream in rest:
                selector.register(stream, selectors.EVENT_READ, stream)
            while selector.get_map():
                # What the run has started may keep the streams open when it has ended itself.
                ended = self._process.poll() is not None
                ready = [key.data for key, _ in selector.select(0 if ended else LOOK)]
                if ended and not ready:
                    break
                # Messages first: the run says what its name is before it prints.
                for stream in sorted(ready, key=lambda one: one is not messages):
                    if not (data := stream.read(1 << 16)):
                        selector.unregister(stream)
                        continue
                    *lines, rest[stream] = (rest[stream] + data).split(b"\n")
                    for line in lines:
                        tell(json.loads(line) if stream is messages else _printed(line))
        if rest[output]:
            tell(_printed(rest[output]))
        tell({"ended": self._process.wait()})


def _printed(line: bytes) -> dict[str, Any]:
    return {"output": line.decode("utf-8", "replace").rstrip()}


class LocalProcesses:
    """Processes on this machine.

    Args:
        cpu: cores that a run takes.
        gpu: GPUs that a run takes; may be a fraction.
    """

    def __init__(self, cpu: float = 1.0, gpu: float = 0.0) -> None:
        self.cpu, self.gpu = cpu, gpu
        self._free = dict.fromkeys(gpus() if gpu else [], 1.0)
        self._spare: list[RunProcess] = []

    def room(self) -> int:
        """How many runs this machine has room for at once."""
        by_cpu = int(cores() / self.cpu + 1e-9)
        if not self.gpu:
            return by_cpu
        each = len(self._free) // math.ceil(self.gpu)
        return min(by_cpu, each * int(1 / self.gpu + 1e-9) if self.gpu < 1 else each)

    def most(self) -> str:
        """What there is, for messages."""
        return f"this machine has {cores()} and {len(gpus())}"

    def prepare(self, count: int) -> None:
        """Have so many processes ready for the runs to come: to start one takes half a second."""
        while len(self._spare) < count:
            self._spare.append(RunProcess(threads_of_a_run()))

    def begin(self, job: Mapping[str, Any], tell: Tell) -> RunProcess:
        """Begin a run."""
        self.prepare(1)
        process = self._spare.pop(0)
        if self.gpu:
            # The least busy ones; a run that takes less than a whole one shares it.
            by_room = sorted(self._free, key=lambda one: -self._free[one])
            process.gpus = by_room[: math.ceil(self.gpu)]
            for name in process.gpus:
                self._free[name] -= min(self.gpu, 1.0)
            job = {**job, "environment": {"CUDA_VISIBLE_DEVICES": ",".join(process.gpus)}}
        process.train(job, tell)
        return process

    def end(self, process: RunProcess) -> None:
        """Wait for the end of a process, and take back what it had."""
        process.end()
        for name in process.gpus:
            self._free[name] += min(self.gpu, 1.0)

    def close(self) -> None:
        """End the processes that wait for a run."""
        for process in self._spare:
            process.end(0)
        self._spare.clear()
