"""``gym-loop serve``: the options of every protocol, from the command line, a file, or Python."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import gym_loop
from gym_loop.cli.app import main
from gym_loop.cli.serve import COMMANDS
from gym_loop.errors import ConfigError, UsageError
from gym_loop.serve.serving import PROTOCOLS, settings_class


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err.strip()


def shown(*arguments: str) -> str:
    command = [sys.executable, "-m", "gym_loop", "serve", *arguments]
    env = {**os.environ, "COLUMNS": "200"}  # no name is cut short
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


def test_the_first_look_lists_every_protocol() -> None:
    text = shown("--help")
    assert all(f" {protocol} " in text for protocol in PROTOCOLS)
    assert COMMANDS.keys() == PROTOCOLS.keys()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_setting_is_an_option(protocol: str) -> None:
    text = shown(protocol, "--help")
    names = list(settings_class(protocol).model_fields)
    spelt = {"imports": "import", "json_logs": "json", "allowed_origins": "allow-origin"}
    missing = [one for one in names if f"--{spelt.get(one, one).replace('_', '-')} " not in text]
    assert not missing


def test_it_serves_without_the_name_of_a_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    assert "set a token (--token)" in refused(capsys, "--host", "0.0.0.0", "--port", "0")
    message = refused(capsys, "--port", "0", "http")
    assert message == "gym-loop: --port belongs behind http: serve http --port"


def test_a_token_is_demanded_beyond_loopback(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "http", "--host", "0.0.0.0", "--port", "0")
    assert "set a token (--token)" in message


def test_all_findings_of_a_file_are_shown_with_their_lines(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("port: 70000\nmax-instances: many\nidel-lease: 5\n")
    message = refused(capsys, "http", "-c", str(file))
    assert f"{file}:2: max-instances: 'many' is str, but must be int" in message
    assert f"{file}:3: idel-lease: unknown; did you mean idle_lease?" in message


def test_an_option_wins_over_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("port: 5000\n")
    message = refused(capsys, "websocket", "-c", str(file), "--port", "70000")
    assert message == "gym-loop: --port: 70000 is not a port; use 0 (a free one) to 65535"


def test_from_python_a_protocol_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean websocket"):
        gym_loop.serve("websockets")
    with pytest.raises(ConfigError, match="--prot: unknown; did you mean port"):
        gym_loop.serve("http", prot=5000)


@pytest.mark.parametrize("protocol", ["http", "websocket"])
def test_from_python_it_serves_until_told_to_stop(protocol: str) -> None:
    stop, listening = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=gym_loop.serve,
        args=(protocol,),
        kwargs={"port": 0, "stop": stop, "ready": lambda _: listening.set()},
    )
    thread.start()
    assert listening.wait(20)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
