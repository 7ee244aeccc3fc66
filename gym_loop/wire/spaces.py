"""Every Gymnasium space and its samples, as JSON or bytes and back.

description = space_to_json(env.observation_space, style=Style.EXACT)
space = space_from_json(json.loads(json.dumps(description)))
encode, decode = encoder_for(space, Style.EXACT), decoder_for(space)
observation = decode(json.loads(json.dumps(encode(observation))))
"""

from __future__ import annotations

from gym_loop.wire.json_values import Style
from gym_loop.wire.plain_values import plain
from gym_loop.wire.sample_bytes import (
    ByteCoder,
    byte_coder_for,
    sample_from_bytes,
    sample_to_bytes,
)
from gym_loop.wire.sample_json import (
    decoder_for,
    encoder_for,
    sample_from_json,
    sample_to_json,
)
from gym_loop.wire.space_reading import LIMITS, Limits, space_from_json
from gym_loop.wire.space_writing import space_to_json

LEGACY_FLAT, LEGACY_NESTED, EXACT = Style.LEGACY_FLAT, Style.LEGACY_NESTED, Style.EXACT

__all__ = [
    "EXACT",
    "LEGACY_FLAT",
    "LEGACY_NESTED",
    "LIMITS",
    "ByteCoder",
    "Limits",
    "Style",
    "byte_coder_for",
    "decoder_for",
    "encoder_for",
    "plain",
    "sample_from_bytes",
    "sample_from_json",
    "sample_to_bytes",
    "sample_to_json",
    "space_from_json",
    "space_to_json",
]
