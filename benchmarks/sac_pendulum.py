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

from _pendulum import compare
from _sides_continuous import SAC_OURS

from gym_loop.agents.sac import SAC

if __name__ == "__main__":
    compare(__file__, __doc__, SAC, SAC_OURS, quick_steps=2_000)
