"""The page as a browser shows it: what the text says, every table whole, and a time line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Unpack

from analysis import copies, gaps, kernels, roofline
from analysis.advice.advise import Advice
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection
from analysis.budget import BUDGET, budget, in_words
from analysis.html.events import Events, events_of
from analysis.html.happened import happened
from analysis.html.pack import packed
from analysis.html.tables import MOST_ROWS, as_records, known, unanswered
from analysis.page.verdict import NOTHING_TO_DO
from analysis.ranges.summary import summary
from analysis.show.errors import ReportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.page.page import Page
    from analysis.show.table import Table
    from analysis.source.report import Report

QUESTIONS: Final[dict[str, Callable[..., Table]]] = {
    "kernels": kernels.ranking,
    "ranges": summary,
    "gaps": gaps.gaps,
    "copies": copies.copies,
    "budget": budget,
    "roofline": roofline.roofline,
}
"""The questions whose whole answers the page has, by the names of their tables."""

TREE: Final = "tree"
"""The table of places in the tree of ranges."""

OF_ITS_OWN: Final = ("phases", "categories", "attention")
"""Tables of the page that no other question's answer holds."""


def as_html(report: Report, made: Page, **selected: Unpack[Options]) -> str:
    """Return the page for a browser, one file that needs no other.

    Args:
        report: what was recorded.
        made: its page.
        selected: what counts in the tables, as in the page; the time line has everything.

    Raises:
        ReportError: the report holds not what is asked for.
    """
    chosen = Selected.of_any(report, Selection(**selected))
    events = events_of(happened(report, chosen.attribution))
    tables = {name: answer(ask, report, **selected) for name, ask in QUESTIONS.items()}
    tables[TREE] = answer(summary, report, tree=True, most=MOST_ROWS, **selected)
    tables |= {table.name: as_records(table) for table in made.tables if table.name in OF_ITS_OWN}
    return packed(head(report, made, chosen, events), events, tables)


def answer(ask: Callable[..., Table], report: Report, **options: Any) -> dict[str, Any]:
    """Return the answer to a question; where a report cannot answer it, why."""
    try:
        return as_records(ask(report, **options))
    except ReportError as error:
        return unanswered(error.problem)


def head(report: Report, made: Page, chosen: Selected, events: Events) -> dict[str, Any]:
    """Return what the page tells of the report besides tables and events, as JSON has it."""
    steps = chosen.steps
    table = next((each for each in made.tables if each.name == BUDGET), None)
    rows = table.rows() if table else []
    labels = in_words(table).columns["part"] if table else []
    return {
        "title": report.path.name,
        "described": list(made.lines),
        "verdict": made.verdict,
        **advised(made.advice),
        "steps": []
        if steps is None
        else [
            {
                "start": start - events.origin_ns,
                "end": end - events.origin_ns,
                "number": number,
                "process": process,
            }
            for start, end, number, process in zip(
                steps.start_ns.tolist(),
                steps.end_ns.tolist(),
                steps.number.tolist(),
                steps.process.tolist(),
                strict=True,
            )
        ],
        "median_step": rows[0]["step"] if rows and steps is not None else None,
        "window": made.window_ns and [instant - events.origin_ns for instant in made.window_ns],
        "budget": [
            {**{name: known(value) for name, value in row.items()}, "label": label}
            for row, label in zip(rows, labels, strict=True)
        ],
    }


def advised(advice: Advice | None) -> dict[str, Any]:
    """Return the advice, each with what it gains in words and in numbers, and lines below it."""
    if advice is None:
        return {"advice": [], "rest": []}
    return {
        "advice": [
            {
                **finding.record,
                "gain": advice.gain_of(finding),
                "command": finding.command,
            }
            for finding in advice.findings
        ],
        "rest": list(advice.rest) if advice.findings else [NOTHING_TO_DO],
    }
