"""Copies of an environment in Ray's actors, on this machine or on many: for slow environments."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from gym_loop.checkpoints.seeding import (
    Seeds,
    capture_global_streams,
    restore_global_streams,
    seed_global_streams,
)
from gym_loop.envs.workers import StatefulEnv
from gym_loop.errors import EnvError, EnvPackageMissingError, EnvWorkerError, UsageError

QUIET_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# The actors are what a training waits for. Ray's own choice lets them starve beside busy programs
# (nice 15), and warns on standard output where they are many more than cores.
WANTED_RAY = {"RAY_worker_niceness": "0", "RAY_worker_maximum_startup_concurrency": "256"}
STORE_BYTES = 100 * 2**20  # of Ray's shared memory, where we start it
Make = Callable[[], "gymnasium.Env[Any, Any]"]


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that hold for a while."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def start_ray(address: str | None, cores: int, **options: Any) -> None:
    """Start Ray on this machine, or join a cluster, without a word of Ray's.

    Args:
        address: of the cluster; None starts Ray here.
        cores: that it may use here.
        options: of ``ray.init``.

    Raises:
        UsageError: Ray would wait for ever: it cannot start processes by a path with a space.
    """
    if address is None and " " in sys.executable:
        raise UsageError(
            f"Ray cannot start processes with {sys.executable}, whose path has a space: install"
            " gym-loop in an environment without one"
        )
    import ray

    if address is None:
        options |= {
            "num_cpus": cores,
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
        }
    options |= {"log_to_driver": False, "logging_level": logging.ERROR}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    ray.init(address=address or "local", **options)
    if threading.current_thread() is threading.main_thread():
        # Ray puts its own in place, which shows addresses and aborts the process after 3 seconds.
        signal.signal(signal.SIGTERM, on_sigterm or signal.SIG_DFL)


class ShardsEnv(SyncVectorEnv):  # type: ignore[misc]
    """A `SyncVectorEnv` whose copies are in Ray's actors, a share of them in each.

    A step is one message to each actor and one back; all of them step at the same time. It joins
    the cluster of the environment variable ``RAY_ADDRESS``, else starts Ray on this machine.

    Args:
        make: makes one copy with all its wrappers.
        n_envs: number of copies.
        name: of the environment, for messages.
        autoreset_mode: how a copy is reset after an episode.
        shards: number of actors; by default one a core, but no more than copies.

    Raises:
        EnvPackageMissingError: Ray is not installed.
        EnvWorkerError: in any method: a copy raised, or its actor died.
    """

    copies_elsewhere = True  # than in this process

    def __init__(
        self,
        make: Make,
        n_envs: int,
        name: str,
        autoreset_mode: AutoresetMode,
        shards: int | None = None,
    ) -> None:
        self._name = name
        streams = capture_global_streams()
        self._ray = _ray_that_runs()
        cores = int(self._ray.cluster_resources().get("CPU", 1))
        count = min(n_envs, shards or max(1, cores))
        actor = self._ray.remote(num_cpus=0)(_Shard)
        at_once = autoreset_mode == AutoresetMode.SAME_STEP
        sizes = [n_envs // count + (index < n_envs % count) for index in range(count)]
        self._shards = [actor.remote(make, size, at_once, streams) for size in sizes]
        self._sizes = sizes
        self.one_copy_each = count == n_envs
        self.answers: list[Any] | None = None  # of all copies to the next step, if they are known
        spaces = self._get([self._shards[0].spaces.remote()])[0]
        restore_global_streams(streams)  # Ray draws from them where it has to be started
        self._copies = [_Copy(*spaces) for _ in range(n_envs)]
        copies = iter(self._copies)
        super().__init__([lambda: next(copies)] * n_envs, copy=False, autoreset_mode=autoreset_mode)

    @property
    def observations(self) -> Any:
        """The observations of all copies, as they were returned last."""
        return self._observations

    @observations.setter
    def observations(self, value: Any) -> None:
        self._observations = value

    def step(self, actions: Any) -> Any:
        """Step all copies at the same time; where they have answered already, tell that."""
        answers, self.answers = self.answers, None
        if answers is None:
            each = list(gymnasium.vector.utils.iterate(self.action_space, actions))
            answers = self._all("step", each)
        for copy, answer in zip(self._copies, answers, strict=True):
            copy.stepped, copy.was_reset = answer
        return super().step(actions)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all copies, or those of ``options["reset_mask"]``, at the same time."""
        seeds = [None] * self.num_envs if seed is None else seed
        if isinstance(seeds, int):
            seeds = [seeds + index for index in range(self.num_envs)]
        mask = (options or {}).get("reset_mask", [True] * self.num_envs)
        rest = {key: value for key, value in (options or {}).items() if key != "reset_mask"}
        wanted = [
            (one, rest or None) if masked else None for one, masked in zip(seeds, mask, strict=True)
        ]
        for copy, reply in zip(self._copies, self._all("reset", wanted), strict=True):
            copy.was_reset = reply
        result: tuple[Any, dict[str, Any]] = super().reset(seed=seed, options=options)
        return result

    def call(self, name: str, *arguments: Any, **keywords: Any) -> tuple[Any, ...]:
        """Call a method of every copy, or get an attribute."""
        return tuple(self._all("call", [(name, arguments, keywords)] * self.num_envs))

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of every copy."""
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        self._all("set_attr", [(name, value) for value in values])

    def employ(self, make_player: Callable[..., Any], *arguments: Any) -> None:
        """Give each actor a player of its copies: ``make_player(shard, *arguments)``."""
        self._get([shard.employ.remote(make_player, *arguments) for shard in self._shards])

    def play(self, common: Any, orders: Sequence[Any]) -> list[Any]:
        """Let all players play at the same time: ``player.play(common, order)``, an order each."""
        shared = self._ray.put(common)
        pairs = zip(self._shards, orders, strict=True)
        asked = [shard.play.remote(shared, order) for shard, order in pairs]
        return self._get(asked, f"the agent that acts on {self._name}, or the copy it acts on,")

    def close_extras(self, **_: Any) -> None:
        """End the actors."""
        for shard in self._shards:
            self._ray.kill(shard)
        self._shards = []

    def _all(self, method: str, wanted: Sequence[Any]) -> list[Any]:
        """Ask every actor for its share; the answers in the order of the copies."""
        asked, start = [], 0
        for shard, size in zip(self._shards, self._sizes, strict=True):
            asked.append(shard.each.remote(method, list(wanted[start : start + size])))
            start += size
        return [answer for answers in self._get(asked) for answer in answers]

    def _get(self, asked: list[Any], who: str | None = None) -> list[Any]:
        try:
            found: list[Any] = self._ray.get(asked)
            return found
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            who = who or f"a copy of {self._name}"
            if isinstance(cause, EnvError):  # a sentence of ours
                raise EnvWorkerError(f"{who}: {cause}") from None
            raise EnvWorkerError(f"{who} raised {type(cause).__name__}: {cause}\n{error}") from None
        except self._ray.exceptions.RayActorError as error:
            raise EnvWorkerError(
                f"an actor with copies of {self._name} is lost, and the state of its copies with"
                f" it; go on from the last checkpoint (gym-loop train --resume): {error}"
            ) from None


class _Copy(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """Stands for one copy: gives what its actor has answered already."""

    def __init__(self, observation_space: Any, action_space: Any, metadata: Any) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.metadata = metadata
        self.stepped: Any = None
        self.was_reset: Any = None

    def step(self, action: Any) -> Any:
        return self.stepped

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self.was_reset


class _Shard:
    """The copies of one actor, which steps them in turn.

    Args:
        make: makes one copy.
        size: how many.
        at_once: whether a copy is reset in the step that ends its episode.
        streams: the global random streams that each copy is made with.
    """

    def __init__(self, make: Make, size: int, at_once: bool, streams: dict[str, Any]) -> None:
        def make_one() -> gymnasium.Env[Any, Any]:
            restore_global_streams(streams)  # however many copies an actor has
            return make()

        self.copies = [StatefulEnv(make_one(), make_one) for _ in range(size)]
        self.at_once = at_once
        self.player: Any = None

    def employ(self, make_player: Callable[..., Any], *arguments: Any) -> None:
        """Make the player of these copies."""
        self.player = make_player(self, *arguments)

    def play(self, common: Any, order: Any) -> Any:
        """Let it play."""
        return self.player.play(common, order)

    def spaces(self) -> tuple[Any, Any, Any]:
        """Of one copy: observations, actions, metadata."""
        one = self.copies[0]
        return one.observation_space, one.action_space, one.metadata

    def each(self, method: str, wanted: list[Any]) -> list[Any]:
        """Call a method of ours for each copy."""
        work = getattr(self, method)
        return [work(copy, one) for copy, one in zip(self.copies, wanted, strict=True)]

    def step(self, copy: StatefulEnv, action: Any) -> tuple[Any, Any]:
        """What a step gives, and the reset after it, if there is one."""
        stepped = copy.step(action)
        over = stepped[2] or stepped[3]
        return stepped, copy.reset() if over and self.at_once else None

    def reset(self, copy: StatefulEnv, wanted: tuple[Any, Any] | None) -> Any:
        """Reset a copy that is to be."""
        if wanted is None:
            return None
        seed, options = wanted
        if seed is not None and copy is self.copies[0]:
            seed_global_streams(Seeds(seed))  # those of this process are nobody else's
        return copy.reset(seed=seed, options=options)

    def call(self, copy: StatefulEnv, wanted: tuple[str, Any, Any]) -> Any:
        """Call a method, or get an attribute."""
        name, arguments, keywords = wanted
        found = copy.get_wrapper_attr(name)
        return found(*arguments, **keywords) if callable(found) else found

    def set_attr(self, copy: StatefulEnv, wanted: tuple[str, Any]) -> None:
        """Set an attribute."""
        copy.set_wrapper_attr(*wanted)


def _ray_that_runs() -> Any:
    """Ray, started where it does not run yet."""
    with environment(QUIET_RAY | WANTED_RAY), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own deprecations
        try:
            import ray
        except ImportError:
            raise EnvPackageMissingError(
                'vectorization: ray needs Ray: pip install "gym-loop[ray]"'
            ) from None
        if not ray.is_initialized():
            affinity = getattr(os, "sched_getaffinity", None)  # not on every system
            cores = len(affinity(0)) if affinity else os.cpu_count() or 1
            start_ray(os.environ.get("RAY_ADDRESS"), cores)
    return ray
