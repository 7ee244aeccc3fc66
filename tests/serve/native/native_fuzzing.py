"""What is nearly a native message, and what may come of it, for `tests.serve.fuzzing`."""

import json
import struct
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gym_loop.wire import native as codec
from gym_loop.wire.problems import Problem
from gym_loop.wire.values import TAGS, Malformed
from tests.serve.fuzz_inputs import mutated
from tests.serve.live import frame

INSTANCES: list[str] = ["0" * 32]  # those open in the live server that is fuzzed
_DTYPES = st.sampled_from(["<f4", "|u1", "|b1", "<i8", "<U3", "|S2", "O", "<f16", ">f4", "", 1])
_NUMBERS = st.integers(-9, 40) | st.sampled_from([2**31, 2**40, 2**63, 2**64, 0.5, True, None])
_ATOMS = st.one_of(
    _NUMBERS, _DTYPES, st.floats(), st.text(max_size=4), st.sampled_from(["nan", "00", "0x1f"])
)
_HEADS = st.tuples(_DTYPES, st.lists(_NUMBERS, max_size=3) | _NUMBERS, _NUMBERS).map(list)
NODES = st.recursive(
    _ATOMS | _HEADS.map(lambda head: {"$a": head}),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from([*TAGS, "$x", "a", "env"]), inner, max_size=2),
        st.builds(lambda tag, value: {tag: value}, st.sampled_from([*TAGS, "$a"]), inner),
    ),
    max_leaves=10,
)
_FIELDS = st.sampled_from(
    ["instance", "action", "seed", "options", "mask", "state", "jpeg", "env_id", "num_envs",
     "parameters", "vectorization", "autoreset", "max_episode_steps", "render_mode", "version"]
)  # fmt: skip
_OPS = st.sampled_from(
    ["step", "step", "reset", "make", "render", "get_state", "set_state", "hello", "list", "ping"]
)
_instances = st.builds(lambda at: INSTANCES[at % len(INSTANCES)], st.integers(0, 20))


def _message(number: int, header: Any, body: bytes) -> bytes:
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    head = codec.MAGIC + struct.pack("<IQ", len(text), number)
    return head + text + bytes(-len(text) % 8) + body


HEADERS = st.builds(
    lambda op, fields, instance: {
        "op": op,
        **fields,
        **({"instance": instance} if instance else {}),
    },
    _OPS | NODES,
    st.dictionaries(_FIELDS, NODES, max_size=3),
    st.none() | _instances,
)
_STEPS = st.builds(
    lambda instance, action: codec.write(3, {"op": "step", "instance": instance, "action": action}),
    _instances,
    st.sampled_from([0, 1, np.zeros(2, np.int64), np.ones(1, np.float32), [0, 1], None]),
)
MESSAGES = st.builds(_message, st.integers(0, 2**64 - 1), HEADERS | NODES, st.binary(max_size=80))
WRITTEN = st.sampled_from(
    [
        codec.write(1, {"a": np.arange(6.0).reshape(2, 3), "b": (1, {2, 3}), "c": {1: b"bytes"}}),
        codec.write(2, {"op": "step", "instance": "x" * 32, "action": np.zeros(3, np.int64)}),
        codec.write(3, {"a": np.ones(3, bool), "o": np.array([None, 2**70, "x"], object)}),
    ]
)
INPUTS = MESSAGES | mutated(MESSAGES | WRITTEN) | st.binary(max_size=60)  # for the codec
FRAMES = st.lists(  # for the server
    (_STEPS | MESSAGES | mutated(MESSAGES | _STEPS)).map(lambda data: frame(data, 2)),
    min_size=1,
    max_size=4,
)


def read(data: bytes) -> None:
    """Bytes are a message, which can be written again, or refused."""
    try:
        number, fields = codec.read(bytearray(data))
    except Malformed:
        return
    try:
        again = codec.write(number, fields, strict=True)
    except Problem:
        return
    assert codec.read(again)[0] == number


def check_reply(payload: bytes) -> None:
    """A reply is one, and its error says why."""
    _, fields = codec.read(payload)
    if "error" in fields:
        assert fields["error"]["code"] != "internal", fields
        assert "Traceback" not in fields["error"]["message"]
