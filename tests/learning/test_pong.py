"""Pong from pictures, 20,000 steps: stopped dead in the middle, resumed, and nothing lost."""

from __future__ import annotations

import pytest

from gym_loop.config.presets import preset_config
from gym_loop.training.verify import verify_resume

pytestmark = pytest.mark.learning


def test_a_killed_run_of_the_preset_learns_on_to_the_same_end() -> None:
    overrides = {"agent.parameters.learning_starts": 8_000}
    verification = verify_resume(preset_config("dqn/ALE-Pong-v5"), overrides, steps=20_000)
    assert verification.differences == []
    assert (verification.steps, verification.verdict) == (20_000, "exact")
