"""What DQN, SAC and TD3 share: a replay of what happened, and when they learn from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge
from pydantic import AfterValidator

from gym_loop.agents.acting import ActsInWorkers
from gym_loop.agents.base_agent import BaseAgent
from gym_loop.agents.transition import Transition
from gym_loop.nn.arrays import Array
from gym_loop.nn.buffers.replay import Batch, Replay
from gym_loop.nn.networks import Network
from gym_loop.nn.schedules import NonNegativeSchedule, schedule
from gym_loop.nn.spaces import BoundedActions, DiscreteActions, ObservationEncoder
from gym_loop.schema.parameters import (
    Field,
    Fraction,
    NonNegativeInt,
    Parameters,
    PositiveInt,
)

# Batches are drawn for several updates at once, up to so many bytes: larger ones leave the cache.
DRAWN_BYTES = 1 << 20


def positive_or_minus_one(meaning: str) -> Callable[[int], int]:
    """A check of a count that may be -1 as well, which ``meaning`` explains."""

    def check(value: int) -> int:
        if value < 1 and value != -1:
            raise ValueError(f"{value} must be at least 1, or -1 for {meaning}")
        return value

    return check


GradientSteps = Annotated[int, AfterValidator(positive_or_minus_one("one an environment step"))]


class OffPolicyParameters(Parameters):
    """The parameters of all three; defaults are those of SAC and TD3."""

    former_names: ClassVar[dict[str, str]] = {
        "discount": "gamma",
        "target_mix": "tau",
        "train_every": "is called train_freq now, which counts the steps of each copy: write the"
        " former number divided by loop.parameters.n_envs",
    }

    batch_size: PositiveInt = Field(256, description="Transitions of one gradient update.")
    buffer_size: Annotated[int, Ge(2)] = Field(
        1_000_000, description="Transitions that are remembered."
    )
    gamma: Fraction = Field(0.99, description="Discount of a reward one step later.")
    gradient_steps: GradientSteps = Field(
        -1,
        description="Updates each time it learns; -1 for as many as steps were taken since the last"
        " time, those of all copies.",
    )
    learning_rate: NonNegativeSchedule = Field(
        3e-4,
        description="Step size of the optimizer; a number or a schedule, {linear: [1.0e-3, 0.0],"
        " steps: 100000}, in environment steps.",
    )
    learning_starts: NonNegativeInt = Field(
        100, description="Environment steps before it learns; all actions are random till then."
    )
    n_steps: PositiveInt = Field(
        1, description="Rewards that are summed up before the value of what follows."
    )
    tau: Fraction = Field(
        0.005, description="How far targets move to what learns at each update; 1 copies it."
    )
    train_freq: PositiveInt = Field(
        1, description="Steps of each copy from one time it learns to the next."
    )

    @classmethod
    def redefined(cls, name: str, default: Any) -> Any:
        """A field of these with another default."""
        return Field(default, description=cls.model_fields[name].description)


class OffPolicyAgent(ActsInWorkers, BaseAgent, ABC):
    """Learns from a replay of what happened.

    Observations are arrays, numbers, or a Dict or Tuple of these. Random episodes are learnt from
    like all others. Pictures are stored once.

    A subclass makes its networks and ``replay``, and says how it chooses (`_best`, `_explore`) and
    learns (`_learn`).
    """

    supports_batch = True
    supports_partial_batch = True
    _fixed = (*BaseAgent._fixed, "encoder", "actions", "learning_rate", "batches_at_once")
    action_codec: ClassVar[type[BoundedActions] | type[DiscreteActions]] = BoundedActions

    replay: Replay

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        p, name = self.parameters, type(self).__name__
        self.actions: Any = self.action_codec(p["action_space"], name)
        self.encoder = ObservationEncoder(p["observation_space"], name)
        self.learning_rate = schedule(p["learning_rate"], "learning_rate")
        batch_bytes = self.encoder.example.nbytes * p["batch_size"]
        self.batches_at_once = max(1, DRAWN_BYTES // batch_bytes)  # that are drawn
        self.steps = 0  # environment steps observed, those of all copies
        self.learnt_at = 0  # `steps` when it learnt last
        self.steps_since = 0  # steps of each copy since then
        self.latest: dict[str, Any] = {}  # metrics of the latest update

    def _make_replay(self, kind: Callable[..., Replay] = Replay, **options: Any) -> Replay:
        p, example = self.parameters, self.encoder.example
        return kind(
            p["buffer_size"],
            p.get("n_envs", 1),
            self.encoder.packed,
            self.actions.example,
            n_steps=p["n_steps"],
            gamma=p["gamma"],
            frames=example.dtype == np.uint8 and example.ndim > 1,
            **options,
        )

    # -- acting ----------------------------------------------------------------------------

    def act(self, state: Any, episode_num: int) -> Any:
        """Actions to learn from; in evaluation the best ones."""
        observations = self.encoder(state)  # [N, ...]
        chosen = self._explore(observations) if self.training else self._best(observations)
        is_single = self.encoder.is_single(state)
        return self.actions.single(chosen) if is_single else self.actions(chosen)

    @abstractmethod
    def _best(self, observations: Array) -> Any:
        """The best actions for encoded observations ``[N, ...]``, as the replay has actions."""

    @abstractmethod
    def _explore(self, observations: Array) -> Any:
        """Actions to learn from, likewise."""

    # -- remembering -----------------------------------------------------------------------

    def observe(self, transition: Transition) -> None:
        """Put a step into the replay."""
        last_ob, action, reward, terminated, truncated, ob, _ = transition
        env_ids = transition.env_ids  # fewer than N where others were reset instead
        before, after = self.encoder.pack(last_ob), self.encoder.pack(ob)
        stored = self.actions.stored(action)
        self.replay.add(before, stored, reward, terminated, truncated, after, env_ids)
        self.steps += len(before)
        self.steps_since += 1

    # -- learning --------------------------------------------------------------------------

    def update(self, episode_num: int) -> None:
        """Learn, if it is time."""
        p = self.parameters
        if self.steps_since < p["train_freq"] or self.steps < p["learning_starts"]:
            return
        updates = p["gradient_steps"]
        if updates == -1:
            # What was observed without a call (random episodes) is not caught up with.
            updates = min(self.steps - self.learnt_at, p["train_freq"] * self.replay.n_envs)
        self.learnt_at, self.steps_since = self.steps, 0
        if updates and len(self.replay):
            self._learn(updates)

    @abstractmethod
    def _learn(self, updates: int) -> None:
        """Make so many gradient updates, and note in ``latest`` what came of them."""

    def _batches(self, updates: int) -> Iterator[Batch]:
        """A batch for each update; several are drawn at a time."""
        size = self.parameters["batch_size"]
        while updates > 0:
            batches = min(updates, self.batches_at_once)
            updates -= batches
            drawn = self._sample(batches * size)
            for start in range(0, batches * size, size):
                yield drawn.part(slice(start, start + size))

    def _sample(self, count: int, correction: float = 1.0) -> Batch:
        """Transitions from the replay, as the networks want them."""
        batch = self.replay.sample(count, self.rng, correction)
        asarray = self._acting_network.asarray
        return Batch(
            asarray(self.encoder.unpack(batch.observations)),
            asarray(batch.actions),
            asarray(batch.rewards),
            asarray(batch.discounts),
            asarray(self.encoder.unpack(batch.next_observations)),
            batch.slots,
            None if batch.weights is None else asarray(batch.weights),
        )

    @property
    @abstractmethod
    def _acting_network(self) -> Network:
        """The network whose library and device all arrays are of."""

    def metrics(self, episode_num: int) -> dict[str, float]:
        """Of the latest update: losses, the mean value of the actions taken, and more."""
        return {**self._read(), "buffer_size": float(len(self.replay))}

    def _read(self) -> dict[str, float]:
        """The latest metrics as numbers; until they are read, nothing waits for a GPU."""
        self.latest = {
            name: float(value.mean() if hasattr(value, "mean") else value)
            for name, value in self.latest.items()
        }
        return self.latest

    # -- state -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimizers, replay, counters and random stream; the replay is not copied."""
        self._read()
        return super().state_dict()
