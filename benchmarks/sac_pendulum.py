"""SAC on Pendulum-v1 beside other libraries: how fast, how well, and how near to the arithmetic.

Hyperparameters of rl-baselines3-zoo on all sides: learning rate 0.001, and what is everybody's
default: batch 256, networks 256 x 256, gamma 0.99, tau 0.005, learning from step 100 on;
20,000 steps of one environment, an update each. Every training has a process of its own, one
thread and two are tried, and the better one counts. Sides take turns; medians are compared.

1. Steps per second, end to end; see `ppo_cartpole.py`. Beside it the final policy of each seed;
   "solved" is a mean of -160. Wanted: 2 times stable-baselines3, and as fast as SBX, its
   compilation counted.
2. The share of an update's time in which its matrix products, at the fastest rate that was
   measured for any, would be done; one thread. Wanted: 0.6.

    pip install -r benchmarks/requirements-peers.txt    # in an environment of its own
    python benchmarks/sac_pendulum.py [--quick] [--only speed|products] [--turns N]
"""

from __future__ import annotations

from _comparison import Comparison, parser_of
from _measure import surroundings
from _products import share_of_peak
from _sides_continuous import SAC_OURS
from _training import PENDULUM, run_side

from gym_loop.agents.sac import SAC

STEPS = 20_000
SIDES = {"gym-loop": "sac_ours", "stable-baselines3": "sac_sb3", "SBX": "sac_sbx"}
WANTED = {"stable-baselines3": 2.0, "SBX": 1.0}


def main() -> None:
    """Read the options, measure, print."""
    options = parser_of(__doc__, ["speed", "products"]).parse_args()
    if options.side:
        run_side(options, PENDULUM, "_sides_continuous")
        return
    turns = 1 if options.quick else options.turns
    steps = 2_000 if options.quick else STEPS
    comparison = Comparison(__file__, SIDES, steps, steps, options.try_threads, PENDULUM)
    if options.only in (None, "products"):
        print("SAC: the arithmetic of an update")
        print(share_of_peak(SAC, SAC_OURS, 3 if options.quick else 20), flush=True)
    if options.only in (None, "speed"):
        print(f"SAC, {PENDULUM.env}, {steps:,} steps: speed, and the final policies")
        print(comparison.speed(turns, WANTED), flush=True)
    packages = ["gym-loop", "gymnasium", "numpy", "stable-baselines3", "sbx-rl", "jax", "torch"]
    print(surroundings(*packages))


if __name__ == "__main__":
    main()
