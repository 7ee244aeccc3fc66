"""The state of an environment, as data: saved in the middle of an episode, restored exactly.

    verdict = prove(lambda: gymnasium.make("LunarLander-v3"), seed=0)
    keeper = keep_state(gymnasium.make("LunarLander-v3"), verdict.method)
    keeper.env.reset(seed=1)             # step keeper.env, not the given environment
    tree = keeper.snapshot()             # plain data, for a checkpoint

    keeper = keep_state(gymnasium.make("LunarLander-v3"), verdict.method)
    keeper.restore(tree)                 # in another process, days later
    if not keeper.continues:             # the verdict was "approximate"
        keeper.env.reset()

Methods, best first: the environment's own ``get_state()`` and ``set_state(state)``; MuJoCo's
and the Arcade Learning Environment's; every attribute of an environment in pure Python; a
replay of the episode. Whichever it is, every wrapper's attributes are saved beside it.
"""

from __future__ import annotations

from gym_loop.envs.state.keeping import candidates, keep_state
from gym_loop.envs.state.proof import Verdict, prove
from gym_loop.envs.state.single_state import EnvState
from gym_loop.envs.state.vector_state import StatefulEnv

__all__ = ["EnvState", "StatefulEnv", "Verdict", "candidates", "keep_state", "prove"]
