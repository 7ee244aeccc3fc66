"""Named arrays in one safetensors file, written and read without a second copy in memory.

The format: eight bytes with the length of the header, the header as JSON (name, dtype, shape
and place of each array), then the arrays' bytes without a gap. A checksum over the whole file
(CRC-32) is computed in passing.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gym_loop.checkpoints.tree.arrays import check_bools
from gym_loop.checkpoints.tree_file import DTYPES, Arrays, dtype_key
from gym_loop.errors import StateError
from gym_loop.schema.files import open_regular

CHUNK = 1 << 20  # bytes that are checksummed, then written while the cache still has them
FLUSH = 16 << 20  # bytes after which the disk is set to work, beside the writing
_MAX_HEADER = 100_000_000  # the format's own limit
_NUMPY_DTYPES = {name: np.dtype(key) for key, name in DTYPES.items()}


class RunningChecksum:
    """The CRC-32 of what passes by."""

    def __init__(self) -> None:
        self.bytes = 0
        self._crc = 0

    def add(self, chunk: Any) -> None:
        """Take the next bytes, or the next array of uint8."""
        self.bytes += len(chunk)
        self._crc = zlib.crc32(chunk, self._crc)

    def __str__(self) -> str:
        return f"{self._crc:08x}"


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
    crc = RunningChecksum()
    flushed, flush = 0, None
    with ThreadPoolExecutor(1) as thread:
        for chunk in _chunks(_in_file_order(arrays)):
            crc.add(chunk)
            view = memoryview(chunk)
            while len(view):
                view = view[file.write(view) :]
            # Measured: the disk works while we go on, which more than pays for the checksum.
            if crc.bytes - flushed >= FLUSH and (flush is None or flush.done()):
                flushed, flush = crc.bytes, thread.submit(os.fsync, file.fileno())
    if flush is not None:
        flush.result()
    return crc.bytes, str(crc)


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
    if len(text) >= _MAX_HEADER:
        raise StateError(
            f"{len(ordered):,} arrays are more than a checkpoint can name; keep many of them in one"
        )
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _chunks(ordered: list[tuple[str, np.ndarray[Any, Any]]]) -> Iterator[Any]:
    yield _header(ordered)
    for _, array in ordered:
        if not array.nbytes:
            continue
        if array.flags.c_contiguous:
            flat = array.reshape(-1).view(np.uint8)
            for start in range(0, flat.size, CHUNK):
                yield flat[start : start + CHUNK]
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
    if type(size) is not int or type(crc) is not str:
        raise ValueError("is not described by state.json")
    if found != size:
        raise ValueError(f"has {found:,} bytes instead of {size:,}")
    running = RunningChecksum()
    with os.fdopen(open_regular(path, follow=True), "rb", buffering=0) as file:
        length = int.from_bytes(_read(file, 8, running), "little")
        if length > min(_MAX_HEADER, size - 8):
            raise ValueError(f"states a header of {length:,} bytes")
        arrays = _empty_arrays(_read(file, length, running), size - 8 - length)
        for array in arrays.values():
            _fill(file, array.reshape(-1).view(np.uint8), running)
            check_bools(array)
    if str(running) != crc:
        raise ValueError(f"was altered: it has the checksum {running} instead of {crc}")
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
        running.add(flat[position : position + count])
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
