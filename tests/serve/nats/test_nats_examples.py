"""The worked example of docs/serve-nats.rst learns what there is to learn."""

import subprocess
import sys
from pathlib import Path

import gym_loop
from gym_loop.serve.nats.embedded import EmbeddedServer

DOCS = Path(__file__).resolve().parents[3] / "docs"
EXAMPLES = DOCS / "examples" / "nats"


def test_dqn_brings_the_shuttle_to_its_station(workdir: Path) -> None:
    run = workdir / "shuttle.yaml"
    run.write_bytes((EXAMPLES / "shuttle.yaml").read_bytes())
    with EmbeddedServer() as server:
        system = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "shuttle.py"), server.url], stdout=subprocess.PIPE
        )
        try:
            assert system.stdout is not None
            assert system.stdout.readline() == b"ready\n"
            here = {"env.parameters.url": server.url, "env.parameters.timeout": 30}
            trained = gym_loop.train(run, {**here, "seed": 1})
            assert (trained.exit_reason, trained.steps) == ("finished", 700)
            evaluated = gym_loop.evaluate(run, here, episodes=2)
        finally:
            system.kill()
            system.communicate()
    assert [(one.episode_return, one.length) for one in evaluated.episodes] == [(-7.0, 7)] * 2


def test_every_example_is_on_the_page() -> None:
    page = (DOCS / "serve-nats.rst").read_text(encoding="utf-8")
    names = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert names == {"shuttle.py", "shuttle.yaml"}
    assert all(f"/examples/nats/{name}" in page for name in names)
