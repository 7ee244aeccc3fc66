"""The examples of docs/serve-http.rst play the episode that Gymnasium plays.

An interpreter that this machine lacks leaves its example out of the list.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from tests.serve.http_talk import running

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = DOCS / "examples" / "http"
JARS = [
    Path("/usr/share/java") / name
    for name in ("clojure.jar", "spec.alpha.jar", "core.specs.alpha.jar", "data.json.jar")
]


def interpreters() -> dict[str, list[str]]:
    """What can be run here: by file, the words before it."""
    found = {"cart_pole.sh": ["sh"]} if shutil.which("curl") else {}
    for name, command in [("cart_pole.mjs", "node"), ("cart_pole.rb", "ruby")]:
        if shutil.which(command):
            found[name] = [command]
    if shutil.which("java") and all(jar.exists() for jar in JARS):
        found["cart_pole.clj"] = ["java", "-cp", ":".join(map(str, JARS)), "clojure.main"]
    return found


INTERPRETERS = interpreters()


def steps_of_an_episode(policy: Callable[[int, Any], int]) -> int:
    with gymnasium.make("CartPole-v1") as env:
        observation, _ = env.reset(seed=0)
        for step in range(500):
            observation, _, terminated, truncated, _ = env.step(policy(step, observation))
            if terminated or truncated:
                return step + 1
    raise AssertionError("the episode did not end")


def in_turn(step: int, observation: Any) -> int:
    return step % 2


def to_where_it_falls(step: int, observation: Any) -> int:
    return int(observation[2] > 0)


@pytest.mark.parametrize("name", INTERPRETERS)
def test_example(name: str) -> None:
    with running() as address:
        ran = subprocess.run(
            [*INTERPRETERS[name], str(EXAMPLES / name), address],
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ran.returncode == 0, ran.stderr
    if name == "cart_pole.sh":
        assert ran.stdout == f"{steps_of_an_episode(in_turn)} steps\n"
    else:
        assert ran.stdout == f"return {steps_of_an_episode(to_where_it_falls)}\n"


def test_every_example_is_on_the_page() -> None:
    page = (DOCS / "serve-http.rst").read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        assert f"/examples/http/{path.name}" in page
    assert set(INTERPRETERS) <= {path.name for path in EXAMPLES.iterdir()}
