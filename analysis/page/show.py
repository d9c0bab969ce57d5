"""How the page is written: as text, as markdown, as JSON, as tables of a database."""

from __future__ import annotations

import io
import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from analysis.page.page import Page
from analysis.show import cli, render
from analysis.show.table import Table

SHARED: Final = (
    *("answers", "attention", "compare", "copies", "coverage", "gaps", "kernels", "memory"),
    *("overlap", "phases", "ranges", "roofline"),
)
"""What commands call their tables, which have other columns or more rows than the page's."""


def as_text(made: Page, form: str) -> str:
    """Return the page in one of the formats ``table``, ``markdown`` and ``json``."""
    if form == "json":
        answers = {table.name: json.loads(render.as_json(table)) for table in made.tables}
        advice = [finding.record for finding in made.advice]
        made_of = {"about": made.lines, "advice": advice, "run": made.run, **answers}
        return json.dumps(made_of, indent=1, ensure_ascii=False) + "\n"
    if form == "markdown":
        below = "".join(
            f"- {prose(finding.text)} (more: {render.markdown_cell(finding.command)})\n"
            for finding in made.advice
        )
        return "\n".join(
            [block(made.lines), *(render.as_markdown(table) for table in made.tables), below]
        )
    stream = io.StringIO()
    stream.write("".join(f"{render.visible(line)}\n" for line in made.lines))
    for table in made.tables:
        stream.write("\n")
        render.write_text(table, cli.width(), stream)
    for finding in made.advice:
        text = textwrap.fill(
            f"advice: {render.visible(finding.text)}", cli.width(), subsequent_indent=8 * " "
        )
        stream.write(f"\n{text}\n        more: {render.visible(finding.command)}\n")
    return stream.getvalue()


def in_database(table: Table, prefix: str | None) -> Table:
    """Return one of the page's tables with the name it has in a database.

    Args:
        table: of the page.
        prefix: what all names are to begin with; None for ``page`` where the command that answers
            the same question has a table of that name, and other columns.
    """
    if prefix is None and table.name not in SHARED:
        return table
    return replace(table, name=f"{prefix or 'page'}_{table.name}")


def block(lines: Sequence[str]) -> str:
    """Return lines as a block of code, in which markdown reads nothing into them.

    >>> print(block(["size tiny · steps 3", "a ``` in a name"]), end="")
    ````text
    size tiny · steps 3
    a ``` in a name
    ````
    """
    text = "\n".join(render.visible(line) for line in lines)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}\n"


def prose(line: str) -> str:
    r"""Return a sentence for markdown, with what would be read as more than text escaped.

    >>> print(prose("most of it in `a_b` and <c>: .item() costs 5 %"))
    most of it in \`a\_b\` and \<c\>: .item() costs 5 %
    """
    return re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", render.visible(line))
