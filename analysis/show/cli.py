"""What the commands share whose answer is a table: their arguments, and where the answer goes."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TextIO

from analysis.show import nsys_program, render
from analysis.show.command import ESCAPED, Parser, count
from analysis.show.command import run as run  # of every command that imports this
from analysis.show.output import RUNS, SIDES, add_to_database, replacing, table_name
from analysis.show.sheet import sheet_of, visible
from analysis.show.table import Table

FORMATS: Final = ("table", "csv", "json", "markdown", "parquet", "sqlite")
WITH_HEADING: Final = ("table", "markdown")
"""The formats for people, in which a table has its heading."""

REPORTS: Final = ("report", "before", "after")
"""The arguments that name a report."""

FURTHER: Final = ("benchmark", "predicted")
"""The options that name another file that is read."""

READS: Final = "an nsys export (.sqlite, Parquet or Arrow folder), an .nsys-rep or a PyTorch trace"
TOP_OF_A_TABLE: Final = 20


GIVEN: Final = "_given"
"""Where the values given so far stand while arguments are read."""

OF_OUTPUT: Final = ("help", "format", "output", "table", "html")
"""Options that say where an answer goes, and not which."""


def parser(
    doc: str | None,
    module: str,
    *reports: str,
    top: str = f"only the first N rows (default {TOP_OF_A_TABLE} in a table, else all)",
    reads: str = READS,
) -> Parser:
    """Return a parser with the arguments that every command has.

    Args:
        doc: the module's docstring; it is the help.
        module: the command's.
        reports: which of `REPORTS` it reads, the first if left out.
        top: the help of ``--top``.
        reads: the help of the reports: what they are.
    """
    made = Parser(module, doc)
    for how in (None, "store"):
        made.register("action", how, GivenOnce)
    for name in reports or REPORTS[:1]:
        made.add_argument(name, metavar=name.upper(), help=reads)
    if reads == READS:
        nsys_program.add_option(made)
    made.add_argument(
        "--format", choices=FORMATS, default="table", help="how to write it (default table)"
    )
    made.add_argument("--top", type=count, metavar="N", help=top)
    made.add_argument(
        "--output",
        metavar="FILE",
        help="write there, not to stdout; sqlite adds rows to a table in it, in place of those of "
        "the same report and options",
    )
    made.add_argument(
        "--table", metavar="NAME", help="that table (default: it is called after the question)"
    )
    return made


def parse(made: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments; those that do not go together end the command with status 2."""
    args = made.parse_args(argv)
    vars(args).pop(GIVEN, None)
    if args.format == "sqlite" and args.output is None:
        made.error("--format sqlite needs --output FILE, the database to add the table to")
    if args.format == "parquet" and args.output is None:
        made.error("--format parquet needs --output FILE: it is no text")
    if args.table is not None and args.format != "sqlite":
        made.error("--table goes with --format sqlite")
    if args.table is not None and args.table.lower() == RUNS:
        made.error(f"--table {args.table} is the table of the reports themselves: name another")
    for option in ("output", "table"):
        if getattr(args, option) == "":
            made.error(f"--{option} is empty")
    if getattr(args, "html", None) is not None:
        check_html(made, args)
    args.asked = shlex.join(options_given(made, args))
    args.question = getattr(made, "question", "")
    return args


def add_html(made: argparse.ArgumentParser) -> None:
    """Add the option that writes an answer for a browser."""
    made.add_argument(
        "--html", metavar="FILE", help="write it there for a browser, and print no table"
    )


