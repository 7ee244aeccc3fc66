"""Twin critics: their values, their gradients, and the targets that follow them."""

from typing import Any

import numpy as np
import pytest

from gym_loop.agents.twin_critics import TwinCritics, join
from gym_loop.nn.mlp import MLP


def critics_of(options: dict) -> TwinCritics:
    network = MLP((5,), (1, 1), rng=np.random.default_rng(0), dtype=np.float64, **options)
    return TwinCritics(network, 2)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_critics_and_their_gradients_by_differences(layer_norm: bool) -> None:
    rng = np.random.default_rng(1)
    critics = critics_of({"hidden": [7, 6], "layer_norm": layer_norm})
    observations, actions = rng.standard_normal((9, 3)), rng.standard_normal((9, 2))

    def numeric(worth: Any) -> np.ndarray:
        """The gradient of the mean worth of actions, by differences."""
        found, step = np.zeros_like(actions), 1e-6
        for at in np.ndindex(actions.shape):
            ends = []
            for sign in (1, -1):
                moved = actions.copy()
                moved[at] += sign * step
                ends.append(worth(*critics.network.predict(join(observations, moved))))
            found[at] = (ends[0] - ends[1]) / (2 * step)
        return found

    values, by_actions = critics.smaller_value(observations, actions)
    first, second = critics.network.predict(join(observations, actions))
    assert 0 < (first < second).sum() < 9
    np.testing.assert_allclose(values, np.minimum(first, second)[:, 0])
    wanted = numeric(lambda one, two: -np.minimum(one, two).mean())
    np.testing.assert_allclose(by_actions, wanted, atol=1e-8)
    values, by_actions = critics.first_value(observations, actions)
    np.testing.assert_allclose(values, first[:, 0])
    np.testing.assert_allclose(by_actions, numeric(lambda one, two: -one.mean()), atol=1e-8)


def test_critics_learn_apart_and_their_targets_follow() -> None:
    rng = np.random.default_rng(1)
    critics = critics_of({"hidden": [16]})
    observations, actions = rng.standard_normal((40, 3)), rng.standard_normal((40, 2))
    targets = actions[:, 0] + observations[:, 1]
    losses = [critics.learn(observations, actions, targets, 1e-2)[0].mean() for _ in range(300)]
    assert losses[-1] < 0.05 * losses[0]
    before = critics.target.parameters.copy()
    critics.move_target(0.25)
    wanted = before + 0.25 * (critics.network.parameters - before)
    np.testing.assert_allclose(critics.target.parameters, wanted)
    critics.move_target(1.0)
    for_both = critics.network.predict(join(observations, actions))
    np.testing.assert_allclose(
        critics.target_values(observations, actions), np.minimum(*for_both)[:, 0]
    )
