"""What SAC and TD3 share: continuous actions, a replay, twin critics, and when to learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from gym_loop.agents.acting import ActsInWorkers
from gym_loop.agents.base_agent import BaseAgent
from gym_loop.agents.transition import Transition
from gym_loop.agents.twin_critics import TwinCritics
from gym_loop.nn.buffers.replay import Batch, Replay
from gym_loop.nn.building import make_network
from gym_loop.nn.namespace import Array
from gym_loop.nn.optimizers import Adam
from gym_loop.nn.protocol import Network
from gym_loop.nn.schedules import due_updates, schedule, schedule_problem
from gym_loop.nn.spaces import BoundedActions, ObservationEncoder
from gym_loop.nn.threads import limit_threads
from gym_loop.schema.parameters import not_fraction, too_small

MLP = "gym_loop.nn.mlp:MLP"
# The layers that these agents are known with; a run file names what differs.
MLP_PARAMETERS = {"hidden": [256, 256], "activation": "relu", "init": "uniform"}
# Batches are drawn for several updates at once, up to so many bytes: larger ones leave the cache.
DRAWN_BYTES = 1 << 20


class OffPolicyAgent(ActsInWorkers, BaseAgent, ABC):
    """An actor that climbs the values of two critics, learnt from a replay of what happened.

    Observations are arrays, numbers, or a Dict or Tuple of these; actions a Box with finite
    bounds. Random episodes are learnt from like all others. Pictures are stored once.

    A subclass makes ``actor`` and says how it chooses (`_best`, `_explore`) and learns (`_step`).
    """

    supports_batch = True
    supports_partial_batch = True
    acts_with: tuple[str, ...] = ("actor", "steps")
    _fixed = (*BaseAgent._fixed, "encoder", "bounds", "learning_rate", "ahead")

    actor: Network

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """The parameters of a run file.

        Parameters:
            batch_size (int): Transitions of one gradient update.
            buffer_size (int): Transitions that are remembered.
            critic_network (str or null): Class of the critics' network, where it is another one;
                it takes observation and action: a torch.nn.Module a dictionary of both.
            critic_parameters (dict or null): Its parameters, where they are not those of network.
            device (str): Where a torch network lives: cpu, cuda, cuda:1.
            discount (float): Worth of a reward one step later (gamma).
            gradient_steps (int): Updates each time it learns; -1 for as many as environment steps
                were taken since the last time.
            learning_rate (float or dict): Step size of the optimiser; a number or a schedule,
                {linear: [1.0e-3, 0.0], steps: 100000}, in environment steps.
            learning_starts (int): Environment steps before; all actions are random till then.
            n_steps (int): Rewards that are summed up before the value of what follows.
            network (str): Class of the actor's network: the MLP of gym-loop, which takes a Dict of
                observations as one flat vector, or a torch.nn.Module, which takes the Dict.
            network_parameters (dict): Its parameters; of the MLP, where they differ from: hidden
                [256, 256], activation relu, init uniform, layer_norm false.
            target_mix (float): How far the target networks move to those that learn, each update
                (tau).
            threads (int or null): Threads of a matrix product; null for the library's choice.
            train_every (int): Environment steps, those of all copies counted, from one time it
                learns to the next.
        """
        return {
            "batch_size": 256,
            "buffer_size": 1_000_000,
            "critic_network": None,
            "critic_parameters": None,
            "device": "cpu",
            "discount": 0.99,
            "gradient_steps": 1,
            "learning_rate": 3e-4,
            "learning_starts": 100,
            "n_steps": 1,
            "network": MLP,
            "network_parameters": {},
            "target_mix": 0.005,
            "threads": 1,
            "train_every": 1,
        }

    @staticmethod
    def check_parameters(parameters: dict[str, Any]) -> dict[str, str]:
        """Ranges: counts are positive, fractions are from 0 to 1, schedules are well-formed."""
        problems = {
            **too_small(parameters, buffer_size=2, learning_starts=0, batch_size=1),
            **too_small(parameters, n_steps=1, threads=1, train_every=1),
            **not_fraction(parameters, "discount", "target_mix"),
        }
        steps = parameters["gradient_steps"]
        if steps < 1 and steps != -1:
            problems["gradient_steps"] = (
                f"{steps} must be at least 1, or -1 for one an environment step"
            )
        if problem := schedule_problem(parameters["learning_rate"], 0.0):
            problems["learning_rate"] = problem
        return problems

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        p, name = self.parameters, type(self).__name__
        self.bounds = BoundedActions(p["action_space"], name)
        self.encoder = ObservationEncoder(p["observation_space"], name)
        self.learning_rate = schedule(p["learning_rate"], "learning_rate")
        example = self.encoder.example
        self.replay = Replay(
            p["buffer_size"],
            p.get("n_envs", 1),
            self.encoder.packed,
            np.zeros(self.bounds.size, np.float32),
            n_steps=p["n_steps"],
            discount=p["discount"],
            frames=example.dtype == np.uint8 and example.ndim > 1,
        )
        self.ahead = max(1, DRAWN_BYTES // (example.nbytes * p["batch_size"]))
        self.steps = 0  # environment steps observed
        self.learnt_at = 0  # steps when it learnt last
        self.latest: dict[str, Any] = {}  # metrics of the latest update

    def _make_networks(self, outputs: int, extra: int = 0) -> None:
        """The actor, the critics, and the actor's optimiser."""
        p, size = self.parameters, self.bounds.size
        common: dict[str, Any] = {"device": p["device"], "rng": self.rng}
        shapes, known = self.encoder.shapes, _known_parameters(p["network"])
        self.actor = make_network(
            p["network"],
            shapes,
            (outputs,),
            known | p["network_parameters"],
            output_gains=(0.01,),  # actions in the middle at first
            extra=extra,
            **common,
        )
        own = p["critic_parameters"]
        if own is None:
            own = {} if p["critic_network"] else p["network_parameters"]
        critic = p["critic_network"] or p["network"]
        network = make_network(
            critic,
            {"observation": shapes, "action": (size,)},
            (1, 1),
            _known_parameters(critic) | own,
            output_gains=(1.0, 1.0),
            **common,
        )
        limit_threads(p["threads"])
        self.critics = TwinCritics(network, size)
        self.actor_optimizer = Adam(self.actor.parameters)

    # -- acting ----------------------------------------------------------------------------

    def act(self, state: Any, episode_num: int) -> Any:
        """Actions of the actor; in training random ones at first, and with noise then."""
        observations = self.encoder(state)  # [N, ...]
        if not self.training:
            units = self._best(self.actor.asarray(observations))
        elif self.steps < self.parameters["learning_starts"]:
            units = self.rng.uniform(-1.0, 1.0, (len(observations), self.bounds.size))
        else:
            units = self._explore(self.actor.asarray(observations))
        actions = self.bounds(units)
        return actions[0, ...] if self.encoder.is_single(state) else actions

    @abstractmethod
    def _best(self, observations: Array) -> Any:
        """Actions without noise, from -1 to 1, ``[N, A]``, in NumPy."""

    @abstractmethod
    def _explore(self, observations: Array) -> Any:
        """Actions to learn from, likewise."""

    # -- remembering -----------------------------------------------------------------------

    def observe(self, transition: Transition) -> None:
        """Put a step into the replay."""
        last_ob, action, reward, terminated, truncated, ob, _ = transition
        envs = transition.env_ids  # fewer than N where others were reset instead
        last, following = self.encoder.pack(last_ob), self.encoder.pack(ob)
        units = self.bounds.units(action)
        self.replay.add(last, units, reward, terminated, truncated, following, envs)
        self.steps += len(last)

    # -- learning --------------------------------------------------------------------------

    def update(self, episode_num: int) -> None:
        """Learn, if it is time."""
        p = self.parameters
        if self.steps < p["learning_starts"] or not len(self.replay):
            return
        updates, self.learnt_at = due_updates(
            self.steps, self.learnt_at, p["train_every"], p["gradient_steps"], self.replay.n_envs
        )
        if updates:
            self._learn(updates)

    def _learn(self, updates: int) -> None:
        size, rate = self.parameters["batch_size"], self.learning_rate(self.steps)
        while updates > 0:
            batches = min(updates, self.ahead)
            updates -= batches
            drawn = self._sample(batches * size)
            for start in range(0, batches * size, size):
                found = self._step(drawn.part(slice(start, start + size)), rate)
        # Means are taken when they are read: nothing waits for a GPU here.
        self.latest |= found | {"learning_rate": rate, "updates": self.critics.optimizer.updates}

    @abstractmethod
    def _step(self, batch: Batch, rate: float) -> dict[str, Any]:
        """One gradient update; metrics, as numbers or as arrays to take the mean of."""

    def _sample(self, count: int) -> Batch:
        """Transitions from the replay, as the networks want them."""
        batch, asarray = self.replay.sample(count, self.rng), self.actor.asarray
        return Batch(
            asarray(self.encoder.unpack(batch.observations)),
            asarray(batch.actions),
            asarray(batch.rewards),
            asarray(batch.discounts),
            asarray(self.encoder.unpack(batch.next_observations)),
            batch.slots,
        )

    def metrics(self, episode_num: int) -> dict[str, float]:
        """Of the latest update: losses, the mean value of the actions taken, and more."""
        return {**self._read(), "buffer_size": float(len(self.replay))}

    def _read(self) -> dict[str, float]:
        self.latest = {
            name: float(value.mean() if hasattr(value, "mean") else value)
            for name, value in self.latest.items()
        }
        return self.latest

    # -- state -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, replay, counters and random stream; the replay is not copied."""
        self._read()
        return super().state_dict()


def _known_parameters(class_string: str) -> dict[str, Any]:
    return MLP_PARAMETERS if class_string == MLP else {}
