"""Train presets over seeds, evaluate each run, and print a table: python results_table.py"""

import gym_loop
from gym_loop.config.presets import preset_config
from gym_loop.runs.results import Statistics

PRESETS = ["ppo/CartPole-v1", "ppo/Pendulum-v1"]
SEEDS = range(3)
EPISODES = 100


def evaluate_preset(name, steps=None):
    """The mean return of each seed's final policy, on episodes of its own."""
    means = []
    for seed in SEEDS:
        overrides = {"loop.parameters.max_steps": steps} if steps else {}
        config = gym_loop.load_config(preset_config(name), overrides)
        trained = gym_loop.train(config, seed=seed, name=f"{name.replace('/', '-')}-{seed}")
        evaluated = gym_loop.evaluate(config, run=trained.run, episodes=EPISODES, seed=10_000)
        means.append(evaluated.returns.mean)
    return means


def print_table(steps=None):
    print(f"{'preset':<18} {'mean':>9} {'95 % interval':>22} {'worst':>9}")
    for name in PRESETS:
        means = evaluate_preset(name, steps)
        over_seeds = Statistics.of(means)
        low, high = over_seeds.ci95
        interval = f"{low:.2f} to {high:.2f}"
        print(f"{name:<18} {over_seeds.mean:>9.2f} {interval:>22} {min(means):>9.2f}")


if __name__ == "__main__":
    print_table()
