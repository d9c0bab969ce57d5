"""Write a report in the format of another viewer: Perfetto, flame graphs, Chrome's JSON.

    python -m analysis.export report.sqlite --output run.pftrace
    python -m analysis.export rank0.sqlite rank1.sqlite --output run.tar
    python -m analysis.export report.sqlite --format folded --by busy --output run.folded
    python -m analysis.export report.sqlite --format chrome --output run.json

All of the report is in it: GPU work, CUDA calls, ranges, operators, counters; warm-up too. A call
is tied to what it started, and times are to the nanosecond. Open a Perfetto trace in
https://ui.perfetto.dev, folded stacks in https://www.speedscope.app. Several reports of one run, a
rank each, are brought onto one clock by the collectives they share. The report itself is only read.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final

from analysis.export import folded_stacks
from analysis.export.ranks import Ranks
from analysis.recorded.device_work import KINDS
from analysis.show import cli, nsys_program
from analysis.show.command import ESCAPED, Parser
from analysis.show.output import replacing
from analysis.show.progress import Bar
from analysis.show.render import duration, plural
from analysis.source.report import Report

FORMATS: Final = ("perfetto", "folded", "chrome")

WORDS: Final = {"graph": "graph replay"}
SEVERAL: Final = {"copy": ("copy", "copies")}
"""What kinds of device work are called where that is not their own name, and several of one."""


def export(reports: Sequence[Report], output: Path, form: str, by: str) -> list[str]:
    """Write reports to a file in another format.

    Args:
        reports: one, or of one run a rank each.
        output: the file, which appears when it is complete.
        form: one of `FORMATS`.
        by: of folded stacks, which time.

    Returns:
        Lines on what was written.

    Raises:
        ReportError: nothing was recorded, the reports are not of one run, or the file is a report
            or cannot be written.
    """
    read = [report.path for report in reports]
    with replacing(output, *read) as draft:
        if form == "folded":
            found = folded_stacks.folded_stacks(reports, by)
            with draft.open("w", encoding="utf-8", errors=ESCAPED, newline="") as lines:
                lines.writelines(found.lines())
            time = f"{duration(found.total_ns)} of {by} time"
            stacks = plural(len(found.time_ns), "stack")
            return [f"{time} in {stacks}: {output}", *found.notes]
        return _write_time_lines(reports, output, draft, form)


def _write_time_lines(reports: Sequence[Report], output: Path, draft: Path, form: str) -> list[str]:
    chrome = form == "chrome"
    # Imported before anything is read: the package may not be there.
    writer = import_module(f"analysis.export.{'chrome_trace' if chrome else 'perfetto_archive'}")
    ranks = Ranks.of(reports)
    total = sum(map(len, ranks.timelines))
    with Bar(f"writing {output.name}") as bar, _opened(draft, text=chrome) as stream:
        writer.write(stream, ranks, lambda done: bar(min(done, total), total))
    notes = [f"{_counted(ranks)}: {output}", *ranks.notes]
    if chrome:
        notes.append(
            "viewers drop slices that overlap on one track, of which this trace has "
            f"{writer.overlapping(ranks) or 'none'}; --format perfetto keeps them"
        )
    return notes


def _opened(path: Path, *, text: bool) -> IO[Any]:
    return path.open("w", encoding="utf-8", newline="") if text else path.open("wb")


def _counted(ranks: Ranks) -> str:
    """Return in words how much of what there is."""
    counts: Counter[str] = Counter()
    for timeline in ranks.timelines:
        for kind, count in zip(KINDS, timeline.work.sizes, strict=True):
            counts[WORDS.get(kind, kind)] += count
        for slices in timeline.slices:
            counts[slices.kind.removesuffix("s")] += len(slices)
    return ", ".join(
        plural(count, *SEVERAL.get(what, (what,))) for what, count in counts.items() if count
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line of ``python -m analysis.export``."""
    made = Parser("analysis.export", __doc__)
    made.add_argument("report", metavar="REPORT", help=cli.READS)
    made.add_argument("more", nargs="*", metavar="REPORT", help="of the other ranks")
    nsys_program.add_option(made)
    made.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help="of what (default %(default)s)"
    )
    made.add_argument("--output", metavar="FILE", required=True, help="the file to write")
    made.add_argument(
        "--by",
        choices=folded_stacks.BY,
        help=f"the time of folded stacks (default {folded_stacks.BY[0]}): the sum of kernels; when "
        "a device was busy; what took longer than the device's peak allows",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file; see the module's docstring."""
    made = parser()
    args = made.parse_args(argv)
    if args.by is not None and args.format != "folded":
        made.error("--by is of --format folded")
    if not args.output:
        made.error("--output is empty")
    with ExitStack() as stack:
        reports = [stack.enter_context(Report(path)) for path in (args.report, *args.more)]
        by = args.by or folded_stacks.BY[0]
        cli.print_notes(*export(reports, Path(args.output), args.format, by))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
