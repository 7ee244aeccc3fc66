"""One seed, and every random stream of a run derived from it.

Each stream is named and independent of the others (`numpy.random.SeedSequence` with a spawn
key of its own), so that one more environment copy or evaluation changes no other stream.
"""

from __future__ import annotations

import random
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gym_loop.checkpoints.late_imports import loaded, when_imported
from gym_loop.checkpoints.tree import capture, restore
from gym_loop.checkpoints.tree.numpy_state import check_position, spaces_within
from gym_loop.errors import ConfigError, StateError
from gym_loop.wire.values import DAMAGE

# The position in this tuple is part of the derivation: append, never reorder.
STREAMS = (
    "python",
    "numpy",
    "torch",
    "agent",
    "environment",
    "action_space",
    "observation_space",
    "evaluation",
    "periodic_evaluation",
    "rollouts",
)
MAX_SEED = 2**32 - 1


def check_seed(seed: int, place: str = "seed") -> int:
    """Return the seed if it is one: an integer from 0 to 2**32 - 1.

    Raises:
        ConfigError: it is negative, too large or no integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"{place}: {seed!r} is not a seed; use an integer from 0 to {MAX_SEED}")
    return seed


def draw_seed() -> int:
    """A fresh seed from the operating system's randomness."""
    return secrets.randbits(32)


class Seeds:
    """The named random streams that one seed leads to.

    Args:
        seed: integer from 0 to 2**32 - 1.
    """

    def __init__(self, seed: int) -> None:
        self.seed = check_seed(seed)

    def sequence(self, stream: str, *key: int) -> np.random.SeedSequence:
        """The seed sequence of a stream named in `STREAMS`, or of its part of this number."""
        return np.random.SeedSequence(self.seed, spawn_key=(STREAMS.index(stream), *key))

    def integer(self, stream: str) -> int:
        """A 32-bit seed for a library that wants an integer."""
        return self.integers(stream, 1)[0]

    def integers(self, stream: str, count: int, *key: int) -> list[int]:
        """``count`` 32-bit seeds: one an environment copy, or one an evaluation episode."""
        return [int(word) for word in self.sequence(stream, *key).generate_state(count)]


# Where torch's stream stands while torch is not loaded: as in `capture_global_streams`.
_torch_to_come: dict[str, Any] = {}


def seed_global_streams(seeds: Seeds) -> None:
    """Seed Python's ``random``, NumPy's global stream, and torch's, whenever it is imported."""
    random.seed(seeds.integer("python"))
    np.random.seed(seeds.integer("numpy"))
    _put_torch({"torch_seed": seeds.integer("torch")})


def capture_global_streams() -> dict[str, Any]:
    """The global random streams as data: Python, NumPy, torch (and CUDA, where it is in use)."""
    version, words, gauss = random.getstate()
    state: dict[str, Any] = {
        "python": {"version": version, "words": np.array(words, np.uint64), "gauss": gauss},
        "numpy": capture(np.random.get_state(legacy=False)),
    }
    if (torch := loaded("torch")) is None:
        return {**state, **_torch_to_come}
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    words, seed = torch.get_rng_state(), torch.initial_seed()
    if not on_gpu and torch.equal(words, torch.Generator().manual_seed(seed).get_state()):
        # Nobody has drawn yet: the state is the same whether torch has been imported or not.
        return {**state, "torch_seed": seed}
    state["torch"] = words.numpy().copy()
    if on_gpu:
        state["torch_cuda"] = [one.numpy().copy() for one in torch.cuda.get_rng_state_all()]
    return state


def restore_global_streams(state: Mapping[str, Any]) -> None:
    """Put the streams back that `capture_global_streams` noted, torch's when it is imported.

    Raises:
        StateError: what was noted is damaged.
    """
    try:
        _put_global_streams(state)
    except DAMAGE as e:
        what = "are damaged, or of another version"
        raise StateError(f"the global random streams {what} ({type(e).__name__}: {e})") from e


def _put_global_streams(state: Mapping[str, Any]) -> None:
    python, numpy = state["python"], restore(None, state["numpy"])
    gauss = None if python["gauss"] is None else float(python["gauss"])
    random.setstate((python["version"], tuple(int(word) for word in python["words"]), gauss))
    check_position(numpy)
    np.random.set_state(numpy)
    if of_torch := {name: state[name] for name in state if name.startswith("torch")}:
        # Checked now, as torch may be imported much later.
        if type(of_torch.get("torch_seed", 0)) is not int:
            raise TypeError(f"torch's seed is {of_torch['torch_seed']!r:.40}")
        if getattr(of_torch.get("torch", np.zeros(1, np.uint8)), "dtype", None) != np.uint8:
            raise TypeError("torch's stream is no array of bytes")
        _put_torch(of_torch)


def _put_torch(state: dict[str, Any]) -> None:
    """Seed torch, or put back where it stood: now, or right after its first import."""
    _torch_to_come.clear()
    _torch_to_come.update(state)
    when_imported("torch", _settle_torch)


def _settle_torch() -> None:
    state, torch = _torch_to_come, sys.modules["torch"]
    if "torch_seed" in state:
        torch.manual_seed(state["torch_seed"])
    if "torch" in state:
        torch.set_rng_state(torch.from_numpy(np.array(state["torch"])))
    if torch.cuda.is_available():
        if "torch_cuda" in state:
            torch.cuda.set_rng_state_all(
                [torch.from_numpy(np.array(one)) for one in state["torch_cuda"]]
            )
        elif torch.cuda.is_initialized():  # it was not then: its streams stood at their beginning
            torch.cuda.manual_seed_all(torch.initial_seed())


def seed_everything(seed: int, agent: Any, spaces: Iterable[Any]) -> None:
    """Seed all that acting may draw from: global streams, the agent's generator, the spaces."""
    seeds = Seeds(seed)
    seed_global_streams(seeds)
    agent.rng = np.random.default_rng(seeds.sequence("agent"))
    for space in spaces:
        space.seed(seeds.integer("action_space"))


def seed_spaces(env: Any, seed: int, others: Sequence[Any] = ()) -> None:
    """Seed an environment's spaces, which it may sample itself; not those that are others'."""
    seeds = Seeds(seed)
    for name in ("action_space", "observation_space"):
        space = getattr(env, name, None)
        if space is not None and all(space is not other for other in others):
            space.seed(seeds.integer(name))


@contextmanager
def isolated(agent: Any, spaces: Sequence[Any]) -> Iterator[Callable[[int], None]]:
    """Keep the training's random streams untouched by what happens inside.

    Yields a function that seeds everything an episode of evaluation may draw from: the
    global streams, the agent's own generator and the given spaces. The same seed, agent
    and environment therefore give the same episode, wherever it is played.

    Args:
        agent: a `BaseAgent`; its ``rng`` is replaced inside.
        spaces: Gymnasium spaces that may be sampled from.
    """
    streams = capture_global_streams()
    space_states = [capture(space) for space in spaces]
    parts = [part for space in spaces for part in spaces_within(space)]
    generators = [part._np_random for part in parts]
    rng = agent.rng

    try:
        yield lambda seed: seed_everything(seed, agent, spaces)
    finally:
        agent.rng = rng
        # The very generators, for their seeds are part of them: what they spawn follows from it.
        for part, generator in zip(parts, generators, strict=True):
            part._np_random = generator
        for space, state in zip(spaces, space_states, strict=True):
            restore(space, state)
        restore_global_streams(streams)
