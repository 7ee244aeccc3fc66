"""CartPole-v1 trained by gym-loop and by others, with the hyperparameters of rl-baselines3-zoo.

Each function trains once and returns a `Trained`; see `_training.py`. Packages are imported
before the clock starts; compilation (SBX) and, on our side, the run directory with its logs and
checkpoints count. The others log nothing.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
from _training import Trained, Watch

ENV = "CartPole-v1"
PPO_OURS = {
    "n_steps": 32,
    "batch_size": 256,
    "n_epochs": 20,
    "gamma": 0.98,
    "gae_lambda": 0.8,
}
PPO_SB3 = {
    "n_steps": 32,
    "batch_size": 256,
    "n_epochs": 20,
    "gamma": 0.98,
    "gae_lambda": 0.8,
    "ent_coef": 0.0,
    "learning_rate": lambda left: 1e-3 * left,
    "clip_range": lambda left: 0.2 * left,
}
PPO_ENVS = 8
DQN_OURS = {
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "learning_starts": 1_000,
    "gamma": 0.99,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "double": False,
    "network_parameters": {"hidden": [256, 256], "activation": "relu", "init": "uniform"},
}
DQN_SB3 = {
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "learning_starts": 1_000,
    "gamma": 0.99,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "exploration_fraction": 0.16,
    "exploration_final_eps": 0.04,
}


def ppo_ours(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """PPO in a VectorLoop of the environment's own copies."""
    parameters = {
        **PPO_OURS,
        "learning_rate": {"linear": [1e-3, 0.0], "steps": steps},
        "clip_range": {"linear": [0.2, 0.0], "steps": steps},
    }
    loop = {"n_envs": PPO_ENVS, "vectorization": "native", "max_steps": steps}
    return ours("ppo:PPO", parameters, "vector_loop:VectorLoop", loop, seed, threads, watch)


def dqn_ours(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """DQN in a DefaultLoop."""
    exploration = {"exploration_final_eps": 0.04, "exploration_steps": round(0.16 * steps)}
    parameters = {**DQN_OURS, **exploration}
    loop = {"max_steps": steps, "max_episodes": None}
    return ours("dqn:DQN", parameters, "default_loop:DefaultLoop", loop, seed, threads, watch)


def ours(
    agent: str,
    parameters: dict[str, Any],
    loop: str,
    loop_parameters: dict[str, Any],
    seed: int,
    threads: int,
    watch: Watch,
) -> Trained:
    """Our side: a run as `gym-loop train` makes it."""
    import _watched

    import gym_loop
    import gym_loop.training.experiment

    _watched.watch = watch
    config = {
        "seed": seed,
        "agent": {
            "class": f"_watched:Watched{agent.partition(':')[2]}",
            "parameters": {**parameters, "threads": threads},
        },
        "env": {"name": watch.task.env},
        "loop": {"class": f"gym_loop.loops.{loop}", "parameters": loop_parameters},
    }
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        watch.start()
        result = gym_loop.train(config)
        seconds = watch.seconds
        os.chdir(before)
    return Trained(result.steps, seconds, _watched.agents[-1].greedy)


def ppo_sb3(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """stable-baselines3's PPO, as the zoo makes its environments."""
    import stable_baselines3

    keywords = {**PPO_SB3, "policy_kwargs": {"net_arch": {"pi": [64, 64], "vf": [64, 64]}}}
    return sb3_like(stable_baselines3.PPO, PPO_ENVS, keywords, steps, seed, threads, watch)


def ppo_sbx(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """SBX's PPO (JAX)."""
    keep_to_cores(threads)
    import sbx

    keywords = {**PPO_SB3, "policy_kwargs": {"net_arch": {"pi": [64, 64], "vf": [64, 64]}}}
    return sb3_like(sbx.PPO, PPO_ENVS, keywords, steps, seed, threads, watch)


def dqn_sb3(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """stable-baselines3's DQN."""
    import stable_baselines3

    keywords = {**DQN_SB3, "policy_kwargs": {"net_arch": [256, 256]}}
    return sb3_like(stable_baselines3.DQN, 1, keywords, steps, seed, threads, watch)


def dqn_sbx(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """SBX's DQN (JAX)."""
    keep_to_cores(threads)
    import sbx

    keywords = {**DQN_SB3, "policy_kwargs": {"net_arch": [256, 256]}}
    return sb3_like(sbx.DQN, 1, keywords, steps, seed, threads, watch)


def keep_to_cores(threads: int) -> None:
    """JAX counts the cores that it may use when it is imported; it has no other switch."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:threads])


def sb3_like(
    algorithm: Any,
    n_envs: int,
    keywords: dict[str, Any],
    steps: int,
    seed: int,
    threads: int,
    watch: Watch,
) -> Trained:
    """A side with the interface of stable-baselines3."""
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    class Watcher(BaseCallback):  # type: ignore[misc]
        def _on_rollout_start(self) -> None:  # the policy has learnt from the last one
            watch.check(self.num_timesteps, predict)

        def _on_step(self) -> bool:
            return not watch.solved

    def predict(ob: Any) -> Any:
        return model.predict(ob, deterministic=True)[0]

    torch.set_num_threads(threads)
    watch.start()
    env = make_vec_env(watch.task.env, n_envs, seed=seed)
    model = algorithm("MlpPolicy", env, seed=seed, device="cpu", **keywords)
    model.learn(steps, callback=Watcher() if watch.every else None)
    return Trained(model.num_timesteps, watch.seconds, predict)


def ppo_tianshou(steps: int, seed: int, threads: int, watch: Watch) -> Trained:
    """Tianshou's PPO; watching it is not foreseen."""
    import gymnasium
    import torch
    from tianshou.algorithm.modelfree.ppo import PPO
    from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory, LRSchedulerFactoryLinear
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.trainer import OnPolicyTrainerParams
    from tianshou.utils.net.common import Net
    from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    np.random.seed(seed)
    watch.start()
    env = DummyVectorEnv([lambda: gymnasium.make(ENV)] * PPO_ENVS)
    env.seed(seed)
    space, per_rollout = env.action_space[0], 32 * PPO_ENVS
    actor_net, critic_net = (
        Net(state_shape=(4,), hidden_sizes=(64, 64), activation=torch.nn.Tanh) for _ in range(2)
    )
    actor = DiscreteActor(preprocess_net=actor_net, action_shape=(2,), softmax_output=False)
    rate = LRSchedulerFactoryLinear(1, steps, per_rollout)
    algorithm: Any = PPO(
        policy=DiscreteActorPolicy(actor=actor, action_space=space, deterministic_eval=True),
        critic=DiscreteCritic(preprocess_net=critic_net),
        optim=AdamOptimizerFactory(lr=1e-3, eps=1e-5).with_lr_scheduler_factory(rate),
        gamma=0.98,
        gae_lambda=0.8,
        ent_coef=0.0,
        max_grad_norm=0.5,
    )

    def narrow(epoch: int, step: int) -> None:
        algorithm.eps_clip = 0.2 * (1.0 - step / steps)

    collector = Collector(algorithm.policy, env, VectorReplayBuffer(per_rollout, PPO_ENVS))
    algorithm.run_training(
        OnPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=steps,
            collection_step_num_env_steps=per_rollout,
            update_step_num_repetitions=20,
            batch_size=256,
            training_fn=narrow,
            verbose=False,
            show_progress=False,
        )
    )

    def predict(ob: Any) -> Any:
        with torch.no_grad():
            return actor(ob)[0].argmax(1).numpy()

    return Trained(collector.collect_step, watch.seconds, predict)
