"""What the benchmarks of SAC and TD3 on Pendulum-v1 do."""

from __future__ import annotations

from typing import Any

from _comparison import Comparison, parser_of
from _measure import surroundings
from _products import share_of_peak
from _training import PENDULUM, run_side

STEPS = 20_000
WANTED = {"stable-baselines3": 2.0, "SBX": 1.0}


def compare(
    script: str, text: str | None, agent_class: Any, parameters: dict[str, Any], quick_steps: int
) -> None:
    """Read the options, measure, print.

    Args:
        script: the benchmark, run again for each training.
        text: its description.
        agent_class: of ours.
        parameters: of ours.
        quick_steps: of the trainings with ``--quick``.
    """
    options = parser_of(text, ["speed", "products"]).parse_args()
    if options.side:
        run_side(options, PENDULUM, "_sides_continuous")
        return
    name = agent_class.__name__
    turns, steps = (1, quick_steps) if options.quick else (options.turns, STEPS)
    libraries = {"gym-loop": "ours", "stable-baselines3": "sb3", "SBX": "sbx"}
    sides = {library: f"{name.lower()}_{side}" for library, side in libraries.items()}
    comparison = Comparison(script, sides, steps, steps, options.try_threads, PENDULUM)
    if options.only in (None, "products"):
        print(f"{name}: the arithmetic of an update")
        print(share_of_peak(agent_class, parameters, 3 if options.quick else 20), flush=True)
    if options.only in (None, "speed"):
        print(f"{name}, {PENDULUM.env}, {steps:,} steps: speed, and the final policies")
        print(comparison.speed(turns, WANTED), flush=True)
    packages = ["gym-loop", "gymnasium", "numpy", "stable-baselines3", "sbx-rl", "jax", "torch"]
    print(surroundings(*packages))
