"""The environments that a server holds: create, look up, step, close."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

from gymnasium.spaces import Discrete

from gym_loop.envs.making import describe
from gym_loop.serve.catalogue import Catalogue
from gym_loop.serve.settings import ServerSettings
from gym_loop.wire.problems import (
    EnvFailed,
    ResetNeeded,
    TooManyInstances,
    UnknownInstance,
    WrongAction,
    WrongSeed,
)

_LOG = logging.getLogger("gym_loop.envs.remote")
Step = tuple[Any, float, bool, bool, dict[str, Any]]


class Session:
    """One environment of one client.

    It knows no thread: `gym_loop.serve.stepping.Runner` calls it where it does no harm.

    Args:
        instance_id: what the client calls it by.
        env_id: what the client asked for.
        catalogue: makes the environment.
        seed: of the first reset and of the action space; None draws one.
    """

    def __init__(
        self, instance_id: str, env_id: str, catalogue: Catalogue, seed: int | None = None
    ) -> None:
        self.instance_id = instance_id
        self.env_id = env_id
        self.env: Any = None
        self.observation_space: Any = None
        self.action_space: Any = None
        self.steps = 0
        self.episodes = 0  # finished ones
        self.episode_return = 0.0
        self.created = time.time()
        self.last_used = time.monotonic()
        self.reset_done = False
        self.closed = False
        self.rendered = False
        self.looked_at = False
        self.kept: Any = None  # what the server keeps with it, such as its encoders
        self.lane: Any = None  # what the runner keeps with it
        self._catalogue = catalogue
        self._seed = seed
        self._episode_over = False
        self._failed = False
        self._step: Callable[[Any], Any] = _no_step
        self._lowest, self._highest = 0, -1  # of a Discrete action space; else empty

    def make(self) -> Session:
        """Make the environment; see `Catalogue.make` for what it raises."""
        self.env = env = self._catalogue.make(self.env_id, self._seed)
        try:
            self.observation_space, self.action_space = env.observation_space, env.action_space
            if self._seed is not None:
                self.action_space.seed(self._seed)
        except (Exception, SystemExit) as error:
            raise self._failure("action_space", error) from error
        self._step = env.step
        if isinstance(self.action_space, Discrete):
            self._lowest = int(self.action_space.start)
            self._highest = self._lowest + int(self.action_space.n) - 1
        return self

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode.

        Args:
            seed: None uses, once, the one that the session was created with.
            options: for the environment.

        Returns:
            Observation and info.

        Raises:
            EnvFailed: the environment raised, or did not return these two.
        """
        self._check_open()
        if seed is None:
            seed, self._seed = self._seed, None
        more = {} if options is None else {"options": options}
        try:
            observation, info = self.env.reset(seed=seed, **more)
        except (Exception, SystemExit) as error:
            raise self._failure("reset", error) from error
        if not isinstance(info, dict):
            raise self._nonsense("reset", "an info that is no dict", info)
        self.episode_return = 0.0
        self._episode_over = False
        self.reset_done = True
        return observation, info

    def step(self, action: Any) -> Step:
        """Take one step; after the end of an episode too, as the environment lets it.

        Returns:
            Observation, reward (float), terminated, truncated (bool), info.

        Raises:
            ResetNeeded: there was no reset yet.
            WrongAction: the action is not in the action space.
            EnvFailed: the environment raised, or did not return these five.
        """
        if not self.reset_done:
            self._check_open()
            raise ResetNeeded(f"instance {self.instance_id} must be reset before its first step")
        # A plain integer is what fast clients send, and `contains` would cost as much as a step.
        if not (type(action) is int and self._lowest <= action <= self._highest):
            self._check_action(action)
        try:
            result = self._step(action)
        except (Exception, SystemExit) as error:
            raise self._failure("step", error) from error
        try:
            observation, reward, terminated, truncated, info = result
            reward, terminated, truncated = float(reward), bool(terminated), bool(truncated)
        except (TypeError, ValueError):
            raise self._nonsense(
                "step", "other than observation, reward, terminated, truncated, info", result
            ) from None
        if type(info) is not dict and not isinstance(info, dict):
            raise self._nonsense("step", "an info that is no dict", info)
        self.steps += 1
        self.episode_return += reward
        if (terminated or truncated) and not self._episode_over:
            self._episode_over = True
            self.episodes += 1
        return observation, reward, terminated, truncated, info

    def render(self) -> Any:
        """A frame of the environment; None where it gives none.

        Raises:
            EnvFailed: it raised.
        """
        if not self.reset_done:
            self._check_open()
            raise ResetNeeded(f"instance {self.instance_id} must be reset before it is rendered")
        self.rendered = True
        return self._picture()

    def look(self) -> Any:
        """A frame for someone who looks on between the client's calls; see `render`."""
        if not self.reset_done:
            return None
        self.looked_at = True
        return self._picture()

    def _picture(self) -> Any:
        if getattr(self.env, "render_mode", None) is None:
            return None
        try:
            return self.env.render()
        except (Exception, SystemExit) as error:
            raise self._failure("render", error) from error

    def close(self) -> None:
        """Close the environment; what it raises is logged."""
        self.closed, self.reset_done = True, False
        env, self.env, self._step = self.env, None, _no_step
        self.kept = None  # which as a rule refers to this session: no circle is to be left
        if env is None:
            return
        try:
            env.close()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is gone for the client
            _LOG.warning("%s failed to close", self._name(), exc_info=error)

    def touch(self) -> None:
        """Begin the lease anew."""
        self.last_used = time.monotonic()

    def _check_open(self) -> None:
        if self.closed or self.env is None:
            raise UnknownInstance(f"instance {self.instance_id} is closed")

    def _check_action(self, action: Any) -> None:
        try:
            good = self.action_space.contains(action)
        except Exception:  # noqa: BLE001 - of any value, a space may only say yes or no
            good = False
        if not good:
            raise WrongAction(f"action {_short(action)} is not in {_short(self.action_space)}")

    def _name(self) -> str:
        return f"environment {self.env_id} (instance {self.instance_id})"

    def _failure(self, method: str, error: BaseException) -> EnvFailed:
        # The first traceback tells; a client that goes on must not fill the disk with it.
        log = _LOG.debug if self._failed else _LOG.warning
        log("%s failed in %s()", self._name(), method, exc_info=error)
        self._failed = True
        return EnvFailed(f"environment {self.env_id} failed in {method}(): {describe(error)}")

    def _nonsense(self, method: str, what: str, value: Any) -> EnvFailed:
        return EnvFailed(
            f"environment {self.env_id} is broken: {method}() returned {what}: {_short(value)}"
        )


