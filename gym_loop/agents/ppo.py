"""Proximal policy optimization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gym_loop.agents.acting import ActsInWorkers
from gym_loop.agents.base_agent import BaseAgent
from gym_loop.agents.transition import Transition
from gym_loop.nn.arrays import Array, namespace_of
from gym_loop.nn.buffers.rollout import Batch, RolloutBuffer
from gym_loop.nn.networks import NetworkParameters, make_network
from gym_loop.nn.normalization import ObservationNormalizer, RewardNormalizer
from gym_loop.nn.optimizers import Adam, clip_by_global_norm
from gym_loop.nn.schedules import NonNegativeSchedule, schedule
from gym_loop.nn.spaces import ActionCodec, ObservationEncoder
from gym_loop.schema.parameters import (
    Field,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

POLICY, VALUE = 0, 1  # the network's outputs
MEASURES = ("policy_loss", "value_loss", "entropy", "approximate_kl", "clip_fraction")
KL = MEASURES.index("approximate_kl")


class PPOParameters(NetworkParameters):
    """The parameters of a run file."""

    former_names: ClassVar[dict[str, str]] = {
        "discount": "gamma", "entropy_coefficient": "ent_coef", "epochs": "n_epochs",
        "gae_decay": "gae_lambda", "log_std": "log_std_init", "max_gradient_norm": "max_grad_norm",
        "normalize_advantages": "normalize_advantage", "normalize_observations": "norm_obs",
        "normalize_rewards": "norm_reward", "value_clip_range": "clip_range_vf",
        "value_coefficient": "vf_coef", "use_sde": "is not known to PPO here; SAC has it",
    }  # fmt: skip

    batch_size: PositiveInt | None = Field(
        256, description="Steps of one gradient update; null for the whole rollout."
    )
    clip_range: NonNegativeSchedule = Field(
        0.2,
        description="How far the probability of an action may move from that of the policy that"
        " acted, as a ratio; a number or a schedule, as learning_rate.",
    )
    clip_range_vf: NonNegativeSchedule | None = Field(
        None,
        description="How far a value may move from that of the last rollout, as clip_range; null"
        " for no limit.",
    )
    ent_coef: NonNegativeFloat = Field(0.0, description="Weight of the policy's entropy.")
    gae_lambda: Fraction = Field(
        0.95, description="Of the advantage estimates: 0 trusts the value function, 1 the returns."
    )
    gamma: Fraction = Field(0.99, description="Discount of a reward one step later.")
    learning_rate: NonNegativeSchedule = Field(
        1e-3,
        description="Step size of the optimizer; a number or a schedule, {linear: [1.0e-3, 0.0],"
        " steps: 100000}, in environment steps.",
    )
    log_std_init: float = Field(
        0.0, description="First logarithm of the standard deviation of continuous actions."
    )
    max_grad_norm: PositiveFloat | None = Field(
        0.5, description="Longer gradients are shortened to this; null for never."
    )
    n_epochs: PositiveInt = Field(10, description="Passes over each rollout.")
    n_steps: PositiveInt = Field(128, description="Steps of each environment in a rollout.")
    network_parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Its parameters; of the MLP: hidden [64, 64], activation tanh or relu, init"
        " orthogonal or uniform, layer_norm, shared (one trunk for policy and value).",
    )
    norm_obs: bool = Field(
        False, description="Bring observations to mean 0 and deviation 1, as seen in training."
    )
    norm_reward: bool = Field(
        False, description="Divide rewards by the deviation of the discounted return, to learn."
    )
    normalize_advantage: bool = Field(
        True, description="Bring the advantages of each batch to mean 0 and deviation 1."
    )
    target_kl: PositiveFloat | None = Field(
        None, description="End the epochs once the policy has moved so far; null for never."
    )
    vf_coef: NonNegativeFloat = Field(0.5, description="Weight of the value loss.")


class PPO(ActsInWorkers, BaseAgent):
    """Collects a rollout, then climbs the clipped objective on it for a few epochs.

    Discrete, multi-discrete, multi-binary and continuous (Box) actions; any observation that
    is an array or a number. Random episodes are not learnt from: their actions are not the
    policy's.

    Source: Schulman et al. (2017), Proximal policy optimization algorithms.
    """

    Parameters = PPOParameters
    supports_batch = True
    supports_partial_batch = True
    acts_with = ("network", "observation_normalizer")
    _fixed = (
        *BaseAgent._fixed,
        "encoder",
        "actions",
        "learning_rate",
        "clip_range",
        "clip_range_vf",
    )
    on_policy_parameter = "n_steps"

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        p = self.parameters
        self.encoder = ObservationEncoder(p["observation_space"], "PPO")
        self.actions = ActionCodec(p["action_space"], "PPO")
        self.learning_rate = schedule(p["learning_rate"], "learning_rate")
        self.clip_range = schedule(p["clip_range"], "clip_range")
        limit = p["clip_range_vf"]
        self.clip_range_vf = None if limit is None else schedule(limit, "clip_range_vf")
        distribution = self.actions.distribution
        self.network = make_network(
            p,
            self.encoder.shapes,
            (distribution.outputs, 1),
            output_gains=(0.01, 1.0),  # nearly uniform actions at first
            extra=distribution.extra,
            rng=self.rng,
        )
        self.network.extra[:] = p["log_std_init"]
        # The epsilon of the authors' code; Adam's paper suggests 1e-8.
        self.optimizer = Adam(self.network.parameters, epsilon=1e-5)
        n_envs, example = p.get("n_envs", 1), self.encoder.example
        self.observation_normalizer: ObservationNormalizer | None = None
        if p["norm_obs"]:
            self.observation_normalizer = ObservationNormalizer(example.shape)
            example = example.astype(np.float32)
        self.reward_normalizer: RewardNormalizer | None = None
        if p["norm_reward"]:
            self.reward_normalizer = RewardNormalizer(n_envs, p["gamma"])
        self.rollout = RolloutBuffer(p["n_steps"], n_envs, example, self.actions.example)
        self.steps = 0  # environment steps observed
        self.latest: dict[str, float] = {}  # metrics of the latest rollout

    # -- acting ----------------------------------------------------------------------------

    def act(self, state: Any, episode_num: int) -> Any:
        """Draw actions from the policy; in evaluation take the likeliest ones."""
        observations = self._encode(state, learn=self.training)  # [N, ...]
        network, distribution = self.network, self.actions.distribution
        outputs = network.tonumpy(network.predict(network.asarray(observations), POLICY)[0])
        if self.training:
            drawn = distribution.sample(outputs, network.tonumpy(network.extra), self.rng)
            self.rollout.begin(observations, drawn)
        else:
            drawn = distribution.mode(outputs)
        return self.actions.single(drawn) if self.encoder.is_single(state) else self.actions(drawn)

    def acted_state(self) -> tuple[Array, ...]:
        """The observations as they were normalized, and what was drawn for them."""
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
        return network.tonumpy(network.predict(observations, VALUE)[0])[:, 0]

    # -- remembering -----------------------------------------------------------------------

    def observe(self, transition: Transition) -> None:
        """Add a step to the rollout, if the policy chose it."""
        rollout = self.rollout
        if not rollout.pending:
            return
        terminated, truncated = transition.terminated, transition.truncated
        rows = transition.env_ids  # fewer than N where others were reset instead
        if rows is not None and len(rows) == rollout.n_envs:
            rows = None
        # The policy stays the same to the end of the rollout, so its values may be asked now.
        final_values = self._values(transition.ob) if np.count_nonzero(truncated) else 0.0
        rollout.finish(transition.reward, terminated, truncated, final_values, rows)
        self.steps += rollout.n_envs if rows is None else len(rows)
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
        if len(rollout.values) <= batch_size:  # one piece, the same in every epoch
            rollout = self._normalized(rollout)
        for epoch in range(p["n_epochs"]):
            measure = epoch == p["n_epochs"] - 1 or p["target_kl"] is not None
            measured, too_far = self._epoch(rollout, batch_size, begun, measure)
            if too_far:
                break
        means = [sum(map(float, column)) / len(column) for column in zip(*measured, strict=True)]
        self._note(rollout, begun, dict(zip(MEASURES, means, strict=True)))

    def _epoch(
        self, rollout: Batch, batch_size: int, begun: int, measure: bool
    ) -> tuple[list[tuple[Array, ...]], bool]:
        """One pass over the rollout: what was measured, and whether the policy moved too far."""
        p, network, rate = self.parameters, self.network, self.learning_rate(begun)
        measured = []
        for batch in self._minibatches(rollout, batch_size):
            values = self._gradients(batch, begun, measure)
            if measure:
                measured.append(values)
                # The factor is that of OpenAI's Spinning Up, which stops early by the KL too; the
                # paper does not stop.
                if p["target_kl"] is not None and values[KL] > 1.5 * p["target_kl"]:
                    return measured, True
            if p["max_grad_norm"] is not None:
                clip_by_global_norm(network.gradients, p["max_grad_norm"])
            self.optimizer.step(network.parameters, network.gradients, rate)
        return measured, False

    def _rollout_batch(self, piece: int) -> Batch:
        """All steps of the rollout, ``B <= T * N``, with what the policy that acted thought."""
        p, rollout, network = self.parameters, self.rollout, self.network
        shape, size = rollout.rewards.shape, rollout.rewards.size
        observations = rollout.observations.reshape(size, *rollout.observations.shape[2:])
        actions = rollout.actions.reshape(size, *rollout.actions.shape[2:])
        observations, actions = network.asarray(observations), network.asarray(actions)
        values, log_probs = np.empty(size, np.float32), np.empty(size, np.float32)
        for start in range(0, size, piece):
            part = slice(start, start + piece)
            # As in acting: without dropout, and by the running statistics of a batch norm.
            outputs, value = network.predict(observations[part])
            evaluation = self.actions.distribution.evaluate(outputs, network.extra, actions[part])
            values[part] = network.tonumpy(value)[:, 0]
            log_probs[part] = network.tonumpy(evaluation.log_probs)
        rewards = rollout.rewards
        if self.reward_normalizer is not None:
            self.reward_normalizer.update(rewards, rollout.dones, rollout.taken)
            rewards = self.reward_normalizer(rewards)
        advantages = rollout.advantages(
            values.reshape(shape), rewards, p["gamma"], p["gae_lambda"]
        ).reshape(size)
        columns = (log_probs, values, advantages, advantages + values)
        batch = Batch(observations, actions, *map(network.asarray, columns))
        if rollout.taken.all():
            return batch
        return batch.take(network.asarray(rollout.taken.reshape(size).nonzero()[0]))

    def _minibatches(self, rollout: Batch, size: int) -> Iterator[Batch]:
        """The rollout in random pieces, normalized; as it is, unshuffled, where it is one piece."""
        total = len(rollout.values)
        if total <= size:
            yield rollout
            return
        order = self.network.asarray(self.rng.permutation(total))
        for start in range(0, total, size):
            yield self._normalized(rollout.take(order[start : start + size]))

    def _normalized(self, batch: Batch) -> Batch:
        if not self.parameters["normalize_advantage"]:
            return batch
        # Each minibatch by itself, as the common implementations do; the paper does not say.
        centred = batch.advantages - batch.advantages.mean()
        deviation = (centred @ centred / len(centred)) ** 0.5
        return batch._replace(advantages=centred / (deviation + 1e-8))

    def _gradients(self, batch: Batch, begun: int, measure: bool) -> tuple[Array, ...]:
        """Fill the network's gradients; give the values of `MEASURES` if asked."""
        p, network, distribution = self.parameters, self.network, self.actions.distribution
        outputs, values = network.forward(batch.observations)
        evaluation = distribution.evaluate(outputs, network.extra, batch.actions)
        clip_range = self.clip_range(begun)
        policy_losses, by_log_probs, ratios = clipped_policy_loss(
            evaluation.log_probs, batch.log_probs, batch.advantages, clip_range
        )
        limit = None if self.clip_range_vf is None else self.clip_range_vf(begun)
        value_losses, by_values = value_loss(values[:, 0], batch.returns, batch.values, limit)
        by_entropy = -p["ent_coef"] / len(batch.values)
        by_outputs, by_extra = distribution.gradient(evaluation, by_log_probs, by_entropy)
        network.backward((by_outputs, p["vf_coef"] * by_values[:, None]))
        if by_extra is not None:
            network.extra_gradient[:] = by_extra
        if not measure:
            return ()
        entropy = distribution.entropies(evaluation).mean()
        change = policy_change(ratios, clip_range)
        return policy_losses.mean(), value_losses.mean(), entropy, *change

    def _note(self, rollout: Batch, begun: int, measures: dict[str, float]) -> None:
        """What `metrics` will say."""
        returns, values = map(self.network.tonumpy, (rollout.returns, rollout.values))
        spread = float(returns.var())
        self.latest = {
            **measures,
            "explained_variance": 1 - float((returns - values).var()) / spread if spread else 0.0,
            "learning_rate": self.learning_rate(begun),
            "clip_range": self.clip_range(begun),
            "updates": float(self.optimizer.updates),
        }
        if len(self.network.extra):
            log_std = self.network.tonumpy(self.network.extra)
            self.latest["standard_deviation"] = float(np.exp(log_std).mean())

    def metrics(self, episode_num: int) -> dict[str, float]:
        """Of the latest rollout: losses and what the policy did (means of the last epoch)."""
        return dict(self.latest)


