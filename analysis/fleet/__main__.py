"""Many ranks of one run, a report each: who is slow, where, and whom that keeps waiting.

    python -m analysis.fleet reports/ --show stragglers
    python -m analysis.fleet run.rank0.sqlite run.rank1.sqlite --format csv --show steps

Each report is read where it lies, by processes of this machine or, with --scheduler, by the workers
of a Dask cluster; only summaries travel, and the answer is the same. --show chooses a table; else
all stand one under another: `ranks` has each rank's median step and what that went into, `ranges`
what each range took the ranks on the device, `steps` who was slow in which step, `collectives` what
the command of that name has, `stragglers` who came last to collectives, what that cost the others,
and the range that rank was in. With --html all are one file for a browser, beside a map of what
each rank took for each step. A folder stands for the reports in it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from analysis.attribution import selection
from analysis.fleet.browser import as_html
from analysis.fleet.fleet import Fleet, fleet
from analysis.fleet.named_reports import reports_of
from analysis.fleet.tables import TABLES
from analysis.show import cli, render
from analysis.show.command import ESCAPED, count, failed
from analysis.show.errors import one_line
from analysis.show.output import add_to_database, replacing, table_name
from analysis.show.sheet import say
from analysis.show.table import Table


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; see the module's docstring."""
    parser = cli.parser(__doc__, "analysis.fleet", reads=f"{cli.READS}, or a folder of them")
    parser.add_argument("more", nargs="*", metavar="REPORT", help="of the other ranks")
    parser.add_argument("--show", choices=tuple(TABLES), help="only this table (default: all)")
    parser.add_argument(
        "--workers", type=count, metavar="N", help="processes that read (default: one a processor)"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a Dask scheduler: tcp://HOST:PORT"
    )
    parser.add_argument(
        "--scheduler-file", metavar="FILE", help="in which a Dask scheduler wrote its address"
    )
    parser.add_argument(
        "--strict", action="store_true", help="end with status 1 where a report cannot be read"
    )
    selection.add_options(parser)
    cli.add_html(parser)
    args = cli.parse(parser, argv)
    if args.scheduler is not None and args.scheduler_file is not None:
        parser.error("--scheduler and --scheduler-file name a scheduler each: give one")
    if args.html is not None and args.show is not None:
        parser.error("--show goes not with --html, which has all tables")
    if args.show is None and args.format == "csv":
        parser.error("csv is of one table: choose it with --show, or use json, markdown or sqlite")
    named = reports_of([args.report, *args.more])
    args.report, *args.more = named
    made = fleet(
        *named,
        workers=args.workers,
        scheduler=args.scheduler,
        scheduler_file=args.scheduler_file,
        show=args.show,
        **selection.options_of(args),
    )
    for each in made.unread:
        say(f"left out: {one_line(each.path)}: {one_line(each.why)}")
    if args.html is not None:
        with cli.html_file(args) as draft:
            draft.write_text(as_html(made), encoding="ascii")
    elif args.show is not None:
        cli.write_answer(made.table(args.show), args)
    else:
        write_all(made, args)
    if made.unread and args.strict:
        return failed(f"{len(made.unread)} of {len(named)} reports cannot be read")
    return 0


def write_all(made: Fleet, args: argparse.Namespace) -> None:
    """Write all tables, one under another, each with its name."""
    tables = made.tables
    if args.format == "json":
        write_json(tables, args)
        return
    if args.format == "sqlite":
        prefix = args.table or args.question
        stored = [replace(each, name=table_name(prefix, each.name)) for each in tables]
        add_to_database(stored, Path(args.output), *cli.report_paths(args), options=args.asked)
        cli.print_notes(*(note for table in tables for note in table.notes))
        return
    top = args.top or (cli.TOP_OF_A_TABLE if args.format == "table" else None)
    shown, notes = [], []
    for number, table in enumerate(tables):
        rows, more = cli.first_rows(table, top, f" of {table.name}")
        above = [table.heading] if not number else []
        shown.append(replace(rows, heading="\n".join([*above, f"{table.name}:"])))
        notes += [*table.notes, *more]
    cli.write_tables(shown, args)
    cli.print_notes(*notes)


def write_json(tables: Sequence[Table], args: argparse.Namespace) -> None:
    """Write all tables as one json object."""
    answers = {table.name: json.loads(render.as_json(table)) for table in tables}
    text = json.dumps(answers, indent=1, ensure_ascii=False) + "\n"
    if args.output is not None:
        with replacing(Path(args.output), *cli.report_paths(args)) as draft:
            draft.write_text(text, encoding="utf-8", errors=ESCAPED)
    else:
        sys.stdout.write(text)
    cli.print_notes(*(note for table in tables for note in table.notes))


if __name__ == "__main__":
    sys.exit(cli.run(main))
