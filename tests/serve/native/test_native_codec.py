"""The native codec: whatever goes in comes out equal; whatever else comes in is refused."""

import math
import struct
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import GraphInstance
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gym_loop.wire import native as codec
from gym_loop.wire.values import Malformed, Unsendable
from tests.serve.native.native_serving import same

DTYPES = st.sampled_from(
    ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16", "U3",
     "S2", ">f4", ">i8"]
)  # fmt: skip
ARRAYS = DTYPES.flatmap(lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=0, min_side=0)))
SCALARS = DTYPES.flatmap(lambda name: hnp.arrays(name, ())).map(lambda array: array[()])
ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=20),
    ARRAYS, SCALARS, st.text(st.characters(categories=["Cs", "Lu"]), max_size=3),
)  # fmt: skip
KEYS = st.text(max_size=3) | st.sampled_from(["$a", "$t", "$", "info"])
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(st.integers() | st.none() | KEYS, inner, max_size=3),
        st.sets(st.integers() | st.text(max_size=2), max_size=3),
    ),
    max_leaves=12,
)
FIELDS = st.dictionaries(st.text(st.characters(codec="ascii"), max_size=8), VALUES, max_size=4)


def little(value: Any) -> Any:
    """What comes back of a value: arrays in little-endian order."""
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.byteorder == ">":
        return value.astype(value.dtype.newbyteorder("<"))
    if isinstance(value, dict):
        return {key: little(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(little, value))
    return value


@settings(max_examples=300, deadline=None)
@given(FIELDS, st.integers(0, 2**64 - 1), st.booleans())
def test_every_value_comes_back(fields: dict[str, Any], number: int, strict: bool) -> None:
    message = codec.write(number, fields, strict=strict)
    for data in (message, bytearray(message), np.frombuffer(bytearray(message), np.uint8)):
        found, back = codec.read(data)
        assert found == number
        assert same(fields if strict else little(fields), back)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), ARRAYS, min_size=1),
    st.dictionaries(st.sampled_from(["x", "info"]), st.just("text") | st.just({})),
    st.data(),
)
def test_a_header_that_is_known_is_the_same(
    arrays: dict[str, Any], plain: dict[str, Any], data: st.DataObject
) -> None:
    for number in range(4):
        fields = {**plain, **arrays}
        written = codec.write(number, fields)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(codec, "_facts", lambda *_: None)
            assert codec.write(number, fields) == written
        name = data.draw(st.sampled_from(sorted(arrays)))
        arrays = {**arrays, name: arrays[name] if number < 2 else data.draw(ARRAYS)}


def test_arrays_are_not_copied_and_aligned() -> None:
    data = bytearray(codec.write(1, {"a": np.ones(3, np.uint8), "b": np.arange(4.0)}))
    _, fields = codec.read(data)
    array = fields["b"]
    assert array.ctypes.data % 8 == 0
    data[-8:] = struct.pack("<d", 7.5)
    assert array[3] == 7.5
    array[0] = 2.5
    assert codec.read(data)[1]["b"][0] == 2.5
    assert not codec.read(bytes(data))[1]["b"].flags.writeable


def test_a_dictionary_is_the_receivers_own() -> None:
    message = bytearray(codec.write(1, {"a": np.ones(3), "info": {}}))
    codec.read(message)[1]["info"]["mine"] = 1
    assert codec.read(message)[1]["info"] == {}


def test_graphs_and_the_order_in_memory() -> None:
    graph = GraphInstance(np.ones((2, 3)), np.ones((1, 1)), np.array([[0, 1]]))
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    _, fields = codec.read(codec.write(0, {"g": graph, "f": fortran}, strict=True))
    assert isinstance(fields["g"], GraphInstance)
    assert same(tuple(graph), tuple(fields["g"]))
    assert fields["f"].flags.f_contiguous
    assert (fields["f"] == fortran).all()
    assert codec.read(codec.write(0, {"f": fortran}))[1]["f"].flags.c_contiguous


