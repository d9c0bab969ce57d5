"""A comparison as a browser shows it: its tables, and the time lines of both reports."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from analysis.attribution.launches import Attribution
from analysis.compare.checks import SIDES
from analysis.compare.show import sections
from analysis.html.events import events_of, one_under_another
from analysis.html.happened import happened
from analysis.html.pack import packed
from analysis.html.tables import as_records

if TYPE_CHECKING:
    from analysis.compare.compare import Comparison
    from analysis.show.table import Table
    from analysis.source.report import Report

TABLES: Final = {
    "kernel": "kernels",
    "operator": "kernels",
    "range": "ranges",
    "category": "categories",
    "phase": "phases",
    "total": "totals",
}
"""By the kind of its rows, what a table is called on the page."""


def as_html(reports: tuple[Report, Report], found: Comparison) -> str:
    """Return a comparison for a browser, one file that needs no other.

    Both time lines begin together, each with the first that its report holds.

    Args:
        reports: the two.
        found: the comparison of them.
    """
    every = [events_of(happened(each, Attribution.of_any(each))) for each in reports]
    _, *lines = found.table.heading.splitlines()  # the first is the verdict
    told = {
        "title": " → ".join(each.path.name for each in reports),
        "described": lines,
        "verdict": f"{found.verdict.word}: {found.verdict.reason}",
        "advice": [],
        "rest": [],
        "steps": [],
        "median_step": None,
        "budget": [],
    }
    tables = {
        TABLES[str(part.columns["kind"][0])]: as_records(named_as_on_the_page(part))
        for part in sections(found.table)
    }
    return packed(told, one_under_another(dict(zip(SIDES, every, strict=True))), tables)


def named_as_on_the_page(part: Table) -> Table:
    """Return the rows of one kind; the page knows ranges by a column of that name."""
    if part.columns["kind"][0] != "range":
        return part
    columns = {{"name": "range"}.get(name, name): one for name, one in part.columns.items()}
    return replace(part, columns=columns)
