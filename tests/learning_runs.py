"""Run files of the learning agents, with every option and in every loop, for about a second."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

SHARED = {"hidden": [16, 16], "shared": True, "layer_norm": True}
DQN = {
    "batch_size": 16,
    "buffer_size": 600,  # full, and overwritten, before the end
    "gamma": 0.9,
    "exploration_initial_eps": 1.0,
    "exploration_final_eps": 0.1,
    "exploration_steps": 1500,
    "learning_starts": 100,
    "network_parameters": {"hidden": [16]},
    "target_update_interval": 50,
    "value_range": [0.0, 10.0],
}
RAINBOW = {"dueling": True, "noisy": True, "n_steps": 3, "prioritized": True}
PPO = {"batch_size": 32, "n_epochs": 3, "n_steps": 40, "network_parameters": {"hidden": [16, 16]}}
AGENTS: dict[str, dict[str, Any]] = {
    "PPO": PPO,
    "PPO with every option": {
        **PPO,
        "clip_range": {"linear": [0.2, 0.0], "steps": 3000},
        "ent_coef": 0.01,
        "learning_rate": {"linear": [1e-3, 0.0], "steps": 3000},
        "network_parameters": SHARED,
        "norm_obs": True,
        "norm_reward": True,
        "target_kl": 0.02,
        "clip_range_vf": 0.2,
    },
    "DQN": {**DQN, "double": False},
    "DQN double": DQN,
    "DQN dueling": {**DQN, "dueling": True, "network_parameters": SHARED},
    "DQN prioritized": {**DQN, "prioritized": True},
    "DQN n_steps": {**DQN, "n_steps": 3},
    "DQN noisy": {**DQN, "noisy": True},
    "DQN categorical": {**DQN, "distribution": "categorical"},
    "DQN quantile": {**DQN, "distribution": "quantile", "atoms": 11},
    "DQN moving target": {**DQN, "target_update_interval": 1, "tau": 0.05},
    "DQN in blocks": {**DQN, "double": False, "train_freq": 7, "gradient_steps": -1},
    "DQN all, categorical": {**DQN, **RAINBOW, "distribution": "categorical"},
    "DQN all, quantile": {**DQN, **RAINBOW, "distribution": "quantile", "atoms": 11},
}
CONTINUOUS_RUN = {
    "batch_size": 16,
    "buffer_size": 600,
    "learning_rate": {"linear": [1e-3, 0.0], "steps": 3000},
    "learning_starts": 100,
    "network_parameters": {"hidden": [16]},
}
# These act in Pendulum-v1, which has no vector entry point.
CONTINUOUS: dict[str, dict[str, Any]] = {
    "SAC": CONTINUOUS_RUN,
    "SAC with every option": {
        **CONTINUOUS_RUN,
        "critic_parameters": {"hidden": [16, 16], "layer_norm": True},
        "gradient_steps": -1,
        "n_steps": 3,
        "sde_sample_freq": 10,
        "train_freq": 6,
        "use_sde": True,
    },
    "TD3": CONTINUOUS_RUN,
    "TD3 with every option": {
        **CONTINUOUS_RUN,
        "n_steps": 3,
        "noise_type": "ornstein-uhlenbeck",
        "noise_std": {"linear": [0.5, 0.1], "steps": 3000},
        "policy_delay": 3,
    },
}
LOOPS = ("default", "sync", "async", "native")
STEPS = {"default": 3_000, "sync": 4_000, "async": 3_000, "native": 5_000}


def learning_config(agent: str, loop: str, env: str = "CartPole-v1") -> dict[str, Any]:
    """A run file; episodes, rollouts and replays are in full swing when it is saved.

    Args:
        agent: one of `AGENTS`, or of `CONTINUOUS`.
        loop: one of `LOOPS`: DefaultLoop, or how VectorLoop has its three copies.
        env: ``CartPole-v1``, ``Pendulum-v1``, or ``Falling-v0`` for pictures and ``Corridor-v0``
            for a Dict.
    """
    parameters: dict[str, Any] = {
        "eval_episodes": 2,
        "episodes_per_eval": 60,
        "keep_checkpoints": 2,
        "max_episodes": None,
        "max_steps": STEPS[loop],
        "steps_per_checkpoint": 97,
    }
    if loop != "default":
        parameters |= {"n_envs": 3, "vectorization": loop}
    wrapper = {"class": "gymnasium.wrappers:FrameStackObservation", "parameters": {"stack_size": 3}}
    cls = f"{agent.partition(' ')[0].lower()}:{agent.partition(' ')[0]}"
    kind = "default_loop:DefaultLoop" if loop == "default" else "vector_loop:VectorLoop"
    return {
        "agent": {"class": f"gym_loop.agents.{cls}", "parameters": (AGENTS | CONTINUOUS)[agent]},
        "env": {
            "name": env,
            "imports": [] if env.endswith("-v1") else ["tests.learning_runs"],
            "wrappers": [wrapper] if env == "Falling-v0" else [],
        },
        "loop": {"class": f"gym_loop.loops.{kind}", "parameters": parameters},
        "seed": 3,
    }


class Falling(gymnasium.Env):
    """A picture of 6 x 6 in which something falls; reward 1 for being under it."""

    observation_space = spaces.Box(0, 255, (6, 6), np.uint8)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.row, self.column, self.place = 0, int(self.np_random.integers(6)), 3
        return self.picture(), {}

    def picture(self):
        picture = np.zeros((6, 6), np.uint8)
        picture[self.row, self.column], picture[5, self.place] = 255, 128
        return picture

    def step(self, action: Any):
        self.row, self.place = self.row + 1, min(5, max(0, self.place + int(action) - 1))
        over = self.row == 5
        return self.picture(), float(over and self.place == self.column), over, False, {}


class Corridor(gymnasium.Env):
    """A walk to the right, seen as a Dict of a number, a place and a picture."""

    observation_space = spaces.Dict(
        speed=spaces.Box(-1, 1, (1,)),
        place=spaces.Discrete(8),
        marks=spaces.Tuple((spaces.Box(0, 255, (2, 2), np.uint8), spaces.MultiBinary(2))),
    )
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(4))
        return self.look(0.0), {}

    def look(self, speed: float):
        picture = self.np_random.integers(256, size=(2, 2), dtype=np.uint8)
        bits = self.np_random.integers(2, size=2, dtype=np.int8)
        return {
            "speed": np.array([speed], np.float32),
            "place": self.place,
            "marks": (picture, bits),
        }

    def step(self, action: Any):
        move = 2 * int(action) - 1
        self.place = max(0, self.place + move)
        over = self.place == 7
        return self.look(float(move)), float(over) - 0.1, over, False, {}


def register() -> None:
    """Put the environments into the registry, which tests clear."""
    for cls in (Falling, Corridor):
        if f"{cls.__name__}-v0" not in gymnasium.registry:
            gymnasium.register(f"{cls.__name__}-v0", cls, max_episode_steps=30)


register()
