"""Named arrays in one safetensors file, written and read without a second copy in memory.

The format: eight bytes with the length of the header, the header as JSON (name, dtype, shape
and place of each array), then the arrays' bytes without a gap. A checksum over the whole file
(CRC-32) is computed beside the writing and the reading, in a thread of its own.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gym_loop.runs.tree_file import DTYPES, Arrays, dtype_key

CHUNK = 8 << 20  # bytes that are read, or copied, and checksummed at once
_LITTLE = 1 << 16  # bytes that are sooner checksummed than handed to a thread
_MAX_HEADER = 100_000_000  # the format's own limit
_NUMPY_DTYPES = {name: np.dtype(key) for key, name in DTYPES.items()}

Buffer = Any  # bytes, or an array of uint8: Python 3.12 has a name for what they share


class RunningChecksum:
    """The CRC-32 of what passes by, computed in a thread while the disk is busy."""

    def __init__(self) -> None:
        self.bytes = 0
        self._crc = 0
        self._thread = ThreadPoolExecutor(1)
        self._under_way: Future[None] | None = None

    def __enter__(self) -> RunningChecksum:
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown()

    def add(self, chunk: Buffer, size: int) -> None:
        """Take a chunk, which must not change before the next call."""
        self._finish()
        self.bytes += size
        if size < _LITTLE:
            self._update(chunk)
        else:
            self._under_way = self._thread.submit(self._update, chunk)

    def value(self) -> str:
        """The checksum so far, as eight hexadecimal digits."""
        self._finish()
        return f"{self._crc:08x}"

    def _update(self, chunk: Buffer) -> None:
        self._crc = zlib.crc32(chunk, self._crc)

    def _finish(self) -> None:
        if self._under_way is not None:
            self._under_way.result()


def checksum(data: bytes) -> str:
    """CRC-32 of bytes that are in memory anyway."""
    return f"{zlib.crc32(data):08x}"


def total_bytes(arrays: Arrays) -> int:
    """Bytes of all arrays together."""
    return sum(array.nbytes for array in arrays.values())


def as_bytes(arrays: Arrays) -> bytes:
    """A whole file in memory: for small states."""
    ordered = _in_file_order(arrays)
    return b"".join([_header(ordered), *(array.tobytes() for _, array in ordered)])


def write_arrays(file: BinaryIO, arrays: Arrays) -> tuple[int, str]:
    """Stream arrays to an unbuffered file.

    Returns:
        The number of bytes and the checksum of the file.
    """
    ordered = _in_file_order(arrays)
    with RunningChecksum() as crc:
        for chunk in _chunks(ordered):
            view = memoryview(chunk)
            crc.add(view, len(view))
            while len(view):
                view = view[file.write(view) :]
        return crc.bytes, crc.value()


def _in_file_order(arrays: Arrays) -> list[tuple[str, np.ndarray[Any, Any]]]:
    # Large items first: then every array starts at a multiple of its item size.
    return sorted(arrays.items(), key=lambda item: -_item_size(item[1].dtype))


def _item_size(dtype: np.dtype[Any]) -> int:
    return dtype.itemsize if dtype_key(dtype) in DTYPES else 1


def _header(ordered: list[tuple[str, np.ndarray[Any, Any]]]) -> bytes:
    entries: dict[str, Any] = {}
    offset = 0
    for name, array in ordered:
        dtype = DTYPES.get(dtype_key(array.dtype))
        entries[name] = {
            "dtype": dtype or "U8",
            "shape": list(array.shape) if dtype else [array.nbytes],
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _chunks(ordered: list[tuple[str, np.ndarray[Any, Any]]]) -> Iterator[Buffer]:
    yield _header(ordered)
    for _, array in ordered:
        if not array.nbytes:
            continue
        if array.flags.c_contiguous:
            yield array.reshape(-1).view(np.uint8)
        else:
            # In the order of the rows, a buffer at a time.
            flags: Any = ["external_loop", "buffered"]
            items = max(1, CHUNK // array.itemsize)
            parts: Any = np.nditer(array, flags, order="C", buffersize=items)
            for part in parts:
                yield part.tobytes()


def read_arrays(path: Path, size: int, crc: str) -> Arrays:
    """Read every array of a file, and check it.

    Args:
        path: the file.
        size: bytes that it must have.
        crc: checksum that it must have.

    Raises:
        ValueError: the file is truncated, altered, or no file of this kind.
        OSError: it cannot be read.
    """
    found = path.stat().st_size
    if found != size:
        raise ValueError(f"has {found:,} bytes instead of {size:,}")
    with path.open("rb", buffering=0) as file, RunningChecksum() as running:
        length = int.from_bytes(_read(file, 8, running), "little")
        if length > min(_MAX_HEADER, size - 8):
            raise ValueError(f"states a header of {length:,} bytes")
        arrays = _empty_arrays(_read(file, length, running), size - 8 - length)
        for array in arrays.values():
            _fill(file, array.reshape(-1).view(np.uint8), running)
        if running.value() != crc:
            raise ValueError(f"has the checksum {running.value()} instead of {crc}: it was altered")
    return arrays


def _read(file: BinaryIO, size: int, running: RunningChecksum) -> bytes:
    buffer = np.empty(size, np.uint8)
    _fill(file, buffer, running)
    return buffer.tobytes()


def _fill(file: Any, flat: np.ndarray[Any, Any], running: RunningChecksum) -> None:
    position = 0
    while position < flat.size:
        count = file.readinto(flat[position : position + CHUNK])
        if not count:
            raise ValueError("ends too early")
        running.add(flat[position : position + count], count)
        position += count


def _empty_arrays(header: bytes, size: int) -> Arrays:
    """Arrays as the header describes them, in the order of the file; nothing is trusted."""
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        arrays: Arrays = {}
        end = 0
        for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
            dtype, shape = _NUMPY_DTYPES[entry["dtype"]], entry["shape"]
            start, stop = entry["data_offsets"]
            right = all(type(length) is int and length >= 0 for length in [start, stop, *shape])
            if (
                not right
                or start != end
                or stop > size
                or stop - start != dtype.itemsize * math.prod(shape)
            ):
                raise ValueError(f"describes the array {name!r} wrongly")
            arrays[name] = np.empty(shape, dtype)
            end = stop
    except (LookupError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise ValueError(f"has a damaged header ({type(error).__name__}: {error})") from error
    if end != size:
        raise ValueError("holds bytes that its header does not describe")
    return arrays
