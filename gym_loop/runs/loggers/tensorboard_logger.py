"""TensorBoard events, written with the protocol buffers of the ``tensorboard`` package alone."""

from __future__ import annotations

import functools
import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google_crc32c import value as crc32c

from gym_loop.errors import RunError
from gym_loop.runs.loggers.append_file import AppendFile
from gym_loop.runs.loggers.base import BaseLogger

FLUSH_SECONDS = 1.0
MAX_WAITING_BYTES = 50_000_000  # while a full disk refuses them
MAX_LAYOUTS = 256


class TensorBoardLogger(BaseLogger):
    """Writes one event file: the scalars, and a row of the HPARAMS tab.

    There is one event a log call, with all its metrics. Times are the run's start plus its
    seconds of training, so a run that was stopped and resumed shows no gap.

    No experiment record is written: with one in every run, TensorBoard would take the first
    it finds and hide what other runs have more. Without one it collects all
    hyperparameters and all metrics of all the runs.
    """

    def __init__(self, directory: Path, run_id: str, **parameters: Any) -> None:
        super().__init__(directory, run_id, **parameters)
        self._started_at = time.time()
        self._name = f"events.out.tfevents.{self._started_at:.0f}.{_host()}.{os.getpid()}"
        self._hyperparameters: dict[str, bool | int | float | str] = {}
        self._file: AppendFile | None = None  # opened by the first log call
        self._waiting: list[bytes] = []  # framed events that are not on disk yet
        self._flush_at = 0.0
        # names of a log call -> an event with these tags, and its values
        self._layouts: dict[tuple[str, ...], tuple[Any, Any]] = {}

    def start(self, hyperparameters: Mapping[str, bool | int | float | str]) -> None:
        """Keep the hyperparameters; they are written with the first metrics."""
        self._hyperparameters = dict(hyperparameters)

    def log(self, step: int, scalars: Mapping[str, float], seconds: float) -> None:
        """Add one event; it is on disk about a second later at most."""
        names = tuple(scalars)
        # An event is built once for each set of metrics: building costs four times filling.
        event, values = self._layouts.get(names) or self._add_layout(names)
        event.step = step
        event.wall_time = self._started_at + seconds
        for value, scalar in zip(values, scalars.values(), strict=True):
            value.simple_value = scalar
        self._waiting.append(_framed(event.SerializeToString()))
        if seconds >= self._flush_at:
            self._flush_at = seconds + FLUSH_SECONDS
            self.flush()

    def flush(self) -> None:
        """Write the waiting events.

        Raises:
            OSError: they could not be written; they wait for the next flush.
            RunError: too many events are waiting.
        """
        if self._file is None:
            self._file = AppendFile(self.directory / self._name)
        if self._file.size == 0:
            self._file.append(self._first_events())
        events = b"".join(self._waiting)
        try:
            self._file.append(events)
        except OSError as error:
            if len(events) > MAX_WAITING_BYTES:
                raise RunError(
                    f"{self.directory / self._name}: {len(events)} bytes could not be written "
                    f"({error}); free some space or choose another logdir"
                ) from error
            raise
        self._waiting.clear()

    def close(self, exit_reason: str) -> None:
        """Write the waiting events and how the run ended, and close the file."""
        self._waiting.append(self._session_end(exit_reason))
        self.flush()
        if self._file is not None:
            self._file.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the file's size, its last bytes, and the time that its events count from."""
        size, end = (0, b"") if self._file is None else (self._file.size, self._file.end)
        return {"bytes": size, "end": end.hex(), "started_at": self._started_at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut the file to this position and go on in it.

        The state names no file: it is the one in the run's own directory that has the same bytes
        before this position.

        Raises:
            RunError: there is no such file; a new one goes on beside those that are there.
        """
        size, end, started_at = state.get("bytes"), state.get("end"), state.get("started_at")
        if type(size) is not int or size < 0 or type(started_at) is not float:
            raise RunError(
                f"the position of TensorBoard's events is damaged: a new file, {self._name}, begins"
            )
        self._started_at = started_at
        for path in sorted(self.directory.glob("events.out.tfevents.*"), reverse=True):
            try:
                file = AppendFile(path)
            except OSError:  # a link, or what is no file: none that this logger made
                continue
            # Older checkpoints do not have the last bytes.
            if 0 < size <= file.size and (end is None or file.before(size).hex() == end):
                file.truncate(size)
                self._file, self._name = file, path.name
                return
            file.close()
        raise RunError(
            f"no event file in {self.directory} holds the {size} bytes that were there at the "
            f"checkpoint; the curve goes on in {self._name}, copy the missing part from a backup"
        )

    def _add_layout(self, names: tuple[str, ...]) -> tuple[Any, Any]:
        from tensorboard.compat.proto.event_pb2 import Event

        if len(self._layouts) >= MAX_LAYOUTS:
            self._layouts.clear()
        event = Event()
        for name in names:
            event.summary.value.add(tag=name)
        self._layouts[names] = event, list(event.summary.value)
        return self._layouts[names]

    def _first_events(self) -> bytes:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.hparams.plugin_data_pb2 import SessionStartInfo

        version = Event(wall_time=self._started_at, file_version="brain.Event:2")
        session = SessionStartInfo(group_name=self.run_id, start_time_secs=self._started_at)
        for name, value in self._hyperparameters.items():
            kind = _VALUE_KINDS.get(type(value), "string_value")
            setattr(session.hparams[name], kind, value if kind != "string_value" else str(value))
        start = _hparams_event("session_start_info", session, self._started_at)
        return _framed(version.SerializeToString()) + start

    def _session_end(self, exit_reason: str) -> bytes:
        from tensorboard.plugins.hparams import api_pb2
        from tensorboard.plugins.hparams.plugin_data_pb2 import SessionEndInfo

        known = {"finished": api_pb2.STATUS_SUCCESS, "failed": api_pb2.STATUS_FAILURE}
        status = known.get(exit_reason, api_pb2.STATUS_UNKNOWN)
        session = SessionEndInfo(status=status, end_time_secs=time.time())
        return _hparams_event("session_end_info", session, time.time())


def _hparams_event(kind: str, session: Any, wall_time: float) -> bytes:
    """Frame one record of the HPARAMS tab: all of it is in the metadata of an empty tensor."""
    from tensorboard.compat.proto import event_pb2, types_pb2
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    event = event_pb2.Event(wall_time=wall_time)
    value = event.summary.value.add(tag=f"_hparams_/{kind}")
    value.metadata.plugin_data.plugin_name = "hparams"
    content = HParamsPluginData(version=0, **{kind: session})
    value.metadata.plugin_data.content = content.SerializeToString()
    value.tensor.dtype = types_pb2.DT_FLOAT
    value.tensor.tensor_shape.dim.add(size=0)
    return _framed(event.SerializeToString())


_VALUE_KINDS = {bool: "bool_value", int: "number_value", float: "number_value"}


def _framed(data: bytes) -> bytes:
    """One TFRecord: length, its checksum, data, its checksum."""
    return _length(len(data)) + data + _checksum(data)


_U64 = struct.Struct("<Q").pack
_U32 = struct.Struct("<I").pack


@functools.lru_cache(maxsize=1024)  # events of the same metrics have one of a few lengths
def _length(size: int) -> bytes:
    length = _U64(size)
    return length + _checksum(length)


def _checksum(data: bytes) -> bytes:
    """CRC-32C, rotated and offset as the TFRecord format wants it."""
    crc = crc32c(data)
    return _U32((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _host() -> str:
    """The machine's name as far as it is fit for a file name."""
    return "".join(c if c.isalnum() or c in "-." else "-" for c in socket.gethostname())
