"""check: an observation that is not in its space, in one line."""

import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.training.check import check

SPACE = spaces.Dict({"rays": spaces.Box(0, 1, (180,)), "both": spaces.Tuple((spaces.Discrete(2),))})
FAR = np.full(180, 0.5, np.float32)
FAR[[3, 9]] = 1.5


class Giving(gym.Env[Any, Any]):
    """Observes what it is told to."""

    observation_space = SPACE
    action_space = spaces.Discrete(2)
    given: Any = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.given, {}

    def step(self, action: Any) -> Any:
        return self.given, 0.0, False, False, {}


@pytest.mark.parametrize(
    ("given", "level", "text"),
    [
        ({"rays": FAR, "both": (0,)}, "warning", r"\['rays'\] has 2 values .* 1.5 at \[3\]"),
        ({"rays": FAR, "both": (7,)}, "error", r"\['both'\]\[0\] is not in Discrete\(2\): 7"),
        ({"rays": FAR[:20], "both": (0,)}, "error", r"\['rays'\] is not in Box"),
        ({"rays": FAR * np.nan, "both": (0,)}, "error", r"\['rays'\] is not in Box"),
        ({"rays": FAR}, "error", "first observation is not in Dict"),
    ],
)
def test_only_bounds_can_be_trained_beyond(
    given: Any, level: str, text: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Giving, "given", given)
    gym.register("Giving-v0", Giving, disable_env_checker=True)
    try:
        (workdir / "run.yaml").write_text(json.dumps({"env": {"name": "Giving-v0"}}))
        results = check("run.yaml")
    finally:
        del gym.registry["Giving-v0"]
    about = [one for one in results if "first observation" in one.text]
    worst = next(one for one in about if one.level == level)
    assert re.search(text, worst.text), worst.text
    assert all("\n" not in one.text for one in about)
    assert any(one.level == "error" for one in results) == (level == "error")
