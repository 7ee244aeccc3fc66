"""The process that training processes are forked from: it has imported already what they need.

A run needs a process of its own, for its random streams, its memory and its death are its own.
To start Python and import everything anew would cost a short run more than its training.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from gym_loop.errors import GymLoopError
from gym_loop.schema.class_strings import load_class
from gym_loop.sweeps.run_process import train_run

# Imported by runs when they need them.
LATER = (
    "gym_loop.training.resume",
    "gym_loop.checkpoints.files",
    "gym_loop.checkpoints.store",
    "gymnasium.envs.classic_control",
    "importlib.metadata",
    "importlib.resources",
    "numpy.ma",
    "tensorboard.compat.proto.event_pb2",
    "tensorboard.plugins.hparams.plugin_data_pb2",
    "threadpoolctl",
)


def main() -> None:
    """Fork a child a job, until whoever sends the jobs has gone; in a child, train."""
    work = serve(socket.socket(fileno=int(sys.argv[2])), sys.argv[3:])
    if work is not None:
        work()


def serve(control: socket.socket, classes: list[str]) -> Callable[[], None] | None:
    """Take jobs; return None at the end, and in each child what it has to do.

    Args:
        control: jobs come from it, each with the child's own socket; statuses go to it.
        classes: class strings, of which ours are imported beforehand.
    """
    _import(classes)
    gc.freeze()  # what the children share is not copied when they collect garbage
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    buffer = b""
    while True:
        ready, _, _ = select.select([control.fileno(), reading], [], [])
        if reading in ready:
            os.read(reading, 1024)
            _tell_the_dead(control)
        if control.fileno() not in ready:
            continue
        try:
            data, handles, _, _ = socket.recv_fds(control, 1 << 16, 1)
        except ConnectionResetError:  # whoever sends the jobs has gone before it read all
            return None
        if not data:
            return None
        buffer += data
        if not handles:
            continue
        while not buffer.endswith(b"\n"):  # one job is sent after another has been forked
            buffer += control.recv(1 << 16)
        job, buffer = json.loads(buffer), b""
        talk = socket.socket(fileno=handles[0])
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            for handle in (reading, writing):
                os.close(handle)
            control.close()
            _become_a_run(job)
            return lambda: train_run(job, talk)
        talk.close()
        _send(control, {"began": pid})


def _import(classes: list[str]) -> None:
    """Import our own classes, and what every run loads sooner or later.

    Not the user's: what others do when they are imported may not bear a fork.
    """
    for name in LATER:
        try:
            importlib.import_module(name)
        except ImportError:  # of another version: the child finds what it needs
            pass
    for name in classes:
        if name.startswith("gym_loop."):
            try:
                load_class(name)
            except GymLoopError:  # the child will say it
                pass


def _become_a_run(job: dict[str, Any]) -> None:
    """Forget whose child we are: signals, output, directory."""
    for signum in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # Ray's processes block SIGINT
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)


def _tell_the_dead(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _send(control, {"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _send(control: socket.socket, message: dict[str, Any]) -> None:
    try:
        control.sendall(json.dumps(message).encode() + b"\n")
    except OSError:  # whoever asked has gone
        pass
