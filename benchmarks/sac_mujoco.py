"""SAC on Hopper-v5 and HalfCheetah-v5 beside stable-baselines3, for as many steps on both sides.

Hyperparameters of rl-baselines3-zoo (everybody's defaults, learning from step 10,000 on). Every
training has a process of its own; sides take turns; 20 episodes of the policy at the end.

    pip install -r benchmarks/requirements-peers.txt    # in an environment of its own
    python benchmarks/sac_mujoco.py [--steps 100000] [--turns 3] [--env Hopper-v5] [--quick]
"""

from __future__ import annotations

from _comparison import Comparison, parser_of
from _measure import surroundings
from _training import Task, run_side

STEPS = 100_000
SIDES = {"gym-loop": "sac_mujoco_ours", "stable-baselines3": "sac_mujoco_sb3"}
# What the zoo's agents reach in a million steps (of v3) is far beyond these steps.
TASKS = [Task("Hopper-v5", 2_326.0), Task("HalfCheetah-v5", 9_535.0)]


def main() -> None:
    """Read the options, measure, print."""
    parser = parser_of(__doc__, [])
    parser.set_defaults(turns=3)
    options = parser.parse_args()
    tasks = [task for task in TASKS if options.env in (None, task.env)]
    if options.side:
        run_side(options, tasks[0], "_sides_continuous")
        return
    steps = 10_500 if options.quick else options.steps or STEPS
    for task in tasks:
        comparison = Comparison(__file__, SIDES, steps, steps, options.try_threads, task)
        print(f"SAC, {task.env}, {steps:,} steps: speed, and the final policies")
        print(comparison.speed(1 if options.quick else options.turns, {}), flush=True)
    packages = ["gym-loop", "gymnasium", "mujoco", "numpy", "stable-baselines3", "torch"]
    print(surroundings(*packages))


if __name__ == "__main__":
    main()
