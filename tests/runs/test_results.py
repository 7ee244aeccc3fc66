"""Results of trainings and evaluations as data."""

import json
import math

import numpy as np
import pytest

from gym_loop.runs.results import (
    EpisodeResult,
    EvaluationResult,
    Statistics,
    TrainingResult,
    is_better,
    to_json,
)

NAN = math.nan


def test_statistics() -> None:
    found = Statistics.of([1.0, 2.0, 3.0, 10.0])
    assert (found.mean, found.median, found.min, found.max) == (4.0, 2.5, 1.0, 10.0)
    assert found.std == pytest.approx(np.std([1, 2, 3, 10]))
    low, high = found.ci95
    assert 1.0 <= low < 4.0 < high <= 10.0


@pytest.mark.parametrize(
    ("value", "best", "is_so"),
    [
        (1.0, None, True),
        (2.0, 1.0, True),
        (1.0, 1.0, False),
        (NAN, None, False),
        (NAN, 1.0, False),
        (-5.0, NAN, True),
        (NAN, NAN, False),
        (math.inf, 1.0, True),
    ],
)
def test_nan_is_never_the_best(value: float, best: float | None, is_so: bool) -> None:
    assert is_better(value, best) == is_so


def test_one_value() -> None:
    assert Statistics.of([7]).ci95 == (7.0, 7.0)
    assert Statistics.of([7]).std == 0.0


def test_evaluation_as_dict() -> None:
    result = EvaluationResult(
        [EpisodeResult(5, 1.0, 10), EpisodeResult(6, 3.0, 20)], run="run-1", checkpoint="c"
    )
    shown = json.loads(json.dumps(result.as_dict()))
    assert list(shown) == ["run", "checkpoint", "episodes", "return", "length", "per_episode"]
    assert list(shown["return"]) == ["mean", "std", "median", "min", "max", "ci95"]
    assert shown["episodes"] == 2
    assert shown["return"]["mean"] == 2.0
    assert shown["length"]["max"] == 20
    assert shown["per_episode"] == [
        {"seed": 5, "return": 1.0, "length": 10},
        {"seed": 6, "return": 3.0, "length": 20},
    ]


def test_training_as_dict() -> None:
    result = TrainingResult("run-1", "finished", 2, 30, 1.5, None, None)
    shown = json.loads(json.dumps(result.as_dict()))
    assert shown["run"] == "run-1"
    assert shown["checkpoint"] is None
    assert shown["directories"] == {}


def test_json_is_strict() -> None:
    nan, inf = float("nan"), float("inf")
    text = to_json({"a": [nan, 1.5], "b": (inf, -inf), "c": {"d": None}, "e": "x"})
    assert json.loads(text) == {"a": [None, 1.5], "b": [None, None], "c": {"d": None}, "e": "x"}
    result = EvaluationResult([EpisodeResult(1, nan, 2)])
    assert json.loads(to_json(result.as_dict()))["return"]["mean"] is None
