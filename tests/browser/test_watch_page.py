"""The page of ``gym-loop watch`` in a real browser."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.watch import played

pytestmark = pytest.mark.browser
Open = Callable[..., Any]


@pytest.fixture(autouse=True)
def files(workdir: Path) -> None:
    played.write(workdir)


def test_the_agent_is_seen_at_play(open_page: Open) -> None:
    run = played.train()
    with played.watching(fps=20.0) as address:
        page = open_page(address)
        page.locator("#frame:not([hidden])").wait_for()
        assert page.locator("#title").inner_text() == f"{run} at play"
        assert page.locator("#summary").inner_text() == "Learner on World-v0"
        page.locator("#said", has_text="Episode 1: return 10 in 5 steps.").wait_for()
        assert page.locator("#checkpoint").inner_text() == "10"
        assert page.locator("#action").inner_text() == "10"
        page.get_by_role("cell", name="10").first.wait_for()
        page.locator("#said", has_text="Episode 3: return 10").wait_for()
        assert page.locator("#rows tr").count() == 3
        assert page.locator("#said").get_attribute("aria-live") == "polite"


def test_a_pause_stops_the_play_and_the_next_episode_can_be_had(open_page: Open) -> None:
    played.train()
    with played.watching(fps=60.0, overrides={"env.parameters": {"last": 100_000}}) as address:
        page = open_page(address)
        page.locator("#frame:not([hidden])").wait_for()
        page.keyboard.press("n")
        page.locator("#episode", has_text="2").wait_for()
        page.keyboard.press("p")
        time.sleep(2.5)
        steps = len(played.steps_made())
        time.sleep(0.5)
        assert len(played.steps_made()) == steps
        page.get_by_role("button", name="Pause").click()
        end = time.monotonic() + 10
        while len(played.steps_made()) == steps and time.monotonic() < end:
            time.sleep(0.05)
        assert len(played.steps_made()) > steps


def test_it_says_that_it_waits_for_the_first_checkpoint(open_page: Open) -> None:
    kept = Path("checkpoints", played.train())
    kept.rename("away")
    with played.watching() as address:
        page = open_page(address)
        page.get_by_text("Waiting for the run's first checkpoint").wait_for()
        Path("away").rename(kept)
        page.locator("#frame:not([hidden])").wait_for()


def test_the_token_is_asked_for(open_page: Open) -> None:
    played.train()
    with played.watching(token="sesame") as address:
        page = open_page(address)
        page.get_by_role("textbox", name="Token").fill("sesame")
        page.get_by_role("button", name="Go on").click()
        page.locator("#frame:not([hidden])").wait_for()
        assert "sesame" not in page.url


@pytest.mark.parametrize("width", [320, 1400])
def test_every_screen(open_page: Open, width: int) -> None:
    played.train()
    with played.watching() as address:
        page = open_page(address, viewport={"width": width, "height": 700})
        page.locator("#results:not([hidden])").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
