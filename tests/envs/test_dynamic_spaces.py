"""Copies in worker processes whose observations have no fixed size."""

from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.checkpoints.tree import capture
from gym_loop.envs.making import EnvSpec
from gym_loop.envs.vector import make_vector_env

UNIT = spaces.Box(-1.0, 1.0, (2,))
SPACES: dict[str, gymnasium.Space[Any]] = {
    "sequence": spaces.Sequence(UNIT),
    "graph": spaces.Graph(UNIT, None),
    "inside": spaces.Dict(a=spaces.Sequence(UNIT), b=UNIT),
}


class Dynamic(gymnasium.Env[Any, Any]):
    def __init__(self, kind: str) -> None:
        self.observation_space, self.action_space = deepcopy(SPACES[kind]), spaces.Discrete(2)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 1.0, False, False, {}


@pytest.mark.parametrize("kind", SPACES)
def test_async_copies_give_what_sync_copies_give(kind: str) -> None:
    gymnasium.register("Dynamic-v0", Dynamic)
    spec = EnvSpec("Dynamic-v0", parameters={"kind": kind})
    seen = {}
    for mode in ("sync", "async"):
        env = make_vector_env(spec, 2, mode)
        first, _ = env.reset(seed=3)
        seen[mode] = [first, *env.step(np.array([0, 1]))[:2]]
        env.close()
    assert repr(capture(seen["async"])) == repr(capture(seen["sync"]))
