"""Samples of every Gymnasium space as bytes, and back: what both sides know is not sent.

Numbers are little-endian in the dtype of the space, arrays in C order. A Text is its length in
UTF-8 bytes and those; a Tuple and a Dict are their parts in the space's order; a Sequence is its
number of elements and those; a Graph is the numbers of nodes and edges, then nodes, edges and
links; a OneOf is the index and the sample. Lengths, numbers and indices are uint32.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from gym_loop.errors import SampleError, SpaceError
from gym_loop.wire.json_values import check_dtype, fitting_array, short
from gym_loop.wire.sample_parts import (
    LINK,
    at,
    checked_text,
    chosen,
    feature,
    fitting_rows,
    graph_of,
    items_of,
    part_of,
    sequence_of,
    with_keys,
)

Space: TypeAlias = "spaces.Space[Any]"
Write = Callable[[Any], bytes]
Read = Callable[[memoryview, int], tuple[Any, int]]  # data, offset -> sample, offset after it

_COUNT = struct.Struct("<I")
_NO_EDGES = 2**32 - 1
_MOST_EMPTY = 65536  # elements of a sequence that take no bytes, so that data cannot bound them


@dataclass(frozen=True)
class ByteCoder:
    """Writes and reads samples of one space.

    Args:
        write: from a sample to its bytes; raises SampleError.
        read: from data and an offset to a sample and the offset after it; raises SampleError.
        least: bytes that the shortest sample takes.
    """

    write: Write
    read: Read
    least: int

    def read_all(self, data: bytes | bytearray | memoryview) -> Any:
        """Read one sample that fills the data.

        Raises:
            SampleError: the data are no sample of the space, or more than one.
        """
        view = memoryview(data)
        sample, end = self.read(view, 0)
        if end != len(view):
            raise SampleError(f"{len(view) - end} bytes are left over after the sample")
        return sample


def sample_to_bytes(space: Space, sample: Any) -> bytes:
    """A sample as bytes; `byte_coder_for` does the same, faster, for many.

    Raises:
        SampleError: it does not fit the space.
    """
    return byte_coder_for(space).write(sample)


def sample_from_bytes(space: Space, data: bytes | bytearray | memoryview) -> Any:
    """Read a sample; it has the space's types, but may be out of its bounds.

    Raises:
        SampleError: the data are no sample of the space.
    """
    return byte_coder_for(space).read_all(data)


def byte_coder_for(space: Space) -> ByteCoder:
    """The coder for samples of a space.

    Raises:
        SpaceError: it is no space of Gymnasium's.
    """
    for kind, make in _CODERS.items():
        if isinstance(space, kind):
            try:
                return make(space)
            except SampleError as error:
                raise SpaceError(f"{space} cannot be sent: {error}") from None
    known = ", ".join(kind.__name__ for kind in _CODERS)
    raise SpaceError(f"samples of {type(space).__name__} cannot be sent; use {known}")


@cache
def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    # By name, so that on most machines it is NumPy's one object for the dtype, not a copy of it.
    return np.dtype(check_dtype(dtype).str.replace(">", "<"))


def _array_coder(space: Any) -> ByteCoder:
    shape, wire = space.shape, _little(space.dtype)
    dtype = check_dtype(space.dtype)
    size, count, ndarray = math.prod(shape) * dtype.itemsize, math.prod(shape), np.ndarray

    def write(sample: Any) -> bytes:
        if type(sample) is not ndarray or sample.dtype is not wire or sample.shape != shape:
            sample = fitting_array(sample, shape, dtype).astype(wire, copy=False)
        data: bytes = sample.tobytes()
        return data

    def read(data: memoryview, offset: int) -> tuple[Any, int]:
        end = _end(data, offset, size)
        return _numbers(data, offset, dtype, count).reshape(shape), end

    return ByteCoder(write, read, size)


def _numbers(data: memoryview, offset: int, dtype: np.dtype[Any], count: int) -> Any:
    """Numbers of their own: not a view of the data, and in this machine's byte order."""
    if dtype.kind == "b":  # a bool that is neither 0 nor 1 would break NumPy
        return np.frombuffer(data, np.uint8, count, offset) != 0
    return np.frombuffer(data, _little(dtype), count, offset).astype(dtype)


def _end(data: memoryview, offset: int, size: int) -> int:
    if len(data) - offset < size:
        raise SampleError(f"there are {len(data) - offset} bytes where {size} were expected")
    return offset + size


def _read_count(data: memoryview, offset: int) -> tuple[int, int]:
    end = _end(data, offset, 4)
    return _COUNT.unpack_from(data, offset)[0], end


def _discrete_coder(space: Any) -> ByteCoder:
    dtype = check_dtype(space.dtype)
    info, integer, size = np.iinfo(dtype), dtype.type, dtype.itemsize
    least, most, signed = int(info.min), int(info.max), dtype.kind == "i"

    def write(sample: Any) -> bytes:
        if type(sample) is not int:
            sample = fitting_array(sample, (), dtype).item()
        if not least <= sample <= most:
            raise SampleError(f"{short(sample)} is too great for {dtype}")
        data: bytes = sample.to_bytes(size, "little", signed=signed)
        return data

    def read(data: memoryview, offset: int) -> tuple[Any, int]:
        end = _end(data, offset, size)
        return integer(int.from_bytes(data[offset:end], "little", signed=signed)), end

    return ByteCoder(write, read, size)


def _text_coder(space: Any) -> ByteCoder:
    def write(sample: Any) -> bytes:
        data = checked_text(sample).encode()
        return _COUNT.pack(len(data)) + data

    def read(data: memoryview, offset: int) -> tuple[Any, int]:
        size, start = _read_count(data, offset)
        end = _end(data, start, size)
        try:
            return str(data[start:end], "utf-8"), end
        except UnicodeDecodeError as error:
            raise SampleError(f"a text is no UTF-8: {error.reason}") from None

    return ByteCoder(write, read, 4)


