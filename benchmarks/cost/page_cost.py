"""What a report's page for a browser takes: bytes an event, time to open, time to draw.

    SYNTHETIC=synthetic-report python -m benchmarks.cost.page_cost
    python -m benchmarks.cost.page_cost REPORT
    python -m benchmarks.cost.page_cost REPORT --rounds 9

SYNTHETIC= is a program called as `SYNTHETIC 1m OUT.sqlite`, which writes a report with a million
kernels; its page is opened where no REPORT is named, and is to stay under 18 MB.
A headless Chromium opens the page from disk, without a network, anew in each round; drawing is
timed inside it, at four zooms, each moved a little before it is drawn. A missed goal is no failure:
the exit status stays 0.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

from analysis.__main__ import main as write_page
from benchmarks.conditions import RESULTS, conditions
from benchmarks.cost import command
from benchmarks.samples import Goal, median_and_range
from benchmarks.speed.processes import output_of, program
from benchmarks.text import BenchmarkError, spread, writable
from profiling.common import cli

MODULE: Final = "benchmarks.cost.page_cost"
HEADER: Final = ("what", "measured", "goal", "verdict")
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
OPEN, BYTES, DRAW, FILE = "open", "bytes an event", "draw", "the file"
SYNTHETIC: Final = "1m"
"""The size of the report that is made where none is named."""

GOALS: Final = {
    FILE: Goal("<= 18 MB", 18),
    OPEN: Goal("<= 5 s", 5),
    BYTES: Goal("<= 6 B", 6),
    DRAW: Goal("<= 50 ms", 50),
}
UNITS: Final = {FILE: "MB", OPEN: "s", BYTES: "B", DRAW: "ms"}
ZOOMS: Final = {"the whole": 1.0, "a tenth": 0.1, "a hundredth": 0.01, "a ten thousandth": 1e-4}

WANTED: Final = (
    "name a REPORT, or set SYNTHETIC= to the program that makes one (SYNTHETIC 1m OUT.sqlite)"
)

DRAWN: Final = """() => new Promise((done) => {
    const look = () => globalThis.spanlight?.timeline.drawn_ms > 0 ? done() : setTimeout(look, 5);
    look();
})"""
"""Waits in the page itself, whose policy lets no text be evaluated again and again."""
PANS: Final = """(share) => {
    const { view, timeline } = spanlight;
    view.show(view.span * 0.3, view.span * (0.3 + share));
    return Array.from({ length: 25 }, () => {
        view.pan(view.width * 0.02);
        const before = performance.now();
        timeline.draw();
        return performance.now() - before;
    });
}"""
EVENTS: Final = """() => [
    spanlight.packed.head.lanes.reduce((sum, lane) => sum + lane.count, 0),
    document.getElementById("events").textContent.length,
]"""


def browser_program() -> str:
    """Return the Chromium there is.

    Raises:
        BenchmarkError: there is none.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise BenchmarkError("no Chromium is installed; install one: apt-get install chromium")
    return found


def synthetic_report(folder: Path) -> Path:
    """Return a report with a million kernels, as the program SYNTHETIC= writes it.

    Raises:
        BenchmarkError: there is no such program, or it failed.
    """
    report = folder / f"{SYNTHETIC}.sqlite"
    output_of([program("SYNTHETIC", WANTED), SYNTHETIC, str(report)], "SYNTHETIC", WANTED)
    return report


def measured(page: Path, rounds: int) -> dict[str, list[float]]:
    """Return what each round measured of a page, by what it is.

    Raises:
        BenchmarkError: there is no Playwright, or no Chromium.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise BenchmarkError("no playwright is installed; install it: make setup") from None
    found: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_program(), args=["--no-sandbox"]
        )
        for _ in range(rounds):
            context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
            for what, values in one_round(context.new_page(), page).items():
                found.setdefault(what, []).extend(values)
            context.close()
        browser.close()
    return found


def one_round(window: Any, page: Path) -> dict[str, list[float]]:
    """Return what a window that opens a page measures, by what it is."""
    began = perf_counter()
    window.goto(page.as_uri(), timeout=120_000)
    window.evaluate(DRAWN)
    opened = perf_counter() - began
    events, size = window.evaluate(EVENTS)
    draws = {f"{DRAW} {name}": window.evaluate(PANS, share) for name, share in ZOOMS.items()}
    return {OPEN: [opened], BYTES: [size / max(events, 1)], **draws}


def row(what: str, values: Sequence[float]) -> tuple[str, ...]:
    """Return the cells of a line of the table."""
    kind = DRAW if what.startswith(DRAW) else what
    found = median_and_range(values)
    return (what, spread(found, UNITS[kind]), GOALS[kind].words, GOALS[kind].verdict(found))


def run(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and keep the data."""
    made = cli.Parser(MODULE, __doc__)
    made.add_argument("report", type=Path, nargs="?", metavar="REPORT", help="whose page is opened")
    made.add_argument("--rounds", type=cli.count, default=5, metavar="N", help="(default: 5)")
    default = RESULTS / "page_cost.json"
    made.add_argument("--json", type=Path, default=default, metavar="FILE", help="the data")
    args = made.parse_args(argv)
    writable(args.json)
    known = conditions("playwright")
    with TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        report = args.report or synthetic_report(Path(folder))
        if status := write_page([str(report), "--html", str(page)]):
            return status
        size = page.stat().st_size
        found = measured(page, args.rounds)
        if args.report is None:  # of another report there is no goal
            found = {FILE: [size / 1e6], **found}
    known |= {"report": SYNTHETIC if args.report is None else args.report.name, "page_bytes": size}
    rows = [row(what, values) for what, values in found.items()]
    command.show(args.json, known, HEADER, rows, {"measured": dict(found)})
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    return cli.run(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
