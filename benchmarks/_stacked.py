"""PPO for many seeds of CartPole-v1 in one product: the least that stacking could cost.

Parameters, rollouts and optimiser have a leading axis of seeds; all seeds share one native vector
environment and one random stream. There is no log, no checkpoint, no progress, no resume: what a
run has beside the arithmetic would come on top. It learns: its returns are printed.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from gym_loop.nn.mlp import orthogonal
from gym_loop.nn.threads import limit_threads

Array = np.ndarray[Any, Any]
HIDDEN, COPIES, INPUTS, ACTIONS = 64, 8, 4, 2
POLICY, VALUE = 0, 1
SHAPES = {
    "first": (2, HIDDEN, INPUTS + 1),
    "second": (2, HIDDEN, HIDDEN + 1),
    "policy": (ACTIONS, HIDDEN + 1),
    "value": (1, HIDDEN + 1),
}
GAINS = {"first": 2**0.5, "second": 2**0.5, "policy": 0.01, "value": 1.0}


class Networks:
    """Two towers of two layers a seed, ``[S, 2, out, in + 1]``, and Adam on ``[S, P]``."""

    def __init__(self, seeds: int, rng: np.random.Generator) -> None:
        size = sum(int(np.prod(shape)) for shape in SHAPES.values())
        flat = [np.zeros((seeds, size), np.float32) for _ in range(5)]
        self.parameters, self.gradients, self.first, self.second, self.scratch = flat
        self.weights, self.into = _views(self.parameters), _views(self.gradients)
        for name, array in self.weights.items():
            rows, columns = array.shape[-2:]
            for index in np.ndindex(array.shape[:-2]):
                array[index][:, :-1] = orthogonal(rng, rows, columns - 1, GAINS[name])
        self.seeds, self.updates = seeds, 0
        self._work: dict[int, dict[str, Array]] = {}
        self.last: dict[str, Array] = {}

    def forward(self, observations: Array) -> tuple[Array, Array]:
        """Logits ``[S, A, B]`` and values ``[S, B]`` for ``[S, B, 4]``."""
        work, weights = self._workspace(observations.shape[1]), self.weights
        work["x"][:, 0, :-1] = observations.transpose(0, 2, 1)
        h1, h2 = work["h1"][:, :, :-1], work["h2"][:, :, :-1]
        np.tanh(np.matmul(weights["first"], work["x"], out=h1), out=h1)
        np.tanh(np.matmul(weights["second"], work["h1"], out=h2), out=h2)
        np.matmul(weights["policy"], work["h2"][:, POLICY], out=work["logits"])
        np.matmul(weights["value"], work["h2"][:, VALUE], out=work["values"])
        self.last = work
        return work["logits"], work["values"][:, 0]

    def backward(self, by_logits: Array, by_values: Array) -> None:
        """Gradients from those by the outputs of the last `forward`."""
        work, weights, into = self.last, self.weights, self.into
        h1, h2, d1, d2 = (work[name] for name in ("h1", "h2", "d1", "d2"))
        by_values = by_values[:, None]
        np.matmul(by_logits, h2[:, POLICY].swapaxes(-1, -2), out=into["policy"])
        np.matmul(by_values, h2[:, VALUE].swapaxes(-1, -2), out=into["value"])
        policy, value = (weights[name][..., :-1].swapaxes(-1, -2) for name in ("policy", "value"))
        np.matmul(policy, by_logits, out=d2[:, POLICY])
        np.multiply(value, by_values, out=d2[:, VALUE])
        self._through_tanh(h2, d2)
        np.matmul(d2, h1.swapaxes(-1, -2), out=into["second"])
        np.matmul(weights["second"][..., :-1].swapaxes(-1, -2), d2, out=d1)
        self._through_tanh(h1, d1)
        np.matmul(d1, work["x"].swapaxes(-1, -2), out=into["first"])

    def _through_tanh(self, outputs: Array, delta: Array) -> None:
        slope, outputs = self.last["slope"], outputs[:, :, :-1]
        np.multiply(outputs, outputs, out=slope)
        delta *= np.subtract(1.0, slope, out=slope)

    def step(self, learning_rate: float) -> None:
        """Clip each seed's gradient to length 0.5, and take one step of Adam."""
        gradients, work = self.gradients, self.scratch
        self.updates += 1
        norms = np.sqrt(np.einsum("sp,sp->s", gradients, gradients))
        gradients *= np.minimum(1.0, 0.5 / (norms + 1e-12))[:, None]
        self.first *= 0.9
        self.first += gradients
        self.second *= 0.999
        self.second += np.multiply(gradients, gradients, out=work)
        scale = ((1 - 0.999**self.updates) / (1 - 0.999)) ** 0.5
        np.sqrt(self.second, out=work)
        work += 1e-5 * scale
        np.divide(self.first, work, out=work)
        work *= learning_rate * scale * (1 - 0.9) / (1 - 0.9**self.updates)
        self.parameters -= work

    def _workspace(self, batch: int) -> dict[str, Array]:
        if batch not in self._work:
            towers = {
                **dict.fromkeys(("h1", "h2"), (2, HIDDEN + 1, batch)),
                **dict.fromkeys(("d1", "d2", "slope"), (2, HIDDEN, batch)),
            }
            shapes = {"x": (1, INPUTS + 1, batch), "logits": (ACTIONS, batch), **towers}
            shapes["values"] = (1, batch)
            self._work[batch] = {
                name: np.ones((self.seeds, *shape), np.float32) for name, shape in shapes.items()
            }
        return self._work[batch]


def _views(flat: Array) -> dict[str, Array]:
    views, start = {}, 0
    for name, shape in SHAPES.items():
        size = int(np.prod(shape))
        views[name] = flat[:, start : start + size].reshape(len(flat), *shape)
        start += size
    return views


