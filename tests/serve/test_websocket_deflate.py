"""permessage-deflate: what is agreed on, and messages that are no compressed data."""

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_loop.serve.websocket.deflate import Broken, Deflate, TooLong, agree

BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        (["permessage-deflate"], BOTH),
        (["permessage-deflate; client_max_window_bits"], BOTH),
        (["permessage-deflate; client_max_window_bits=10"], BOTH),
        (["x-webkit-deflate-frame, permessage-deflate; client_max_window_bits"], BOTH),
        (["something", "permessage-deflate"], BOTH),
        (["permessage-deflate; server_max_window_bits=9"], f"{BOTH}; server_max_window_bits=9"),
        (['permessage-deflate; server_max_window_bits="12"'], f"{BOTH}; server_max_window_bits=12"),
        (["permessage-deflate; server_max_window_bits=8"], None),
        (["permessage-deflate; server_max_window_bits=8, permessage-deflate"], BOTH),
        (["permessage-deflate; server_max_window_bits"], None),
        (["permessage-deflate; server_no_context_takeover=1"], None),
        (["permessage-deflate; new_parameter"], None),
        (["permessage-deflate; client_max_window_bits; client_max_window_bits"], None),
        (["permessage-deflate; client_max_window_bits=99"], None),
        ([], None),
        ([""], None),
    ],
)
def test_agreement(offers: list[str], answer: str | None) -> None:
    found = agree(offers)
    assert (found[1] if found else None) == answer


@given(st.binary(max_size=5000), st.integers(9, 15))
def test_there_and_back(message: bytes, bits: int) -> None:
    deflate = Deflate(bits)
    payload = deflate.compress(message)
    assert deflate.inflate(payload, len(message)) == message
    # As a client with this window reads it.
    assert zlib.decompressobj(-bits).decompress(payload + b"\0\0\xff\xff") == message


@given(st.binary(max_size=200))
def test_any_bytes_are_inflated_or_refused(payload: bytes) -> None:
    message = b""
    with contextlib.suppress(Broken, TooLong):
        message = Deflate().inflate(payload, 1000)
    assert len(message) <= 1000


def test_a_bomb_is_never_unpacked() -> None:
    bomb = Deflate().compress(bytes(50_000_000))
    assert len(bomb) < 300_000
    with pytest.raises(TooLong):
        Deflate().inflate(bomb, 1 << 20)


def test_a_message_of_the_greatest_length() -> None:
    deflate = Deflate()
    assert deflate.inflate(deflate.compress(bytes(1000)), 1000) == bytes(1000)
    with pytest.raises(TooLong):
        deflate.inflate(deflate.compress(bytes(1001)), 1000)


def test_a_last_block() -> None:
    compressor = zlib.compressobj(wbits=-15)
    finished = compressor.compress(b"text") + compressor.flush(zlib.Z_FINISH)
    assert Deflate().inflate(finished, 100) == b"text"
    with pytest.raises(Broken):
        Deflate().inflate(finished + b"more", 100)
