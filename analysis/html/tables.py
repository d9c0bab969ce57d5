"""Answers as the page in a browser has them: rows of values that JSON has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from analysis.show.render import plural

if TYPE_CHECKING:
    from analysis.show.table import Table

EXACT: Final = 1 << 53
"""Up to here JavaScript's numbers are exact."""

MOST_ROWS: Final = 10_000
"""Of a table; a browser shows no more at a time, and the heading says how many there are."""


def as_records(table: Table) -> dict[str, Any]:
    """Return a table as the page has it: columns, rows, heading and notes; NaN is null."""
    more = len(table) - MOST_ROWS
    rows = table.head(MOST_ROWS).rows() if more > 0 else table.rows()
    cut = (
        [f"the first {MOST_ROWS:,} rows; {plural(more, 'more row')} not shown"] if more > 0 else []
    )
    return {
        "columns": list(table.columns),
        "rows": [[known(value) for value in row.values()] for row in rows],
        "heading": "\n".join(filter(None, (table.caption, *cut))),
        "notes": list(table.notes),
        "hidden": list(table.hidden),
    }


def unanswered(reason: str) -> dict[str, Any]:
    """Return a table without rows whose heading says why there are none."""
    return {"columns": [], "rows": [], "heading": reason, "notes": [], "hidden": []}


def known(value: int | float | str) -> float | str | None:
    """Return a value as a browser reads it exactly.

    A number that is none, or has no end, is None. A whole one over 2^53, as the nanoseconds since
    1970 are, is text: JavaScript would round it.

    >>> [known(value) for value in (0.5, float("nan"), 12, 1_700_000_000_000_000_000)]
    [0.5, None, 12, '1700000000000000000']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= EXACT else str(value)
    return value if math.isfinite(value) else None
