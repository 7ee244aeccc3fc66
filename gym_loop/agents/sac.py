"""Soft actor-critic."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator

from gym_loop.agents.off_policy import (
    OffPolicyAgent,
    OffPolicyParameters,
    positive_or_minus_one,
)
from gym_loop.agents.twin_critics import CriticParameters, make_actor_and_critics
from gym_loop.nn.arrays import Array, namespace_of
from gym_loop.nn.buffers.replay import Batch
from gym_loop.nn.networks import Network, NetworkParameters
from gym_loop.nn.optimizers import Adam
from gym_loop.nn.schedules import Schedule, schedule, schedule_problem
from gym_loop.schema.parameters import Field

FEATURES = 64  # of the observation that state-dependent noise is a function of
LOG_STD = (-20.0, 2.0)  # outside, a standard deviation stays what it is at the limit
LEAST_VARIANCE = 1e-6  # of noise whose features are all zero
HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def _first_coefficient(auto: str) -> float:
    """Where the coefficient starts: 0.1 of ``auto_0.1``, 1 of ``auto``; NaN of other text."""
    kind, _, first = auto.partition("_")
    try:
        return float(first or "1" if kind == "auto" else "nan")
    except ValueError:
        return math.nan


def _check_ent_coef(value: Any) -> Any:
    if not isinstance(value, str):
        problem = schedule_problem(value, 0.0)
    elif _first_coefficient(value) > 0.0:
        problem = ""
    else:
        problem = f"{value!r} must be auto, auto_0.1 (which starts at 0.1), a number or a schedule"
    if problem:
        raise ValueError(problem)
    return value


class SACParameters(CriticParameters, OffPolicyParameters, NetworkParameters):
    """The parameters of a run file."""

    former_names: ClassVar[dict[str, str]] = {
        "first_temperature": "is part of ent_coef now: auto_0.5 finds it, from 0.5 on",
        "log_std": "log_std_init",
        "state_dependent_exploration": "is written in parts now: use_sde true, and sde_sample_freq"
        " for the number",
        "temperature": "is called ent_coef now, and auto in place of null",
    }

    ent_coef: Annotated[float | dict[str, Any] | str, AfterValidator(_check_ent_coef)] = Field(
        "auto",
        description="Weight of the entropy beside the reward (alpha); auto to find the one that"
        " leads to target_entropy, auto_0.1 to start at 0.1; a number, or a schedule,"
        " {linear: [0.3, 0.02], steps: 100000}, in environment steps.",
    )
    log_std_init: float = Field(
        -3.0, description="With use_sde: first logarithm of the noise's standard deviation."
    )
    sde_sample_freq: Annotated[int, AfterValidator(positive_or_minus_one("train_freq"))] = Field(
        -1,
        description="With use_sde: steps of a copy for which the noise stays the same; -1 for as"
        " many as train_freq.",
    )
    target_entropy: float | Literal["auto"] = Field(
        "auto", description="Where ent_coef is found; auto for minus the dimensions of an action."
    )
    use_sde: bool = Field(
        False, description="Noise is a function of the observation (gSDE), so that it is smooth."
    )


class SAC(OffPolicyAgent):
    """Learns to be as random as it can while it earns the most, from a replay of what happened.

    Continuous actions with finite bounds; for the rest see `OffPolicyAgent`.

    Source: Haarnoja et al. (2018), Soft actor-critic algorithms and applications.
    """

    Parameters = SACParameters
    acts_with = ("actor", "steps", "sde_noise", "sde_steps")
    _fixed = (*OffPolicyAgent._fixed, "policy", "ent_coef", "target_entropy")

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        p, size = self.parameters, self.actions.size
        self.policy: TanhGaussian = TanhGaussian(size)
        if p["use_sde"]:
            self.policy = TanhStateGaussian(size, FEATURES)
        self.ent_coef: Schedule | None = None  # where it is found
        if not isinstance(p["ent_coef"], str):
            self.ent_coef = schedule(p["ent_coef"], "ent_coef")
        wanted = p["target_entropy"]
        # "auto" is the rule of thumb of the paper's appendix.
        self.target_entropy = -float(size) if wanted == "auto" else float(wanted)
        # The logarithm of the coefficient is the last number beside the actor's layers, so that
        # one optimizer step changes both.
        policy = self.policy
        self.actor, self.critics = make_actor_and_critics(self, policy.outputs, policy.extra + 1)
        self.actor.extra[:] = p["log_std_init"]
        self.actor.extra[-1:] = 0.0
        if self.ent_coef is None:
            self.actor.extra[-1:] = math.log(_first_coefficient(p["ent_coef"]))
        self.actor_optimizer = Adam(self.actor.parameters)
        self.replay = self._make_replay()
        self.sde_noise: Array = np.zeros(0, np.float32)  # [N, K, A]
        self.sde_steps = 0  # steps that it was used for

    def _coefficient(self) -> Any:
        """The weight of the entropy: a number, or ``[1]`` where it is found."""
        if self.ent_coef is not None:
            return self.ent_coef(self.steps)
        log = self.actor.extra[-1:]
        return namespace_of(log).exp(log)

    @property
    def _acting_network(self) -> Network:
        return self.actor

    # -- acting ----------------------------------------------------------------------------

    def _best(self, observations: Array) -> Any:
        actor = self.actor
        return actor.tonumpy(self.policy.mode(actor.predict(actor.asarray(observations), 0)[0]))

    def _explore(self, observations: Array) -> Any:
        actor, policy, count = self.actor, self.policy, len(observations)
        if self.steps < self.parameters["learning_starts"]:
            return self.rng.uniform(-1.0, 1.0, (count, self.actions.size))
        noise = self._sde_noise(count) if self.parameters["use_sde"] else self._noise(count)
        (outputs,) = actor.predict(actor.asarray(observations), 0)
        extra = actor.extra[: policy.extra]
        return actor.tonumpy(policy.sample(outputs, extra, actor.asarray(noise)).actions)

    def _noise(self, count: int) -> Array:
        return self.policy.noise(count, self.rng)

    def _sde_noise(self, count: int) -> Array:
        """For each of the copies the noise that it keeps for a while."""
        p = self.parameters
        steps = p["train_freq"] if p["sde_sample_freq"] == -1 else p["sde_sample_freq"]
        if self.sde_steps % steps == 0 or len(self.sde_noise) != count:
            self.sde_steps = 0
            self.sde_noise = np.stack([self._noise(1) for _ in range(count)])
        self.sde_steps += 1
        return self.sde_noise

    # -- learning --------------------------------------------------------------------------

    def _learn(self, updates: int) -> None:
        rate = self.learning_rate(self.steps)
        for batch in self._batches(updates):
            metrics = self._step(batch, rate)
        self.latest = {**metrics, "learning_rate": rate, "updates": self.critics.optimizer.updates}

    def _step(self, batch: Batch, rate: float) -> dict[str, Any]:
        """One update of critics, actor and coefficient."""
        coefficient = self._coefficient()
        errors, q_values = self._improve_critics(batch, coefficient, rate)
        losses, log_probs = self._improve_actor(batch.observations, coefficient, rate)
        self.critics.move_target(self.parameters["tau"])
        return {
            "critic_loss": errors,
            "q_value": q_values,
            "actor_loss": losses,
            "entropy": -log_probs,
            "ent_coef": coefficient,
        }

    def _improve_critics(self, batch: Batch, coefficient: Any, rate: float) -> tuple[Array, Array]:
        """Learn what rewards, and values and entropy of what follows, add up to."""
        critics, observations = self.critics, batch.next_observations
        draw = self._draw(self.actor.predict(observations, 0)[0])
        entropy = -coefficient * self.policy.log_probs(draw)
        next_values = critics.target_values(observations, draw.actions) + entropy
        targets = batch.rewards + batch.discounts * next_values
        return critics.learn(batch.observations, batch.actions, targets, rate)

    def _improve_actor(
        self, observations: Array, coefficient: Any, rate: float
    ) -> tuple[Array, Array]:
        """Climb value and entropy; their negative sums and the log-probabilities, ``[B]``."""
        actor, policy = self.actor, self.policy
        (outputs,) = actor.forward(observations)
        draw = self._draw(outputs)
        log_probs = policy.log_probs(draw)
        values, by_actions = self.critics.smaller_value(observations, draw.actions)
        by_outputs, by_extra = policy.gradient(draw, by_actions, coefficient / len(values))
        actor.backward((by_outputs,))
        if by_extra is not None:
            actor.extra_gradient[: policy.extra] = by_extra
        if self.ent_coef is None:
            # By the logarithm, which the paper leaves open: the coefficient stays above 0, and
            # its loss is log(coefficient) * (entropy - target), as in the authors' code.
            actor.extra_gradient[-1:] = -log_probs.mean() - self.target_entropy
        self.actor_optimizer.step(actor.parameters, actor.gradients, rate)
        return coefficient * log_probs - values, log_probs

    def _draw(self, outputs: Array) -> Draw:
        noise = self.actor.asarray(self._noise(len(outputs)))
        return self.policy.sample(outputs, self.actor.extra[: self.policy.extra], noise)


# -- policies: Gaussians squashed into (-1, 1) by tanh, with their gradients by hand --------------


class Draw(NamedTuple):
    """Actions ``[B, A]`` in (-1, 1), what they were before tanh, and parts for what follows."""

    actions: Array
    before: Array
    parts: tuple[Any, ...]


class TanhGaussian:
    """Draws actions with independent noise; outputs are means and log standard deviations.

    It describes the actions and holds no values. A draw is a function of the network's outputs and
    of noise that does not depend on them, so that a gradient by the actions goes on to the outputs.

    Source: Haarnoja et al. (2018), appendix C.

    Args:
        n: number of dimensions A.

    Attributes:
        outputs: number of network outputs that it needs.
        extra: number of parameters besides.
    """

    def __init__(self, n: int) -> None:
        self.n, self.outputs, self.extra = n, 2 * n, 0

    def noise(self, rows: int, rng: np.random.Generator) -> Array:
        """Noise to learn with, for a batch of so many rows."""
        return rng.standard_normal((rows, self.n), np.float32)

    def sample(self, outputs: Array, extra: Array, noise: Array) -> Draw:
        """Actions for outputs ``[B, out]``."""
        xp = namespace_of(outputs)
        wanted = outputs[:, self.n :]
        log_std = xp.clip(wanted, *LOG_STD)
        spread = xp.exp(log_std) * noise
        before = outputs[:, : self.n] + spread
        return Draw(xp.tanh(before), before, (wanted, log_std, spread, noise))

    def mode(self, outputs: Array) -> Array:
        """The actions without noise, ``[B, A]``."""
        return namespace_of(outputs).tanh(outputs[:, : self.n])

    def log_probs(self, draw: Draw) -> Array:
        """Logarithms of the densities of the drawn actions, ``[B]``."""
        _, log_std, _, noise = draw.parts
        each = -0.5 * noise * noise - log_std - HALF_LOG_TWO_PI - log_slope(draw.before)
        return each.sum(-1)

    def gradient(
        self, draw: Draw, by_actions: Array, by_log_probs: Any
    ) -> tuple[Array, Array | None]:
        """Gradients of a loss by outputs ``[B, out]`` and by ``extra``.

        Args:
            draw: what `sample` returned.
            by_actions: gradient of the loss by each action, ``[B, A]``.
            by_log_probs: the same by each log-probability, one number for all.
        """
        wanted, log_std, spread, _ = draw.parts
        by_means = by_before(draw.actions, by_actions, by_log_probs)
        by_log_std = (by_means * spread - by_log_probs) * (wanted == log_std)
        return namespace_of(by_means).concatenate([by_means, by_log_std], axis=1), None


class TanhStateGaussian(TanhGaussian):
    """Noise that is the same function of the observation for a while (gSDE).

    Outputs are means and ``features`` numbers, ``extra`` are the log standard deviations of the
    noise that each feature (their tanh) adds to each action, ``[features * A]``.

    Args:
        n: number of dimensions A.
        features: number of features K.

    Source: Raffin, Kober and Stulp (2021), Smooth exploration for robotic reinforcement learning.
    """

    def __init__(self, n: int, features: int) -> None:
        self.n, self.features = n, features
        self.outputs, self.extra = n + features, n * features

    def noise(self, rows: int, rng: np.random.Generator) -> Array:
        """Standard normal, ``[K, A]``: one function for the whole batch."""
        return rng.standard_normal((self.features, self.n), np.float32)

    def sample(self, outputs: Array, extra: Array, noise: Array) -> Draw:
        """See `TanhGaussian`; noise is ``[K, A]``, or ``[B, K, A]`` where each row has its own.

        With the latter there are neither log-probabilities nor gradients.
        """
        xp = namespace_of(outputs)
        features = xp.tanh(outputs[:, self.n :])
        std = xp.exp(extra.reshape(self.features, self.n))
        if len(noise.shape) > 2:
            drawn = (features[:, None] @ (std * noise))[:, 0]
            before = outputs[:, : self.n] + drawn
            return Draw(xp.tanh(before), before, ())
        drawn = features @ (std * noise)
        variance = (features * features) @ (std * std) + LEAST_VARIANCE
        before = outputs[:, : self.n] + drawn
        return Draw(xp.tanh(before), before, (features, std, noise, drawn, variance))

    def log_probs(self, draw: Draw) -> Array:
        """See `TanhGaussian`."""
        *_, drawn, variance = draw.parts
        logs = namespace_of(variance).log(variance)
        each = -0.5 * (drawn * drawn / variance + logs) - HALF_LOG_TWO_PI - log_slope(draw.before)
        return each.sum(-1)

    def gradient(self, draw: Draw, by_actions: Array, by_log_probs: Any) -> tuple[Array, Array]:
        """See `TanhGaussian`."""
        features, std, noise, drawn, variance = draw.parts
        by_means = by_before(draw.actions, by_actions, by_log_probs)
        relative = drawn / variance
        by_drawn = by_means - by_log_probs * relative
        by_variance = (0.5 * by_log_probs) * (relative * relative - 1.0 / variance)
        by_features = by_drawn @ (std * noise).T + 2.0 * features * (by_variance @ (std * std).T)
        by_inputs = by_features * (1.0 - features * features)
        by_std = (features.T @ by_drawn) * noise + 2.0 * std * ((features**2).T @ by_variance)
        by_outputs = namespace_of(by_means).concatenate([by_means, by_inputs], axis=1)
        return by_outputs, (by_std * std).reshape(-1)


def log_slope(before: Array) -> Array:
    """``log(1 - tanh(u) ** 2)``, exact for every u: the correction of a squashed density."""
    xp = namespace_of(before)
    size = xp.abs(before)
    return 2.0 * (math.log(2.0) - size - xp.log1p(xp.exp(-2.0 * size)))


def by_before(actions: Array, by_actions: Array, by_log_probs: Any) -> Array:
    """The gradient by what actions were before tanh, the correction's part included."""
    return by_actions * (1.0 - actions * actions) + (2.0 * by_log_probs) * actions