def _no_step(action: Any) -> Any:
    raise RuntimeError("there is no environment")


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - an environment's own object may not even show itself
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 120 else f"{text[:117]}..."


class Sessions:
    """All sessions of a server, by their ids.

    Args:
        settings: ``max_instances``, ``idle_lease`` and what the catalogue needs.
        catalogue: makes the environments; by default one of these settings.
        id_digits: length of an instance id in hexadecimal digits.
    """

    def __init__(
        self,
        settings: ServerSettings,
        catalogue: Catalogue | None = None,
        *,
        id_digits: int = 32,
    ) -> None:
        self.catalogue = catalogue or Catalogue(settings)
        # Whoever has threads closes there instead: an environment may hang in close().
        self.dispose: Callable[[Session], None] = Session.close
        self._most = settings.max_instances
        self._lease = settings.idle_lease
        self._digits = id_digits
        self._sessions: dict[str, Session] = {}
        self.made = 0
        self.lingering = 0  # taken out, but not closed yet
        self._past_steps = self._past_episodes = 0

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def steps(self) -> int:
        """Steps of all sessions, past ones too."""
        return self._past_steps + sum(one.steps for one in self._sessions.values())

    @property
    def episodes(self) -> int:
        """Finished episodes of all sessions, past ones too."""
        return self._past_episodes + sum(one.episodes for one in self._sessions.values())

    def reserve(
        self,
        env_id: str,
        seed: int | None = None,
        kind: Callable[[str, str, Catalogue, int | None], Session] = Session,
    ) -> Session:
        """Take a place for a session whose environment `Session.make` is yet to make.

        Args:
            env_id: what the client asked for.
            seed: of the first reset.
            kind: makes the session.

        Raises:
            MalformedEnvId: see `Catalogue.resolve`.
            UnknownEnvId: see `Catalogue.resolve`.
            WrongSeed: the seed is no integer from 0 on.
            TooManyInstances: all places are taken.
        """
        if seed is not None and (type(seed) is not int or seed < 0):
            raise WrongSeed(f"seed {_short(seed)} is no integer from 0 on")
        self.catalogue.resolve(env_id)
        if len(self._sessions) >= self._most:
            self.expire()
        # Environments that hang in their last call take room as well, but not a client's place.
        if len(self._sessions) >= self._most or self.lingering >= self._most:
            raise TooManyInstances(
                f"{self._most} environments are open, as many as this server holds; close one"
            )
        instance_id = self._new_id()
        session = kind(instance_id, env_id, self.catalogue, seed)
        self._sessions[instance_id] = session
        self.made += 1
        return session

    def create(self, env_id: str, seed: int | None = None) -> Session:
        """Make an environment here and now; see `reserve` and `Catalogue.make` for the errors."""
        session = self.reserve(env_id, seed)
        try:
            return session.make()
        except BaseException:
            self.forget(session)
            raise

    def get(self, instance_id: object) -> Session:
        """Look up a session, and begin its lease anew.

        Raises:
            UnknownInstance: there is none.
        """
        try:
            session = self._sessions[instance_id]  # type: ignore[index]
        except (KeyError, TypeError):
            raise UnknownInstance(f"there is no instance {_short(instance_id)}") from None
        session.last_used = time.monotonic()
        return session

    def find(self, instance_id: str) -> Session | None:
        """Look up a session for someone who only looks on: its lease runs on."""
        return self._sessions.get(instance_id)

    def close(self, instance_id: object) -> None:
        """Take a session out and close its environment.

        Raises:
            UnknownInstance: there is none.
        """
        session = self.get(instance_id)
        self.forget(session)
        self.dispose(session)

    def forget(self, session: Session) -> None:
        """Take a session out, and leave its environment as it is."""
        if self._sessions.pop(session.instance_id, None) is not None:
            self._past_steps += session.steps
            self._past_episodes += session.episodes

    def all(self) -> list[Session]:
        """The sessions, oldest first."""
        return list(self._sessions.values())

    def expire(self) -> list[Session]:
        """Close what was not used for the lease; the server calls this every few seconds."""
        before = time.monotonic() - self._lease
        gone = [session for session in self._sessions.values() if session.last_used < before]
        for session in gone:
            self.forget(session)
            self.dispose(session)
        if gone:
            _LOG.info("closed %d environments that nobody used for %g s", len(gone), self._lease)
        return gone

    def close_all(self) -> None:
        """Close every environment."""
        for session in self.all():
            self.forget(session)
            self.dispose(session)

    def _new_id(self) -> str:
        while (new := secrets.token_hex((self._digits + 1) // 2)[: self._digits]) in self._sessions:
            pass
        return new
