"""Cut a report down to some steps, small enough to be sent, attached or kept as a sample.

    python -m analysis.trim report.sqlite --output small.sqlite
    python -m analysis.trim report.sqlite --output small.sqlite --steps 3:5
    python -m analysis.trim report.sqlite --output small.sqlite --max-size 2MB
    python -m analysis.trim report.sqlite --output small.sqlite --within attention --instance 7

Without a choice the last step that is whole is kept, warm-up is not a step. The result is a report
of the same schema, which nsys reads too: ranges that reach into what is kept, CUDA calls, and all
work that those calls launched, however late it ran; nothing is changed, times included. So every
question about those steps has the answer it had. Ranges around them are kept as they are, though
the rest of their work is gone. The report itself is only read.
"""

from __future__ import annotations

import argparse
import re
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from analysis.attribution import selection
from analysis.show import cli, nsys_program
from analysis.show.called import called
from analysis.show.command import Parser, count_or_zero, number_type, whole
from analysis.show.errors import ReportError
from analysis.show.output import replacing
from analysis.show.render import plural
from analysis.source.opening import has_journal
from analysis.source.report import Report
from analysis.trim.copy import TrimmedFile, Trimmer, write_steps_that_fit
from analysis.trim.windows import Windows, range_windows, step_windows, time_window, with_warmup

MOST_TABLES: Final = 6
"""How many of the tables that were cut are named; all are in the file, as ``trimmed_rows``."""


def trim(report: Report, output: Path, args: argparse.Namespace) -> list[str]:
    """Write the rows that belong to some stretches of a report to a file of its own.

    Args:
        report: what to cut; it is only read.
        output: the file, which appears when it is complete.
        args: what to keep, how large it may be, and whether to replace a file that is there.

    Returns:
        Lines on what is kept and what is left out.

    Raises:
        ReportError: the file is there, is the report itself or cannot be written; nothing was
            recorded in what is chosen; not even one step fits.
    """
    if output.exists() and not output.samefile(report.path):
        refuse(output, overwrite=args.overwrite)
    chosen = choose(report, args)
    with (
        failures(report.path, output),
        replacing(output, report.path, over_reports=True) as draft,
        Trimmer.of(report) as trimmer,
    ):
        made, kept = write_steps_that_fit(trimmer, draft, chosen, args.max_size)
        if not made.recorded:
            remedy = f"choose another part; {called('analysis.ranges')} --instances shows the times"
            raise ReportError(report.path, f"nothing was recorded in {chosen.describe()}", remedy)
    names = ", ".join(trimmer.left_out)
    left = [f"left out, as they cannot be copied row by row: {names}"] if names else []
    return [*left, *notes(made, kept, output)]


def refuse(output: Path, *, overwrite: bool) -> None:
    """Raise `ReportError` where an existing file is not to be replaced."""
    if not output.is_file():
        raise ReportError(output, "not a file", "name a file for --output")
    if not overwrite:
        remedy = "name another file, or give --overwrite to replace it"
        raise ReportError(output, "exists", remedy)
    if has_journal(output):
        problem = "a database that another program is writing (there is a journal beside it)"
        raise ReportError(output, problem, "name another file")


@contextmanager
def failures(path: Path, output: Path) -> Iterator[None]:
    """Turn SQLite's errors into a `ReportError` of one line."""
    try:
        yield
    except sqlite3.OperationalError as error:
        message = str(error).lower()
        if "full" in message or "disk i/o" in message:
            raise ReportError(output, f"cannot be written ({message})", "free some space") from None
        raise ReportError(path, f"cannot be copied ({message})", "export it again") from None
    except sqlite3.DatabaseError as error:
        problem = f"damaged ({str(error).lower()})"
        raise ReportError(path, problem, "export or copy it again") from None


def choose(report: Report, args: argparse.Namespace) -> Windows:
    """Return the stretches of a report that the arguments choose."""
    if args.within is not None:
        chosen = range_windows(report, args.within, args.instance or 0)
    elif args.from_ns is not None or args.to_ns is not None:
        chosen = time_window(args.from_ns, args.to_ns)
    else:
        chosen = step_windows(report, args.steps, every=args.max_size is not None)
    return with_warmup(report, chosen) if args.keep_warmup else chosen


