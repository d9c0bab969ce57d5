"""Answers as GitHub's markdown: human units, full names, and nothing in a name that is obeyed."""

from __future__ import annotations

import re

from analysis.show.render import shown, title, visible
from analysis.show.table import Table


def as_markdown(table: Table) -> str:
    """Return the table as GitHub's markdown, in human units and with full names."""
    seen = [column for column in table.columns if column not in table.unseen]
    words = [isinstance(table.columns[column], list) for column in seen]
    lines = [
        "| " + " | ".join(title(column) for column in seen) + " |",
        "| " + " | ".join("---" if word else "--:" for word in words) + " |",
    ]
    lines += [
        "| " + " | ".join(markdown_cell(shown(column, row[column])) for column in seen) + " |"
        for row in table.rows()
    ]
    above = [f"{markdown_cell(visible(line))}\n" for line in table.caption.split("\n") if line]
    return "\n".join(above + lines) + "\n"


def markdown_cell(cell: str) -> str:
    r"""Return text as code where markdown or HTML could read anything else into it.

    Within code only the bar and the backtick mean something: the bar ends the cell unless a
    backslash stands before it, the backtick ends the code unless the fence is longer.

    >>> print(markdown_cell("a_b<c|d>"), markdown_cell("21.02 ms"))
    `a_b<c\|d>` 21.02 ms
    """
    if re.fullmatch(r"[\w .,:;%/+()…·-]*", cell) and "_" not in cell:
        return cell
    # A backslash that is already there would escape our own.
    bar = "&#124;" if "\\|" in cell else "\\|"
    runs = [len(run) for run in re.findall(r"`+", cell)]
    fence = "`" * (max(runs, default=0) + 1)
    space = " " if cell.startswith("`") or cell.endswith("`") else ""
    return f"{fence}{space}{cell.replace('|', bar)}{space}{fence}"
