"""Whatever kind of value a native client puts in a field, it is refused, and nothing fails."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.serve.native.native_serving import Raw, Refused, native


@pytest.fixture
def raw() -> Iterator[Raw]:
    with native() as address:
        client = Raw(address)
        yield client
        client.close()


ODD: list[Any] = [
    np.zeros(0, np.float32),
    np.zeros((2, 2), bool),
    np.array(["step"]),
    [[1], [1, 2]],
    [[[]]],
    (1, (2,)),
    {1, 2},
    {"a": np.zeros(0)},
    {1: 2},
    float("nan"),
    b"step",
    2**70,
    "",
]
FIELDS = {
    "hello": ["version"],
    "make": [
        "env_id", "parameters", "num_envs", "vectorization", "autoreset", "max_episode_steps",
        "render_mode", "state",
    ],
    "reset": ["instance", "seed", "options", "mask"],
    "step": ["instance", "action"],
    "render": ["instance", "jpeg"],
    "set_state": ["instance", "state"],
    "get_state": ["instance"],
    "close": ["instance"],
}  # fmt: skip


@pytest.mark.parametrize("copies", [None, 2])
def test_no_field_of_any_kind_is_a_failure_of_the_server(raw: Raw, copies: int | None) -> None:
    made = raw.ask("make", env_id="CartPole-v1", num_envs=copies)["instance"]
    raw.ask("reset", instance=made)
    codes = []
    for value in ODD:
        codes.append(code_of(raw, value, {}))
        for op, names in FIELDS.items():
            for name in names:
                fields = {"instance": made} if "instance" in names else {"env_id": "CartPole-v1"}
                codes.append(code_of(raw, op, {**fields, name: value}))
    assert "internal" not in codes
    assert sum(code != "" for code in codes) > 200
    assert raw.ask("reset", instance=made)["info"] == {}


def code_of(raw: Raw, op: Any, fields: dict[str, Any]) -> str:
    """The code of the error that a request meets, empty if it meets none."""
    try:
        raw.ask(op, **fields)
    except Refused as refused:
        return refused.code
    return ""
