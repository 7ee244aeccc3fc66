"""What somebody would write to train CartPole-v1 with stable-baselines3, our preset's settings.

    python _cold_sb3.py DIRECTORY SEED

Prints when the model was saved (the clock that all processes share) and its mean return.
"""

from __future__ import annotations

import sys
import time

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

torch.set_num_threads(1)
directory, seed = sys.argv[1], int(sys.argv[2])
model = PPO(
    "MlpPolicy",
    make_vec_env("CartPole-v1", 8, seed=seed),
    n_steps=128,
    batch_size=256,
    n_epochs=10,
    gamma=0.99,
    gae_lambda=0.95,
    learning_rate=1e-3,
    clip_range=0.2,
    device="cpu",
    seed=seed,
)
model.learn(100_000)
model.save(f"{directory}/model")
saved = time.monotonic()

from _training import evaluate  # noqa: E402 - the clock has stopped

print(saved, evaluate(lambda ob: model.predict(ob, deterministic=True)[0]))
