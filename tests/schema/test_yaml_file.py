"""YAML is read as data with its lines, and written plainly."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_loop.errors import ConfigError
from gym_loop.schema.overrides import read_overrides
from gym_loop.schema.yaml_file import is_plain, read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E6", 1e6),
        ("-2e+5", -2e5),
        ("1.5e-3", 1.5e-3),
        (".5", 0.5),
        ("3.", 3.0),
        ("1_000", 1000),
        ("-.inf", -math.inf),
        ("12", 12),
        ("true", True),
        ("null", None),
        ("", None),
        ("[1, 2e1]", [1, 20.0]),
        ("{a: 1}", {"a": 1}),
        ("'1e-3'", "1e-3"),
        ("e5", "e5"),
        ("run-1e5", "run-1e5"),
        ("./logs", "./logs"),
    ],
)
def test_values(text: str, value: object) -> None:
    ((_, read),) = read_overrides([f"x={text}"])
    assert read == value
    assert type(read) is type(value)


def test_nan() -> None:
    assert math.isnan(read_yaml(".nan").data)


def test_lines() -> None:
    text = "agent:\n  parameters:\n    a: 1\n\n    b: [1, 2]\nenv:\n  wrappers:\n  - class: x\n"
    document = read_yaml(text, "run.yaml")
    assert document.line(("agent",)) == 1
    assert document.line(("agent", "parameters", "a")) == 3
    assert document.line(("agent", "parameters", "b", 1)) == 5
    assert document.line(("env", "wrappers", 0, "class")) == 8
    assert document.line(("agent", "nowhere", "at all")) == 1  # the nearest thing around it
    assert document.line(("loop",)) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1, 2\nb: 3\n", 2),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: &x [*x]\n", None),
        ("a: \x00\n", None),
        ("a: 1\nb: 2020-13-45\n", None),
        ("a: 1\n{[1, 2]: 3}: 4\n", None),
        ("? [1, 2]\n: 3\n", 1),
        ("a: !!python/object/apply:os.getcwd []\n", 1),
        ("a: *nothing\n", 1),
    ],
)
def test_not_yaml(text: str, line: int | None) -> None:
    with pytest.raises(ConfigError, match="this is not valid YAML") as error:
        read_yaml(text, "run.yaml")
    (finding,) = error.value.findings
    assert finding.source == "run.yaml"
    if line is not None:
        assert finding.line == line


def test_nothing_is_constructed() -> None:
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        read_yaml("!!python/object/new:os.system [echo no]")


def test_same_key_twice() -> None:
    text = "a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 2\n"
    with pytest.raises(ConfigError) as error:
        read_yaml(text, "run.yaml")
    assert str(error.value).splitlines() == [
        "run.yaml:5: b.c: is given twice (first in line 3); keep one",
        "run.yaml:6: a: is given twice (first in line 1); keep one",
    ]


def test_anchors_and_merges() -> None:
    text = "a: &base {x: 1, y: 2}\nb: {<<: *base, y: 3}\n"
    assert read_yaml(text).data == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}


def test_writing_with_comments() -> None:
    data = {"a": {"b": 1e-5, "c": [], "d": {}}, "e": [{"x": 1}], "f": None}
    comments = {("a",): "the first", ("a", "b"): "word " * 40, ("f",): "the last"}
    text = write_yaml(data, comments)
    lines = text.splitlines()
    assert lines[:2] == ["# the first", "a:"]
    assert lines[2].startswith("  # word word")
    assert lines[3].startswith("  # word word")
    assert max(len(line) for line in lines) <= 100
    assert lines[-2:] == ["# the last", "f: null"]
    assert read_yaml(text).data == data


def test_tuples_and_numpy_values_are_written_plain() -> None:
    text = write_yaml({"a": (1, 2), "b": np.float32(0.5), "c": np.arange(3), "d": np.bool_(True)})
    assert read_yaml(text).data == {"a": [1, 2], "b": 0.5, "c": [0, 1, 2], "d": True}


texts = st.text("ab 1é:#-\"'\n\t\x00{}[],&*!|>%@", max_size=12)
tricky = st.sampled_from(
    ["1e-3", "1e5", "null", "true", "on", ".5", "1:30", "~", "a: b", "# x", "-", ""]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | texts
    | tricky
    | st.dates()
)
keys = st.text("abc_-. 1e", min_size=1, max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
)


@settings(deadline=None)
@given(st.dictionaries(keys, values, max_size=4))
def test_what_is_written_is_read_back(data: dict[str, object]) -> None:
    assert read_yaml(write_yaml(data) if data else "{}").data == data


def test_is_plain() -> None:
    assert is_plain({"a": [1, None, 2.5, "x", (np.float32(1), True)]})
    assert not is_plain([object()])
    assert not is_plain({"f": len})
