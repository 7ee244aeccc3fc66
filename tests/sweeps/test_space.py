"""Spaces: what is drawn, what a grid goes through, what Optuna stores."""

import numpy as np
import pytest

from gym_loop.sweeps.space import Parameter, Space

LR = Parameter("lr", "log_uniform", (1e-5, 1e-2))
STEPS = Parameter("steps", "choice", (64, 128), listed=True)
CLIP = Parameter("clip", "choice", (0.1, 0.2, 0.3), when={"steps": (64,)})


@pytest.mark.parametrize(
    ("one", "quarter"),
    [
        (Parameter("x", "uniform", (2.0, 10.0)), 4.0),
        (Parameter("x", "log_uniform", (1e-4, 1.0)), 1e-3),
        (Parameter("x", "int_uniform", (0, 99)), 24),
        (Parameter("x", "log_int", (1, 10_000)), 7),
    ],
    ids=lambda one: getattr(one, "kind", ""),
)
def test_a_range_is_drawn_evenly_and_never_left(one: Parameter, quarter: float) -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([one.draw(rng) for _ in range(4_000)])
    low, high = one.values
    assert drawn.min() >= low
    assert drawn.max() <= high
    assert abs((drawn <= quarter).mean() - 0.25) < 0.03
    assert one.is_integer == (drawn.dtype.kind == "i")


def test_both_ends_of_an_integer_range_are_drawn() -> None:
    rng = np.random.default_rng(0)
    for kind in ("int_uniform", "log_int"):
        one = Parameter("x", kind, (1, 3))
        assert {one.draw(rng) for _ in range(100)} == {1, 2, 3}


def test_a_grid_goes_through_every_combination_once_and_minds_conditions() -> None:
    space = Space([STEPS, CLIP])
    assert list(space.grid()) == [
        {"steps": 64, "clip": 0.1},
        {"steps": 64, "clip": 0.2},
        {"steps": 64, "clip": 0.3},
        {"steps": 128},
    ]
    assert space.size(100) == 4
    assert space.size(3) == 3


def test_a_condition_looks_at_what_was_drawn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = Space([STEPS, CLIP, LR]).draw(rng)
        assert ("clip" in values) == (values["steps"] == 64)


def test_samples_hold_what_a_condition_needs() -> None:
    assert list(Space([STEPS, CLIP]).samples(CLIP)) == [
        {"steps": 64, "clip": value} for value in (0.1, 0.2, 0.3)
    ]
    assert list(Space([LR]).samples(LR)) == [{"lr": 1e-5}, {"lr": 1e-2}]


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ((1, "a", None, 0.5), [1, "a", None, 0.5]),
        (([64, 64], [32]), ["[64, 64]", "[32]"]),
        ((1, True), ["1", "true"]),
        (({"linear": [1, 0]}, 0.1), ['{"linear": [1, 0]}', "0.1"]),
    ],
)
def test_every_choice_has_a_code_that_leads_back(values: tuple, codes: list) -> None:
    one = Parameter("x", "choice", values)
    assert one.codes() == codes
    for value in values:
        back = one.decode(one.code(value))
        assert back == value
        assert type(back) is type(value)