def notes(made: TrimmedFile, kept: Windows, output: Path) -> list[str]:
    """Return what of a report was kept and what was left out, a line each."""
    lines = [
        f"kept {kept.describe()}: {made.kept:,} of {plural(made.total, 'row')}, "
        f"{made.size_bytes / 1e6:,.2f} MB of {made.before_bytes / 1e6:,.2f} MB, in {output}"
    ]
    lost = sorted(
        ((total - rows, rows, total, name) for name, (rows, total) in made.rows.items()),
        reverse=True,
    )
    lost = [each for each in lost if each[0]]
    if lost:
        parts = [f"{name} {rows:,} of {total:,}" for _, rows, total, name in lost[:MOST_TABLES]]
        more = f" · {len(lost) - MOST_TABLES} more" if len(lost) > MOST_TABLES else ""
        lines.append(f"rows kept: {' · '.join(parts)}{more}; other tables whole")
    if made.reaching:
        lines.append(
            plural(made.reaching, "range reaches", "ranges reach")
            + " beyond that; they are kept as they are, without the rest of their work"
        )
    if made.without_call:
        lines.append(
            plural(made.without_call, "kernel, copy or set has", "kernels, copies or sets have")
            + " no recorded launch; kept by their own time"
        )
    if kept.strays:
        lines.append(
            plural(len(kept.strays), "step range", "step ranges")
            + " that began inside another step reach into that; left out"
        )
    return lines


def bytes_of(word: str) -> int:
    """Return the number of bytes that a size on the command line says.

    >>> bytes_of("2MB"), bytes_of("1.5 MiB"), bytes_of("4096")
    (2000000, 1572864, 4096)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(i?)B?", word.strip(), re.IGNORECASE)
    if found is None or not float(found[1]) or (found[3] and not found[2]):
        raise argparse.ArgumentTypeError(f"{word!r} is not a size such as 2MB or 500KB")
    power = " KMG".index(found[2].upper() or " ")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line of ``python -m analysis.trim``."""
    nanoseconds = number_type("a time in whole nanoseconds", whole)
    made = Parser("analysis.trim", __doc__)
    made.add_argument("report", metavar="REPORT", help=cli.READS)
    nsys_program.add_option(made)
    made.add_argument("--output", metavar="SMALL", required=True, help="the file to write")
    made.add_argument(
        "--steps",
        type=selection.steps_option,
        metavar="A:B",
        help="these step ranges, from 0, B not included (default the last that is whole)",
    )
    made.add_argument(
        "--within", metavar="RANGE", help="what went on during this NVTX range: a name or a glob"
    )
    made.add_argument(
        "--instance",
        type=count_or_zero,
        metavar="N",
        help="which of its instances (default 0, the first)",
    )
    made.add_argument("--from-ns", type=nanoseconds, metavar="NS", help="what is not over before")
    made.add_argument("--to-ns", type=nanoseconds, metavar="NS", help="what begins before this")
    made.add_argument("--keep-warmup", action="store_true", help="keep the warm-up ranges as well")
    made.add_argument(
        "--max-size",
        type=bytes_of,
        metavar="SIZE",
        help="as many of the steps, the last ones, as fit into this: 2MB, 500KB, 1.5MiB",
    )
    made.add_argument("--overwrite", action="store_true", help="replace SMALL if it is there")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Write the smaller report; see the module's docstring."""
    made = parser()
    args = made.parse_args(argv)
    timed = args.from_ns is not None or args.to_ns is not None
    if (args.steps is not None) + (args.within is not None) + timed > 1:
        made.error("give one of --steps, --within, and --from-ns with --to-ns")
    if args.instance is not None and args.within is None:
        made.error("--instance is of --within RANGE")
    if args.to_ns is not None and args.to_ns <= (args.from_ns or 0):
        made.error("--to-ns is not after --from-ns")
    with Report(args.report) as report:
        cli.print_notes(*trim(report, Path(args.output), args))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
