"""Vectors, subjects, and the bytes of core NATS, without a socket."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_loop.errors import BridgeProtocolError
from gym_loop.wire import nats as wire
from gym_loop.wire.gym_nats import decode, encode, encode_number, prefix_problem, subjects
from gym_loop.wire.nats import Message, Reader, WireError


@pytest.mark.parametrize(
    ("number", "text"), [(1.0, b"AAAAAAAA8D8="), (10.0, b"AAAAAAAAJEA="), (-1.0, b"AAAAAAAA8L8=")]
)
def test_the_values_of_the_protocol(number: float, text: bytes) -> None:
    assert encode([number]) == encode_number(number) == text
    assert decode(text, "rl.reward").tolist() == [number]


@given(st.lists(st.floats(allow_nan=False, width=64), max_size=50))
def test_vectors_come_back(values: list[float]) -> None:
    assert decode(encode(values), "rl.update", len(values)).tolist() == values


@given(st.binary(max_size=60))
def test_any_bytes_are_a_vector_or_an_error(payload: bytes) -> None:
    try:
        vector, problem = decode(payload, "rl.action"), ""
    except BridgeProtocolError as error:
        vector, problem = np.empty(0), str(error)
    assert problem.startswith("rl.action: ") or encode(vector) == payload


def test_subjects() -> None:
    assert subjects() == (
        "rl.update", "rl.reward", "rl.action", "rl.reset", "rl.actions", "r.done"
    )  # fmt: skip
    assert subjects("a.b") == subjects("a.b.")
    assert subjects("a.b").done == "a.b.r.done"
    assert not any(map(prefix_problem, ["", "a", "a.", "a.b-c", "$x_1"]))
    assert all(map(prefix_problem, [".", "a..b", "a b", "*", "a.>", ".a", "é", "a\r\n"]))


# -- the bytes of NATS -----------------------------------------------------------------------

STREAM = (
    b'INFO {"max_payload": 9}\r\nPING\r\nMSG rl.action 4 _INBOX.a.1 3\r\na\r\n\r\n'
    b"+OK\r\nMSG rl.reset 5 0\r\n\r\nHMSG x.1 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
    b"HMSG x.1 1 y 21 24\r\nNATS/1.0\r\nA: bc d\r\n\r\n123\r\n-ERR 'Slow Consumer'\r\n"
)
ITEMS = [
    b'INFO {"max_payload": 9}',
    b"PING",
    Message("rl.action", "_INBOX.a.1", b"a\r\n"),
    b"+OK",
    Message("rl.reset", "", b""),
    Message("x.1", "", b"", b"NATS/1.0 503\r\n\r\n"),
    Message("x.1", "y", b"123", b"NATS/1.0\r\nA: bc d\r\n\r\n"),
    b"-ERR 'Slow Consumer'",
]


@settings(max_examples=50)
@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=8).map(sorted))
def test_a_stream_may_come_in_any_pieces(cuts: list[int]) -> None:
    reader, items = Reader(), []
    for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True):
        reader.feed(STREAM[start:end])
        while (item := reader.next()) is not None:
            items.append(item)
    assert items == ITEMS


def test_headers() -> None:
    status, named = (one for one in ITEMS if isinstance(one, Message) and one.headers)
    assert (status.status, status.header("A")) == (b"503", None)
    assert (named.status, named.header("A"), named.header("B")) == (b"", "bc d", None)


@pytest.mark.parametrize(
    "bad",
    [
        b"MSG\r\n",
        b"MSG \r\n",
        b"MSG a 1 x\r\n",
        b"MSG a 1 -1\r\n",
        b"MSG a 1 99999999999999999999\r\n",
        b"MSG 3\r\n",
        b"MSG a 1 b c 0\r\n\r\n",
        b"MSG a 1 2\r\nabcd\r\n",
        b"HMSG a 1 5\r\n",
        b"HMSG a 1 9 5\r\n",
        b"HMSG a 1 -2 5\r\n",
        b"A" * (wire.LONGEST_LINE + 1),
        b"A" * (wire.LONGEST_LINE + 1) + b"\r\n",
    ],
    ids=lambda bad: repr(bad[:20]),
)
def test_what_is_no_nats(bad: bytes) -> None:
    reader = Reader()
    reader.feed(bad)
    if bad == b"MSG\r\n":  # a line of its own kind, which nobody waits for
        assert reader.next() == b"MSG"
    else:
        with pytest.raises(WireError):
            reader.next()


def test_noise_ends_in_items_or_an_error() -> None:
    rng = random.Random(5)
    errors = 0
    for _ in range(1000):
        data = bytearray(STREAM)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        reader = Reader()
        reader.feed(bytes(data))
        try:
            while reader.next() is not None:
                pass
        except WireError:
            errors += 1
    assert errors > 100


def test_what_is_sent() -> None:
    assert wire.publish("a", b"xy") == b"PUB a 2\r\nxy\r\n"
    assert wire.publish("a", b"xy", "b") == b"PUB a b 2\r\nxy\r\n"
    assert wire.publish("a", b"xy", headers={"K": "v"}) == (
        b"HPUB a 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nxy\r\n"
    )
    assert wire.subscribe("a.*", 3) == b"SUB a.* 3\r\n"
    assert wire.connect({"a": 1}) == b'CONNECT {"a": 1}\r\n'
    # A subject that is not UTF-8 goes back as it came.
    reader = Reader()
    reader.feed(b"MSG a 1 \xff\xfe 0\r\n\r\n")
    message = reader.next()
    assert isinstance(message, Message)
    assert wire.publish(message.reply, b"") == b"PUB \xff\xfe 0\r\n\r\n"


@pytest.mark.parametrize("line", [b"HTTP/1.1 400 Bad Request", b"INFO [", b"INFO []", b"INFO \xff"])
def test_what_is_no_nats_server(line: bytes) -> None:
    with pytest.raises(WireError):
        wire.read_info(line)


def test_long_vectors_are_not_shown_whole() -> None:
    with pytest.raises(BridgeProtocolError) as caught:
        decode(b"%" * 10_000, "rl.update")
    assert len(str(caught.value)) < 250
    assert np.array_equal(decode(encode(np.arange(9.0)), "x", 9), np.arange(9.0))
