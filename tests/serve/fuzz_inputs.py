"""Values, texts and bytes that are almost right, for Hypothesis to draw."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st

from gym_loop.wire.json_values import Style
from gym_loop.wire.spaces import space_to_json

Strategy = st.SearchStrategy[Any]
Target = Callable[[Any], None]
SPACES = [
    spaces.Discrete(3, start=-1),
    spaces.Box(-1.0, 1.0, (2, 2), np.float32),
    spaces.Box(0, 255, (3,), np.uint8),
    spaces.Box(-np.inf, np.inf, (2,), np.float64),
    spaces.MultiBinary(3),
    spaces.MultiDiscrete([2, 3]),
    spaces.Text(5),
    spaces.Tuple([spaces.Discrete(2), spaces.Text(3)]),
    spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(0, 1, (1,))),
    spaces.Sequence(spaces.Discrete(2)),
    spaces.Sequence(spaces.Box(0, 1, (2,)), stack=True),
    spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(2)),
    spaces.OneOf([spaces.Discrete(2), spaces.Box(0, 1, (1,))]),
]
for number, one in enumerate(SPACES):
    one.seed(number)
NUMBERS = st.one_of(
    st.integers(-3, 300),
    st.integers(),
    st.sampled_from([2**31, 2**53, 2**63, 2**64, -(2**63), 10**400]),
    st.floats(),
    st.sampled_from([1e100, -1e100, 1e308, 5e-324]),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.text(max_size=8), st.sampled_from(["nan", "inf", "-inf"])
)


def json_values(keys: Strategy) -> Strategy:
    """Nested values whose objects have such keys."""
    return st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
        max_leaves=12,
    )


WORDS = st.sampled_from(
    ["name", "n", "start", "shape", "low", "high", "dtype", "spaces", "nvec", "charset", "space",
     "min_length", "max_length", "stack", "node_space", "edge_space", "keys", "nodes", "edges",
     "edge_links", "a", "b", "value", "ts", "min", "max", "end"]
)  # fmt: skip
VALUES = json_values(WORDS | st.text(max_size=4))
DESCRIPTIONS = st.recursive(
    st.sampled_from([space_to_json(one, style=Style.EXACT) for one in SPACES]) | VALUES,
    lambda inner: st.fixed_dictionaries(
        {"name": st.sampled_from(["Box", "Tuple", "Dict", "Sequence", "OneOf", "Text", "Graph"])},
        optional={
            "spaces": st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
            "space": inner,
            "shape": st.lists(NUMBERS, max_size=3),
            "low": VALUES,
            "high": VALUES,
            "dtype": st.sampled_from(["float32", "int8", "bool", "object", "<U5", "O", "float999"]),
        },
    ),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn, originals: Strategy) -> bytes:
    """Bytes with some of them changed, left out or doubled."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=3))
            case 1:
                del data[at : at + draw(st.integers(1, 20))]
            case 2:
                data[at:at] = data[: draw(st.integers(0, 40))]
            case _:
                data[at:at] = draw(st.sampled_from([b"\0", b"\xff", b"[", b"{", b'"', b"\r\n"]))
    return bytes(data)


def dumped(values: Strategy) -> Strategy:
    """JSON texts, some of them no more than nearly; NaN and infinities as Python writes them."""
    texts = values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    deep = st.integers(1, 30_000).flatmap(
        lambda depth: st.sampled_from([b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth])
    )
    return texts | mutated(texts) | st.binary(max_size=60) | deep
