"""An info of whatever kind becomes plain, valid JSON."""

import json
import math
from typing import Any

import numpy as np
import orjson
from hypothesis import given

from gym_loop.wire.json_values import plain
from tests.serve.drawn_spaces import QUICK, through_json, values


def test_info_becomes_plain() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    info = {
        "scalar": np.float32(0.5), "array": np.array([[1, 2]]), "flag": np.True_, 3: (1, {2}),
        "nan": np.array([math.nan, math.inf]), "big": 2**70, "huge": 10**400, "none": None,
        "object": object(), "bytes": b"x", "text": "\ud800é", "time": np.datetime64("2020-01-01"),
        "objects": np.array([None, "a"], object), "long": np.longdouble(0.5), ("a",): 1,
    }  # fmt: skip
    assert plain(info) == {
        "scalar": 0.5, "array": [[1, 2]], "flag": True, "3": [1, [2]], "nan": [None, 1e100],
        "big": float(2**70), "huge": 1e100, "none": None, "object": "<object>", "bytes": "<bytes>",
        "text": "?é", "time": "<datetime64[D]>", "objects": [None, "a"], "long": 0.5, "<tuple>": 1,
    }  # fmt: skip
    assert through_json(plain(info)) == plain(info)
    assert "<dict>" in json.dumps(plain(loop))


@QUICK
@given(values)
def test_whatever_is_in_info_is_valid_json(value: Any) -> None:
    json.dumps(plain(value), allow_nan=False)
    orjson.dumps(plain(value))
