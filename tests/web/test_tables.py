"""The page's tables and its budget say what the commands print, and sort as pandas sorts."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import Report
from analysis.kernels import ranking
from analysis.ranges.summary import summary
from analysis.show.render import titles_of, value_text
from analysis.show.sheet import visible
from analysis.show.table import Table
from tests.made.commands.in_process import run_command
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared
from tests.web.conftest import Opened

pytestmark = pytest.mark.slow

Open = Callable[..., Opened]
Shown = list[list[str | float]]

ALL = """(name) => {
    const panel = document.getElementById(`panel-${name}`);
    const more = () => panel.querySelector(".more button");
    while (more()) more().click();
}"""
"""Lets a table show all its rows."""

HEADINGS = """(name) => [...document.querySelectorAll(`#panel-${name} th`)].map(
    (heading) => heading.textContent
)"""
TEXTS = """(name) => [...document.querySelectorAll(`#panel-${name} tbody tr`)].map(
    (row) => [...row.cells].map((cell) => cell.textContent)
)"""
VALUES = """(name) => [...document.querySelectorAll(`#panel-${name} tbody tr`)].map(
    (row) => [...row.cells].map((cell) => cell.title === "" ? cell.textContent : Number(cell.title))
)"""
"""The cells of a table as they are sorted: numbers whole, which the page has as their titles."""

BUDGET = """() => [...document.querySelectorAll(".waterfall")].map(
    (device) => [...device.querySelectorAll(".row")].map((row) =>
        ["label", "ns", "share"].map((name) => row.querySelector(`.${name}`).textContent)
    )
)"""


def value(cell: Any) -> str | float:
    """Return a cell of a data frame as `VALUES` has it."""
    if isinstance(cell, str):
        return visible(cell)
    return "-" if pd.isna(cell) else float(cell)


def seen(table: Table, frame: pd.DataFrame) -> list[str]:
    """Return the columns that people see: not hidden, and with something in them."""
    empty = frame.isna() | frame.isin([""])
    return [name for name in titles_of(table) if not bool(empty[name].to_numpy().all())]


@pytest.mark.parametrize(
    ("name", "ask", "report"),
    [
        ("kernels", ranking, "fsdp-2xh100-after"),
        ("kernels", ranking, "forward-2.7b-a100"),
        ("ranges", summary, "fsdp-2xh100-after"),
    ],
)
def test_every_heading_sorts_as_pandas_does(
    name: str, ask: Callable[[Report], Table], report: str, open_report: Open
) -> None:
    opened = open_report(shared.report(report))
    with Report(shared.report(report)) as recorded:
        table = ask(recorded)
    frame = pd.DataFrame(table.columns)
    columns = seen(table, frame)
    opened.evaluate(ALL, name)
    assert opened.evaluate(HEADINGS, name) == [titles_of(table)[column] for column in columns]
    for place, column in enumerate(columns):
        first = not isinstance(table.columns[column], list)  # numbers from the greatest down
        for descending in (first, not first):
            opened.page.locator(f"#panel-{name} th button").nth(place).dispatch_event("click")
            ordered = frame.sort_values(
                column, ascending=not descending, kind="stable", na_position="last"
            )
            wanted = [list(map(value, row)) for row in ordered[columns].itertuples(index=False)]
            assert opened.evaluate(VALUES, name) == wanted, (column, descending)


@pytest.mark.parametrize("name", ["ranges", "gaps", "copies", "roofline"])
@pytest.mark.parametrize("report", ["fsdp-2xh100-after", "train-step-small-a100"])
def test_a_table_says_what_its_command_prints(name: str, report: str, open_report: Open) -> None:
    opened = open_report(shared.report(report))
    ran = run_command(f"analysis.{name}", shared.report(report), "--format", "json")
    answer = json.loads(ran.stdout)
    rows = answer["rows"] if isinstance(answer, dict) else answer
    if name == "gaps":  # where they are on the time line
        origin = int(opened.evaluate("() => spanlight.packed.head.origin_ns"))
        rows = [row | {"start_ns": row["start_ns"] - origin} for row in rows]
    opened.evaluate(ALL, name)
    headings = opened.evaluate(HEADINGS, name)
    columns = opened.evaluate("(name) => spanlight.packed.tables[name]", name)
    kept = [
        column
        for column in rows[0]
        if column not in columns["hidden"] and any(row[column] not in {None, ""} for row in rows)
    ]
    assert len(headings) == len(kept)
    shown = opened.evaluate(TEXTS, name)
    wanted = [
        [
            value_text(column, float("nan") if row[column] is None else row[column])
            for column in kept
        ]
        for row in rows
    ]
    assert shown == wanted


def budget_of(report: Path) -> list[Shown]:
    """Return the rows of the budget that the command prints, those of each device together."""
    ran = run_command("analysis.budget", report, "--format", "markdown")
    lines = [
        line.strip("| ").split(" | ") for line in ran.stdout.splitlines() if line.startswith("|")
    ]
    (*keys, _, _, _), _, *rows = lines
    devices: dict[tuple[str, ...], Shown] = {}
    for row in rows:
        key, parts = row[: len(keys)], row[len(keys) :]
        devices.setdefault(tuple(key), []).append([re.sub("[`\\\\]", "", part) for part in parts])
    return list(devices.values())


@pytest.mark.parametrize(
    "name", ["train-step-small-a100", "fsdp-2xh100-after", "cuda-graphs-a100", "mpi-saxpy-2022.2"]
)
def test_the_budget_is_that_of_the_command(name: str, open_report: Open) -> None:
    wanted = budget_of(shared.report(name))
    assert open_report(shared.report(name)).evaluate(BUDGET) == wanted
    assert len(wanted) == (2 if name == "fsdp-2xh100-after" else 1)


def test_the_budget_is_of_the_median_step(tmp_path: Path, open_report: Open) -> None:
    report = make_report(
        tmp_path / "steps.sqlite",
        ranges=[
            Range("step", at, at + took) for at, took in ((0, 9000), (10_000, 4000), (20_000, 6000))
        ],
        kernels=[
            Kernel("sgemm", at + 100, at + 2125, launch=at + 10) for at in (0, 10_000, 20_000)
        ],
    )
    opened = open_report(report)
    assert "step 2, the median one" in opened.page.inner_text(".budget h2")
    assert opened.page.inner_text(".budget h2").count("6.000 µs") == 1
    assert opened.evaluate(BUDGET) == budget_of(report)
