"""Convert a PyTorch profiler trace to a report in the SQLite schema of nsys.

    python -m profiling.torch_trace run.pt.trace.json.gz run.sqlite

Kernels, copies, CUDA calls, user annotations (as NVTX ranges) and operators are converted; what is
not is counted on stderr and in TOOLKIT_RUN. The trace is read once and never changed.

Times in a report are nanoseconds from the trace's earliest event, exactly as many as the trace's
decimal microseconds say; TARGET_INFO_SESSION_START_TIME has the UTC time of that event.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Final

from analysis.show.command import Parser, failed
from analysis.show.counts import plural
from analysis.show.errors import one_line
from analysis.show.interrupts import STATUS as INTERRUPTED
from analysis.show.progress import Bar
from analysis.show.sheet import say
from analysis.source.trace import schema as report_schema
from analysis.source.trace.description import run_rows
from analysis.source.trace.events import NO_EVENT, Staging
from analysis.source.trace.report import write_report
from analysis.source.trace.source import Progress, TraceError, TraceSource

MOST_NAMED: Final = 40
"""How many kinds of events that were left out are named."""

__all__ = ["TraceError", "TraceSummary", "convert", "main"]


@dataclass(frozen=True)
class TraceSummary:
    """The numbers of events that were converted, left out, renumbered and unpaired.

    ``converted`` counts rows by table, an operator merged into its own caller not among them;
    ``left_out`` counts events by category, with the reason where it is not the category itself;
    ``renumbered`` maps a process and a thread id too large for a report to the number it got;
    ``unpaired`` counts payloads without an annotation of theirs, with the reason.
    """

    converted: Mapping[str, int]
    left_out: Mapping[str, int]
    renumbered: Mapping[str, int]
    unpaired: Mapping[str, int]


def convert(
    source: Path,
    destination: Path,
    *,
    overwrite: bool = False,
    strict: bool = True,
    progress: Progress | None = None,
) -> TraceSummary:
    """Convert the trace ``source``, plain or gzipped, to the report ``destination``.

    The report is made beside its destination and renamed at the end: whatever happens before, an
    earlier report is as it was.

    Args:
        source: what ``export_chrome_trace`` or ``tensorboard_trace_handler`` wrote.
        destination: the SQLite file to make.
        overwrite: replace an existing destination.
        strict: fail where payloads do not fit the annotations, rather than leave those out.
        progress: told the bytes read so far and the bytes there are.

    Raises:
        TraceError: the source is no trace, or the destination cannot be written.
    """
    try:
        _check_destination(source, destination, overwrite)
        with _beside(destination) as directory:
            report = directory / "report.sqlite"
            summary = _build(source, report, directory / "staging.sqlite", strict, progress)
            os.replace(report, destination)
    except sqlite3.Error as error:
        raise TraceError(
            f"{destination}: cannot be written ({error}); free some space or write elsewhere"
        ) from error
    except OSError as error:
        raise TraceError(
            f"{destination}: cannot be written ({error.strerror}); write to another directory"
        ) from error
    return summary


def _check_destination(source: Path, destination: Path, overwrite: bool) -> None:
    if destination.is_dir():
        raise TraceError(f"{destination}: a directory; give the name of a file in it")
    if not destination.exists():
        return
    if source.exists() and destination.samefile(source):
        raise TraceError(f"{destination}: is the trace itself; give another name for the report")
    if not overwrite:
        raise TraceError(f"{destination}: exists; give --overwrite or another name")


@contextmanager
def _beside(destination: Path) -> Iterator[Path]:
    """Make a directory on the destination's own file system, and take it away in the end."""
    name = tempfile.mkdtemp(prefix=f".{destination.name[:32]}.", dir=destination.parent)
    try:
        yield Path(name)
    finally:
        shutil.rmtree(name, ignore_errors=True)


def _build(
    source: Path, report: Path, scratch: Path, strict: bool, progress: Progress | None
) -> TraceSummary:
    unpaired: dict[str, int] = {}
    with closing(sqlite3.connect(report, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS staging", (str(scratch),))
        for schema in ("main", "staging"):
            # Nothing to roll back: a file that is not finished is thrown away.
            connection.execute(f"PRAGMA {schema}.journal_mode = OFF")
            connection.execute(f"PRAGMA {schema}.synchronous = OFF")
        connection.execute("BEGIN")
        staging = Staging(connection)
        trace = TraceSource(source, progress)
        for event in trace.events():
            staging.add(event)
        staging.finish()
        if not staging.staged:
            raise TraceError(f"{source}: {_nothing(staging)}")
        try:
            converted = write_report(
                connection, staging, trace.metadata, None if strict else unpaired
            )
        except TraceError as error:
            raise TraceError(f"{source}: {error}") from error
        rows = run_rows(source.name, staging, trace.metadata, converted)
        report_schema.insert(connection, "TOOLKIT_RUN", rows)
        connection.execute("COMMIT")
    left_out = dict(staging.left_out.most_common())
    return TraceSummary(converted, left_out, staging.renumbered, unpaired)


def _nothing(staging: Staging) -> str:
    if not staging.left_out:
        return "a trace without events; record at least one step inside the profiler"
    found = ", ".join(starmap(_counted, staging.left_out.most_common(5)))
    return (
        f"no operators, kernels or annotations in it, only {found}; "
        "record with torch.profiler and its CPU or CUDA activity"
    )


def _counted(name: str, count: int) -> str:
    """Return in words how many events of a kind were left out."""
    if name == NO_EVENT:
        return plural(count, "entry that is no event", "entries that are no events")
    return f"{one_line(name)} {count}"


def _say(source: Path, summary: TraceSummary) -> None:
    converted = ", ".join(f"{table} {count}" for table, count in summary.converted.items())
    say(f"{source.name}: converted {converted}")
    if summary.left_out:
        left = ", ".join(starmap(_counted, list(summary.left_out.items())[:MOST_NAMED]))
        more = len(summary.left_out) - MOST_NAMED
        left += (
            f", and {plural(more, 'more kind')}: see left_out in TOOLKIT_RUN" if more > 0 else ""
        )
        say(f"{one_line(source.name)}: left out {left}")
    if summary.renumbered:
        say(
            f"{source.name}: {plural(len(summary.renumbered), 'thread has', 'threads have')} new "
            "numbers, their own are too large for a report: see renumbered_threads in TOOLKIT_RUN"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Convert the trace named on the command line and return the exit status."""
    parser = Parser("profiling.torch_trace", __doc__)
    parser.add_argument("trace", metavar="TRACE.json[.gz]", type=Path, help="the trace to read")
    parser.add_argument("output", metavar="OUT.sqlite", type=Path, help="the report to make")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT where it exists")
    args = parser.parse_args(argv)
    try:
        with Bar(args.trace.name, patience_s=0) as progress:
            summary = convert(args.trace, args.output, overwrite=args.overwrite, progress=progress)
    except KeyboardInterrupt:
        return failed("interrupted; no report was made", INTERRUPTED)
    _say(args.trace, summary)
    return 0
