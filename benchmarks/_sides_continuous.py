"""SAC and TD3 by gym-loop and by others, with the hyperparameters of rl-baselines3-zoo.

See `_sides.py`. The others' defaults are those of the zoo, but for what is named here.
"""

from __future__ import annotations

from typing import Any

from _sides import keep_to_cores, ours, sb3_like
from _training import Trained, Watch

SAC_OURS = {"learning_rate": 1e-3}
SAC_SB3 = {"learning_rate": 1e-3}
SAC_MUJOCO = {"learning_starts": 10_000}
TD3_OURS: dict[str, Any] = {
    "batch_size": 256,
    "buffer_size": 200_000,
    "gamma": 0.98,
    "learning_starts": 10_000,
    "network_parameters": {"hidden": [400, 300]},
    "noise_std": 0.1,
}
TD3_SB3: dict[str, Any] = {
    "batch_size": 256,
    "buffer_size": 200_000,
    "gamma": 0.98,
    "learning_rate": 1e-3,
    "learning_starts": 10_000,
    "train_freq": 1,
    "gradient_steps": 1,
    "policy_kwargs": {"net_arch": [400, 300]},
}


def sac_ours(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """SAC in a DefaultLoop."""
    return _ours("sac:SAC", SAC_OURS, steps, seed, threads, watch)


def sac_mujoco_ours(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """SAC in a DefaultLoop, as the presets of Hopper-v5 and HalfCheetah-v5 have it."""
    return _ours("sac:SAC", SAC_MUJOCO, steps, seed, threads, watch)


def sac_mujoco_sb3(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """stable-baselines3's SAC."""
    import stable_baselines3

    return sb3_like(stable_baselines3.SAC, 1, SAC_MUJOCO, steps, seed, threads, watch)


def td3_ours(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """TD3 in a DefaultLoop."""
    return _ours("td3:TD3", TD3_OURS, steps, seed, threads, watch)


def _ours(
    agent: str, parameters: dict[str, Any], steps: int, seed: int, threads: int, watch: Watch
) -> Trained:

    loop = {"max_steps": steps, "max_episodes": None}
    return ours(agent, parameters, "default_loop:DefaultLoop", loop, seed, threads, watch)


def sac_sb3(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """stable-baselines3's SAC."""
    import stable_baselines3

    return sb3_like(stable_baselines3.SAC, 1, SAC_SB3, steps, seed, threads, watch)


def sac_sbx(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """SBX's SAC (JAX)."""
    keep_to_cores(threads)
    import sbx

    return sb3_like(sbx.SAC, 1, SAC_SB3, steps, seed, threads, watch)


def td3_sb3(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """stable-baselines3's TD3."""
    import stable_baselines3

    return sb3_like(stable_baselines3.TD3, 1, _noisy(), steps, seed, threads, watch)


def td3_sbx(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """SBX's TD3 (JAX)."""
    keep_to_cores(threads)
    import sbx

    return sb3_like(sbx.TD3, 1, _noisy(), steps, seed, threads, watch)


def _noisy() -> dict[str, Any]:
    """The keywords of TD3, with exploration as the zoo has it."""
    import numpy as np
    from stable_baselines3.common.noise import NormalActionNoise

    return {**TD3_SB3, "action_noise": NormalActionNoise(np.zeros(1), 0.1 * np.ones(1))}