def _read_parts(coders: list[tuple[Any, ByteCoder]], data: memoryview, offset: int) -> Any:
    parts = []
    for place, coder in coders:
        try:
            part, offset = coder.read(data, offset)
        except SampleError as error:
            raise SampleError(f"{place}: {error}") from None
        parts.append(part)
    return parts, offset


def _tuple_coder(space: Any) -> ByteCoder:
    coders = list(enumerate(byte_coder_for(part) for part in space.spaces))

    def write(sample: Any) -> bytes:
        parts = part_of(sample, len(coders))
        return b"".join(at(i, coder.write, parts[i]) for i, coder in coders)

    def read(data: memoryview, offset: int) -> tuple[Any, int]:
        parts, end = _read_parts(coders, data, offset)
        return tuple(parts), end

    return ByteCoder(write, read, sum(coder.least for _, coder in coders))


def _dict_coder(space: Any) -> ByteCoder:
    coders = {key: byte_coder_for(part) for key, part in space.spaces.items()}

    def write(sample: Any) -> bytes:
        with_keys(sample, coders.keys())
        return b"".join(at(key, coder.write, sample[key]) for key, coder in coders.items())

    def read(data: memoryview, offset: int) -> tuple[Any, int]:
        parts, end = _read_parts(list(coders.items()), data, offset)
        return dict(zip(coders, parts, strict=True)), end

    return ByteCoder(write, read, sum(coder.least for coder in coders.values()))


def _sequence_coder(space: Any) -> ByteCoder:
    element = byte_coder_for(space.feature_space)

    def check_count(count: int) -> int:
        if element.least == 0 and count > _MOST_EMPTY:
            raise SampleError(f"a sequence of {count} empty elements; {_MOST_EMPTY} are allowed")
        return count

    def write(sample: Any) -> bytes:
        items = items_of(space, sample)
        written = [at(i, element.write, item) for i, item in enumerate(items)]
        return _COUNT.pack(check_count(len(items))) + b"".join(written)

    def read(data: memoryview, offset: int) -> tuple[Any, int]:
        count, offset = _read_count(data, offset)
        _end(data, offset, check_count(count) * element.least)
        items = []
        for _ in range(count):
            item, offset = element.read(data, offset)
            items.append(item)
        return sequence_of(space, items), offset

    return ByteCoder(write, read, 4)


def _graph_coder(space: Any) -> ByteCoder:
    node, edge = feature(space.node_space), feature(space.edge_space)

    def rows(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, bytes]:
        array = fitting_rows(value, shape, dtype)
        return len(array), array.astype(_little(dtype), copy=False).tobytes()

    def write(sample: Any) -> bytes:
        nodes, edges, links = part_of(sample, 3)
        graph_of(nodes, edges, links)
        n_nodes, written = rows(nodes, *node)
        if edges is None:
            return _COUNT.pack(n_nodes) + _COUNT.pack(_NO_EDGES) + written
        n_edges, edge_bytes = rows(edges, *edge)
        counts = _COUNT.pack(n_nodes) + _COUNT.pack(n_edges)
        return counts + written + edge_bytes + rows(links, *LINK)[1]

    def read_rows(
        data: memoryview, offset: int, count: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> tuple[Any, int]:
        numbers = count * math.prod(shape)
        end = _end(data, offset, numbers * dtype.itemsize)
        if numbers == 0 and count > _MOST_EMPTY:
            raise SampleError(f"a graph of {count} empty nodes or edges; {_MOST_EMPTY} are allowed")
        return _numbers(data, offset, dtype, numbers).reshape(count, *shape), end

    def read(data: memoryview, offset: int) -> tuple[Any, int]:
        n_nodes, offset = _read_count(data, offset)
        n_edges, offset = _read_count(data, offset)
        nodes, offset = read_rows(data, offset, n_nodes, *node)
        if n_edges == _NO_EDGES:
            return graph_of(nodes, None, None), offset
        if space.edge_space is None:
            raise SampleError("there are edges, where the space has none")
        edges, offset = read_rows(data, offset, n_edges, *edge)
        links, offset = read_rows(data, offset, n_edges, *LINK)
        return graph_of(nodes, edges, links), offset

    return ByteCoder(write, read, 8)


def _one_of_coder(space: Any) -> ByteCoder:
    coders = [byte_coder_for(part) for part in space.spaces]

    def write(sample: Any) -> bytes:
        index, part = part_of(sample, 2)
        index = chosen(fitting_array(index, (), np.dtype(np.int64)).item(), len(coders))
        written: bytes = at(index, coders[index].write, part)
        return _COUNT.pack(index) + written

    def read(data: memoryview, offset: int) -> tuple[Any, int]:
        index, offset = _read_count(data, offset)
        part, offset = coders[chosen(index, len(coders))].read(data, offset)
        return (np.int64(index), part), offset

    return ByteCoder(write, read, 4 + min(coder.least for coder in coders))


_CODERS: dict[type[Any], Callable[[Any], ByteCoder]] = {
    spaces.Box: _array_coder,
    spaces.Discrete: _discrete_coder,
    spaces.MultiBinary: _array_coder,
    spaces.MultiDiscrete: _array_coder,
    spaces.Text: _text_coder,
    spaces.Tuple: _tuple_coder,
    spaces.Dict: _dict_coder,
    spaces.Sequence: _sequence_coder,
    spaces.Graph: _graph_coder,
    spaces.OneOf: _one_of_coder,
}
