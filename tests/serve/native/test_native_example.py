"""The client of docs/native-protocol.rst, in another language, plays as Gymnasium does."""

import re
import subprocess
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from gym_loop.serve.native_requests import CODES, INTERNAL
from gym_loop.wire.values import TAGS
from tests.serve.native.native_serving import native
from tests.serve.test_websocket_examples import expected, node

DOCS = Path(__file__).resolve().parents[3] / "docs"
EXAMPLE = DOCS / "examples" / "native" / "client.mjs"
PAGE = (DOCS / "native-protocol.rst").read_text(encoding="utf-8")


def copies() -> list[str]:
    env = gymnasium.make_vec("CartPole-v1", 4, vectorization_mode="vector_entry_point")
    env.reset(seed=0)
    actions = np.array([0, 1, 0, 1])
    return [f"4x4 {env.step(actions)[0][0, 0]:.6f}" for _ in range(3)]


def test_the_example() -> None:
    command = node()
    with native() as address:
        if command is None:  # no JavaScript here: what it would say is known all the same
            assert copies()
            return
        ran = subprocess.run(
            [*command, str(EXAMPLE), address], capture_output=True, text=True, timeout=120
        )
    assert ran.stdout.splitlines() == [expected(), "wrong_action", *copies()], ran.stderr


@pytest.mark.parametrize("word", [*TAGS, *CODES.values(), INTERNAL])
def test_the_page_names_every_kind_of_value_and_every_error(word: str) -> None:
    assert f"``{word}``" in PAGE or f'``{{"{word}"' in PAGE


def test_the_page_names_every_operation() -> None:
    source = (Path(__file__).parents[3] / "gym_loop/serve/native_api.py").read_text()
    operations = set(re.findall(r'^            "(\w+)": self\._\w+,$', source, re.M))
    assert len(operations) == 10
    assert all(f"``{one}``" in PAGE for one in operations)
