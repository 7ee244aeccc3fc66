"""What every codec is fed, and what may come out: something that it can write, or its own error."""

import json
import math
from typing import Any

import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st

from gym_loop.errors import BridgeError
from gym_loop.wire import gym_http as http_codec
from gym_loop.wire import gym_nats as nats_codec
from gym_loop.wire import gymie as websocket_codec
from gym_loop.wire import gymz as zeromq_codec
from gym_loop.wire.json_values import Style
from gym_loop.wire.problems import Problem
from gym_loop.wire.spaces import Limits, space_from_json, space_to_json
from tests.serve.drawn_spaces import sample_from_json, sample_to_json
from tests.serve.fuzz_inputs import (
    DESCRIPTIONS,
    SCALARS,
    SPACES,
    VALUES,
    WORDS,
    Strategy,
    Target,
    dumped,
    mutated,
)
from tests.serve.native import native_fuzzing


def read_space(description: Any) -> None:
    """A description builds a space that can be described, or is refused."""
    try:
        space = space_from_json(description, limits=Limits(depth=8, spaces=50, elements=2000))
    except BridgeError:
        return
    again = space_from_json(json.loads(json.dumps(space_to_json(space, style=Style.EXACT))))
    assert again == space


def read_sample(drawn: tuple[spaces.Space[Any], Any]) -> None:
    """A value is a sample of its space, or refused."""
    space, value = drawn
    try:
        sample = sample_from_json(space, value)
    except BridgeError:
        return
    if space.contains(sample):
        json.dumps(sample_to_json(space, sample, style=Style.EXACT), allow_nan=False)


def read_http(drawn: tuple[bytes, bytes]) -> None:
    """A body holds an object, or is refused."""
    try:
        parameters = http_codec.read_object(*drawn)
        for read in (http_codec.seed_of, http_codec.video_interval):
            read(parameters)
        http_codec.flag(parameters, "a")
        http_codec.required_text(parameters, "name")
    except Problem as problem:
        http_codec.error_reply(problem.message)


def read_websocket(data: bytes) -> None:
    """A message is a request, or refused with a reason that fits into a close frame."""
    try:
        method, params = websocket_codec.read_request(data)
    except websocket_codec.Refusal as refusal:
        reason = refusal.reason
    else:
        assert method in websocket_codec.METHODS
        assert isinstance(params, dict)
        reason = b""
    assert len(reason) <= 123
    reason.decode()


def read_zeromq(data: bytes) -> None:
    """A command is finite numbers, or refused."""
    try:
        command = zeromq_codec.decode_command(data, 2)
    except zeromq_codec.BadCommandError:
        pass
    else:
        assert all(math.isfinite(value) for value in command.values)
    try:
        zeromq_codec.Reading(data)
    except BridgeError:
        pass


def read_nats(data: bytes) -> None:
    """A payload is a vector without NaN, or refused."""
    try:
        vector = nats_codec.decode(data, "rl.update")
    except BridgeError:
        return
    assert not np.isnan(vector).any()


CODECS: dict[str, tuple[Target, Strategy]] = {
    "spaces": (read_space, DESCRIPTIONS),
    "samples": (read_sample, st.tuples(st.sampled_from(SPACES), VALUES)),
    "http codec": (
        read_http,
        st.tuples(dumped(VALUES), st.just(b"application/json") | st.binary(max_size=20)),
    ),
    "websocket codec": (read_websocket, dumped(VALUES)),
    "zeromq codec": (
        read_zeromq,
        dumped(VALUES | st.lists(st.dictionaries(WORDS, SCALARS), min_size=2, max_size=3)),
    ),
    "native codec": (native_fuzzing.read, native_fuzzing.INPUTS),
    "nats codec": (read_nats, mutated(st.sampled_from([b"AAAAAAAA8D8=", b"", b"AAAA" * 8]))),
}
