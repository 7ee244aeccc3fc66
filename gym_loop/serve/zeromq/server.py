"""The ZeroMQ server: an environment, the commands to it, and the streams out of it.

In real time four parts run side by side. The environment steps by its own clock with the last
command that came; each stream sends, by its own clock, what was up at that moment; the commands
are received as they come. A part that fails ends the server with its error.

In lock-step one part does everything: a command makes one tick, and is answered by one message
on each stream.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from gym_loop.envs.remote.zmq_sockets import Sockets, import_zmq
from gym_loop.errors import BridgeError, SampleError
from gym_loop.runs.signals import stop_signals
from gym_loop.serve.zeromq.board import Board
from gym_loop.serve.zeromq.config import ZeroMQConfig, demand_keys
from gym_loop.serve.zeromq.pacing import Complaints, Pacer
from gym_loop.serve.zeromq.report import Report, check_free
from gym_loop.serve.zeromq.world import World
from gym_loop.wire.gymz import BadCommandError, decode_command, stamp

log = logging.getLogger(__name__)
LARGEST = 1 << 20  # bytes of a command
HEAD_START = 0.05  # s; from the moment that everything is ready to the first tick


class Addresses(NamedTuple):
    """Where the server listens, and where it takes commands from."""

    observations: str
    rewards: str
    commands: str

    def __str__(self) -> str:
        return (
            f"observations on {self.observations}, rewards on {self.rewards},"
            f" commands from {self.commands}"
        )


def serve(
    config: ZeroMQConfig,
    *,
    ready: Callable[[Addresses], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve one environment until SIGINT or SIGTERM, or until ``stop`` is set.

    The environment runs in the calling thread, where windows work on every system.

    Args:
        config: what to serve and how.
        ready: called with the addresses once both streams are up.
        stop: ends the server when set; it is set as well when the server ends.

    Raises:
        UsageError: the report exists, a key file cannot be read, or keys are missing.
        ConfigError: the inter-trial observation does not fit the environment.
        EnvError: the environment cannot be made, or failed; or a port is taken.
    """
    demand_keys(config)
    import_zmq()
    ending = stop or threading.Event()
    report_file = config.prefix / config.all.report_file
    if config.all.write_report:
        check_free(report_file, overwrite=config.all.overwrite_files)
    world = World(config)
    sockets = None
    try:
        if config.all.write_report:
            world.report = Report(report_file, config.all.flush_report_interval)
        with stop_signals(lambda signum: ending.set()):
            sockets, server = _build(config, world, ending)
            if ready:
                ready(server.addresses)
            server.run()
    finally:
        ending.set()
        world.close()
        if sockets:
            sockets.close()


def _build(
    config: ZeroMQConfig, world: World, ending: threading.Event
) -> tuple[Sockets, RealTimeServer | LockStepServer]:
    keys = config.security
    files = [config.directory / name for name in (keys.agent_key, *keys.listener_keys) if name]
    sockets = Sockets(
        secret_key=config.directory / keys.secret_key if keys.secret_key else None,
        peer_key=files[0] if files else None,
        readers=files,
    )
    cls = LockStepServer if config.env_runner.speed == "max" else RealTimeServer
    try:
        return sockets, cls(config, world, sockets, ending)
    except BaseException:
        sockets.close()
        raise


class _Server:
    """What both kinds share: the sockets, and how a command is read."""

    stream = "PUB"  # kind of the sockets that send

    def __init__(
        self, config: ZeroMQConfig, world: World, sockets: Sockets, ending: threading.Event
    ) -> None:
        zmq = import_zmq()
        self._again, self._more = zmq.Again, zmq.RCVMORE
        self._config = config
        self._world = world
        self._ending = ending
        observations, rewards = config.observation_sender, config.reward_sender
        self._observations, observations_at = sockets.bind(
            getattr(zmq, self.stream),
            observations.host,
            observations.socket,
            "ObservationSender.socket",
        )
        self._rewards, rewards_at = sockets.bind(
            getattr(zmq, self.stream), rewards.host, rewards.socket, "RewardSender.socket"
        )
        receiver = config.command_receiver
        self._commands = sockets.connect(zmq.SUB, receiver.host, receiver.socket)
        commands_from = f"tcp://{receiver.host}:{receiver.socket}"
        self.addresses = Addresses(observations_at, rewards_at, commands_from)
        self._bad = Complaints(log, "ignored commands")
        self._askew = Complaints(log, "commands with such a time stamp")
        self.commands = 0

    def _receive(self) -> Any:
        """The action of the next good command; None if none came for a moment.

        A bad one is counted and ignored.
        """
        try:
            data = self._commands.recv()
        except self._again:
            return None
        try:
            if self._commands.getsockopt(self._more):
                self._commands.recv_multipart()
                raise BadCommandError("several frames where one was expected")
            if len(data) > LARGEST:
                raise BadCommandError(f"{len(data)} bytes, more than the {LARGEST} of a command")
            command = decode_command(data, self._world.actions.dimensions)
            action = self._world.actions.decode(command.values)
        except (BadCommandError, SampleError) as error:
            self._bad.add(f"a command is ignored: {error}")
            return None
        self.commands += 1
        tolerance = self._config.command_receiver.time_stamp_tolerance
        if command.ts is not None and abs(time.time() - command.ts) > tolerance:
            self._askew.add(
                f"a command's time stamp differs by {time.time() - command.ts:.3f} s from this"
                f" clock, more than {tolerance}"
            )
        return action


