"""The worked examples learn: each reaches a return within the episodes of its own run file.

Mean returns of 100 evaluation episodes after a training from the run file, seeds 0 to 9
(Gymnasium 1.4, PyTorch 2.13, CPU); the tests take seeds 0, 1 and 2.

======================= ======== ========= ====== ===== ========= ===========================
run file                episodes threshold worst  median best     what else there is
======================= ======== ========= ====== ===== ========= ===========================
q_learning_frozen_lake     6,000      0.55   0.64  0.745   0.83   optimum 0.74, random 0.01
q_learning_taxi            3,000       5.0   7.48   7.84   8.13   optimum 7.9, random -770
cross_entropy                480       475    500    500    500   limit 500, random 23
torch_reinforce              300       400    461    500    500   limit 500, random 23
curriculum_loop            1,000      -260   -237   -220   -208   without it five stay at -300
======================= ======== ========= ====== ===== ========= ===========================

The distance from the worst to the threshold is what other versions and machines may differ
by: on FrozenLake twice the standard error of an evaluation, on Taxi one state out of 300 in
which the agent is stuck, in the others more than the worst differs from the median.
"""

from pathlib import Path

import pytest

import gym_loop

ROOT = Path(__file__).parents[2]
EXPECTED = {  # run file: (episodes, mean return)
    "agents/q_learning_frozen_lake": (6000, 0.55),
    "agents/q_learning_taxi": (3000, 5.0),
    "agents/cross_entropy": (480, 475.0),
    "agents/torch_reinforce": (300, 400.0),
    "loops/curriculum_loop": (1000, -260.0),
}


@pytest.mark.learning
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", EXPECTED)
def test_it_learns(name, seed, workdir):
    episodes, threshold = EXPECTED[name]
    path = ROOT / f"{name}.yaml"
    trained = gym_loop.train(path, seed=seed)
    assert trained.episodes == episodes
    evaluated = gym_loop.evaluate(path, seed=seed, episodes=100)
    assert evaluated.run == trained.run
    assert evaluated.returns.mean >= threshold
