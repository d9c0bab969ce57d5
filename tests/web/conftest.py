"""A real Chromium that opens pages from disk, and is told of every request and error."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from analysis.__main__ import main as write_page
from analysis.compare.__main__ import main as write_comparison
from benchmarks.cost.page_cost import BROWSERS, DRAWN

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

DESK: Final = {"width": 1280, "height": 800}
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
        context = chromium.new_context(**{"viewport": DESK, "offline": True, **options})
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


@pytest.fixture(scope="session")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write the page of a report, or of two compared, once for all tests of a process."""
    made: dict[tuple[Path, ...], Path] = {}

    def one(*reports: Path) -> Path:
        if reports not in made:
            file = tmp_path_factory.mktemp("pages") / "page.html"
            write = write_page if len(reports) == 1 else write_comparison
            assert write([*map(str, reports), "--html", str(file)]) == 0
            made[reports] = file
        return made[reports]

    return one


@pytest.fixture
def open_report(
    open_file: Callable[..., Opened], page_of: Callable[..., Path]
) -> Callable[..., Opened]:
    """Write the page of a report, or of two compared, and open it."""

    def open_one(*reports: Path, hash_: str = "", **options: Any) -> Opened:
        return open_file(page_of(*reports), hash_, **options)

    return open_one