def _log_softmax(logits: Array) -> Array:
    centred = logits - logits.max(1, keepdims=True)
    normalised: Array = centred - np.log(np.exp(centred).sum(1, keepdims=True))
    return normalised


def train_stacked(seeds: int, steps: int, p: dict[str, Any]) -> float:
    """Train so many seeds at once; the mean return of their last episodes, 100 a seed.

    Args:
        seeds: number of seeds S.
        steps: of each seed.
        p: parameters of PPO.
    """
    limit_threads(1)
    rng = np.random.default_rng(0)
    networks = Networks(seeds, rng)
    env = gymnasium.make_vec("CartPole-v1", num_envs=seeds * COPIES)
    ob, _ = env.reset(seed=0)
    shape = (p["n_steps"], seeds, COPIES)  # [T, S, N]
    size = p["n_steps"] * COPIES
    observations = np.empty((*shape, INPUTS), np.float32)
    actions = np.empty(shape, np.int64)
    rewards, terminated, done, held = (np.empty(shape, np.float32) for _ in range(4))
    returns, finished = np.zeros(seeds * COPIES), list[float]()
    over = np.zeros(seeds * COPIES, bool)  # the next step is a reset, and not to be learnt from
    rollouts = steps // size
    for rollout in range(rollouts):
        for step in range(p["n_steps"]):
            rows = ob.reshape(seeds, COPIES, INPUTS)
            logits, _ = networks.forward(rows)
            second = 1.0 / (1.0 + np.exp(logits[:, 0] - logits[:, 1]))
            action = (rng.random(second.shape) < second).astype(np.int64)
            observations[step], actions[step], held[step] = rows, action, ~over.reshape(seeds, -1)
            ob, reward, ended, cut, _ = env.step(action.ravel())
            over = ended | cut
            rewards[step], terminated[step] = reward.reshape(seeds, -1), ended.reshape(seeds, -1)
            done[step] = over.reshape(seeds, -1)
            returns += reward
            if over.any():
                finished += returns[over].tolist()
                returns[over] = 0.0
        columns = [
            array.swapaxes(0, 1).reshape(seeds, size, *array.shape[3:])
            for array in (observations, actions, held)
        ]
        values, log_probs = _judge(networks, columns[0], columns[1])
        _, beyond = networks.forward(ob.reshape(seeds, COPIES, INPUTS))
        advantages = _advantages(p, values.reshape(seeds, -1, COPIES), beyond, rewards,
                                 terminated, done)  # fmt: skip
        columns += [log_probs, advantages, advantages + values]
        left = 1.0 - rollout / rollouts if isinstance(p["learning_rate"], dict) else 1.0
        _learn(networks, p, columns, left, rng)
    return float(np.mean(finished[-100 * seeds :]))


def _judge(networks: Networks, observations: Array, actions: Array) -> tuple[Array, Array]:
    values, log_probs = (np.empty(actions.shape, np.float32) for _ in range(2))
    for start in range(0, actions.shape[1], 256):
        part = slice(start, start + 256)
        logits, values[:, part] = networks.forward(observations[:, part])
        chosen = np.take_along_axis(_log_softmax(logits), actions[:, None, part], 1)
        log_probs[:, part] = chosen[:, 0]
    return values, log_probs


def _advantages(p: dict[str, Any], values: Array, beyond: Array, rewards: Array,
                terminated: Array, done: Array) -> Array:  # fmt: skip
    """Advantages ``[S, T * N]``; a row after an episode's last holds that episode's last value."""
    advantages, following, ahead = np.empty_like(values), 0.0, beyond
    for step in range(len(rewards) - 1, -1, -1):
        now = values[:, step]
        delta = rewards[step] + p["gamma"] * ahead * (1.0 - terminated[step]) - now
        following = delta + p["gamma"] * p["gae_lambda"] * (1.0 - done[step]) * following
        advantages[:, step], ahead = following, now
    return advantages.reshape(len(values), -1)


def _learn(
    networks: Networks, p: dict[str, Any], columns: list[Array], left: float, rng: Any
) -> None:
    rows, size = np.arange(networks.seeds)[:, None], columns[1].shape[1]
    piece = p["batch_size"]
    for _ in range(p["n_epochs"]):
        whole = size <= piece
        order = None if whole else np.stack([rng.permutation(size) for _ in rows])
        for start in range(0, size, piece):
            batch = columns
            if order is not None:
                at = order[:, start : start + piece]
                batch = [column[rows, at] for column in columns]
            _gradients(networks, batch, 0.2 * left)
            networks.step(1e-3 * left)


def _gradients(networks: Networks, batch: list[Array], clip: float) -> None:
    observations, actions, held, before, advantages, targets = batch
    count = held.sum(1, keepdims=True)
    centred = (advantages - (advantages * held).sum(1, keepdims=True) / count) * held
    deviation = np.sqrt((centred * centred).sum(1, keepdims=True) / count)
    advantages = centred / (deviation + 1e-8)
    logits, values = networks.forward(observations)
    log_probs = _log_softmax(logits)
    ratios = np.exp(np.take_along_axis(log_probs, actions[:, None], 1)[:, 0] - before)
    free, limited = ratios * advantages, np.clip(ratios, 1 - clip, 1 + clip) * advantages
    by_chosen = np.where(free <= limited, -free, 0.0) / count
    by_logits = -np.exp(log_probs) * by_chosen[:, None]
    chosen = np.take_along_axis(by_logits, actions[:, None], 1) + by_chosen[:, None]
    np.put_along_axis(by_logits, actions[:, None], chosen, 1)
    networks.backward(by_logits, (values - targets) * held / count)
