"""The two files of one checkpoint: written so that they last, read so that nothing is trusted.

``state.json`` holds the state as `gym_loop.wire.values` writes it, and a checksum of itself.
``arrays.safetensors`` holds the arrays, by the place of each in the state: eight bytes with the
length of a header, the header as JSON (name, dtype, shape and place of each array), then their
bytes without a gap. They are streamed, without a second copy in memory, and a CRC-32 of the whole
file is computed in passing.
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

from gym_loop.errors import StateError
from gym_loop.schema.files import open_regular, read_regular
from gym_loop.wire.dtypes import check_bools
from gym_loop.wire.values import Malformed, Reader, Unsendable, Way, Writer, place_of

Arrays = dict[str, np.ndarray[Any, Any]]

FORMAT = 2
STATE, ARRAYS = "state.json", "arrays.safetensors"
LARGEST_STATE = 1 << 30  # bytes of state.json, which is read at once
SMALL = 1 << 20  # bytes of arrays that one write call takes together
CHUNK = 1 << 20  # bytes that are checksummed, then written while the cache still has them
FLUSH = 16 << 20  # bytes after which the disk is set to work, beside the writing
_MAX_HEADER = 100_000_000  # the format's own limit
_DEEPEST = 10_000  # beyond what Python can follow, which is the real limit
_INLINE = 1024  # bytes of a bytes object that stand in the JSON
_CHECKSUM = '"checksum": '
# The dtypes that a safetensors file can name in every version of the format; others are bytes.
DTYPES = {
    "|b1": "BOOL",
    "|i1": "I8",
    "|u1": "U8",
    "<i2": "I16",
    "<u2": "U16",
    "<i4": "I32",
    "<u4": "U32",
    "<i8": "I64",
    "<u8": "U64",
    "<f2": "F16",
    "<f4": "F32",
    "<f8": "F64",
}
_BYTES_OF = {name: int(key[2:]) for key, name in DTYPES.items()}

# -- values --------------------------------------------------------------------------------------


def encode(value: Any) -> tuple[Any, Arrays]:
    """Split values into a JSON document and the arrays that it names, which are not copied.

    Raises:
        StateError: there is something among them that has no form; the message names its place.
    """
    arrays: Arrays = {}

    def put(array: Any, way: Way) -> str:
        name = place = place_of(way) or "state"
        number = 1
        while name in arrays or name == "__metadata__":
            number += 1
            name = f"{place}#{number}"
        arrays[name] = array
        return name

    try:
        document = Writer(put, strict=True, deepest=_DEEPEST, inline=_INLINE).value(value)
    except Unsendable as error:
        raise StateError(
            f"{error.message}; pass it through gym_loop.checkpoints.tree.capture"
        ) from None
    except RecursionError as error:
        raise StateError("the state is nested too deeply to be written") from error
    return document, arrays


def encode_plain(value: Any) -> Any:
    """Values without arrays as a JSON document.

    Raises:
        StateError: there is an array among them, or something that has no form.
    """
    document, arrays = encode(value)
    if arrays:
        raise StateError(f"{next(iter(arrays))} is an array, and only plain values may be there")
    return document


def decode(document: Any, arrays: Arrays) -> Any:
    """Put a JSON document and its arrays together again.

    Args:
        document: what `encode` gave.
        arrays: by name; each is taken out, so that it stands for one value only.

    Raises:
        ValueError: the document is damaged, or refers to arrays that are not there.
    """

    def take(name: Any, size: int) -> tuple[Any, int]:
        array = arrays.pop(name)
        if array.nbytes != size:
            raise ValueError(f"the array {name!r} has {array.nbytes:,} bytes instead of {size:,}")
        return array, 0

    try:
        return Reader(take, _DEEPEST).value(document)
    except (Malformed, RecursionError) as error:
        raise ValueError(f"holds no state: {error}") from error


def dump(document: Any, depth: int = 3) -> str:
    """JSON text, one line an entry for the uppermost dictionaries, so that a person can read it.

    Args:
        document: plain JSON data.
        depth: levels of dictionaries that get lines of their own.
    """
    if depth == 0 or type(document) is not dict or not document:
        return json.dumps(document, allow_nan=False)
    indent = "  " * (3 - depth)
    lines = [
        f"{indent}  {json.dumps(key)}: {dump(item, depth - 1)}" for key, item in document.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n" + indent + "}"


# -- both files ----------------------------------------------------------------------------------


def state_text(step: int, document: Any, info: Any) -> str:
    """What ``state.json`` begins with; how the arrays turned out, and a checksum, follow."""
    text = dump({"format": FORMAT, "step": step, "info": info, "tree": document})
    return text.removesuffix("\n}")


def write_files(directory: Path, text: str, arrays: Arrays) -> None:
    """Write both files of a checkpoint and wait until the disk has them.

    Args:
        directory: an empty directory.
        text: the state as `state_text` gives it.
        arrays: the arrays by name.

    Raises:
        OSError: the disk is full, or refuses.
    """
    with (directory / ARRAYS).open("wb", buffering=0) as file:
        size, crc = write_arrays(file, arrays)
    facts = json.dumps({"bytes": size, "crc32": crc})
    body = f'{text},\n  "{ARRAYS}": {facts},\n  '.encode()
    with (directory / STATE).open("wb", buffering=0) as file:
        _write_all(file, body + _closing(body))
    for path in (directory / ARRAYS, directory / STATE, directory):
        flush(path)


def _closing(body: bytes) -> bytes:
    return f'{_CHECKSUM}"{zlib.crc32(body):08x}"\n}}\n'.encode()


def write_durably(path: Path, data: bytes) -> None:
    """Write a small file and wait until the disk has it."""
    with path.open("wb", buffering=0) as file:
        _write_all(file, data)
    flush(path)


def _write_all(file: BinaryIO, data: Any) -> None:
    view = memoryview(data)
    while len(view):
        view = view[file.write(view) :]


def flush(path: Path) -> None:
    """Wait until the disk has a file, or what a directory lists."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_state(path: Path) -> Any:
    """The document of a ``state.json``, its checksum checked.

    Raises:
        ValueError: it is truncated or altered.
        OSError: it cannot be read.
    """
    data = read_regular(path, LARGEST_STATE, follow=True)
    end = data.rfind(b"\n  " + _CHECKSUM.encode()) + 3
    if end < 3:
        raise ValueError("was truncated: its checksum is not there")
    if data[end:] != _closing(data[:end]):
        raise ValueError("was altered: its checksum is wrong")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no valid JSON: {error}") from error


