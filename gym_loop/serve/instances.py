"""The environments that a server holds: make, look up, close; and what it counts of them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeVar

from gym_loop.serve.catalogue import Catalogue
from gym_loop.serve.instance import Call, Instance
from gym_loop.serve.settings import ServeSettings
from gym_loop.wire.json_values import short
from gym_loop.wire.problems import TooManyInstances, UnknownInstance, WrongSeed

_LOG = logging.getLogger("gym_loop.serve")
CLOSING_TIME = 5.0  # seconds that all environments together have to close when the server ends
LINGERING = 1.0  # seconds after which an environment that does not close takes room

_I = TypeVar("_I", bound=Instance)


class Instances:
    """All instances of a server by their ids; for the event loop's thread.

    Args:
        settings: limits, and what may be made.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.catalogue = Catalogue(
            env=settings.env,
            imports=settings.imports,
            make=settings.make,
            replace_old_versions=settings.replace_old_versions,
        )
        self.statistics = Statistics()
        self._settings = settings
        self._instances: dict[str, Instance] = {}
        self._closing: dict[asyncio.Future[Any], float] = {}  # since when
        self._made = self._past_steps = self._past_episodes = 0

    async def create(
        self, kind: Callable[..., _I], env_id: Any, seed: Any = None, *, digits: int = 32
    ) -> _I:
        """Make an environment; where the one who waits is cancelled, it is closed again.

        Args:
            kind: makes the instance, as `Instance` does.
            env_id: what the client asked for.
            seed: of the first reset.
            digits: of the instance's id.

        Raises:
            MalformedEnvId: see `Catalogue.resolve`.
            UnknownEnvId: see `Catalogue.resolve`.
            WrongSeed: the seed is no integer from 0 on.
            TooManyInstances: all places are taken.
            EnvFailed: it cannot be made.
        """
        if seed is not None and (type(seed) is not int or seed < 0):
            raise WrongSeed(f"seed {short(seed)} is no integer from 0 on")
        self.catalogue.resolve(env_id)
        self._check_room()
        instance_id = self._new_id(digits)
        instance = kind(instance_id, env_id, self.catalogue, seed)
        self._instances[instance_id] = instance
        self._made += 1
        loop = asyncio.get_running_loop()

        def report(call: Call, result: Any, error: BaseException | None) -> None:
            loop.call_soon_threadsafe(self._returned, instance, call, result, error)

        instance.begin(report, isolate=self._settings.isolate)
        try:
            await instance.call(instance.make)
        except BaseException:
            self.close(instance)
            raise
        instance.made = True
        return instance

    def get(self, instance_id: object, kind: type[_I]) -> _I:
        """Look up an instance of a protocol, and begin its lease anew.

        Raises:
            UnknownInstance: there is none: never made, closed, or another protocol's.
        """
        instance = self._instances.get(instance_id) if isinstance(instance_id, str) else None
        if not isinstance(instance, kind) or not instance.made:
            raise UnknownInstance(f"there is no instance {short(instance_id)}")
        instance.last_used = time.monotonic()
        return instance

    def find(self, instance_id: str) -> Instance | None:
        """Look up an instance of any protocol for someone who only looks on: its lease runs on."""
        instance = self._instances.get(instance_id)
        return instance if instance is not None and instance.made else None

    def all(self) -> list[Instance]:
        """The instances that are made, oldest first."""
        return [one for one in self._instances.values() if one.made]

    def close(self, instance: Instance) -> None:
        """Take an instance out, and close its environment after the call that it is in."""
        if self._instances.pop(instance.instance_id, None) is None:
            return
        self._past_steps += instance.steps
        self._past_episodes += instance.episodes
        future = instance.call(instance.close)
        instance.end()
        self._closing[future] = time.monotonic()
        future.add_done_callback(self._closing.pop)

    def sweep(self) -> None:
        """Close what nobody used for the lease, and give up what hangs; called every second."""
        before = time.monotonic() - self._settings.idle_lease
        gone = [one for one in self._instances.values() if one.is_idle_since(before)]
        for instance in gone:
            self.close(instance)
        if gone:
            _LOG.info("closed %d environments that nobody used for the lease", len(gone))
        if self._settings.step_timeout:
            for instance in self._instances.values():
                instance.give_up_after(self._settings.step_timeout)

    async def close_all(self) -> None:
        """Close every environment; what hangs is left to the end of the process."""
        for instance in list(self._instances.values()):
            self.close(instance)
        if self._closing:
            await asyncio.wait(self._closing, timeout=CLOSING_TIME)

    def as_dict(self) -> dict[str, Any]:
        """What the server counts about itself, as plain data."""
        open_now = self._instances.values()
        return {
            "instances": len(self._instances),
            "instances_made": self._made,
            "steps": self._past_steps + sum(one.steps for one in open_now),
            "episodes": self._past_episodes + sum(one.episodes for one in open_now),
            **self.statistics.as_dict(),
        }

    def check_copies(self, more: int) -> None:
        """Raise `TooManyInstances` where there is no room for so many copies more."""
        most = self._settings.max_envs
        if more + self._copies() > most:
            self.sweep()
        if (now := self._copies()) + more > most:
            raise TooManyInstances(
                f"{now} environments of {most} are open: there is no room for {more} more"
            )

    def _copies(self) -> int:
        return sum(one.size for one in self._instances.values())

    def _check_room(self) -> None:
        most = self._settings.max_instances
        if len(self._instances) >= most:
            self.sweep()
        # Environments that hang in their last call take room as well, but not a client's place.
        before = time.monotonic() - LINGERING
        hanging = sum(since < before for since in self._closing.values())
        if len(self._instances) >= most or hanging >= most:
            raise TooManyInstances(
                f"{most} environments are open, as many as this server holds; close one"
            )

    def _new_id(self, digits: int) -> str:
        while (new := secrets.token_hex((digits + 1) // 2)[:digits]) in self._instances:
            pass
        return new

    def _returned(
        self, instance: Instance, call: Call, result: Any, error: BaseException | None
    ) -> None:
        if call.is_use:
            instance.last_used = time.monotonic()
            self.statistics.latency.add(perf_counter() - call.asked)
        instance.returned(result, error)


# Ten bounds a decade, from 1 us to 100 s: a percentile is right to 26 %.
_BOUNDS = [1e-6 * 10 ** (step / 10) for step in range(81)]


class Latency:
    """A histogram of durations in seconds."""

    def __init__(self) -> None:
        self.counts = array("Q", [0] * (len(_BOUNDS) + 1))
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_right(_BOUNDS, seconds)] += 1
        self.longest = max(self.longest, seconds)

    @property
    def count(self) -> int:
        """Durations counted."""
        return sum(self.counts)

    def percentile(self, percent: float) -> float:
        """An upper bound of the duration that ``percent`` of the calls stayed below, in seconds."""
        wanted = self.count * percent / 100
        seen = 0
        for bound, count in zip(_BOUNDS, self.counts, strict=False):
            seen += count
            if seen >= wanted:
                return min(bound, self.longest)
        return self.longest


class Statistics:
    """What a server counts of its calls: how long they take, waiting included, and its errors."""

    def __init__(self) -> None:
        self.latency = Latency()
        self.errors: Counter[str] = Counter()
        self._since = time.monotonic()

    def error(self, error: BaseException) -> None:
        """Count an error that a client was answered."""
        self.errors[type(error).__name__] += 1

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain data; durations in milliseconds."""
        latency = self.latency
        percents = {"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9}
        shown = {name: latency.percentile(percent) for name, percent in percents.items()}
        return {
            "uptime_s": round(time.monotonic() - self._since, 3),
            "calls": latency.count,
            "errors": dict(self.errors),
            "latency_ms": {
                name: round(seconds * 1000, 4)
                for name, seconds in {**shown, "max": latency.longest}.items()
            },
        }
