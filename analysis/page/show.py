"""How the page is written: as text, as markdown, as JSON, as tables of a database."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace

from analysis.budget import BUDGET, in_words
from analysis.page.page import Page
from analysis.page.verdict import NOTHING_TO_DO
from analysis.show import render
from analysis.show.output import table_name
from analysis.show.sheet import BOLD, CYAN, GREEN, Sheet, command_lines, folded, visible
from analysis.show.table import Table


def as_text(made: Page, form: str, sheet: Sheet) -> tuple[str, tuple[str, ...]]:
    """Return the page in one of the formats ``table``, ``markdown`` and ``json``.

    Args:
        made: the page.
        form: the format.
        sheet: what a table must fit.

    Returns:
        The page, and the titles of the columns that there was no room for.
    """
    if form == "json":
        return as_json(made), ()
    if form == "markdown":
        tables = (render.as_markdown(for_people(table)) for table in made.tables)
        return "\n".join([*above_in_markdown(made), block(made.lines), *tables]), ()
    stream = io.StringIO()
    for line in [*above(made, sheet), "", *in_lines(made.lines, sheet)]:
        stream.write(f"{line}\n")
    no_room: list[str] = []
    for table in made.tables:
        stream.write("\n")
        no_room += render.write_text(for_people(table), sheet, stream)
    return stream.getvalue(), tuple(no_room)


def for_people(table: Table) -> Table:
    """Return a table of the page as people read it."""
    return in_words(table) if table.name == BUDGET else table


def as_json(made: Page) -> str:
    """Return the page as a json object."""
    answers = {table.name: json.loads(render.as_json(table)) for table in made.tables}
    advice = [finding.record for finding in made.advice.findings] if made.advice else []
    kept = {"verdict": made.verdict, "advice": advice, "about": made.lines, "run": made.run}
    return json.dumps(kept | answers, indent=1, ensure_ascii=False) + "\n"


def above(made: Page, sheet: Sheet) -> list[str]:
    """Return the lines of the verdict and the advice, each with the command that shows more."""
    lines = [sheet.style(line, BOLD) for line in folded(made.verdict, sheet.width)]
    if made.advice is None:
        return lines
    if not made.advice.findings:
        return lines + [sheet.style(line, GREEN) for line in folded(NOTHING_TO_DO, sheet.width)]
    for number, finding in enumerate(made.advice.findings, 1):
        mark = f"{number}. "
        indent = " " * len(mark)
        first, *rest = folded(mark + finding.text, sheet.width, indent)
        lines += [sheet.style(mark, BOLD) + first.removeprefix(mark), *rest]
        if gain := made.advice.gain_of(finding):
            gains = folded(gain, sheet.width - len(indent))
            lines += [indent + sheet.style(line, GREEN) for line in gains]
        command = command_lines(f"{indent}more: ", finding.command, sheet)
        lines += [sheet.style(line, CYAN) for line in command]
    return lines + [part for line in made.advice.rest for part in folded(line, sheet.width)]


def above_in_markdown(made: Page) -> list[str]:
    """Return the verdict and the advice in markdown."""
    lines = [f"**{prose(made.verdict)}**\n"]
    if made.advice is None:
        return lines
    if not made.advice.findings:
        return [*lines, f"{prose(NOTHING_TO_DO)}\n"]
    advice = "".join(
        f"{number}. {prose(made.advice.line_of(finding))} "
        f"(more: {render.markdown_cell(finding.command)})\n"
        for number, finding in enumerate(made.advice.findings, 1)
    )
    return [*lines, advice, *(f"{prose(line)}\n" for line in made.advice.rest)]


def in_lines(lines: Sequence[str], sheet: Sheet) -> list[str]:
    """Return lines as a sheet has them."""
    return [part for line in lines for part in sheet.lines(line, "  ")]


def in_database(table: Table, prefix: str | None) -> Table:
    """Return one of the page's tables with the name it has in a database.

    Args:
        table: of the page.
        prefix: what all names are to begin with; None for ``page``.
    """
    return replace(table, name=table_name(prefix or "page", table.name))


def block(lines: Sequence[str]) -> str:
    """Return lines as a block of code, in which markdown reads nothing into them.

    >>> print(block(["size tiny · steps 3", "a ``` in a name"]), end="")
    ````text
    size tiny · steps 3
    a ``` in a name
    ````
    """
    text = "\n".join(visible(line) for line in lines)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}\n"


def prose(line: str) -> str:
    r"""Return a sentence for markdown: what would be read as more than text is escaped or code.

    >>> print(prose("most of it in `a_b` and <c>: .item() costs 5 %"))
    most of it in \`a\_b\` and \<c\>: .item() costs 5 %
    >>> print(prose("most of it in https://a_b"))
    most of it in `https://a_b`
    """
    words = re.split(r"(\s+)", visible(line))
    return "".join(
        render.code(word)
        if render.MADE_A_LINK.search(word)
        else re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", word)
        for word in words
    )
