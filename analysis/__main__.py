"""Where the time went, on one page.

    python -m analysis report.sqlite
    python -m analysis report.sqlite --html page.html

The run and how far to trust it; phases; categories with the share of GEMM; the kernels (on a CPU
run: operators) that took most; attention's parts with time and FLOP ratios, where there are ranges
around them. Each question has a command of its own: see the README. In a database the page is a
table for each of these, `page_phases` and so on; `page_run` holds the lines above and everything
else the launcher noted. With --table NAME all begin with NAME_. With --html it is one file for a
browser, which needs no other and no network: a time line of everything recorded besides, and the
tables whole.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.attribution import selection
from analysis.page.page import TOP, page
from analysis.page.show import as_text, in_database
from analysis.show import cli
from analysis.show.command import ESCAPED
from analysis.show.output import add_to_database, replacing
from analysis.show.sheet import WIDTH_WITHOUT_TERMINAL, Sheet, sheet_of
from analysis.source.report import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Print the page; see the module's docstring."""
    how_many = f"list the N kernels or operators that took most (default {TOP})"
    parser = cli.parser(__doc__, "analysis", top=how_many)
    selection.add_options(parser)
    cli.add_html(parser)
    args = cli.parse(parser, argv)
    if args.html is not None:
        write_html(args)
        return 0
    if args.format in {"csv", "parquet"}:
        parser.error("the page is several tables: use json, markdown or sqlite, or ask one command")
    with Report(args.report) as report:
        made = page(report, args.top or TOP, **selection.options_of(args))
    if args.format == "sqlite":
        tables = [in_database(table, args.table) for table in (made.about, *made.tables)]
        no_room: tuple[str, ...] = ()
        add_to_database(tables, Path(args.output), Path(args.report), options=args.asked)
    elif args.output is not None:
        with replacing(Path(args.output), Path(args.report)) as draft:
            text, no_room = as_text(made, args.format, Sheet(WIDTH_WITHOUT_TERMINAL))
            draft.write_text(text, encoding="utf-8", errors=ESCAPED)
    else:
        text, no_room = as_text(made, args.format, sheet_of(sys.stdout))
        sys.stdout.write(text)
    notes = (note for table in made.tables for note in table.notes)
    cli.print_notes(*notes, *cli.no_room_notes(no_room, "json"))
    return 0


def write_html(args: argparse.Namespace) -> None:
    """Write the page for a browser to the file that the arguments name."""
    from analysis.page.browser import as_html  # here: it asks every question

    with Report(args.report) as report, cli.html_file(args) as draft:
        selected = selection.options_of(args)
        draft.write_text(as_html(report, page(report, **selected), **selected), encoding="ascii")


if __name__ == "__main__":
    sys.exit(cli.run(main))