def check_html(made: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with status 2 where options are given that say nothing of a page for a browser."""
    if args.html == "":
        made.error("--html is empty")
    for name, usual in (("format", FORMATS[0]), ("output", None), ("top", None), ("kind", None)):
        if getattr(args, name, usual) != usual:
            made.error(f"--{name} goes without --html, which has everything in one file")


@contextmanager
def html_file(args: argparse.Namespace) -> Iterator[Path]:
    """Yield where to write the page for a browser; its file is replaced when that is done.

    Raises:
        ReportError: it cannot be written, or is a report.
    """
    read = (*report_paths(args), *further_files(args))
    with replacing(Path(args.html), *read, option="--html") as draft:
        yield draft


def write_answer(
    table: Table,
    args: argparse.Namespace,
    most: int | None = TOP_OF_A_TABLE,
    as_csv: Callable[[Table], str] = render.as_csv,
) -> None:
    """Write an answer in the format, with the rows and to the file that the arguments ask for.

    Args:
        table: the whole answer.
        args: as `parse` returns them.
        most: how many rows a table has where ``--top`` does not say; None for all.
        as_csv: who writes csv.

    Raises:
        ReportError: the output cannot be written, or is the report itself.
    """
    top = args.top or (most if args.format == "table" else None)
    shown, more = first_rows(table, top)
    write_tables([shown], args, as_csv)
    print_notes(*counted_notes(table, args), *table.notes, *more)


def first_rows(table: Table, top: int | None, of: str = "") -> tuple[Table, list[str]]:
    """Return the first ``top`` rows of a table, or all, and a line on how many more it has."""
    shown = table.head(top) if top else table
    more = len(table) - len(shown)
    return shown, [
        f"{render.plural(more, 'more row')}{of}; --top {len(table)} shows all"
    ] if more else []


def counted_notes(table: Table, args: argparse.Namespace) -> tuple[str, ...]:
    """Return notes on what of the report counts, where the format has no heading to say it."""
    return () if args.format in WITH_HEADING else table.counted


def write_tables(
    shown: Sequence[Table],
    args: argparse.Namespace,
    as_csv: Callable[[Table], str] = render.as_csv,
) -> None:
    """Write tables in the format and to the file that the arguments ask for; several for people.

    A note says which columns there was no room for.

    Raises:
        ReportError: the output cannot be written, or is a report that was read.
    """
    read = report_paths(args)
    if args.format == "sqlite":
        answer = replace(shown[0], name=args.table or table_name(args.question, shown[0].name))
        compared = hasattr(args, SIDES[0])
        add_to_database([answer], Path(args.output), *read, options=args.asked, compared=compared)
    elif args.format == "parquet":
        from analysis.show.parquet import write_parquet  # here: no other format needs pyarrow

        with replacing(Path(args.output), *read, *further_files(args)) as draft:
            write_parquet(shown[0], draft)
    elif args.output is not None:
        with (
            replacing(Path(args.output), *read, *further_files(args)) as draft,
            draft.open("w", encoding="utf-8", errors=ESCAPED, newline="") as stream,
        ):
            no_room = write_one_under_another(shown, args.format, stream, as_csv)
        print_notes(*no_room_notes(no_room))
    else:
        no_room = write_one_under_another(shown, args.format, sys.stdout, as_csv)
        sys.stdout.flush()
        print_notes(*no_room_notes(no_room))


def report_paths(args: argparse.Namespace) -> list[Path]:
    """Return the paths of the reports that the arguments name."""
    named = [getattr(args, name) for name in REPORTS if hasattr(args, name)]
    return [Path(name) for name in (*named, *getattr(args, "more", ()))]


def further_files(args: argparse.Namespace) -> list[Path]:
    """Return the paths of the files besides reports that the arguments name."""
    named = [getattr(args, name, None) for name in FURTHER]
    return [Path(name) for name in named if name is not None]


def print_notes(*notes: str) -> None:
    """Print notes on stderr, a line each; in a terminal they are broken between words."""
    sheet = sheet_of(sys.stderr)
    for note in dict.fromkeys(notes):
        print(*sheet.lines(f"note: {note}", 6 * " "), sep="\n", file=sys.stderr)


def write_one_under_another(
    tables: Sequence[Table], form: str, stream: TextIO, as_csv: Callable[[Table], str]
) -> list[str]:
    """Write tables to a stream, one under another; return titles of columns without room."""
    no_room: list[str] = []
    for place, table in enumerate(tables):
        stream.write("\n" if place else "")
        no_room += write_table(table, form, stream, as_csv)
    return no_room


def no_room_notes(titles: Sequence[str], form: str = "csv") -> tuple[str, ...]:
    """Return notes on columns that tables for people had no room for, and where they are."""
    named = ", ".join(dict.fromkeys(titles))
    return (f"no room for {named}: a wider terminal or --format {form} has it all",) * bool(named)


def write_table(
    table: Table, form: str, stream: TextIO, as_csv: Callable[[Table], str] = render.as_csv
) -> tuple[str, ...]:
    """Write a table to a stream in one of `FORMATS` but parquet and sqlite.

    Returns:
        The titles of the columns that there was no room for.
    """
    if form == "table":
        return render.write_text(table, sheet_of(stream), stream)
    made = {"csv": as_csv, "json": render.as_json, "markdown": render.as_markdown}[form]
    lines = made(table)
    if stream.isatty():
        # Values are kept as they are in a file, but a terminal would obey what is in a name.
        lines = "".join(visible(line) + "\n" for line in lines.split("\n")[:-1])
    stream.write(lines)
    return ()


class GivenOnce(argparse.Action):
    """An argument with one value: another, given later, is an error."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Note the value, unless there is another already."""
        given = vars(namespace).setdefault(GIVEN, {})
        if self.option_strings and given.setdefault(self.dest, values) != values:
            raise argparse.ArgumentError(self, "given twice, with different values")
        setattr(namespace, self.dest, values)


def options_given(made: argparse.ArgumentParser, args: argparse.Namespace) -> Iterator[str]:
    """Yield the options that change the answer, as typed, without those at their defaults."""
    for action in made._actions:  # argparse has no public list of them
        name = action.dest
        if not action.option_strings or name in OF_OUTPUT:
            continue
        value, usual = getattr(args, name, action.default), action.default
        if isinstance(usual, str) and callable(action.type):
            usual = action.type(usual)
        if value != usual:
            for each in value if isinstance(value, list) else [value]:
                yield action.option_strings[-1]
                yield from () if action.nargs == 0 else (as_typed(each),)


def as_typed(value: object) -> str:
    """Return the value of an option as a user types it.

    >>> as_typed((0, None)), as_typed(2.5)
    ('0:', '2.5')
    """
    if isinstance(value, tuple):  # of steps
        return ":".join("" if each is None else str(each) for each in value)
    return str(value)
