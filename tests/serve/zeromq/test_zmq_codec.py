"""Messages, written and read without a socket; and the transcripts that pin them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from gym_loop.errors import BridgeProtocolError, SampleError, SpaceError
from gym_loop.serve.zeromq.config import load_config
from gym_loop.serve.zeromq.world import World
from gym_loop.wire.gymz import (
    BadCommandError,
    Reading,
    SpaceCodec,
    decode_command,
    encode_command,
    encode_reward,
    stamp,
)

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts" / "zeromq"

SPACES = [
    spaces.Discrete(4),
    spaces.Discrete(3, start=-1),
    spaces.Box(-2.0, 2.0, (1,), np.float32),
    spaces.Box(-np.inf, np.inf, (2, 3), np.float64),
    spaces.Box(0, 255, (2, 2), np.uint8),
    spaces.Box(-1.0, 1.0, (), np.float32),
    spaces.MultiDiscrete([2, 5]),
    spaces.MultiDiscrete([[2, 5], [3, 4]], start=[[1, 0], [0, 7]]),
    spaces.MultiBinary(3),
    spaces.MultiBinary([2, 2]),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_sample_comes_back_as_it_was(space: Any) -> None:
    codec = SpaceCodec(space)
    space.seed(1)
    for _ in range(20):
        sample = space.sample()
        reading = Reading(stamp(codec.encode(sample), 12.5))
        assert reading.ts == 12.5
        low, high = reading.bounds()
        assert len(reading.values) == len(low) == len(high) == codec.dimensions
        again = codec.decode(reading.values)
        assert np.asarray(again).dtype == np.asarray(sample).dtype
        assert np.array_equal(again, sample)
    assert space.contains(codec.neutral())


def test_the_form_of_an_observation() -> None:
    codec = SpaceCodec(spaces.Box(np.array([-1.5, -np.inf]), np.array([0.5, np.inf]), dtype=float))
    assert stamp(codec.encode(np.array([0.25, 1e-7])), 1700000000.25) == (
        b'[{"min":-1.5,"max":0.5,"value":0.25,"ts":1700000000.25},'
        b'{"min":-1e+100,"max":1e+100,"value":1e-07,"ts":1700000000.25}]'
    )
    odd = json.loads(stamp(codec.encode(np.array([np.nan, -np.inf])), 1.0))
    assert [item["value"] for item in odd] == [None, -1e100]


def test_the_form_of_a_reward() -> None:
    assert stamp(encode_reward(-1.0, 1.0, None), 0.5) == (
        b'[{"min":-1.0,"max":1.0,"value":null,"ts":0.5}]'
    )
    assert json.loads(stamp(encode_reward(None, None, math.inf), 2.0)) == [
        {"min": None, "max": None, "value": 1e100, "ts": 2.0}
    ]


def test_spaces_that_cannot_be_streamed() -> None:
    with pytest.raises(SpaceError, match="flatten it"):
        SpaceCodec(spaces.Dict({"a": spaces.Discrete(2)}))


def test_samples_that_are_none() -> None:
    codec = SpaceCodec(spaces.Box(-1.0, 1.0, (2,)))
    for sample in (np.zeros(3), 1.0, [0.0, "a"]):
        with pytest.raises(SampleError, match="shape"):
            codec.encode(sample)


def test_neutral_is_nearest_to_zero() -> None:
    assert SpaceCodec(spaces.Discrete(3, start=5)).neutral() == 5
    assert SpaceCodec(spaces.Box(1.5, 2.0, (2,))).neutral().tolist() == [1.5, 1.5]


def test_a_command_counts_by_its_value_alone() -> None:
    assert decode_command(b'[{"value": 2.0}]', 1).values == [2.0]
    command = decode_command(b'[{"value":1,"ts":3,"min":0,"max":"?"},{"x":1}, 7]', 1)
    assert (command.values, command.ts) == ([1], 3)
    assert decode_command(b'[{"value":1,"ts":"soon"}]', 1).ts is None
    assert decode_command(encode_command([1, -0.5], 8.0), 2).values == [1, -0.5]
    assert SpaceCodec(spaces.Discrete(3)).decode([2.0]) == 2


BAD = [
    b"", b"x", b"null", b"3", b"{}", b"[]", b"[null]", b"[[1]]", b"[{}]", b'[{"ts":1}]',
    b'[{"value":null}]', b'[{"value":"1"}]', b'[{"value":true}]', b'[{"value":[1]}]',
    b'[{"value":NaN}]', b'[{"value":-Infinity}]', b'[{"value":1e999}]', b"\xff\xfe",
    b'[{"value":' + b"9" * 400 + b"}]", b'[{"value":' + b"9" * 5000 + b"}]",
    b"[" * 5000, b" " * 100_000, b'[{"value":1}',
]  # fmt: skip


@pytest.mark.parametrize("data", BAD, ids=lambda data: repr(data[:20]))
def test_bad_commands_are_told_apart(data: bytes) -> None:
    with pytest.raises(BadCommandError) as caught:
        decode_command(data, 1)
    assert 0 < len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [-1, 3, 1.5, 1e300])
def test_commands_outside_the_action_space(value: float) -> None:
    for space in (spaces.Discrete(3), spaces.MultiDiscrete([3]), spaces.Box(0, 2, (1,), np.uint8)):
        with pytest.raises(SampleError, match=r"not in|no whole number"):
            SpaceCodec(space).decode([value])
    if value != 1.5:
        with pytest.raises(SampleError, match="not in"):
            SpaceCodec(spaces.Box(0.0, 2.0, (1,))).decode([value])


def test_too_few_values() -> None:
    with pytest.raises(BadCommandError, match="2 objects"):
        decode_command(b'[{"value":1}]', 2)
    with pytest.raises(SampleError, match="1 values for 2"):
        SpaceCodec(spaces.MultiBinary(2)).decode([1])


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for read in (lambda: decode_command(data, 1), lambda: Reading(data)):
        try:
            read()
        except (BadCommandError, BridgeProtocolError):
            pass


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_no_json_raises_anything_else(value: Any) -> None:
    for content in (value, [{"value": value, "min": value, "max": value, "ts": value}]):
        data = json.dumps(content).encode()
        for read in (
            lambda data=data: decode_command(data, 1),
            lambda data=data: Reading(data),
        ):
            try:
                read()
            except (BadCommandError, BridgeProtocolError):
                pass


def test_a_reading_of_gymz_itself() -> None:
    data = b'[{"min": -Infinity, "max": Infinity, "value": 0.1, "ts": 2.5}, '
    reading = Reading(data + b'{"max": 3, "min": null, "value": 3, "ts": 9}]')
    assert reading.values == (0.1, 3.0)
    assert reading.bounds() == ((-math.inf, None), (math.inf, 3))
    assert reading.ts == 2.5
    for odd in (b"[]", b"7", b'["a"]', b'[{"value":1}]', b'[{"value":{},"ts":1}]'):
        with pytest.raises(BridgeProtocolError, match="gymz stream"):
            Reading(odd)
    with pytest.raises(BridgeProtocolError, match="gymz stream"):
        Reading(b'[{"value":1,"ts":1}]').bounds()


# -- transcripts ---------------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted(TRANSCRIPTS.glob("*.json")), ids=lambda file: file.stem)
def test_transcript(file: Path) -> None:
    """Each tick: the command's bytes, if one came, and the bytes on both streams after it."""
    script = json.loads(file.read_text(encoding="utf-8"))
    world = World(load_config(None, {**script["config"], "Env.render": False}))
    try:
        action = world.actions.neutral()
        messages = world.start()
        for number, tick in enumerate(script["ticks"]):
            if tick.get("command"):
                command = decode_command(tick["command"].encode(), world.actions.dimensions)
                action = world.actions.decode(command.values)
            if number:
                messages = world.tick(action)
            observation, reward = (stamp(one, 1700000000.25).decode() for one in messages)
            assert observation == tick["observation"], f"tick {number}"
            assert reward == tick["reward"], f"tick {number}"
    finally:
        world.close()


def test_there_are_transcripts() -> None:
    assert len(list(TRANSCRIPTS.glob("*.json"))) >= 3
