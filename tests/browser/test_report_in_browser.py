"""The page of ``gym-loop report`` in a real browser, opened as a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gym_loop.report.writing import report
from tests.report.written import returns, two_groups, write_run

pytestmark = pytest.mark.browser
Open = Callable[..., Any]
LINE = "figure[data-chart='train/episode_return'] path.line"
TICKS = "figure[data-chart='train/episode_return'] .axes text"


@pytest.fixture
def address(workdir: Path) -> str:
    two_groups()
    (path,) = report()
    return f"file://{path.resolve()}"


def shown(page: Any) -> list[str]:
    """What the lines of the first figure are drawn as."""
    return [line.get_attribute("d") for line in page.locator(LINE).all()]


def test_pointing_at_a_figure_tells_its_values(open_page: Open, address: str) -> None:
    page = open_page(address)
    page.locator("figure.chart svg").first.hover()
    tip = page.locator(".tip:not([hidden])")
    tip.wait_for()
    assert "environment steps" in tip.inner_text()
    assert "rate=0.001: " in tip.inner_text()
    assert ", 5 runs" in tip.inner_text()
    figure, box = (page.locator(one).first.bounding_box() for one in ("svg[tabindex]", ".tip"))
    assert figure["y"] <= box["y"]
    assert box["x"] + box["width"] <= figure["x"] + figure["width"] + 1
    page.mouse.move(2, 2)
    assert tip.count() == 0


def test_the_script_draws_what_the_file_holds(open_page: Open, address: str) -> None:
    """Python drew the lines that a page without scripts shows; the script draws them again."""
    still = open_page(address, java_script_enabled=False)
    page = open_page(address)
    for before, after in zip(shown(still), shown(page), strict=True):
        first, again = (
            [float(part) for part in path.replace("M", "").replace("L", " ").split()]
            for path in (before, after)
        )
        assert again == pytest.approx(first, abs=0.6)
    texts = [one.locator(TICKS).all_text_contents() for one in (still, page)]
    assert sorted(texts[0]) == sorted(texts[1])
    assert still.locator(".tools").is_hidden()


def test_a_group_is_switched_off_and_on(open_page: Open, address: str) -> None:
    page = open_page(address)
    before = shown(page)
    button = page.get_by_role("button", name="rate=0.0001")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert shown(page)[0] == ""
    button.click()
    assert shown(page) == before


def test_single_runs(open_page: Open, address: str) -> None:
    page = open_page(address)
    page.get_by_role("button", name="Single runs").click()
    assert page.locator("figure[data-chart='train/episode_return'] .single").count() == 10
    page.get_by_role("button", name="Single runs").click()
    assert page.locator(".single").count() == 0


def test_zoom_by_mouse_and_back(open_page: Open, address: str) -> None:
    page = open_page(address)
    before = page.locator(TICKS).all_text_contents()
    figure = page.locator("figure.chart svg").first
    figure.scroll_into_view_if_needed()
    box = figure.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.5 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], middle, steps=4)
    page.mouse.up()
    assert page.locator(TICKS).all_text_contents() != before
    page.get_by_role("button", name="Zoom out").click()
    assert page.locator(TICKS).all_text_contents() == before


def test_all_of_it_by_keyboard(open_page: Open, address: str) -> None:
    page = open_page(address)
    before = page.locator(TICKS).all_text_contents()
    page.locator("figure.chart svg").first.focus()
    page.keyboard.press("ArrowRight")
    page.locator(".tip:not([hidden])").first.wait_for()
    page.keyboard.press("+")
    assert page.locator(TICKS).all_text_contents() != before
    page.keyboard.press("0")
    assert page.locator(TICKS).all_text_contents() == before
    page.keyboard.press("Escape")
    assert page.locator(".tip:not([hidden])").count() == 0


@pytest.mark.parametrize("width", [320, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_screen_and_theme(open_page: Open, address: str, width: int, scheme: str) -> None:
    page = open_page(address, viewport={"width": width, "height": 700}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    text, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert text != paper


def test_on_paper_it_is_black_on_white_whatever_the_theme(open_page: Open, address: str) -> None:
    page = open_page(address, color_scheme="dark")
    page.emulate_media(media="print")
    style = "(name) => getComputedStyle(document.body)[name]"
    assert page.evaluate(style, "color") == "rgb(0, 0, 0)"
    assert page.evaluate(style, "backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".tools").is_hidden()


def test_more_groups_than_are_shown_at_first(open_page: Open, workdir: Path) -> None:
    for number in range(14):
        rows = returns([float(number), number + 1.0])
        write_run(f"a-{number + 1}", rows, parameters={"rate": number})
    (path,) = report()
    page = open_page(f"file://{path.resolve()}")
    assert page.locator("#legend button[aria-pressed='false'][data-group]").count() == 2
    assert shown(page).count("") == 2
