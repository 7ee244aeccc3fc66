"""The page of ``gym-loop serve http`` in a real browser."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tests.serve import http_worlds
from tests.serve.http_talk import Client, running

pytestmark = pytest.mark.browser
Open = Callable[..., Any]


class Painted(http_worlds.Counter):
    """Counts how often it was drawn; lasts longer than the page's patience."""

    draws: ClassVar[int] = 0

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode, last=1000)

    def render(self) -> Any:
        Painted.draws += 1
        return np.full((40, 60, 3), 20 * (self.count % 10), np.uint8)


class Many(Painted):
    """Takes four numbers in two rows, three of them bounded."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        low = np.array([[0, -1], [-1, -np.inf]], np.float32)
        high = np.array([[1, 1], [5, np.inf]], np.float32)
        self.action_space = spaces.Box(low, high)
        self.seen: list[Any] = []

    def step(self, action: Any) -> Any:
        return *super().step(0)[:1], float(action.sum()), False, False, {}


class Mixed(Painted):
    """Takes a Dict."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.action_space = spaces.Dict({"move": spaces.Discrete(3), "jump": spaces.MultiBinary(2)})

    def step(self, action: Any) -> Any:
        return *super().step(0)[:1], float(action["move"]), False, False, {}


@pytest.fixture(autouse=True)
def worlds() -> None:
    Painted.draws = 0
    http_worlds.register()
    for name, world in [("Painted-v0", Painted), ("Many-v0", Many), ("Mixed-v0", Mixed)]:
        gymnasium.register(name, entry_point=world, disable_env_checker=True)


@pytest.fixture
def address() -> Iterator[str]:
    with running() as address:
        yield address


def make(page: Any, env_id: str) -> None:
    page.get_by_label("Environment", exact=True).fill(env_id)
    page.get_by_role("button", name="Make").click()
    page.locator("#viewer-title", has_text=env_id).wait_for()


def has(page: Any, name: str, text: str) -> None:
    page.locator(f"#{name}", has_text=re.compile(rf"^{re.escape(text)}$")).wait_for()


def until(page: Any, expression: str, argument: Any = None) -> None:
    """Wait for something to be true; the page's own policy forbids Playwright to do so there."""
    end = time.monotonic() + 15
    while not page.evaluate(expression, argument):
        assert time.monotonic() < end, f"never: {expression}"
        time.sleep(0.02)


def picture_follows(page: Any, before: str | None) -> str:
    until(page, "old => !frame.hidden && frame.naturalWidth === 60 && frame.src !== old", before)
    return str(page.locator("#frame").get_attribute("src"))


def test_an_environment_is_made_seen_stepped_and_closed(address: str, open_page: Open) -> None:
    page = open_page(address)
    make(page, "Counter-v0")
    page.locator("#frame:not([hidden])").wait_for()
    assert page.locator("#frame").get_attribute("alt").startswith("Current picture of Counter-v0")
    page.get_by_role("button", name="Action 1").click()
    has(page, "reward", "1")
    has(page, "steps", "1")
    page.keyboard.press("0")
    has(page, "steps", "2")
    page.keyboard.press("r")
    page.locator("#said", has_text="The episode is over: return 3.").wait_for()
    page.keyboard.press("n")
    page.locator("#said", has_text="A new episode has begun.").wait_for()
    has(page, "return", "0")
    has(page, "episodes", "1")
    page.get_by_role("button", name="Close").click()  # made here: closed without a question
    page.get_by_text("It was closed.").wait_for()
    assert page.locator("#none").is_visible()


def test_what_a_program_does_is_seen_live(address: str, open_page: Open) -> None:
    page = open_page(address)
    with Client(address) as client:
        env = client.make("Painted-v0")
        page.get_by_role("button", name="Look at Painted-v0").click()
        page.get_by_text("Waiting for its first reset").wait_for()
        client.ask("POST", f"{env}/reset/")
        before = picture_follows(page, None)
        for _ in range(3):
            client.ask("POST", f"{env}/step/", {"action": 1})
            before = picture_follows(page, before)
        has(page, "steps", "3")
        drawn = Painted.draws
        time.sleep(0.5)  # the page asks on, and nothing is drawn: nothing has changed
        assert Painted.draws == drawn == 4
        page.on("dialog", lambda dialog: dialog.dismiss())
        page.get_by_role("button", name="Close").click()
        assert client.ask("POST", f"{env}/step/", {"action": 1}).status == 200
        client.ask("POST", f"{env}/close/")
        page.get_by_text("It was closed.").wait_for()


def test_nothing_is_drawn_while_nobody_looks(address: str, open_page: Open) -> None:
    page = open_page(address)
    with Client(address) as client:
        env = client.make("Painted-v0")
        client.ask("POST", f"{env}/reset/")
        page.get_by_role("button", name="Look at Painted-v0").wait_for()
        for _ in range(20):
            client.ask("POST", f"{env}/step/", {"action": 1})
        assert Painted.draws == 0
        page.get_by_role("button", name="Look at Painted-v0").click()
        picture_follows(page, None)
        page.close()
        drawn = Painted.draws
        for _ in range(20):
            client.ask("POST", f"{env}/step/", {"action": 1})
            time.sleep(0.02)
        assert Painted.draws <= drawn + 1  # one may have been on its way


