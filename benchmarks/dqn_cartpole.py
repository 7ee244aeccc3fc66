"""DQN on CartPole-v1 beside other libraries: how fast, how well, how soon.

Hyperparameters of rl-baselines3-zoo on all sides: learning rate 0.0023, batch 64, replay of
100,000, learning from step 1,000 on, every 256 steps 128 updates, target network every 10 steps,
epsilon from 1 to 0.04 within 16 %, 256 x 256 relu network, plain (not double) targets; 50,000
steps of one environment. Every training has a process of its own, one thread and two are tried,
and the better one counts. Sides take turns; medians are compared.

1. Steps per second, end to end; see `ppo_cartpole.py`. Beside it the final policy of each seed:
   DQN's are unstable in every library. Wanted: 4 times stable-baselines3, 1.3 times SBX.
2. Seconds to the threshold: the first 20-episode mean of 475, evaluated every 1,280 steps with
   the clock stopped.

    pip install -r benchmarks/requirements-peers.txt    # in an environment of its own
    python benchmarks/dqn_cartpole.py [--quick] [--only speed|threshold] [--turns N]
"""

from __future__ import annotations

from _comparison import Comparison, parser_of
from _measure import surroundings
from _training import run_side

STEPS = 50_000
SIDES = {"gym-loop": "dqn_ours", "stable-baselines3": "dqn_sb3", "SBX": "dqn_sbx"}
WANTED = {"stable-baselines3": 4.0, "SBX": 1.3}


def main() -> None:
    """Read the options, measure, print."""
    options = parser_of(__doc__, ["speed", "threshold"]).parse_args()
    if options.side:
        run_side(options)
        return
    turns = 1 if options.quick else options.turns
    comparison = Comparison(
        __file__, SIDES, 5_120 if options.quick else STEPS, 1_280, options.try_threads
    )
    if options.only in (None, "speed"):
        print(f"DQN, CartPole-v1, {comparison.steps:,} steps: speed, and the final policies")
        print(comparison.speed(turns, WANTED), flush=True)
    if options.only in (None, "threshold"):
        print("DQN, CartPole-v1: seconds to the first 20-episode mean of 475")
        print(comparison.threshold(list(SIDES), turns, {}), flush=True)
    packages = ["gym-loop", "gymnasium", "numpy", "stable-baselines3", "sbx-rl", "jax", "torch"]
    print(surroundings(*packages))


if __name__ == "__main__":
    main()
