"""Where the time went, on one page.

    python -m analysis report.sqlite

The run and how far to trust it; phases; categories with the share of GEMM; the kernels (on a CPU
run: operators) that took most; attention's parts with time and FLOP ratios, where there are ranges
around them. Each question has a command of its own: see the README. In a database the page is a
table for each of these; `run` holds the lines above and everything else the launcher noted.
"""

from __future__ import annotations

import io
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from analysis import cli, render
from analysis.markdown import as_markdown, markdown_cell
from analysis.output import add_to_database, replacing
from analysis.page import TOP, Page, page
from analysis.report import Report


def as_text(made: Page, form: str) -> str:
    """Return the page in one of the formats ``table``, ``markdown`` and ``json``."""
    if form == "json":
        answers = {table.name: json.loads(render.as_json(table)) for table in made.tables}
        made_of = {"about": made.lines, "advice": made.advice, "run": made.run, **answers}
        return json.dumps(made_of, indent=1, ensure_ascii=False) + "\n"
    if form == "markdown":
        above = "".join(f"{markdown_cell(render.visible(line))}  \n" for line in made.lines)
        below = "".join(f"- {markdown_cell(render.visible(line))}\n" for line in made.advice)
        return "\n".join([above, *(as_markdown(table) for table in made.tables), below])
    stream = io.StringIO()
    stream.write("".join(f"{render.visible(line)}\n" for line in made.lines))
    for table in made.tables:
        stream.write("\n")
        render.text(table, cli.width(), stream)
    for line in made.advice:
        text = textwrap.fill(
            f"advice: {render.visible(line)}", cli.width(), subsequent_indent=8 * " "
        )
        stream.write(f"\n{text}\n")
    return stream.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Print the page; see the module's docstring."""
    how_many = f"list the N kernels or operators that took most (default {TOP})"
    parser = cli.parser(__doc__, "python -m analysis", top=how_many)
    args = cli.parse(parser, argv)
    if args.format == "csv":
        parser.error("the page is several tables: use json, markdown or sqlite, or ask one command")
    with Report(args.report) as report:
        made = page(report, args.top or TOP)
    if args.format == "sqlite":
        add_to_database((made.about, *made.tables), Path(args.output), Path(args.report))
    elif args.output is not None:
        with replacing(Path(args.output), Path(args.report)) as draft:
            draft.write_text(as_text(made, args.format), encoding="utf-8", errors=cli.ESCAPED)
    else:
        sys.stdout.write(as_text(made, args.format))
    cli.say(*(note for table in made.tables for note in table.notes))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