def test_what_has_no_form_is_named_or_refused() -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    thing = {"generator": np.random.default_rng(0), "odd": np.zeros(2, "V3"), "circle": circle}
    _, fields = codec.read(codec.write(0, {"info": thing}))
    assert fields["info"]["generator"] == "<Generator>"
    assert fields["info"]["odd"] == "<ndarray>"
    for value in thing.values():
        with pytest.raises(Unsendable):
            codec.write(0, {"state": value}, strict=True)


def test_nan_keeps_its_bits() -> None:
    odd = struct.unpack(">d", bytes.fromhex("7ff8000000000123"))[0]
    for value in (odd, math.nan, math.inf, -math.inf, -0.0):
        _, fields = codec.read(codec.write(0, {"v": value}))
        assert struct.pack(">d", fields["v"]) == struct.pack(">d", value)


def message(header: bytes, body: bytes = b"", size: int | None = None) -> bytes:
    head = b"GLN\1" + struct.pack("<IQ", len(header) if size is None else size, 5)
    return head + header + bytes(-len(header) % 8) + body


BAD_HEADERS = [
    b"[]", b"", b"{", b'"\xff"', b"[" * 2000, b'{"a":{"$z":1}}', b'{"a":{"$a":1}}',
    b'{"a":{"$a":["<f4",[2],0]}}', b'{"a":{"$a":["<f4",[2],1]}}', b'{"a":{"$a":["<f4",[2],-8]}}',
    b'{"a":{"$a":["<f4",[-1],0]}}', b'{"a":{"$a":["<f4",[1099511627776,1099511627776],0]}}',
    b'{"a":{"$a":["<f4",[4294967296,4294967296,0,4294967296],0]}}',
    b'{"a":{"$a":["<f4",2,0]}}', b'{"a":{"$a":["O",[1],0]}}', b'{"a":{"$a":["|O8",[1],0]}}',
    b'{"a":{"$a":["float32",[0],0]}}', b'{"a":{"$a":[[],[0],0]}}',
    b'{"a":{"$a":["<U999999999",[0],0]}}', b'{"a":{"$a":["|u1",[1],0,"X"]}}',
    b'{"a":{"$a":["|u1",[true],0]}}', b'{"a":{"$b":[99,0]}}', b'{"a":{"$b":[-1,0]}}',
    b'{"a":{"$d":[1]}}', b'{"a":{"$d":[[[],1]]}}', b'{"a":{"$f":"much"}}', b'{"a":{"$f":1}}',
    b'{"a":{"$g":[1]}}', b'{"a":{"$i":"zz"}}', b'{"a":{"$i":5}}', b'{"a":{"$o":[[3],[1]]}}',
    b'{"a":{"$s":["|b1",1]}}', b'{"a":{"$s":["|i1",300]}}', b'{"a":{"$s":["<f4","00"]}}',
    b'{"a":{"$s":["<U1",{}]}}', b'{"a":{"$set":[[]]}}', b'{"a":{"$t":1}}',
    b'{"a":{"$u":[99999999]}}', b'{"a":{"$u":5}}', b'{"a":' + b"[" * 200 + b"]" * 200 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("header", BAD_HEADERS, ids=lambda header: header[:40].decode("latin-1"))
def test_bad_headers_are_refused(header: bytes) -> None:
    for body in (b"", bytes(4)):
        with pytest.raises(Malformed):
            codec.read(message(header, body))


def test_bytes_are_given_only_once() -> None:
    """So that a short message cannot become a long one."""
    header = b'{"a":[' + b",".join([b'{"$a":["|u1",[8],0]}'] * 3) + b"]}"
    with pytest.raises(Malformed, match="more than the message holds"):
        codec.read(message(header, bytes(16)))


def test_bools_are_bools() -> None:
    header = b'{"a":{"$a":["|b1",[3],0]}}'
    assert codec.read(message(header, b"\0\1\1"))[1]["a"].tolist() == [False, True, True]
    with pytest.raises(Malformed, match="neither 0 nor 1"):
        codec.read(message(header, b"\0\1\2"))


@pytest.mark.parametrize(
    "data", [b"", b"GLN\1", b"GLN\2" + bytes(12), b"GET / HTTP/1.1\r\n\r\n", message(b"{}", size=9)]
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(Malformed):
        codec.read(data)
