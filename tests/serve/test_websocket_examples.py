"""The example of docs/serve-websocket.rst plays the episode that Gymnasium plays."""

import json
import shutil
import subprocess
from pathlib import Path

import gymnasium

from tests.serve.websocket_talk import Client, running

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "websocket" / "cart_pole.mjs"


def node() -> list[str] | None:
    """The command that runs JavaScript with a WebSocket in it; None where there is none."""
    if shutil.which("node") is None:
        return None
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    major = int(version.stdout.removeprefix("v").split(".")[0])
    return (
        ["node"] if major >= 22 else ["node", "--experimental-websocket"] if major >= 20 else None
    )


def expected() -> str:
    with gymnasium.make("CartPole-v1") as env:
        observation, _ = env.reset(seed=0)
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(int(observation[2] > 0))
            total += float(reward)
            over = terminated or truncated
    return f"return {total:g}"


def test_the_example_or_its_words() -> None:
    """Where this machine has no JavaScript, the same requests are made from here."""
    command = node()
    with running() as address:
        if command is not None:
            ran = subprocess.run(
                [*command, str(EXAMPLE), address], capture_output=True, text=True, timeout=120
            )
            assert ran.stdout.splitlines() == [expected(), "1007 Instance `"], ran.stderr
        with Client(address) as client:
            instance = client.ask("make", env_id="CartPole-v1", seed=0)
            observation = client.ask("reset", instance_id=instance)
            total, done = 0.0, False
            while not done:
                action = int(observation[2] > 0)
                observation, reward, done, _ = client.ask(
                    "step", instance_id=instance, action=action
                )
                total += reward
    assert f"return {total:g}" == expected()


def test_the_page_shows_the_example_and_every_word() -> None:
    page = (DOCS / "serve-websocket.rst").read_text(encoding="utf-8")
    assert "/examples/websocket/cart_pole.mjs" in page
    transcripts = Path(__file__).parent / "transcripts" / "websocket"
    for line in (transcripts / "errors.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("< close"):
            _, _, code, reason = line.split(" ", 3)
            assert code in page
            assert reason.split("`")[0].split("[")[0].split(":")[0] in page
    methods = (transcripts / "methods.txt").read_text(encoding="utf-8").splitlines()
    for line in methods:
        if line.startswith("> "):
            assert f"``{json.loads(line[2:])['method']}``" in page