def clipped_policy_loss(
    log_probs: Array, old_log_probs: Array, advantages: Array, clip_range: float
) -> tuple[Array, Array, Array]:
    """The negative clipped surrogate objective, equation 7 of the paper.

    Args:
        log_probs: of the actions taken, under the policy that learns, ``[B]``.
        old_log_probs: under the policy that acted, ``[B]``.
        advantages: ``[B]``.
        clip_range: how far from 1 the ratio of probabilities earns anything.

    Returns:
        The losses, the gradient of their mean by the log-probabilities, and the ratios, ``[B]``.
    """
    xp = namespace_of(log_probs)
    ratios = xp.exp(log_probs - old_log_probs)
    plain = ratios * advantages
    clipped = xp.clip(ratios, 1.0 - clip_range, 1.0 + clip_range) * advantages
    scale = -1.0 / len(log_probs)
    # The ratio's derivative by its logarithm is the ratio; where clipping won, it is a constant.
    return -xp.minimum(plain, clipped), plain * (plain <= clipped) * scale, ratios


def policy_change(ratios: Array, clip_range: float) -> tuple[Array, Array]:
    """Mean divergence of the acting from the learning policy, and the part that was clipped.

    Source: Schulman (2020), Approximating KL divergence (the estimator k3: never negative).
    """
    xp, count = namespace_of(ratios), len(ratios)
    divergence = xp.sum((ratios - 1.0) - xp.log(ratios)) / count
    return divergence, xp.sum(xp.abs(ratios - 1.0) > clip_range) / count


def value_loss(
    values: Array, returns: Array, old_values: Array, clip_range: float | None = None
) -> tuple[Array, Array]:
    """Squared errors of the values ``[B]``, and the gradient of their mean.

    Args:
        values: predictions, ``[B]``.
        returns: targets, ``[B]``.
        old_values: predictions before the update, ``[B]``.
        clip_range: a prediction gains nothing by moving farther than this from the old one; None
            for no limit, as in the paper. The larger error counts, as in the authors' code;
            stable-baselines3 counts that of the limited prediction alone.
    """
    xp, count = namespace_of(values), len(values)
    errors = values - returns
    squares = errors * errors
    if clip_range is None:
        return squares, errors * (2.0 / count)
    moved = values - old_values
    limited = old_values + xp.clip(moved, -clip_range, clip_range) - returns
    limited_squares = limited * limited
    active = (squares >= limited_squares) | (xp.abs(moved) <= clip_range)
    return xp.maximum(squares, limited_squares), errors * active * (2.0 / count)
