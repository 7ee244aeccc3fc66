"""Templates for ``gym-loop new``: short, commented, and trained as they are."""

from __future__ import annotations

import re
from pathlib import Path

from gym_loop.errors import UsageError
from gym_loop.schema.class_strings import did_you_mean

_AGENT = '''\
"""An agent: a linear policy, improved by trying small changes and keeping what helps."""

import numpy as np

from gym_loop.agents import BaseAgent


class {name}(BaseAgent):
    """Hill climbing on a matrix of weights; a change is tried for up to three episodes."""

    @staticmethod
    def get_default_parameters():
        """What a run file may set.

        Parameters:
            noise (float): Size of the changes that are tried first.
        """
        return {{"noise": 0.5}}

    def __init__(self, **params):
        super().__init__(**params)
        # The runner adds observation_space, action_space, n_envs and seed to the parameters.
        observations = self.parameters["observation_space"].shape[0]
        actions = self.parameters["action_space"].n
        # Every attribute that is data is saved in checkpoints, and put back.
        self.noise = self.parameters["noise"]
        self.best = np.zeros((actions, observations))
        self.best_return = -np.inf
        self.weights = self.best.copy()
        self.returns = []
        self.episode_return = 0.0

    def act(self, state, episode_num):
        # An evaluation (self.training is False then) wants the best, not what is being tried.
        weights = self.weights if self.training else self.best
        return int(np.argmax(weights @ state))

    def memorize(self, last_ob, action, reward, done, ob):
        self.episode_return += reward
        self.done = done

    def update(self, episode_num):
        if not self.done:
            return
        self.returns.append(self.episode_return)
        self.episode_return = 0.0
        mean = sum(self.returns) / len(self.returns)
        if mean >= self.best_return and len(self.returns) < 3:
            return  # one good episode may be luck: try these weights again
        if mean >= self.best_return:
            self.best, self.best_return = self.weights, mean
            self.noise = max(self.noise / 2, 0.05)  # go on in smaller steps
        else:
            self.noise = min(self.noise * 1.5, 3.0)  # look further away
        # Draw from self.rng: it follows the run's seed.
        self.weights = self.best + self.noise * self.rng.normal(size=self.best.shape)
        self.returns = []

    def metrics(self, episode_num):
        return {{"noise": self.noise}}
'''

_LOOP = '''\
"""A loop: the default one, which also counts the steps of its longest episode."""

from gym_loop.loops.default_loop import DefaultLoop


class {name}(DefaultLoop):
    """Write train() and evaluate() under BaseLoop for full control; this changes one thing."""

    @staticmethod
    def get_default_parameters():
        """What a run file may set, beside the parameters of DefaultLoop.

        Parameters:
            announce (bool): Say it when an episode is the longest so far.
        """
        return {{**DefaultLoop.get_default_parameters(), "announce": True, "max_episodes": 50}}

    def __init__(self, agent, env, run=None, **parameters):
        super().__init__(agent, env, run, **parameters)
        self.longest = 0

    def end_episode(self):
        # Called after the last step of every episode; begin_episode() before the first.
        if self.episode_length > self.longest:
            self.longest = self.episode_length
            if self.parameters["announce"]:
                self.run.console.message(f"episode {{self.episode}}: {{self.longest}} steps")
            self.run.log(self.steps, {{"loop/longest_episode": self.longest}})
        super().end_episode()

    # What a resumed run needs to know.
    def state_dict(self):
        return {{**super().state_dict(), "longest": self.longest}}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.longest = state["longest"]
'''

_ENV = '''\
"""An environment: walk to the right end of a line."""

import gymnasium
import numpy as np


class {name}(gymnasium.Env):
    """The agent stands on a line of ``length`` places and moves left (0) or right (1)."""

    metadata = {{"render_modes": ["rgb_array"], "render_fps": 10}}

    def __init__(self, length=8, render_mode=None):
        self.length = length
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.place = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)  # seeds self.np_random: draw from it, and from nothing else
        self.place = int(self.np_random.integers(self.length - 1))
        return self._observe(), {{}}

    def step(self, action):
        self.place = max(0, self.place + (1 if action == 1 else -1))
        terminated = self.place == self.length - 1  # the task is over; time limits truncate
        return self._observe(), (1.0 if terminated else -0.1), terminated, False, {{}}

    def _observe(self):
        return np.array([self.place / (self.length - 1)], np.float32)

    def render(self):
        frame = np.full((32, 32 * self.length, 3), 230, np.uint8)
        frame[:, 32 * self.place : 32 * (self.place + 1)] = (40, 90, 200)
        return frame


gymnasium.register("{name}-v0", entry_point={name}, max_episode_steps=200)
'''

_RUN_FILES = {
    "agent": """\
agent:
  class: {file}:{name}
env:
  name: CartPole-v1
loop:
  parameters:
    max_episodes: 200
""",
    "loop": """\
env:
  name: CartPole-v1
loop:
  class: {file}:{name}
""",
    "env": """\
env:
  imports: [{file}]
  name: {name}-v0
loop:
  parameters:
    max_episodes: 20
""",
}
_TEMPLATES = {"agent": _AGENT, "loop": _LOOP, "env": _ENV}


def scaffold(kind: str, path: Path) -> dict[Path, str]:
    """The files of a template: the class, and a run file beside it that uses it.

    Args:
        kind: ``agent``, ``loop`` or ``env``.
        path: the ``.py`` file; its name in CamelCase becomes the class's name.

    Raises:
        UsageError: the kind is unknown, or the path is no ``.py`` file.
    """
    if kind not in _TEMPLATES:
        raise UsageError(
            f"{kind!r} is none of {', '.join(_TEMPLATES)}{did_you_mean(kind, _TEMPLATES)}"
        )
    name = "".join(part[:1].upper() + part[1:] for part in re.split(r"\W|_", path.stem))
    if path.suffix != ".py" or not name.isidentifier():
        raise UsageError(f"{path}: name a Python file, such as my_{kind}.py")
    run_file = path.with_suffix(".yaml")
    return {
        path: _TEMPLATES[kind].format(name=name),
        run_file: _RUN_FILES[kind].format(file=path.name, name=name),
    }
