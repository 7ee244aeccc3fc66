"""How much of an update of SAC or TD3 is matrix products at the speed that this machine can do."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _measure import table, take_turns, verdict

from gym_loop.agents.transition import Transition
from gym_loop.nn.threads import kernels_in_use

SIZES = (256, 512, 1024)  # of the square matrices; the fastest one is the peak
UPDATES = 20  # a turn; an even number, for TD3's delayed updates
WANTED = 0.6


def share_of_peak(agent_class: Any, parameters: dict[str, Any], turns: int) -> str:
    """A table: the arithmetic of an update in the time that it takes, beside the measured peak."""
    agent = _filled(agent_class, parameters)
    sides: dict[str, Callable[[], float]] = {
        f"products of {size} x {size}": _product(size) for size in SIZES
    }
    sides["update"] = lambda: _seconds(lambda: agent._learn(UPDATES)) / UPDATES
    results = take_turns(sides, turns)
    operations = {f"products of {size} x {size}": 2.0 * size**3 for size in SIZES}
    operations["update"] = _operations(agent)
    rates = {name: operations[name] / results[name].median / 1e9 for name in sides}
    peak = max(rate for name, rate in rates.items() if name != "update")
    rows = [
        [
            name,
            f"{results[name].median * 1e6:,.0f} us",
            f"{rate:.0f}",
            verdict(rate / peak, at_least=WANTED) if name == "update" else f"{rate / peak:.2f}",
        ]
        for name, rate in rates.items()
    ]
    return f"one thread, {kernels_in_use()}\n" + table(
        ["what", "time", "GFLOP/s", "of the peak"], rows
    )


def _filled(agent_class: Any, parameters: dict[str, Any]) -> Any:
    """An agent for Pendulum-v1's spaces with random steps in its replay."""
    from gymnasium import spaces

    action_space = spaces.Box(-2.0, 2.0, (1,))
    agent = agent_class(
        **parameters, observation_space=spaces.Box(-1.0, 1.0, (3,)), action_space=action_space
    )
    rng = np.random.default_rng(0)
    for _ in range(2000):
        last, ob = rng.standard_normal((2, 3), np.float32)
        reward, action = -rng.random(), action_space.sample()
        agent.observe(Transition(last, action, reward, False, False, ob, {}))
    agent._learn(UPDATES)
    return agent


def _product(size: int) -> Callable[[], float]:
    left, right, out = np.ones((3, size, size), np.float32)
    times = max(1, round(3e8 / size**3))

    def measure() -> float:
        return statistics.median(
            _seconds(lambda: np.matmul(left, right, out=out)) for _ in range(times)
        )

    return measure


def _seconds(work: Callable[[], Any]) -> float:
    """Of processor time: there is one thread, and it may have to wait for the core."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _operations(agent: Any) -> float:
    """Floating-point operations of the products of one update, on average."""
    actor, actor_first = _weights(agent.actor)
    critics, critics_first = _weights(agent.critics.network)
    learn_critics = critics + critics + (critics - critics_first)  # forward, weights, layers below
    learn_actor = actor + actor + (actor - actor_first)
    # The critics' targets take the next actions and their values; the actor takes the critics
    # forward and back to their inputs: both of SAC's, one of TD3's, there with every second update.
    judge, part = (critics, 1.0) if hasattr(agent, "policy") else (critics / 2, 0.5)
    passes = actor + critics + learn_critics + part * (learn_actor + 2 * judge)
    return 2.0 * float(agent.parameters["batch_size"]) * passes


def _weights(network: Any) -> tuple[int, int]:
    """Numbers of weights, biases left out, of all layers and of the first ones."""
    layout = network.layout
    sizes = [layout.inputs, *layout.hidden]
    layers = [before * after for before, after in itertools.pairwise(sizes)]
    heads = sum(layout.outputs) * sizes[-1]
    return layout.towers * sum(layers) + heads, layout.towers * layers[0]
