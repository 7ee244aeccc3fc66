"""Arrays in a safetensors file: any shape, any memory, nothing trusted."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_loop.checkpoints import files

BASE = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
ARRAYS: dict[str, Any] = {
    "plain": BASE,
    "transposed": BASE.T,
    "strided": BASE[:, ::2, ::-1],
    "broadcast": np.broadcast_to(np.float32(3), (2, 5)),
    "zero-d": np.array(1.5, np.float16),
    "empty": np.zeros((0, 3), np.int64),
    "bool": np.array([True, False]),
    "byte": np.arange(3, dtype=np.int8),
    "größe.ü": np.arange(3, dtype=np.uint16),
    "read-only": np.frombuffer(b"abc", np.uint8),
}
FOREIGN: dict[str, Any] = {
    "complex": BASE[0] + 1j,
    "text": np.array(["ab", "c"])[::-1],
    "no text": np.array(["", ""], "U0"),
    "date": np.array(["2020-01-01"], "M8[D]"),
    "big": np.arange(3, dtype=">i4"),
}


def write(path: Path, arrays: dict[str, Any]) -> tuple[int, str]:
    with path.open("wb", buffering=0) as file:
        return files.write_arrays(file, arrays)


def test_every_kind_of_memory_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "arrays.safetensors"
    size, crc = write(path, ARRAYS | FOREIGN)
    data = path.read_bytes()
    assert (len(data), f"{zlib.crc32(data):08x}") == (size, crc)
    read = files.read_arrays(path, size, crc)
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array)
        assert read[name].flags.writeable
    for name, array in FOREIGN.items():
        assert read[name].tobytes() == array.tobytes()


def test_chunks_join_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "arrays.safetensors"
    write(path, ARRAYS | FOREIGN)
    at_once = path.read_bytes()
    monkeypatch.setattr(files, "SMALL", 0)
    write(path, ARRAYS | FOREIGN)
    assert path.read_bytes() == at_once
    monkeypatch.setattr(files, "CHUNK", 7 * 8)
    size, crc = write(path, ARRAYS)
    read = files.read_arrays(path, size, crc)
    assert all(np.array_equal(read[name], array) for name, array in ARRAYS.items())


def test_the_safetensors_library_reads_our_file(tmp_path: Path) -> None:
    path = tmp_path / "arrays.safetensors"
    write(path, ARRAYS | FOREIGN)
    read = safetensors.numpy.load_file(path)
    assert set(read) == set(ARRAYS | FOREIGN)
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array)


def test_we_read_the_librarys_file(tmp_path: Path) -> None:
    path = tmp_path / "arrays.safetensors"
    arrays = {name: np.ascontiguousarray(array) for name, array in ARRAYS.items() if array.ndim}
    safetensors.numpy.save_file(arrays, path, metadata={"made": "elsewhere"})
    data = path.read_bytes()
    read = files.read_arrays(path, len(data), f"{zlib.crc32(data):08x}")
    assert all(np.array_equal(read[name], array) for name, array in arrays.items())


def test_no_array_at_all(tmp_path: Path) -> None:
    path = tmp_path / "arrays.safetensors"
    assert files.read_arrays(path, *write(path, {})) == {}
    assert safetensors.numpy.load_file(path) == {}


def test_large_arrays_are_not_copied(tmp_path: Path) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    array = np.zeros(64 << 20, np.uint8)
    strided = np.zeros((8 << 20, 2), np.uint32)[:, 0]
    tracemalloc.start()
    size, crc = write(tmp_path / "a", {"array": array, "strided": strided})
    _, peak = tracemalloc.get_traced_memory()
    assert peak < 40 << 20  # a few chunks
    tracemalloc.reset_peak()
    files.read_arrays(tmp_path / "a", size, crc)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size + (16 << 20)


def file_of(entries: Any, data: bytes) -> bytes:
    header = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + data


def entry(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4], **changes}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (1 << 62).to_bytes(8, "little") + b"{}",
        file_of(b"nonsense", b""),
        file_of(b"[" * 100_000, b""),
        file_of([], b""),
        file_of({"a": 3}, b""),
        file_of({}, b"more"),
        file_of(entry(), b"12"),
        file_of(entry(), b"12345"),
        file_of(entry(dtype="OBJECT"), b"1234"),
        file_of(entry(shape=[1 << 60]), b"1234"),
        file_of(entry(shape=[-4]), b"1234"),
        file_of(entry(shape=[2, 2.0]), b"1234"),
        file_of(entry(shape=[True, 4]), b"1234"),
        file_of(entry(shape="4"), b"1234"),
        file_of(entry(data_offsets=[-4, 0]), b"1234"),
        file_of(entry(data_offsets=[1, 5]), b"12345"),
        file_of(entry() | {"b": entry()["a"]}, b"1234"),
        file_of(entry(shape=[0, 1 << 62, 1 << 62], data_offsets=[0, 0]), b""),
    ],
    ids=lambda content: repr(content[:60]),
)
def test_forged_files_are_value_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "arrays.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"\w"):
        files.read_arrays(path, len(content), f"{zlib.crc32(content):08x}")


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_changed_byte_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flip") / "arrays.safetensors"
    size, crc = write(path, {"a": np.arange(9), "b": np.ones(2)})
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, size - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"\w"):
        files.read_arrays(path, size, crc)
