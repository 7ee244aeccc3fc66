"""Proximal policy optimisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gym_loop.agents.acting import ActsInWorkers
from gym_loop.agents.base_agent import BaseAgent
from gym_loop.agents.transition import Transition
from gym_loop.nn.buffers.rollout import RolloutBuffer
from gym_loop.nn.building import make_network
from gym_loop.nn.losses import (
    approximate_kl,
    clip_fraction,
    clipped_policy_loss,
    value_loss,
)
from gym_loop.nn.namespace import Array
from gym_loop.nn.normalization import ObservationNormalizer, RewardNormalizer
from gym_loop.nn.optimizers import Adam, clip_by_global_norm
from gym_loop.nn.schedules import schedule, schedule_problem
from gym_loop.nn.spaces import ActionCodec, ObservationEncoder
from gym_loop.nn.threads import limit_threads
from gym_loop.schema.parameters import not_fraction, not_positive, too_small

POLICY, VALUE = 0, 1  # the network's outputs
WATCHED = ("policy_loss", "value_loss", "entropy", "approximate_kl", "clip_fraction")
KL = WATCHED.index("approximate_kl")


class Batch(NamedTuple):
    """Steps to learn from, ``[B, ...]`` each, as the network wants them."""

    observations: Array
    actions: Array
    log_probs: Array
    values: Array
    advantages: Array
    returns: Array

    def take(self, rows: Array) -> Batch:
        """Some of the steps."""
        return Batch(*(column[rows] for column in self))


class Pace(NamedTuple):
    """The values of the schedules for one rollout."""

    learning_rate: float
    clip_range: float
    value_clip_range: float | None


class PPO(ActsInWorkers, BaseAgent):
    """Collects a rollout, then climbs the clipped objective on it for a few epochs.

    Discrete, multi-discrete, multi-binary and continuous (Box) actions; any observation that
    is an array or a number. Random episodes are not learnt from: their actions are not the
    policy's.

    Source: Schulman et al. (2017), Proximal policy optimization algorithms.
    """

    supports_batch = True
    supports_partial_batch = True
    acts_with = ("network", "observation_normalizer")
    _fixed = (
        *BaseAgent._fixed,
        *("n_envs", "encoder", "codec", "learning_rate", "clip_range", "value_clip_range"),
    )
    on_policy_parameter = "n_steps"

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """The parameters of a run file.

        Parameters:
            batch_size (int or null): Steps of one gradient update; null for the whole rollout.
            clip_range (float or dict): How far the probability of an action may move from that
                of the policy that acted, as a ratio; a number or a schedule,
                {linear: [0.2, 0.0], steps: 100000}, in environment steps.
            device (str): Where a torch network lives: cpu, cuda, cuda:1.
            discount (float): Worth of a reward one step later (gamma).
            entropy_coefficient (float): Weight of the policy's entropy.
            epochs (int): Passes over each rollout.
            gae_decay (float): Decay of the advantage estimates (lambda): 0 trusts the value
                function, 1 the returns.
            learning_rate (float or dict): Step size of the optimiser; a number or a schedule,
                {linear: [1.0e-3, 0.0], steps: 100000}, in environment steps.
            log_std (float): First logarithm of the standard deviation of continuous actions.
            max_gradient_norm (float or null): Longer gradients are shortened to this; null
                for never.
            n_steps (int): Steps of each environment in a rollout.
            network (str): Class of the network: the MLP of gym-loop, which takes a Dict of
                observations as one flat vector, or a torch.nn.Module, which takes the Dict.
            network_parameters (dict): Its parameters; of the MLP: hidden [64, 64], activation tanh
                or relu, init orthogonal or uniform, layer_norm, shared (one trunk for policy and
                value).
            normalize_advantages (bool): Bring the advantages of each batch to mean 0 and
                deviation 1.
            normalize_observations (bool): Bring observations to mean 0 and deviation 1, by what
                was seen in training.
            normalize_rewards (bool): Divide rewards by the deviation of the discounted return;
                returns are reported as they are.
            target_kl (float or null): End the epochs once the policy has moved so far from the
                one that acted; null for never.
            threads (int or null): Threads of a matrix product; null for the library's choice.
            value_clip_range (float or dict or null): How far a value may move from that of the
                last rollout; a number or a schedule, as clip_range; null for no limit.
            value_coefficient (float): Weight of the value loss.
        """
        return {
            "batch_size": 256,
            "clip_range": 0.2,
            "device": "cpu",
            "discount": 0.99,
            "entropy_coefficient": 0.0,
            "epochs": 10,
            "gae_decay": 0.95,
            "learning_rate": 1e-3,
            "log_std": 0.0,
            "max_gradient_norm": 0.5,
            "n_steps": 128,
            "network": "gym_loop.nn.mlp:MLP",
            "network_parameters": {},
            "normalize_advantages": True,
            "normalize_observations": False,
            "normalize_rewards": False,
            "target_kl": None,
            "threads": 1,
            "value_clip_range": None,
            "value_coefficient": 0.5,
        }

    @staticmethod
    def check_parameters(parameters: dict[str, Any]) -> dict[str, str]:
        """Ranges: counts are positive, fractions are from 0 to 1, schedules are well-formed."""
        problems = {
            **too_small(parameters, batch_size=1, epochs=1, n_steps=1, threads=1),
            **too_small(parameters, entropy_coefficient=0, value_coefficient=0),
            **not_positive(parameters, "max_gradient_norm", "target_kl"),
            **not_fraction(parameters, "discount", "gae_decay"),
        }
        for name in ("clip_range", "learning_rate", "value_clip_range"):
            problem = "" if parameters[name] is None else schedule_problem(parameters[name], 0.0)
            if problem:
                problems[name] = problem
        return problems

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        p = self.parameters
        self.n_envs = p.get("n_envs", 1)
        self.encoder = ObservationEncoder(p["observation_space"], "PPO")
        self.codec = ActionCodec(p["action_space"], "PPO")
        self.learning_rate = schedule(p["learning_rate"], "learning_rate")
        self.clip_range = schedule(p["clip_range"], "clip_range")
        limit = p["value_clip_range"]
        self.value_clip_range = None if limit is None else schedule(limit, "value_clip_range")
        distribution = self.codec.distribution
        self.network = make_network(
            p["network"],
            self.encoder.shapes,
            (distribution.outputs, 1),
            p["network_parameters"],
            output_gains=(0.01, 1.0),  # nearly uniform actions at first
            extra=distribution.extra,
            device=p["device"],
            rng=self.rng,
        )
        limit_threads(p["threads"])
        self.network.extra[:] = p["log_std"]
        self.optimizer = Adam(self.network.parameters, epsilon=1e-5)
        example = self.encoder.example
        self.observation_normalizer: ObservationNormalizer | None = None
        if p["normalize_observations"]:
            self.observation_normalizer = ObservationNormalizer(example.shape)
            example = example.astype(np.float32)
        self.reward_normalizer: RewardNormalizer | None = None
        if p["normalize_rewards"]:
            self.reward_normalizer = RewardNormalizer(self.n_envs, p["discount"])
        self.rollout = RolloutBuffer(p["n_steps"], self.n_envs, example, self.codec.example)
        self.steps = 0  # environment steps observed
        self.latest: dict[str, float] = {}  # metrics of the latest rollout

    # -- acting ----------------------------------------------------------------------------

    def act(self, state: Any, episode_num: int) -> Any:
        """Draw actions from the policy; in evaluation take the likeliest ones."""
        observations = self._encode(state, learn=self.training)  # [N, ...]
        network, distribution = self.network, self.codec.distribution
        outputs = network.tonumpy(network.predict(network.asarray(observations), POLICY))
        if not self.training:
            drawn = distribution.mode(outputs)
        else:
            drawn = distribution.sample(outputs, network.tonumpy(network.extra), self.rng)
            self.rollout.begin(observations, drawn)
        return self.codec.single(drawn) if self.encoder.is_single(state) else self.codec(drawn)

    def acted_state(self) -> tuple[Array, ...]:
        """The observations as they were normalised, and what was drawn for them."""
        step = self.rollout.step
        return self.rollout.observations[step], self.rollout.actions[step]

    def load_acted_state(self, state: Any, acted: tuple[Array, ...]) -> None:
        """Begin a step of the rollout that copies have chosen."""
        if self.observation_normalizer is not None:
            self.observation_normalizer.update(self.encoder(state))
        self.rollout.begin(*acted)

    def _encode(self, state: Any, learn: bool = False) -> Array:
        observations = self.encoder(state)
        if self.observation_normalizer is None:
            return observations
        if learn:
            self.observation_normalizer.update(observations)
        return self.observation_normalizer(observations)

    def _values(self, state: Any) -> Array:
        """Values of observations as the environment gave them, ``[N]``."""
        network = self.network
        observations = network.asarray(self._encode(state))
        return network.tonumpy(network.predict(observations, VALUE))[:, 0]

    # -- remembering -----------------------------------------------------------------------

    def observe(self, transition: Transition) -> None:
        """Add a step to the rollout, if the policy chose it."""
        rollout = self.rollout
        if not rollout.pending:
            return
        terminated, truncated = transition.terminated, transition.truncated
        rows = transition.env_ids  # fewer than N where others were reset instead
        if rows is None or len(rows) == self.n_envs:
            rows = None
        # The policy stays the same to the end of the rollout, so values beyond may be had now.
        beyond = self._values(transition.ob) if np.count_nonzero(truncated) else 0.0
        rollout.finish(transition.reward, terminated, truncated, beyond, rows)
        self.steps += self.n_envs if rows is None else len(rows)
        if rollout.full:
            rollout.last_values[slice(None) if rows is None else rows] = self._values(transition.ob)

    # -- learning --------------------------------------------------------------------------

    def update(self, episode_num: int) -> None:
        """Learn once the rollout is full."""
        if self.rollout.full:
            self._learn()
            self.rollout.clear()

    def _learn(self) -> None:
        p, size = self.parameters, self.rollout.rewards.size
        batch_size = min(p["batch_size"] or size, size)
        rollout = self._rollout_batch(batch_size)
        begun = self.steps - len(rollout.values)  # so that schedules begin with their first value
        limit = self.value_clip_range
        pace = Pace(
            self.learning_rate(begun),
            self.clip_range(begun),
            None if limit is None else limit(begun),
        )
        if len(rollout.values) <= batch_size:  # one piece, the same in every epoch
            rollout = self._normalized(rollout)
        for epoch in range(p["epochs"]):
            watch = epoch == p["epochs"] - 1 or p["target_kl"] is not None
            watched, far = self._epoch(rollout, batch_size, pace, watch)
            if far:
                break
        self._note(rollout, watched, pace)

    def _epoch(
        self, rollout: Batch, batch_size: int, pace: Pace, watch: bool
    ) -> tuple[list[tuple[Array, ...]], bool]:
        """One pass over the rollout: what was watched, and whether the policy moved far enough."""
        p, network = self.parameters, self.network
        watched = []
        for batch in self._minibatches(rollout, batch_size):
            found = self._gradients(batch, pace, watch)
            if watch:
                watched.append(found)
                if p["target_kl"] is not None and found[KL] > 1.5 * p["target_kl"]:
                    return watched, True
            if p["max_gradient_norm"] is not None:
                clip_by_global_norm(network.gradients, p["max_gradient_norm"])
            self.optimizer.step(network.parameters, network.gradients, pace.learning_rate)
        return watched, False

    def _rollout_batch(self, piece: int) -> Batch:
        """All steps of the rollout, ``B <= T * N``, with what the policy that acted thought."""
        p, rollout, network = self.parameters, self.rollout, self.network
        shape = rollout.rewards.shape
        size = rollout.rewards.size
        observations = rollout.observations.reshape(size, *rollout.observations.shape[2:])
        actions = rollout.actions.reshape(size, *rollout.actions.shape[2:])
        observations, actions = network.asarray(observations), network.asarray(actions)
        values, log_probs = np.empty(size, np.float32), np.empty(size, np.float32)
        for start in range(0, size, piece):
            part = slice(start, start + piece)
            # As in acting: without dropout, and by the running statistics of a batch norm.
            outputs, value = network.predict_all(observations[part])
            judged = self.codec.distribution.evaluate(outputs, network.extra, actions[part])
            values[part] = network.tonumpy(value)[:, 0]
            log_probs[part] = network.tonumpy(judged.log_probs)
        rewards = rollout.rewards
        if self.reward_normalizer is not None:
            self.reward_normalizer.update(rewards, rollout.dones, rollout.held)
            rewards = self.reward_normalizer(rewards)
        advantages = rollout.advantages(
            values.reshape(shape), rewards, p["discount"], p["gae_decay"]
        ).reshape(size)
        columns = (log_probs, values, advantages, advantages + values)
        batch = Batch(observations, actions, *map(network.asarray, columns))
        if rollout.held.all():
            return batch
        return batch.take(network.asarray(rollout.held.reshape(size).nonzero()[0]))

    def _minibatches(self, rollout: Batch, size: int) -> Iterator[Batch]:
        """The rollout in random pieces, normalised; as it is, unshuffled, where it is one piece."""
        total = len(rollout.values)
        if total <= size:
            yield rollout
            return
        order = self.network.asarray(self.rng.permutation(total))
        for start in range(0, total, size):
            yield self._normalized(rollout.take(order[start : start + size]))

    def _normalized(self, batch: Batch) -> Batch:
        if not self.parameters["normalize_advantages"]:
            return batch
        centred = batch.advantages - batch.advantages.mean()
        deviation = (centred @ centred / len(centred)) ** 0.5
        return batch._replace(advantages=centred / (deviation + 1e-8))

    def _gradients(self, batch: Batch, pace: Pace, watch: bool) -> tuple[Array, ...]:
        """Fill the network's gradients; give the values of `WATCHED` if asked."""
        p, network, distribution = self.parameters, self.network, self.codec.distribution
        outputs, values = network.forward(batch.observations)
        judged = distribution.evaluate(outputs, network.extra, batch.actions)
        policy = clipped_policy_loss(
            judged.log_probs, batch.log_probs, batch.advantages, pace.clip_range
        )
        value = value_loss(values[:, 0], batch.returns, batch.values, pace.value_clip_range)
        by_entropy = -p["entropy_coefficient"] / len(batch.values)
        by_outputs, by_extra = distribution.gradient(judged, policy.gradient, by_entropy)
        network.backward((by_outputs, p["value_coefficient"] * value.gradient[:, None]))
        if by_extra is not None:
            network.extra_gradient[:] = by_extra
        if not watch:
            return ()
        entropy, ratios = distribution.entropies(judged).mean(), policy.ratios
        distance, clipped = approximate_kl(ratios), clip_fraction(ratios, pace.clip_range)
        return policy.value, value.value, entropy, distance, clipped

    def _note(self, rollout: Batch, watched: list[tuple[Array, ...]], pace: Pace) -> None:
        """What `metrics` will say."""
        means = [sum(map(float, column)) / len(column) for column in zip(*watched, strict=True)]
        returns, values = map(self.network.tonumpy, (rollout.returns, rollout.values))
        spread = float(returns.var())
        explained = 1.0 - float((returns - values).var()) / spread if spread > 0 else 0.0
        self.latest = {
            **dict(zip(WATCHED, means, strict=True)),
            "explained_variance": explained,
            "learning_rate": pace.learning_rate,
            "clip_range": pace.clip_range,
            "updates": float(self.optimizer.updates),
        }
        if len(self.network.extra):
            self.latest["standard_deviation"] = float(
                np.exp(self.network.tonumpy(self.network.extra)).mean()
            )

    def metrics(self, episode_num: int) -> dict[str, float]:
        """Of the latest rollout: losses and what the policy did (means of the last epoch)."""
        return dict(self.latest)
