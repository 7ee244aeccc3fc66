"""Deep Q-learning, with the parts of Rainbow as options."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from gym_loop.agents.acting import ActsInWorkers
from gym_loop.agents.base_agent import BaseAgent
from gym_loop.agents.transition import Transition
from gym_loop.nn.advice import cannot_act
from gym_loop.nn.buffers.prioritized import PrioritizedReplay
from gym_loop.nn.buffers.replay import Batch, Replay
from gym_loop.nn.building import make_network
from gym_loop.nn.losses import Loss, scatter, select
from gym_loop.nn.namespace import Array
from gym_loop.nn.noisy import NoisyMLP
from gym_loop.nn.optimizers import Adam, clip_by_global_norm
from gym_loop.nn.protocol import Network
from gym_loop.nn.q_values import (
    CategoricalReturn,
    ExpectedReturn,
    QuantileReturn,
    Returns,
    join_streams,
    split_gradient,
)
from gym_loop.nn.schedules import due_updates, schedule, schedule_problem
from gym_loop.nn.spaces import ObservationEncoder
from gym_loop.nn.threads import limit_threads
from gym_loop.schema.parameters import not_fraction, not_positive, too_small

# Targets are computed for several batches at once: a product of so many rows runs at full speed
# and costs Python once; larger ones leave the cache.
TARGET_ROWS, TARGET_BYTES = 512, 1 << 20


class DQN(ActsInWorkers, BaseAgent):
    """Learns the value of each action from a replay of what happened.

    Discrete actions; observations are arrays, numbers, or a Dict or Tuple of these. Double,
    dueling, prioritised, multi-step, noisy and distributional learning are options, alone or
    together. Random episodes are learnt from like all others. Pictures are stored once.

    Source: Mnih et al. (2015), Human-level control through deep reinforcement learning; Hessel
    et al. (2018), Rainbow: combining improvements in deep reinforcement learning.
    """

    supports_batch = True
    supports_partial_batch = True
    acts_with = ("network", "steps")
    _fixed = (
        *BaseAgent._fixed,
        *("encoder", "learning_rate", "epsilon", "correction", "returns", "ahead"),
    )

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """The parameters of a run file.

        Parameters:
            atoms (int): Numbers that describe the distribution of the return of an action.
            batch_size (int): Transitions of one gradient update.
            buffer_size (int): Transitions that are remembered.
            device (str): Where a torch network lives: cpu, cuda, cuda:1.
            discount (float): Worth of a reward one step later (gamma).
            distribution (null or "categorical" or "quantile"): Learn the distribution of the
                return, by probabilities of fixed values (C51) or by its quantiles; null for its
                mean alone.
            double (bool): The network that learns chooses the next action, the target network
                only values it.
            dueling (bool): Two outputs, the value of a state and the advantages of the actions;
                in the MLP each has layers of its own, unless network_parameters says shared.
            epsilon (float or dict): Probability of a random action; a number or a schedule,
                {linear: [1.0, 0.05], steps: 10000}, in environment steps. With noisy, 0 is usual.
            gradient_steps (int): Updates each time it learns; -1 for as many as environment steps
                were taken since the last time.
            learning_rate (float or dict): Step size of the optimiser; a number or a schedule,
                {linear: [1.0e-3, 0.0], steps: 100000}, in environment steps.
            learning_starts (int): Environment steps before; all actions are random till then.
            max_gradient_norm (float or null): Longer gradients are shortened to this; null
                for never.
            n_steps (int): Rewards that are summed up before the value of what follows.
            network (str): Class of the network: the MLP of gym-loop, which takes a Dict of
                observations as one flat vector, or a torch.nn.Module, which takes the Dict.
            network_parameters (dict): Its parameters; of the MLP: hidden [64, 64], activation tanh
                or relu, init orthogonal or uniform, layer_norm, shared.
            noisy (bool): Explore by learnt noise in the weights of the MLP.
            prioritized (bool): Replay surprising transitions more often.
            priority_correction (float or dict): How much of the bias of priorities is undone
                (beta), from 0 to 1; a number or a schedule, {linear: [0.4, 1.0], steps: 100000}.
            priority_exponent (float): 0 draws evenly, 1 in proportion to the error (alpha).
            target_every (int): Environment steps from one update of the target network to the
                next.
            target_mix (float): How far it moves to the network that learns; 1 copies it.
            threads (int or null): Threads of a matrix product; null for the library's choice.
            train_every (int): Environment steps, those of all copies counted, from one time it
                learns to the next.
            value_range (list): Least and largest return that categorical atoms stand for.
        """
        return {
            "atoms": 51,
            "batch_size": 64,
            "buffer_size": 100_000,
            "device": "cpu",
            "discount": 0.99,
            "distribution": None,
            "double": True,
            "dueling": False,
            "epsilon": {"linear": [1.0, 0.05], "steps": 10_000},
            "gradient_steps": 1,
            "learning_rate": 1e-3,
            "learning_starts": 1000,
            "max_gradient_norm": 10.0,
            "n_steps": 1,
            "network": "gym_loop.nn.mlp:MLP",
            "network_parameters": {},
            "noisy": False,
            "prioritized": False,
            "priority_correction": {"linear": [0.4, 1.0], "steps": 100_000},
            "priority_exponent": 0.6,
            "target_every": 500,
            "target_mix": 1.0,
            "threads": 1,
            "train_every": 4,
            "value_range": [-10.0, 10.0],
        }

    @staticmethod
    def check_parameters(parameters: dict[str, Any]) -> dict[str, str]:
        """Ranges: counts are positive, fractions are from 0 to 1, schedules are well-formed."""
        problems = {
            **too_small(parameters, atoms=2, buffer_size=2, learning_starts=0, batch_size=1),
            **too_small(parameters, n_steps=1, target_every=1, threads=1, train_every=1),
            **not_positive(parameters, "max_gradient_norm"),
            **not_fraction(parameters, "discount", "priority_exponent", "target_mix"),
        }
        steps = parameters["gradient_steps"]
        if steps < 1 and steps != -1:
            problems["gradient_steps"] = (
                f"{steps} must be at least 1, or -1 for one an environment step"
            )
        highest = {"epsilon": 1.0, "priority_correction": 1.0, "learning_rate": np.inf}
        for name, high in highest.items():
            if problem := schedule_problem(parameters[name], 0.0, high):
                problems[name] = problem
        ends = parameters["value_range"]
        numbers = [end for end in ends if type(end) in (int, float)]
        if len(ends) != 2 or len(numbers) != 2 or not ends[0] < ends[1]:
            problems["value_range"] = f"{ends!r} must be two numbers, the smaller one first"
        return problems

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        p = self.parameters
        space = p["action_space"]
        if not isinstance(space, spaces.Discrete):
            raise cannot_act("DQN", space, "Discrete actions")
        self.encoder = ObservationEncoder(p["observation_space"], "DQN")
        self.learning_rate = schedule(p["learning_rate"], "learning_rate")
        self.epsilon = schedule(p["epsilon"], "epsilon")
        self.correction = schedule(p["priority_correction"], "priority_correction")
        self.network = self._make_network()
        self.target = self.network.clone()
        limit_threads(p["threads"])
        self.returns = self._make_returns()
        self.optimizer = Adam(self.network.parameters)
        self.replay = self._make_replay()
        # Batches whose targets may be computed ahead: the target network rests meanwhile, but
        # priorities and noise do not.
        size = p["batch_size"]
        rows = min(TARGET_ROWS, TARGET_BYTES // self.encoder.example.nbytes)
        self.ahead = 1 if p["prioritized"] or p["noisy"] else max(1, rows // size)
        self.steps = 0  # environment steps observed
        self.learnt_at = 0  # steps when it learnt last
        self.followed_at = 0  # steps when the target network was updated last
        self.latest: dict[str, Any] = {}  # metrics of the latest update

    def _make_network(self) -> Network:
        p, space = self.parameters, self.parameters["action_space"]
        size = p["atoms"] if p["distribution"] else 1
        outputs = (size, size * int(space.n)) if p["dueling"] else (size * int(space.n),)
        network = make_network(
            p["network"],
            self.encoder.shapes,
            outputs,
            p["network_parameters"],
            output_gains=(1.0,) * len(outputs),
            device=p["device"],
            rng=self.rng,
        )
        return NoisyMLP(network) if p["noisy"] else network

    def _make_returns(self) -> Returns:
        p = self.parameters
        if p["distribution"] == "categorical":
            low, high = p["value_range"]
            atoms = np.linspace(low, high, p["atoms"], dtype=np.float32)
            return CategoricalReturn(self.network.asarray(atoms))
        return QuantileReturn(p["atoms"]) if p["distribution"] else ExpectedReturn()

    def _make_replay(self) -> Replay:
        p, example = self.parameters, self.encoder.example
        options = {
            "n_steps": p["n_steps"],
            "discount": p["discount"],
            "frames": example.dtype == np.uint8 and example.ndim > 1,
        }
        shape = p["buffer_size"], p.get("n_envs", 1), self.encoder.packed, np.zeros((), np.int64)
        if p["prioritized"]:
            return PrioritizedReplay(*shape, exponent=p["priority_exponent"], **options)
        return Replay(*shape, **options)

    # -- acting ----------------------------------------------------------------------------

    def act(self, state: Any, episode_num: int) -> Any:
        """The best actions; in training some of them at random."""
        observations = self.encoder(state)  # [N, ...]
        actions = self._explore(observations) if self.training else self._greedy(observations)
        space = self.parameters["action_space"]
        actions = (actions + space.start).astype(space.dtype, copy=False)
        return actions[0] if self.encoder.is_single(state) else actions

    def _explore(self, observations: Array) -> Array:
        p, count = self.parameters, len(observations)
        chance = 1.0 if self.steps < p["learning_starts"] else self.epsilon(self.steps)
        random = self.rng.random(count) < chance
        drawn = self.rng.integers(p["action_space"].n, size=count)
        return drawn if random.all() else np.where(random, drawn, self._greedy(observations))

    def _greedy(self, observations: Array) -> Array:
        network = self.network
        if isinstance(network, NoisyMLP):
            network.draw(self.rng) if self.training else network.settle()
        outputs = self._predict(network, network.asarray(observations))
        best: Array = network.tonumpy(self.returns.means(outputs)).argmax(axis=1)
        return best

    # -- remembering -----------------------------------------------------------------------

    def observe(self, transition: Transition) -> None:
        """Put a step into the replay."""
        last_ob, action, reward, terminated, truncated, ob, _ = transition
        envs = transition.env_ids  # fewer than N where others were reset instead
        last, following = self.encoder.pack(last_ob), self.encoder.pack(ob)
        actions = np.asarray(action) - self.parameters["action_space"].start
        self.replay.add(last, actions, reward, terminated, truncated, following, envs)
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
        p, size = self.parameters, self.parameters["batch_size"]
        self._move_target()
        rate = self.learning_rate(self.steps)
        while updates > 0:
            batches = min(updates, self.ahead)
            updates -= batches
            drawn = self._sample(batches * size)
            if isinstance(self.network, NoisyMLP) and isinstance(self.target, NoisyMLP):
                self.network.draw(self.rng)
                self.target.draw(self.rng)
            following = self._predict(self.target, drawn.next_observations)
            targets = None if p["double"] else self._targets(drawn, following, following)
            for start in range(0, batches * size, size):
                part = slice(start, start + size)
                batch = drawn.part(part)
                if targets is None:
                    own = self._predict(self.network, batch.next_observations)
                    found = self._step(batch, self._targets(batch, following[part], own), rate)
                else:
                    found = self._step(batch, targets[part], rate)
        self._note(*found, rate)

    def _move_target(self) -> None:
        """Catch up with the updates of the target network that were due since the last call.

        The network that it follows has not changed meanwhile, so that all of them are one step.
        """
        every = self.parameters["target_every"]
        times = self.steps // every - self.followed_at // every
        self.followed_at = self.steps
        left = (1.0 - self.parameters["target_mix"]) ** times
        if left == 1.0:
            return
        if left == 0.0:
            self.target.load_state_dict(self.network.state_dict())
        else:
            way = self.network.parameters - self.target.parameters
            self.target.parameters += (1.0 - left) * way
        self.target.copy_buffers(self.network)

    def _sample(self, count: int) -> Batch:
        """Transitions from the replay, as the network wants them."""
        if isinstance(self.replay, PrioritizedReplay):
            batch = self.replay.sample(count, self.rng, self.correction(self.steps))
        else:
            batch = self.replay.sample(count, self.rng)
        asarray = self.network.asarray
        return Batch(
            asarray(self.encoder.unpack(batch.observations)),
            asarray(batch.actions),
            asarray(batch.rewards),
            asarray(batch.discounts),
            asarray(self.encoder.unpack(batch.next_observations)),
            batch.slots,
            None if batch.weights is None else asarray(batch.weights),
        )

    def _predict(self, network: Network, observations: Array) -> Array:
        """Outputs ``[B, A, K]`` alone, with nothing kept for a gradient."""
        if self.parameters["dueling"]:
            return self._joined(network.predict_all(observations))
        return self._joined((network.predict(observations),))

    def _joined(self, outputs: Any) -> Array:
        return join_streams(outputs, int(self.parameters["action_space"].n), self.returns.size)

    def _targets(self, batch: Batch, following: Array, judge: Array) -> Array:
        """What to learn, where ``judge`` chooses the next action and ``following`` values it."""
        best = self.returns.means(judge).argmax(1)
        return self.returns.targets(select(following, best), batch.rewards, batch.discounts)

    def _step(self, batch: Batch, targets: Array, rate: float) -> tuple[Loss, Array]:
        """One gradient update; the loss, and the outputs that were corrected, ``[B, K]``."""
        p, network = self.parameters, self.network
        outputs = self._joined(network.forward(batch.observations))  # [B, A, K]
        predicted = select(outputs, batch.actions)
        loss = self.returns.loss(predicted, targets, batch.weights)
        gradient = scatter(loss.gradient, batch.actions, outputs.shape[1])
        network.backward(split_gradient(gradient, 2 if p["dueling"] else 1))
        if p["max_gradient_norm"] is not None:
            clip_by_global_norm(network.gradients, p["max_gradient_norm"])
        self.optimizer.step(network.parameters, network.gradients, rate)
        if isinstance(self.replay, PrioritizedReplay):
            self.replay.reprioritize(batch.slots, network.tonumpy(loss.errors))
        return loss, predicted

    def _note(self, loss: Loss, predicted: Array, rate: float) -> None:
        """What `metrics` will say; nothing is read here, so that nothing waits for a GPU."""
        self.latest = {
            "loss": loss.value,
            "q_value": self.returns.means(predicted[:, None]).mean(),
            "learning_rate": rate,
            "updates": self.optimizer.updates,
        }

    def _read(self) -> dict[str, float]:
        self.latest = {name: float(value) for name, value in self.latest.items()}
        return self.latest

    def metrics(self, episode_num: int) -> dict[str, float]:
        """Of the latest update: the loss and the mean value of the actions taken."""
        return {
            **self._read(),
            "epsilon": self.epsilon(self.steps),
            "buffer_size": float(len(self.replay)),
        }

    # -- state -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, replay, counters and random stream; the replay is not copied."""
        self._read()
        return super().state_dict()
