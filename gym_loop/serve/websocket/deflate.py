"""permessage-deflate (RFC 7692): what is agreed on in the handshake, and the messages themselves.

Every message is compressed by itself, in both directions: a connection then holds no window of
32 KiB and more, and a message that is small is sent as it is.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

LEAST = 512  # bytes: of smaller messages, compression saves less than it costs
_TAIL = b"\x00\x00\xff\xff"  # what the extension leaves off the end of each message
_NAME = "permessage-deflate"
_LEVEL = 1  # observations compress hardly better at a higher level, only slower
_BITS = re.compile(r'"?(9|1[0-5])"?')  # zlib cannot write raw data with a window of 8 bits


class TooLong(Exception):  # noqa: N818 - a client's fault, answered on the wire
    """A message that would be longer than allowed once it is inflated."""


class Broken(Exception):  # noqa: N818 - as above
    """Data that no compressor has written."""


class Deflate:
    """Compresses and inflates whole messages.

    Args:
        server_bits: size of the window that the client can read, as a power of two.
    """

    def __init__(self, server_bits: int = 15) -> None:
        self._server_bits = server_bits

    def compress(self, message: bytes) -> bytes:
        """The payload of a frame whose first reserved bit is set."""
        compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -self._server_bits)
        data = compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return data.removesuffix(_TAIL)

    def inflate(self, payload: bytes, longest: int) -> bytes:
        """Read the payload of a message.

        Args:
            payload: of all its frames.
            longest: bytes that the message may have.

        Raises:
            TooLong: it has more; no more than that is ever held.
            Broken: it is not compressed data, or there is more after its end.
        """
        inflater = zlib.decompressobj(-15)
        try:
            message = inflater.decompress(payload + _TAIL, longest + 1)
        except zlib.error as error:
            raise Broken(str(error)) from None
        if len(message) > longest:
            raise TooLong
        # What is left is the tail alone where the last block said that it is the last.
        if inflater.unconsumed_tail or inflater.unused_data not in (b"", _TAIL):
            raise Broken("there is more after the end of the compressed data")
        return message


def agree(offers: Iterable[str]) -> tuple[Deflate, str] | None:
    """Accept the first offer that can be kept.

    Args:
        offers: the values of the request's ``Sec-WebSocket-Extensions`` headers.

    Returns:
        The extension and the value of the answer's header; None where nothing can be agreed on.
    """
    for offer in ",".join(offers).split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name.lower() != _NAME:
            continue
        bits = _window(parameters)
        if bits is not None:
            words = [_NAME, "server_no_context_takeover", "client_no_context_takeover"]
            if any(part.lower().startswith("server_max_window_bits") for part in parameters):
                words.append(f"server_max_window_bits={bits}")
            return Deflate(bits), "; ".join(words)
    return None


def _window(parameters: list[str]) -> int | None:
    """The window that an offer leaves to the server; None where the offer cannot be accepted."""
    bits = 15
    seen = set()
    for parameter in parameters:
        name, given, value = (part.strip().lower() for part in parameter.partition("="))
        if name in seen:
            return None
        seen.add(name)
        number = _BITS.fullmatch(value)
        if name == "server_max_window_bits" and number:
            bits = int(number[1])
        elif name == "client_max_window_bits" and (not given or number or value.strip('"') == "8"):
            pass  # whatever it is, the window here is large enough
        elif name in ("server_no_context_takeover", "client_no_context_takeover") and not given:
            pass
        else:
            return None
    return bits
