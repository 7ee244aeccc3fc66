"""What travels over NATS: a vector is base64 of its little-endian float64 bytes."""

from __future__ import annotations

import base64
import binascii
import math
import string
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gym_loop.errors import BridgeProtocolError

Vector = NDArray[np.float64]
# In a reply about the end of an episode: it was truncated. Other agents do not look at it.
TRUNCATED_HEADER = "Gym-Loop-Truncated"
# In the reply about actions: requests are served in the order in which they come, so that those of
# a step may be sent together. Systems with a task a subject, as nats-py makes them, cannot say so.
ORDERED_HEADER = "Gym-Loop-Ordered"
_NUMBER = struct.Struct("<d")


class Subjects(NamedTuple):
    """The six subjects of one system."""

    update: str
    reward: str
    action: str
    reset: str
    actions: str
    done: str


def subjects(prefix: str = "") -> Subjects:
    """Name the subjects of the system under a prefix, such as ``"cart."`` or ``"cart"``."""
    if prefix and not prefix.endswith("."):
        prefix += "."
    names = ("rl.update", "rl.reward", "rl.action", "rl.reset", "rl.actions", "r.done")
    return Subjects(*(f"{prefix}{name}" for name in names))


def prefix_problem(prefix: str) -> str:
    """What is wrong with a prefix, or ``""``."""
    allowed = set(string.printable) - set(string.whitespace) - set("*>")
    tokens = prefix.removesuffix(".").split(".") if prefix else []
    if set(prefix) <= allowed and all(tokens):
        return ""
    return f"{prefix!r} is no subject prefix: use words joined by dots, such as 'cart'"


def encode_number(value: float) -> bytes:
    """Encode a vector of one number."""
    return binascii.b2a_base64(_NUMBER.pack(value), newline=False)


def encode(values: Sequence[float] | Vector) -> bytes:
    """Encode a vector: 1.0 is ``AAAAAAAA8D8=``."""
    return binascii.b2a_base64(np.asarray(values, "<f8").tobytes(), newline=False)


def decode(payload: bytes, subject: str, size: int | None = None) -> Vector:
    """Decode a vector.

    Args:
        payload: what came.
        subject: where it came from, for the error.
        size: numbers that it must hold; None takes any.

    Raises:
        BridgeProtocolError: it is not base64, not whole float64 numbers, not of that size,
            or holds NaN.
    """
    try:
        data = base64.b64decode(payload, validate=bool(payload))
    except binascii.Error as error:
        raise BridgeProtocolError(
            f"{subject}: {_shown(payload)} is not base64 ({error}); a vector is base64 of"
            " little-endian float64 numbers"
        ) from None
    if len(data) % 8:
        raise BridgeProtocolError(
            f"{subject}: {len(data)} bytes are no whole float64 numbers of 8 bytes each"
        )
    vector = np.frombuffer(data, "<f8")
    if size is not None and len(vector) != size:
        raise BridgeProtocolError(f"{subject}: {len(vector)} numbers came where {size} belong")
    # The least number is NaN where there is one: one pass, where a search takes two.
    if len(vector) and math.isnan(vector.min()):
        raise BridgeProtocolError(f"{subject}: NaN at index {int(np.isnan(vector).argmax())}")
    return vector


def _shown(payload: bytes) -> str:
    text = repr(payload)[1:]
    return text if len(text) <= 60 else f"{text[:57]}..."
