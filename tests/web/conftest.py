"""A real Chromium that opens pages from disk, and is told of every request and error."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main
from benchmarks.cost.page_cost import BROWSERS, DRAWN

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)


@dataclass
class Opened:
    """A page that a browser shows.

    Attributes:
        page: Playwright's.
        errors: what the console or an exception told.
        requests: every address that was asked for.
    """

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def evaluate(self, script: str, *given: Any) -> Any:
        """Return what a script in the page returns."""
        return self.page.evaluate(script, *given)

    def go(self, view: tuple[float, float]) -> None:
        """Show a stretch of time, and wait until it is drawn."""
        self.evaluate(
            "([from, to]) => { spanlight.view.show(from, to); spanlight.timeline.draw(); }",
            list(view),
        )


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_file(chromium: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file in a window of its own, without a network."""
    contexts = []

    def open_one(file: Path, hash_: str = "", **options: Any) -> Opened:
        context = chromium.new_context(
            viewport={"width": 1280, "height": 800}, offline=True, **options
        )
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda message: opened.errors.append(message.text))
        opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.goto(file.as_uri() + hash_)
        opened.page.evaluate(DRAWN)
        return opened

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def open_report(open_file: Callable[..., Opened], tmp_path: Path) -> Callable[..., Opened]:
    """Write a report's page and open it."""

    def open_one(report: Path, hash_: str = "", **options: Any) -> Opened:
        file = tmp_path / "page.html"
        assert main([str(report), "--html", str(file)]) == 0
        return open_file(file, hash_, **options)

    return open_one