COUNTING = """
window.most = window.under_way = 0;
const original = window.fetch;
window.fetch = async (path, ...more) => {
  const frame = String(path).includes("live/frames/");
  if (frame) window.most = Math.max(window.most, ++window.under_way);
  try { return await original(path, ...more); } finally { if (frame) window.under_way--; }
};
"""


def test_at_most_one_request_for_a_picture_is_under_way(address: str, open_page: Open) -> None:
    page = open_page(address, script=COUNTING)
    make(page, "Painted-v0")
    page.get_by_role("button", name="Play at random").click()
    until(page, "() => steps.textContent > 12")
    make(page, "Counter-v0")  # which is not kept waiting by the play
    play = page.get_by_role("button", name="Play at random")
    assert play.get_attribute("aria-pressed") == "false"
    assert page.evaluate("window.most") == 1


def test_numbers_and_json_are_actions_too(address: str, open_page: Open) -> None:
    page = open_page(address)
    make(page, "Many-v0")
    for part, value in enumerate(["0.5", "-1", "5", "100"]):
        page.get_by_label(f"Part {part}").fill(value)
    page.get_by_role("button", name="Step", exact=True).click()
    has(page, "reward", "104.5")
    page.get_by_label("Part 0").fill("7")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("Part 0, 0 to 1").wait_for()
    has(page, "steps", "1")
    make(page, "Mixed-v0")
    field = page.get_by_label("Action, as JSON")
    assert '"jump"' in field.input_value()
    field.fill('{"move": 2, "jump": [0, 1]}')
    page.get_by_role("button", name="Step", exact=True).click()
    has(page, "reward", "2")
    field.fill("{")
    page.get_by_role("button", name="Step", exact=True).click()
    page.get_by_role("alert").get_by_text("JSON").wait_for()


def test_the_token_is_asked_for_and_stays_out_of_the_address(open_page: Open) -> None:
    with running(token="open sesame") as address:
        page = open_page(address)
        field = page.get_by_role("textbox", name="Token")
        field.fill("guess")
        page.keyboard.press("Enter")
        page.get_by_text("That was not it.").wait_for()
        assert field.get_attribute("type") == "password"
        field.fill("open sesame")
        page.keyboard.press("Enter")
        make(page, "Painted-v0")
        picture_follows(page, None)
        assert "sesame" not in page.url
        assert "sesame" not in page.content()
        assert "Bearer TOKEN" in page.locator("#example").inner_text()
        page.reload()  # it is the same tab
        page.get_by_role("button", name="Look at Painted-v0").wait_for()
        other = open_page(f"{address}/?token=open%20sesame")
        other.get_by_role("button", name="Look at Painted-v0").wait_for()
        assert "token" not in other.url


def test_what_clients_send_is_shown_as_text(open_page: Open) -> None:
    evil = "<img src=x onerror=alert(1)>"

    def anything(env_id: str, seed: int | None = None) -> Any:
        return Painted("rgb_array")

    with running(make=anything) as address, Client(address) as client:
        page = open_page(address)
        page.on("dialog", lambda dialog: pytest.fail(f"a script of theirs ran: {dialog.message}"))
        client.make(evil)
        page.get_by_role("cell", name=evil).wait_for()
        page.get_by_role("button", name=f"Look at {evil}").click()
        page.locator("#viewer-title", has_text=evil).wait_for()
        assert page.locator("img").count() == 1


def test_a_server_that_goes_away_and_one_that_asks_for_patience(open_page: Open) -> None:
    with running(max_requests_per_second=1.0) as address:
        page = open_page(address)
        page.get_by_role("alert").get_by_text("wait a moment").wait_for()
    page.get_by_role("alert").get_by_text("cannot be reached").wait_for()


@pytest.mark.parametrize("width", [320, 800, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_screen_and_every_reader(
    address: str, open_page: Open, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 800}
    page = open_page(address, viewport=size, color_scheme=scheme)
    make(page, "Painted-v0")
    picture_follows(page, None)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 249)"
    assert light == (scheme == "light")
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, textarea')].filter(one =>"
        " !(one.getAttribute('aria-label') || one.textContent.trim()"
        " || one.labels?.[0]?.textContent.trim())).length"
    )
    assert unnamed == 0
    assert page.locator("html").get_attribute("lang") == "en"


def test_everything_can_be_done_with_the_keyboard(address: str, open_page: Open) -> None:
    page = open_page(address)
    page.locator("#env-id").press("Enter")
    page.locator("#frame:not([hidden])").wait_for()
    assert page.evaluate("document.activeElement.id") == "viewer"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").startswith("Action 0")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    has(page, "steps", "1")
