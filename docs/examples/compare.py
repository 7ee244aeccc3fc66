import gym_loop

results = []
for seed in range(3):
    trained = gym_loop.train("hill.yaml", seed=seed)
    evaluated = gym_loop.evaluate("hill.yaml", run=trained.run, episodes=20)
    results.append((trained.run, trained.steps, evaluated.returns))

for run, steps, returns in results:
    low, high = returns.ci95
    print(f"{run}: {steps} steps, return {returns.mean:.1f} ({low:.1f} to {high:.1f})")
