"""Every row of a report is read once, whatever is asked of it."""

import re
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from analysis import Report, ReportError
from analysis.questions import QUESTIONS
from analysis.source.column_cache import Column
from analysis.source.database import Database
from tests.made.reports.build_device import Copy, Set, add_device_work
from tests.made.reports.build_report import Graph, Kernel, Range, make_report
from tests.made.tools import shared
from tests.made.tools.shared import ROOT

OF_ONE_REPORT = sorted(set(QUESTIONS) - {"compare", "memory"})


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many rows were read of each table from now on."""
    counted: Counter[str] = Counter()
    read = Database._read

    def counting(self: Database, sql: str, rows: int, text: Any) -> dict[str, Column]:
        columns = read(self, sql, rows, text)
        (table,) = re.findall(r'\bFROM "?(\w+)', sql)[:1]
        # One row says whether there are any, or how many: that is not reading the table.
        if not re.search(r"\bLIMIT 1\b|\bcount\(|\bmax\(|\bDISTINCT\b", sql):
            counted[table] += max((len(column.numbers) for column in columns.values()), default=0)
        return columns

    monkeypatch.setattr(Database, "_read", counting)
    return counted


def sizes(path: Path, tables: Counter[str]) -> dict[str, int]:
    """Return how many rows some tables of a report have."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        known = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        return {
            table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
            for table in tables
            if table in known
        }


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A report with all kinds of device work, registered and unregistered names, and a warm-up."""
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("a", 100, 110, launch=5), Kernel("b", 110, 130, launch=25)],
        graphs=[Graph(3, 140, 150)],
        ranges=[
            Range("warmup", 0, 10),
            Range("step", 20, 40, registered=True),
            Range("forward", 21, 30, payload=7),
            Range(None, 31, 39),
        ],
    )
    return add_device_work(path, copies=[Copy(150, 160, 8, launch=30)], sets=[Set(160, 161, 1)])


def test_the_ranges_of_a_built_report_read_each_row_once(
    built: Path, rows_read: Counter[str]
) -> None:
    with Report(built) as report:
        report.ranges()
    once = sizes(built, rows_read)
    assert {table: rows_read[table] for table in once if rows_read[table] > once[table]} == {}
    assert rows_read["CUPTI_ACTIVITY_KIND_KERNEL"] == 2
    assert rows_read["CUPTI_ACTIVITY_KIND_MEMCPY"] == rows_read["NVTX_EVENTS"] / 4 == 1


@pytest.mark.parametrize("name", ["train-step-small-a100", "forward-2.7b-a100", "sliced-2xh100"])
def test_the_ranges_of_a_real_report_read_each_row_once(name: str, rows_read: Counter[str]) -> None:
    path = shared.report(name)
    with Report(path) as report:
        report.ranges()
    once = sizes(path, rows_read)
    assert {table: rows_read[table] for table in once if rows_read[table] > once[table]} == {}


def test_all_questions_together_read_each_event_once(built: Path, rows_read: Counter[str]) -> None:
    """Of a GPU, and of a CPU run; strings and what a report says of itself may be looked up."""
    events = ("CUPTI_ACTIVITY_KIND_", "NVTX_EVENTS", "TOOLKIT_OPERATOR")
    for path in (built, ROOT / "nsys_reports" / "sample.sqlite"):
        rows_read.clear()
        with Report(path) as report:
            for question in OF_ONE_REPORT:
                with suppress(ReportError):  # what the report cannot answer
                    getattr(report, question)()
        once = sizes(path, rows_read)
        twice = {table for table in once if rows_read[table] > once[table]}
        assert [table for table in sorted(twice) if table.startswith(events)] == []
