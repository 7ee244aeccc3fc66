"""The agent's side of gymz as an environment: commands out, two streams in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from gym_loop.envs.remote.gymz_link import Link, Ports, read_one
from gym_loop.envs.remote.gymz_streams import Streams
from gym_loop.envs.remote.zmq_sockets import POLL, import_zmq
from gym_loop.errors import BridgeConnectionError, BridgeProtocolError, EnvParametersError
from gym_loop.wire.gymz import Reading, SpaceCodec, whole

Result = tuple[Any, float, bool, bool, dict[str, Any]]
_NAME = "gym_loop/ZeroMQ-v0"


class ZeroMQEnv(gymnasium.Env[Any, Any]):  # type: ignore[misc]  # gymnasium is untyped here
    """A gymz server as an environment: ``gym_loop/ZeroMQ-v0``.

    **What real time means.** The world does not wait. ``step(action)`` sends the command at once
    and answers ``step_interval`` seconds later with the newest observation that has come by then.
    The server executes a command at its next tick and streams the result a little later, so the
    answer shows the effect of its own action if ``step_interval`` is at least the server's
    ``EnvRunner.update_interval`` plus its ``ObservationSender.update_interval`` (0.03 s with the
    defaults). Until the next command, the last one stays in force. The reward is the sum over all
    ticks that were seen since the last answer, where ticks of equal observation and reward, one
    after the other, count as one.

    **The end of an episode** is not on the wire: it is noticed when the inter-trial observation
    comes, which may be in the answer to the next action. That answer repeats the last observation
    with ``terminated`` and only the reward that was not answered yet. A time limit of the server
    terminates too; the wire does not tell the difference.

    **Reset** waits until an episode is under way and answers with its newest observation. There is
    no way to end an episode of the server: a reset in the middle of one goes on in it. Seeds do
    not reach the server.

    **In lock-step** (``speed: max`` on both sides) each command makes one step and has its own
    answer, with its own reward; the last one tells that, and how, the episode ends. The two
    commands that lead into the next episode are sent by ``reset``.

    A server that goes away in the middle of an episode truncates it, with ``server_lost`` in the
    info; the next reset waits for it to come back.

    Args:
        n_actions: number of actions of a Discrete space; a list for MultiDiscrete.
        action_low: lower bounds of a Box of actions, one a dimension.
        action_high: upper bounds of it.
        n_observations: number of observations of a Discrete space; a list for MultiDiscrete.
        observation_low: lower bounds of a Box of observations; without any of these three, the
            bounds are read from the stream, for which the server must be up.
        observation_high: upper bounds of it.
        speed: "real", or "max" for lock-step.
        step_interval: seconds from a command to its answer, in real time.
        inter_trial_observation: the server's, or one number that stands for every dimension.
        timeout: seconds without any message after which the server counts as absent.
        host: of the server.
        observation_port: TCP port of the observations.
        reward_port: TCP port of the rewards.
        command_host: our address that the server connects to; another than loopback demands keys.
        command_port: our TCP port for it.
        secret_key: file of our own CURVE pair, ``*.key_secret``.
        server_key: file of the server's public key, ``*.key``.
        render_mode: None; the server shows what there is to see.

    Raises:
        EnvParametersError: a parameter is of no use, or there is no action space.
        BridgeConnectionError: no server, or not in time; or another agent commands here.
        BridgeProtocolError: a message is none of gymz's.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own form
    state_elsewhere = "the server keeps its state, and the streams cannot ask for it"

    def __init__(
        self,
        *,
        n_actions: int | Sequence[int] | None = None,
        action_low: Sequence[float] | None = None,
        action_high: Sequence[float] | None = None,
        n_observations: int | Sequence[int] | None = None,
        observation_low: Sequence[float] | None = None,
        observation_high: Sequence[float] | None = None,
        speed: str = "real",
        step_interval: float = 0.04,
        inter_trial_observation: float | Sequence[float] = 9999.0,
        timeout: float = 10.0,
        host: str = "127.0.0.1",
        observation_port: int = 5556,
        reward_port: int = 5557,
        command_host: str = "127.0.0.1",
        command_port: int = 5555,
        secret_key: str | None = None,
        server_key: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        import_zmq()
        _check(speed, step_interval, timeout, render_mode)
        self._ports = Ports(
            host=host, observation_port=observation_port, reward_port=reward_port,
            command_host=command_host, command_port=command_port,
            secret_key=secret_key, server_key=server_key,
        )  # fmt: skip
        self._lock_step = speed == "max"
        self._step_interval = step_interval
        self._timeout = timeout
        self._streams = Streams(inter_trial_observation)
        self._link: Link | None = None
        self._joined = False  # an episode is known
        self._ts = 0.0  # of the last answer in lock-step
        self._newest: Reading | None = None
        action_space = _space("action", n_actions, action_low, action_high)
        if action_space is None:
            raise EnvParametersError(
                f"{_NAME}: the streams do not tell the actions: give n_actions, or action_low and"
                " action_high, in env.parameters"
            )
        self.action_space = action_space
        self.observation_space = (
            _space("observation", n_observations, observation_low, observation_high)
            or self._observation_space_of_stream()
        )
        self._dimensions = SpaceCodec(self.observation_space).dimensions
        self._discrete = isinstance(self.observation_space, spaces.Discrete)
        self._neutral = np.asarray(SpaceCodec(action_space).neutral()).ravel().tolist()

    # -- the environment ---------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Wait for an episode; see the class for what a reset means here."""
        super().reset(seed=seed)
        if self._link is None:
            self._link = Link(self._ports)
        self._link.wait_for_server(self._timeout)
        join = self._join_locked if self._lock_step else self._join
        self._streams.begin(join(self._link))
        self._joined = True
        return self._observation(), {}

    def step(self, action: Any) -> Result:
        """Send a command, and answer it; see the class for which observation that is."""
        if self._link is None or not self._joined or self._streams.over:
            raise gymnasium.error.ResetNeeded(f"{_NAME}: call reset, no episode is under way")
        self._link.send(np.asarray(action).ravel().tolist())
        return (self._step_locked if self._lock_step else self._step)(self._link)

    def close(self) -> None:
        """Close the sockets; the server goes on."""
        self._joined = False
        if self._link is not None:
            self._link.close()
            self._link = None

    # -- real time ---------------------------------------------------------------------------

    def _step(self, link: Link) -> Result:
        streams = self._streams
        now = time.monotonic()
        deadline = now + self._step_interval
        while not streams.over and (now < deadline or not streams.ready):
            left = deadline - now
            observations, rewards = link.receive(min(left, POLL) if left > 0 else POLL)
            for reading in observations:
                self._check_size(reading)
                streams.observation(reading)
            for reading in rewards:
                streams.reward(reading)
            if not (observations or rewards) and link.servers < 1:
                return self._lost()
            now = time.monotonic()
            if now > deadline + self._timeout:
                raise self._silence()
        return self._observation(), streams.take(), streams.over, False, {}

    def _join(self, link: Link) -> Reading:
        """The newest observation of an episode, as soon as there is one."""
        last = time.monotonic()
        while time.monotonic() - last <= self._timeout:
            observations, rewards = link.receive(POLL)
            for reading in rewards:
                self._streams.reward(reading)
            if observations:
                last = time.monotonic()
                self._check_size(observations[-1])
                if not self._streams.is_between(observations[-1]):
                    return observations[-1]
        raise self._silence()

    # -- lock-step ---------------------------------------------------------------------------

    def _step_locked(self, link: Link) -> Result:
        found = self._next_answer(link)
        if found is None:
            return self._lost()
        reading, reward = found
        if reward.values[0] is None and self._streams.is_between(reading):
            raise BridgeProtocolError(
                f"{_NAME}: an episode ended unannounced: the server runs in real time; start it"
                " with --speed max, or set speed: real in env.parameters"
            )
        self._streams.begin(reading)
        self._streams.over = bool(reward.end)
        truncated = reward.end == "truncated"
        over = self._streams.over and not truncated
        return self._observation(), reward.values[0] or 0.0, over, truncated, {}

    def _join_locked(self, link: Link) -> Reading:
        """The observation that stands, or the first one of the next episode."""
        if self._joined and not self._streams.over and self._newest is not None:
            return self._newest
        found = None
        if not self._joined:
            # A server in lock-step repeats its last messages for whoever begins to listen.
            found, over = self._answer_or_silence(link)
            found = None if over else found
        while found is None or self._streams.is_between(found):
            link.send(self._neutral)
            found, _ = self._answer_or_silence(link)
        return found

    def _answer_or_silence(self, link: Link) -> tuple[Reading, bool]:
        """The next observation, and whether an episode ends with it."""
        found = self._next_answer(link)
        if found is None:
            raise self._silence()
        return found[0], bool(found[1].end)

    def _next_answer(self, link: Link) -> tuple[Reading, Reading] | None:
        """The observation and the reward of the next tick; None if the server went away."""
        deadline = time.monotonic() + self._timeout
        observation = reward = None
        while observation is None or reward is None or reward.ts != observation.ts:
            behind = observation is None or (reward is not None and reward.ts > observation.ts)
            reading = link.next(reward=not behind)
            if reading is None:
                if link.servers < 1:
                    return None
                if time.monotonic() > deadline:
                    raise self._silence()
            elif reading.ts <= self._ts:
                continue  # once more what was answered already
            elif behind:
                observation = reading
            else:
                reward = reading
        self._check_size(observation)
        self._ts, self._newest = observation.ts, observation
        return observation, reward

    # -- both --------------------------------------------------------------------------------

    def _lost(self) -> Result:
        """The server is gone: the episode is cut where it stands."""
        self._streams.forget()
        self._joined, self._ts = False, 0.0
        return self._observation(), 0.0, False, True, {"server_lost": True}

    def _silence(self) -> BridgeConnectionError:
        ports = self._ports
        return BridgeConnectionError(
            f"{_NAME}: no observation with its reward came within {self._timeout:g} s from"
            f" {ports.host}:{ports.observation_port} and {ports.host}:{ports.reward_port}; see"
            " that the server runs, streams on these ports and has the speed of this environment"
        )

    def _observation(self) -> Any:
        values: Sequence[Any] = self._streams.latest or ()
        if None in values:
            values = [np.nan if value is None else value for value in values]
        if self._discrete:
            return whole(values[0])
        return np.array(values, self.observation_space.dtype)

    def _check_size(self, reading: Reading) -> None:
        if len(reading.values) != self._dimensions:
            raise BridgeProtocolError(
                f"{_NAME}: the server streams {len(reading.values)} dimensions, but the"
                f" observation space has {self._dimensions}: {self.observation_space}"
            )

    def _observation_space_of_stream(self) -> spaces.Box:
        """A Box with the bounds that the messages hold."""
        reading = read_one(self._ports, self._timeout)
        if reading is None:
            raise self._silence()
        lows, highs = reading.bounds()
        low = [-np.inf if value is None else value for value in lows]
        high = [np.inf if value is None else value for value in highs]
        with np.errstate(over="ignore"):
            return spaces.Box(np.array(low, np.float32), np.array(high, np.float32))


def _space(
    what: str,
    n: int | Sequence[int] | None,
    low: Sequence[float] | None,
    high: Sequence[float] | None,
) -> spaces.Space[Any] | None:
    """The space that parameters describe; None where there are none."""
    try:
        if n is not None and (low is not None or high is not None):
            raise ValueError(f"give n_{what}s or the bounds, not both")
        if n is not None:
            return spaces.Discrete(n) if isinstance(n, int) else spaces.MultiDiscrete(list(n))
        if low is None and high is None:
            return None
        if low is None or high is None:
            raise ValueError(f"{what}_low and {what}_high belong together")
        return spaces.Box(
            np.array(low, np.float32).reshape(-1), np.array(high, np.float32).reshape(-1)
        )
    except (ValueError, TypeError, AssertionError) as error:
        raise EnvParametersError(f"{_NAME}: no space of {what}s: {error}") from None


def _check(speed: str, step_interval: float, timeout: float, render_mode: str | None) -> None:
    problem = ""
    if speed not in ("real", "max"):
        problem = f"speed {speed!r} must be real or max"
    elif not step_interval > 0:
        problem = f"step_interval {step_interval} must be greater than 0 seconds"
    elif not timeout > 0:
        problem = f"timeout {timeout} must be greater than 0 seconds"
    elif render_mode is not None:
        problem = f"render_mode {render_mode!r}: the server shows what there is; leave it out"
    if problem:
        raise EnvParametersError(f"{_NAME}: {problem}")