# -- arrays --------------------------------------------------------------------------------------


class _Checksum:
    """The CRC-32 of what passes by."""

    def __init__(self) -> None:
        self.bytes = self._crc = 0

    def add(self, chunk: Any) -> None:
        self.bytes += len(chunk)
        self._crc = zlib.crc32(chunk, self._crc)

    def __str__(self) -> str:
        return f"{self._crc:08x}"


def write_arrays(file: BinaryIO, arrays: Arrays) -> tuple[int, str]:
    """Stream arrays to an unbuffered file.

    Returns:
        The number of bytes and the checksum of the file.
    """
    # Large items first: then every array starts at a multiple of its item size.
    ordered = sorted(arrays.items(), key=lambda item: -_BYTES_OF.get(_dtype_of(item[1]), 1))
    crc = _Checksum()
    header = _header(ordered)
    if sum(array.nbytes for _, array in ordered) <= SMALL:
        data = b"".join([header, *(array.tobytes() for _, array in ordered)])
        crc.add(data)
        _write_all(file, data)
        return crc.bytes, str(crc)
    flushed, flushing = 0, None
    with ThreadPoolExecutor(1) as thread:
        for chunk in _chunks(header, ordered):
            crc.add(chunk)
            _write_all(file, chunk)
            # Measured: the disk works while we go on, which more than pays for the checksum.
            if crc.bytes - flushed >= FLUSH and (flushing is None or flushing.done()):
                flushed, flushing = crc.bytes, thread.submit(os.fsync, file.fileno())
    if flushing is not None:
        flushing.result()
    return crc.bytes, str(crc)


def _dtype_of(array: np.ndarray[Any, Any]) -> str:
    return DTYPES.get(array.dtype.str, "")


def _header(ordered: list[tuple[str, np.ndarray[Any, Any]]]) -> bytes:
    entries: dict[str, Any] = {}
    offset = 0
    for name, array in ordered:
        dtype = _dtype_of(array)
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


def _chunks(header: bytes, ordered: list[tuple[str, np.ndarray[Any, Any]]]) -> Iterator[Any]:
    yield header
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
    running = _Checksum()
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


def _read(file: BinaryIO, size: int, running: _Checksum) -> bytes:
    buffer = np.empty(size, np.uint8)
    _fill(file, buffer, running)
    return buffer.tobytes()


def _fill(file: Any, flat: np.ndarray[Any, Any], running: _Checksum) -> None:
    position = 0
    while position < flat.size:
        count = file.readinto(flat[position : position + CHUNK])
        if not count:
            raise ValueError("ends too early")
        running.add(flat[position : position + count])
        position += count


def _empty_arrays(header: bytes, size: int) -> Arrays:
    """Arrays as the header describes them, in the order of the file; nothing is trusted."""
    dtypes = {name: np.dtype(key) for key, name in DTYPES.items()}
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        arrays: Arrays = {}
        end = 0
        for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
            dtype, shape = dtypes[entry["dtype"]], entry["shape"]
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
