"""Every way in which the server ends, or does not begin."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import zmq

from gym_loop.errors import (
    BridgeConnectionError,
    BridgeError,
    ConfigError,
    EnvUnknownError,
    ReportExistsError,
    SpaceError,
)
from gym_loop.serve.zeromq.board import Board
from gym_loop.serve.zeromq.config import load_config
from gym_loop.serve.zeromq.server import serve
from tests.serve.zeromq.zmq_serving import (
    LOCK_STEP,
    QUICK,
    WAIT_MS,
    Counting,
    Process,
    command,
    free_port,
    kwargs,
    serving,
    values,
)


def command_until_it_ends(commanding: bool = True, **settings: Any) -> None:
    with serving(**settings) as served:
        if commanding:
            agent = served.commander()
            for _ in range(3):
                agent.send(command(1))
        assert served.stop is not None
        assert served.stop.wait(5)


@pytest.mark.parametrize(("settings", "step"), [(QUICK, 100), (LOCK_STEP, 3)], ids=["real", "max"])
def test_an_environment_that_raises_ends_the_server(settings: dict[str, Any], step: int) -> None:
    with pytest.raises(BridgeError, match=r"ZmqCounting-v0 failed in step .*: the world broke"):
        command_until_it_ends(**settings, **kwargs(length=200, fail_at=step))


def test_an_environment_that_returns_nonsense_ends_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Counting, "reset", lambda self, **_: ("?", {}))
    with pytest.raises(BridgeError, match="failed in reset: SampleError: the sample"), serving():
        pass


@pytest.mark.parametrize("part", ["observations", "commands"])
def test_a_dead_part_ends_the_server(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def broken(*_: Any) -> None:
        raise MemoryError("no more")

    if part == "observations":
        monkeypatch.setattr(Board, "at", broken)
    else:
        monkeypatch.setattr("gym_loop.serve.zeromq.server.decode_command", broken)
    with pytest.raises(BridgeError, match=r"its part for (commands|observations|rewards) failed"):
        command_until_it_ends(part == "commands", **QUICK)


def test_a_taken_port() -> None:
    with (
        serving() as served,
        pytest.raises(BridgeConnectionError, match=r"RewardSender\.socket: cannot listen"),
        serving(**{"RewardSender.socket": served.ports["reward_port"]}),
    ):
        pass


def test_what_is_refused_before_anything_runs(tmp_path: Path) -> None:
    report = {"All.write_report": True, "All.prefix": str(tmp_path), "All.report_file": "r.json"}
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(ReportExistsError), serving(**report, **{"Env.env": "None-v0"}):
        pass
    report["All.report_file"] = "other.json"
    with pytest.raises(EnvUnknownError), serving(**report, **{"Env.env": "None-v0"}):
        pass
    with pytest.raises(ConfigError, match=r"shape \(3,\).* the shape \(2,\)"):
        serve(load_config(None, {**report, "Env.env": "ZmqCounting-v0", "Env.render": False,
                                 "Env.inter_trial_observation": [1, 2, 3]}))  # fmt: skip
    with pytest.raises(ConfigError, match="one number"):
        serve(load_config(None, {**report, "Env.env": "FrozenLake-v1", "Env.render": False}))
    with pytest.raises(ConfigError, match="none of numbers"):
        serve(load_config(None, {**report, "Env.env": "ZmqCounting-v0", "Env.render": False,
                                 "Env.inter_trial_observation": [[1], [2, 3]]}))  # fmt: skip
    with pytest.raises(SpaceError, match="cannot be streamed"):
        serve(load_config(None, {**report, "Env.env": "Blackjack-v1", "Env.render": False}))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["r.json"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("speed", ["real", "max"])
def test_a_signal_ends_everything_and_flushes_the_report(
    tmp_path: Path, signum: int, speed: str
) -> None:
    port = free_port()
    running = Process(**{
        "Env.env": "ZmqCounting-v0", "CommandReceiver.socket": port, "EnvRunner.speed": speed,
        "ObservationSender.socket": 0, "RewardSender.socket": 0, "All.write_report": True,
        "All.prefix": str(tmp_path), "Env.env_params": {"kwargs": {"length": 100_000}},
    })  # fmt: skip
    observations = running.line.split()[2].rstrip(",")
    with (
        zmq.Context() as context,
        context.socket(zmq.XPUB) as agent,
        context.socket(zmq.SUB) as stream,
    ):
        agent.linger, stream.rcvtimeo = 0, WAIT_MS
        stream.connect(observations)
        stream.subscribe(b"")
        agent.bind(f"tcp://127.0.0.1:{port}")
        assert agent.recv() == b"\x01"
        for _ in range(5):
            agent.send(command(1))
        while values(stream.recv())[0] < 5:
            pass
        status, errors = running.end(signum)
    assert (status, errors) == (0, "")
    entry = json.loads((tmp_path / "report.json").read_text())["1"]
    assert len(entry["reward"]) >= 5
    assert entry["reward"][:3] == [1.0, 2.0, 3.0]
