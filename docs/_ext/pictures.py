"""Take the pictures of the pages for the documentation, in a real Chromium.

python docs/_ext/pictures.py     (apt-get install chromium; the extra dev)
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

import gym_loop
from gym_loop.config.presets import preset_run_file
from gym_loop.report.writing import report
from gym_loop.watch.server import watch

PICTURES = Path(__file__).resolve().parents[1] / "pictures"
SIZE: ViewportSize = {"width": 1180, "height": 720}


@contextmanager
def running(serve: Callable[..., None]) -> Iterator[str]:
    """The address of a server in a thread."""
    addresses: list[str] = []
    ready, stop = threading.Event(), threading.Event()

    def listens(*names: str) -> None:
        addresses.append(names[-1])
        ready.set()

    thread = threading.Thread(target=serve, kwargs={"ready": listens, "stop": stop, "port": 0})
    thread.start()
    try:
        assert ready.wait(60), "the server did not start"
        yield addresses[0]
    finally:
        stop.set()
        thread.join()


def take(page: Page, name: str) -> None:
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=PICTURES / name)
    print(f"{name}: {(PICTURES / name).stat().st_size / 1000:.0f} kB")


def take_serve(browser: Browser) -> None:
    def serve(**named: Any) -> None:
        gym_loop.serve("http", **named)

    with running(serve) as address:
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(address)
        for env_id in ("CartPole-v1", "MountainCar-v0", "LunarLander-v3"):
            page.get_by_label("Environment", exact=True).fill(env_id)
            page.get_by_label("Seed, if any").fill("3")
            page.get_by_role("button", name="Make").click()
            page.locator("#viewer-title", has_text=env_id).wait_for()
            page.locator("#frame:not([hidden])").wait_for()
            page.get_by_role("button", name="Play at random").click()
            time.sleep(4)
        page.get_by_role("button", name="Play at random").click()
        time.sleep(1)
        take(page, "serve-http.png")
        page.close()


def take_watch(browser: Browser, place: Path) -> None:
    run_file = place / "run.yaml"
    run_file.write_text(preset_run_file("ppo/CartPole-v1", {}))
    names = ("logdir", "checkpoint_dir")
    directories = {f"loop.parameters.{name}": str(place / name) for name in names}
    budget = {**directories, "loop.parameters.max_steps": 20_000}
    gym_loop.train(run_file, budget, seed=1)

    def show(**named: Any) -> None:
        watch(run_file, directories, fps=60.0, **named)

    with running(show) as address:
        page = browser.new_page(viewport=SIZE, color_scheme="dark")
        page.goto(address)
        page.locator("#rows tr").nth(3).wait_for(timeout=120_000)
        time.sleep(1)
        take(page, "watch.png")
        page.close()


def take_report(browser: Browser, place: Path) -> None:
    for name, rate in (("slow", 0.0003), ("fast", 0.003)):
        run_file = place / f"{name}.yaml"
        run_file.write_text(preset_run_file("ppo/CartPole-v1", {}))
        values = {
            "loop.parameters.logdir": str(place / "compared"),
            "loop.parameters.checkpoint_dir": str(place / "compared_checkpoints"),
            "loop.parameters.max_steps": 30_000,
            "agent.parameters.learning_rate": rate,
        }
        gym_loop.train(run_file, values, seeds=range(5), jobs=1)
    (path,) = report(logdir=place / "compared", output=place / "report.html")
    page = browser.new_page(viewport=SIZE, color_scheme="light")
    page.goto(f"file://{path}")
    chart = page.locator("figure.chart svg").first.bounding_box()
    assert chart is not None
    page.mouse.move(chart["x"] + 0.6 * chart["width"], chart["y"] + 0.5 * chart["height"])
    take(page, "report.png")
    page.close()


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "there is no Chromium: apt-get install chromium"
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as place:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        take_serve(browser)
        take_watch(browser, Path(place))
        take_report(browser, Path(place))
        browser.close()


if __name__ == "__main__":
    main()
