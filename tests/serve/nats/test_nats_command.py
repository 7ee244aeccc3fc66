"""``gym-loop serve nats`` as people start and end it, and runs that train on it."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gym_loop.envs.remote.nats_env import NatsEnv
from gym_loop.training.experiment import train
from tests.serve.nats import nats_serving
from tests.serve.nats.nats_serving import PATIENCE, is_listening, system
from tests.signalling import begin
from tests.waiting import wait_for

COMMAND = [sys.executable, "-m", "gym_loop", "serve", "nats"]


@contextmanager
def command(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process, and the address that it says."""
    process = begin([*COMMAND, *options], stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        assert said.startswith("serving at nats://127.0.0.1:"), said + process.stderr.read()
        yield process, said.split()[2].rstrip(";")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_embedded_server_is_gone_however_the_command_ends(ending: signal.Signals) -> None:
    with command("--env", "CartPole-v1", "--embedded") as (process, url):
        port = int(url.rpartition(":")[2])
        with closing(NatsEnv(url, observation_space="box", timeout=PATIENCE)) as env:
            env.reset()
            assert env.step(1)[1] == 1.0
            process.send_signal(ending)
            status = process.wait(PATIENCE)
        assert status == (-signal.SIGKILL if ending == signal.SIGKILL else 0)
        wait_for(lambda: not is_listening(port), "its nats-server is still there")


def test_a_queue_is_refused_with_the_reason() -> None:
    done = subprocess.run(
        [*COMMAND, "--env", "CartPole-v1", "--queue", "q"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("gym-loop: --queue: 'q' is refused: in a queue group each")


def test_a_server_that_does_not_come_back_ends_the_command(tmp_path: Path) -> None:
    with nats_serving.nats_server(tmp_path) as server:
        options = ["--env", "CartPole-v1", "--url", server.url, "--timeout", "0.2"]
        with command(*options) as (process, _):
            server.kill()
            assert process.wait(PATIENCE) == 1
            assert process.stderr is not None
            assert "did not come back within 0.2 s" in process.stderr.read()


def test_a_run_trains_through_a_restart_and_resumes_approximately(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nats_serving.register()
    with nats_serving.nats_server(workdir) as server, system(server.url, "NatsFour-v0"):
        parameters = {"url": server.url, "timeout": PATIENCE}
        config = {
            "agent": {"class": "gym_loop.agents.random_agent:RandomAgent"},
            "env": {"name": "nats-v0", "imports": ["gym_loop"], "parameters": parameters},
            "loop": {"class": "gym_loop.loops.default_loop:DefaultLoop",
                     "parameters": {"max_episodes": 5, "episodes_per_checkpoint": 2}},
            "seed": 1,
        }  # fmt: skip
        Path("run.yaml").write_text(json.dumps(config))
        first = train("run.yaml")
        assert (first.exit_reason, first.steps) == ("finished", 20)
        said = capsys.readouterr().err
        assert "resuming will be approximate: the state is in the system behind NATS" in said
        server.kill()
        server.start()
        nats_serving.wait_for_system(server.url)
        second = train("run.yaml", {"loop.parameters.max_episodes": 9}, resume=True)
        assert (second.exit_reason, second.steps) == ("finished", 36)
    manifest = json.loads(Path("logs/run-1/manifest.json").read_text())
    assert manifest["resume"]["verdict"] == "approximate"


def test_a_run_whose_system_is_killed_keeps_what_it_has(workdir: Path) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(nats_serving.nats_server(workdir))
        options = ["--env", "CartPole-v1", "--url", server.url]
        process, _ = stack.enter_context(command(*options))
        Path("run.yaml").write_text(
            json.dumps({
                "agent": {"class": "gym_loop.agents.random_agent:RandomAgent"},
                "env": {"name": "gym_loop/Nats-v0", "parameters": {
                    "url": server.url, "observation_space": "box", "timeout": 1.0}},
                "loop": {"parameters": {"max_episodes": 100_000, "episodes_per_checkpoint": 5}},
            })
        )  # fmt: skip
        run = subprocess.Popen(
            [sys.executable, "-m", "gym_loop", "train", "-c", "run.yaml"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert run.stderr is not None
        stack.callback(run.communicate)
        stack.callback(run.kill)
        wait_for(lambda: list(Path().glob("checkpoints/run-1/step-*")), "no checkpoint")
        process.kill()
        assert run.wait(PATIENCE) == 1
        said = run.stderr.read()
        assert "gym-loop: r" in said
        assert "nobody answers this subject" in said or "no reply from" in said
        stack.enter_context(command(*options))
        resumed = train("run.yaml", {"loop.parameters.max_episodes": 8}, resume=True)
        assert resumed.exit_reason == "finished"