class RealTimeServer(_Server):
    """The four parts that run side by side."""

    def run(self) -> None:
        """Run until told to end.

        Raises:
            BridgeError: a part failed.
        """
        self._board = Board()
        self._action = self._world.actions.neutral()
        self._failures: list[tuple[str, BaseException]] = []
        self._board.publish(*self._world.start())
        start = time.monotonic() + HEAD_START
        senders = self._config.observation_sender, self._config.reward_sender
        # Between the ticks of the environment, so that the streams send what is settled.
        shifted = start + min(sender.update_interval for sender in senders) / 2
        streams = ((self._observations, "observation"), (self._rewards, "reward"))
        parts = [self._part("commands", self._keep_commands)]
        for sender, (socket, what) in zip(senders, streams, strict=True):
            pacer = self._pacer(f"{what}s", sender.update_interval, shifted)
            parts.append(self._part(f"{what}s", self._send, pacer, socket, what))
        for part in parts:
            part.start()
        pacer = self._pacer("environment", self._config.env_runner.update_interval, start)
        self._guard("environment", self._step, pacer)
        for part in parts:
            part.join()
        log.info(
            "%d ticks (%d late, the worst by %.1f ms), %d commands (%d ignored)",
            pacer.ticks, pacer.late.count, pacer.worst * 1e3, self.commands, self._bad.count,
        )  # fmt: skip
        self._raise_failure()

    def _pacer(self, name: str, interval: float, start: float) -> Pacer:
        tolerance = self._config.all.time_stamp_tolerance
        late = Complaints(log, f"late ticks of {name}")
        return Pacer(name, interval, start, late, tolerance, self._ending.wait)

    def _part(self, name: str, function: Callable[..., None], *arguments: Any) -> threading.Thread:
        return threading.Thread(
            target=self._guard, args=(name, function, *arguments), name=f"zeromq-{name}"
        )

    def _guard(self, name: str, function: Callable[..., None], *arguments: Any) -> None:
        """Run a part; whatever ends it ends the others too."""
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001 - raised again where the server ends
            self._failures.append((name, error))
        finally:
            self._ending.set()

    def _raise_failure(self) -> None:
        for name, error in self._failures:
            if isinstance(error, BridgeError):
                raise error
            raise BridgeError(
                f"the server ended because its part for {name} failed:"
                f" {type(error).__name__}: {error}"
            ) from error

    def _step(self, pacer: Pacer) -> None:
        pause = self._config.env_runner.inter_trial_duration
        while pacer.wait(pause if self._world.between_trials else None):
            self._board.publish(*self._world.tick(self._action))

    def _keep_commands(self) -> None:
        while not self._ending.is_set():
            action = self._receive()
            if action is not None:
                self._action = action

    def _send(self, pacer: Pacer, socket: Any, what: str) -> None:
        while pacer.wait():
            # Equal on both streams, so that a reader can tell what belongs together.
            moment = pacer.deadline
            snapshot = self._board.at(moment)
            socket.send(stamp(getattr(snapshot, what), round(moment + snapshot.offset, 6)))


class LockStepServer(_Server):
    """One tick a command, as fast as they come."""

    stream = "XPUB"  # it tells of those who begin to listen

    def run(self) -> None:
        """Run until told to end.

        Raises:
            BridgeError: the environment failed.
        """
        for socket in (self._observations, self._rewards):
            socket.setsockopt(import_zmq().XPUB_VERBOSE, 1)  # of everyone, not only the first
        messages, ts = self._world.start(), time.time()
        while not self._ending.is_set():
            action = self._receive()
            if action is not None:
                messages, ts = self._world.tick(action), max(time.time(), ts + 1e-6)
            elif not self._has_newcomer():
                continue
            # The observation last: an agent that waits for it finds both.
            self._rewards.send(stamp(messages[1], ts))
            self._observations.send(stamp(messages[0], ts))
        log.info("%d commands (%d ignored)", self.commands, self._bad.count)

    def _has_newcomer(self) -> bool:
        """Whether someone has begun to listen, who must be told where things stand."""
        return any([self._has_subscribed(self._observations), self._has_subscribed(self._rewards)])

    def _has_subscribed(self, socket: Any) -> bool:
        zmq = import_zmq()
        found = False
        while True:
            try:
                found |= socket.recv(zmq.NOBLOCK)[:1] == b"\x01"
            except self._again:
                return found
