"""Collection of experience by other libraries, with a policy that costs next to nothing.

Each function takes an environment id and a number of copies, and returns `collect(steps)`,
which plays at least that many environment steps and returns how many it played. Actions
were drawn beforehand, so what is left is the environment and the library's own cost of
driving it. What a library can leave out (episode monitors, logging, NaN checks, gradients)
is left out, also where ours keeps it. A library that is not installed raises
ModuleNotFoundError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
from _probes import drawn_actions

Collect = Callable[[int], int]


def sb3_on_policy(env_id: str, n_envs: int) -> Collect:
    """stable-baselines3: `PPO.collect_rollouts`, 2048 steps a rollout (its default)."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.common.vec_env import DummyVecEnv

    torch.set_num_threads(1)
    env = DummyVecEnv([lambda: gymnasium.make(env_id)] * n_envs)
    actions = drawn_actions(env.action_space, n_envs)
    zeros = torch.zeros(n_envs)

    class DrawnPolicy(ActorCriticPolicy):  # type: ignore[misc]
        def forward(self, obs: Any, deterministic: bool = False) -> Any:
            return torch.from_numpy(next(actions)), zeros, zeros

        def predict_values(self, obs: Any) -> Any:
            return zeros

    model = PPO(DrawnPolicy, env, n_steps=2048, batch_size=64, device="cpu")
    _, callback = model._setup_learn(total_timesteps=10**9)

    def collect(steps: int) -> int:
        before = model.num_timesteps
        while model.num_timesteps - before < steps:
            model.collect_rollouts(env, callback, model.rollout_buffer, n_rollout_steps=2048)
        return int(model.num_timesteps - before)

    return collect


def sb3_off_policy(env_id: str, n_envs: int) -> Collect:
    """stable-baselines3: `collect_rollouts` of DQN or SAC into the replay buffer."""
    import torch
    from stable_baselines3 import DQN, SAC
    from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
    from stable_baselines3.common.vec_env import DummyVecEnv

    torch.set_num_threads(1)
    env = DummyVecEnv([lambda: gymnasium.make(env_id)] * n_envs)
    actions = drawn_actions(env.action_space, n_envs)
    algorithm = SAC if hasattr(env.action_space, "low") else DQN
    model = algorithm("MlpPolicy", env, buffer_size=20_000, device="cpu")
    model.predict = lambda obs, **_: (next(actions), None)
    _, callback = model._setup_learn(total_timesteps=10**9)
    rollout = TrainFreq(2048, TrainFrequencyUnit.STEP)

    def collect(steps: int) -> int:
        before = model.num_timesteps
        while model.num_timesteps - before < steps:
            model.collect_rollouts(env, callback, rollout, model.replay_buffer, learning_starts=0)
        return int(model.num_timesteps - before)

    return collect


def tianshou_random(env_id: str, n_envs: int) -> Collect:
    """Tianshou: `Collector.collect(random=True)` into a replay buffer."""
    return _tianshou(env_id, n_envs, random=True)


def tianshou_policy(env_id: str, n_envs: int) -> Collect:
    """Tianshou: `Collector.collect` with a trivial policy into a replay buffer."""
    return _tianshou(env_id, n_envs, random=False)


def _tianshou(env_id: str, n_envs: int, random: bool) -> Collect:
    from tianshou.algorithm.algorithm_base import Policy
    from tianshou.data import Batch, Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv

    env = DummyVectorEnv([lambda: gymnasium.make(env_id)] * n_envs)
    space = env.action_space[0]
    actions = drawn_actions(space, n_envs)

    class DrawnPolicy(Policy):  # type: ignore[misc]
        def forward(self, batch: Any, state: Any = None, **kwargs: Any) -> Any:
            return Batch(act=next(actions))

    collector = Collector(
        DrawnPolicy(action_space=space, action_scaling=False),
        env,
        VectorReplayBuffer(20_000, n_envs),
        raise_on_nan_in_buffer=False,
    )
    collector.reset()

    def collect(steps: int) -> int:
        return int(collector.collect(n_step=steps, random=random).n_collected_steps)

    return collect


def rllib_random(env_id: str, n_envs: int) -> Collect:
    """RLlib: `SingleAgentEnvRunner.sample(random_actions=True)`, in this process."""
    return _rllib(env_id, n_envs, random=True)


def rllib_module(env_id: str, n_envs: int) -> Collect:
    """RLlib: `SingleAgentEnvRunner.sample` with a trivial module, in this process."""
    return _rllib(env_id, n_envs, random=False)


def _rllib(env_id: str, n_envs: int, random: bool) -> Collect:
    import torch
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.columns import Columns
    from ray.rllib.core.rl_module import RLModuleSpec
    from ray.rllib.core.rl_module.torch import TorchRLModule
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

    torch.set_num_threads(1)
    actions = drawn_actions(gymnasium.make(env_id).action_space, n_envs)

    class DrawnModule(TorchRLModule):  # type: ignore[misc]
        def _forward(self, batch: Any, **kwargs: Any) -> Any:
            return {Columns.ACTIONS: torch.from_numpy(next(actions))}

    config = (
        PPOConfig()
        .environment(env_id)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=n_envs, episodes_to_numpy=False)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=DrawnModule))
    )
    runner = SingleAgentEnvRunner(config=config)

    def collect(steps: int) -> int:
        played = 0
        while played < steps:
            episodes = runner.sample(num_timesteps=500, random_actions=random)
            played += sum(len(episode) for episode in episodes)
            runner.get_metrics()  # else finished episodes pile up
        return played

    return collect
