"""gymie's messages: what is read, what is refused, and what fits into a close frame."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_loop.wire import gymie as codec
from gym_loop.wire.gymie import METHODS, Refusal, cut, read_request, step_reply
from gym_loop.wire.problems import (
    EnvFailed,
    MalformedEnvId,
    ResetNeeded,
    TooManyInstances,
    UnknownEnvId,
    UnknownInstance,
    WrongAction,
    WrongSeed,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_a_request() -> None:
    data = b'{"method":"step","params":{"instance_id":"ab","action":[1.5]}}'
    assert read_request(data) == ("step", {"instance_id": "ab", "action": [1.5]})


@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_is_needed_or_known(method: str) -> None:
    needs, knows = METHODS[method]
    for names in (needs, knows):
        params: dict[str, Any] = dict.fromkeys(names, 1)
        data = json.dumps({"method": method, "params": params}).encode()
        assert read_request(data) == (method, params)
    for names in (needs - {min(needs)}, knows | {"other"}):
        params = dict.fromkeys(sorted(names), 1)
        with pytest.raises(Refusal, match=r"^Parameters `\{.*\}` are wrong$"):
            read_request(json.dumps({"method": method, "params": params}).encode())


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    refusal = None
    try:
        method, params = read_request(data)
    except Refusal as raised:
        refusal = raised
    if refusal is None:
        assert METHODS[method].needs <= params.keys() <= METHODS[method].knows
    else:
        assert refusal.code in (1003, 1007)
        assert 0 < len(refusal.reason.decode().encode()) <= 123


@given(method=JSON, params=JSON)
def test_what_looks_like_a_request_is_read_or_refused(method: Any, params: Any) -> None:
    data = json.dumps({"method": method, "params": params}).encode()
    with pytest.raises(Refusal):
        read_request(data)


@pytest.mark.parametrize("depth", [900, 1500, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    for data in (nested, b'{"method": "reset", "params": %s}' % nested):
        with pytest.raises(Refusal) as refused:
            read_request(data)
        assert len(refused.value.reason) <= 123


@given(st.text(st.characters(exclude_categories=())))
def test_a_reason_is_cut_between_characters(text: str) -> None:
    data = cut(text)
    assert len(data) <= 123
    whole = text.encode("utf-8", "replace")
    assert whole.startswith(data)
    assert data.decode() is not None
    if len(whole) > 123:
        assert len(data) > 119  # no character has more than four bytes


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (MalformedEnvId(""), "Environment `x` is malformed"),
        (UnknownEnvId(""), "Environment `x` not found"),
        (UnknownInstance(""), "Instance `7` not found"),
        (WrongAction(""), "Action `[1]` is wrong"),
        (ResetNeeded(""), "Action `[1]` is wrong"),
        (WrongSeed(""), "Parameters `{'env_id': 'x', 'instance_id': 7, 'action': [1]}` are wrong"),
        (EnvFailed("it broke"), "Unknonwn error: it broke"),
        (TooManyInstances("all are taken"), "Unknonwn error: all are taken"),
        (ZeroDivisionError("division"), "Unknonwn error: division"),
    ],
)
def test_problems_in_the_words_of_the_protocol(problem: Exception, reason: str) -> None:
    params = {"env_id": "x", "instance_id": 7, "action": [1]}
    refusal = codec.refusal(problem, params)
    assert (refusal.code, refusal.message) == (1007, reason)


@pytest.mark.parametrize(
    ("reward", "written"),
    [(1.0, "1.0"), (float("nan"), "null"), (float("inf"), "1e100"), (float("-inf"), "-1e100")],
)
def test_four_values_of_five(reward: float, written: str) -> None:
    got = json.loads(step_reply([1], reward, False, False, {"a": 1}))
    assert got == [
        [1],
        json.loads(written),
        False,
        {"a": 1, "terminated": False, "truncated": False},
    ]


@pytest.mark.parametrize("terminated", [False, True])
@pytest.mark.parametrize("truncated", [False, True])
def test_done_is_either(terminated: bool, truncated: bool) -> None:
    _, _, done, info = json.loads(step_reply(0, 0.0, terminated, truncated, {}))
    assert done == (terminated or truncated)
    assert (info["terminated"], info["truncated"]) == (terminated, truncated)
    assert info.get("TimeLimit.truncated", False) == (truncated and not terminated)
