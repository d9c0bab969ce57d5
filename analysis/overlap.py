"""Collectives: how much of their time is hidden under compute, on each device and rank.

    python -m analysis.overlap report.sqlite
    python -m analysis.overlap run.rank0.sqlite run.rank1.sqlite --by collective

Several reports, one a rank, are brought onto one clock by the collectives they share. `collective`
is the time in which any collective ran (--by collective: any of that name); of that, `hidden` is
while something else was computed on the same device, and `exposed` the rest. Collectives that run
at the same time count once on a device, and once in each name. `waiting` is
the time from the start of a collective until the last rank had begun it: no network would make that
shorter.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Unpack

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution import selection
from analysis.attribution.selection import Options, Selection
from analysis.measures.alignment import assumed_ranks, bounds_of
from analysis.measures.ranks.one_clock import RanksOnOneClock
from analysis.measures.ranks.waiting import waiting_notes, waiting_times
from analysis.show import cli
from analysis.show.table import Column, Table
from analysis.source import tables
from analysis.source.report import Report

if TYPE_CHECKING:
    from analysis.measures.collectives import DeviceCollectives
    from analysis.measures.ranks.waiting import MetCollectives


BY: Final = ("device", "collective")


@dataclass(frozen=True)
class AlignedCollectives:
    """The collectives of one device in its report, on the clock that all reports share.

    Attributes:
        report: the name of the file.
        rank: as the report says, or "".
        place: what it did.
        waiting_ns: ``(C,)`` of each collective; 0 where that is not known.
    """

    report: str
    rank: str
    place: DeviceCollectives
    waiting_ns: Int64


def overlap(report: Report, *others: Report, by: str = BY[0], **selected: Unpack[Options]) -> Table:
    """Return one row per device, or per device and kind of collective.

    Args:
        report: of one rank.
        others: of the same run, a rank each.
        by: one of `BY`.
        selected: what counts of each: see `analysis.attribution.selection.Options`.

    Returns:
        ``report, rank, process, device`` (-1 on a CPU), by collective ``collective``, then ``calls,
        total_ns`` (the sum), ``collective_ns`` (the union), ``hidden_ns, exposed_ns, hidden_share,
        waiting_ns``, and by device ``compute_ns, span_ns``. Hidden and exposed time are parts of
        the union, by device as by kind.

    Raises:
        ReportError: there is no collective, or two reports are of the same rank or of two runs.
    """
    reports = (report, *others)
    ranks = RanksOnOneClock.of(reports, Selection(**selected))
    seen, met = _aligned(ranks)
    return Table(
        name="overlap" if by == BY[0] else "overlap_by_collective",
        columns=_columns(seen, by),
        heading="\n".join(ranks.lines),
        counted=ranks.counted,
        notes=(*ranks.notes, *assumed_ranks(reports), *waiting_notes(met)),
        hidden=_constant(seen),
        spare=("span_ns", "compute_ns", "calls", "waiting_ns", "total_ns"),
    )


def _aligned(ranks: RanksOnOneClock) -> tuple[list[AlignedCollectives], MetCollectives]:
    waited, met = waiting_times(ranks.every, ranks.offset_ns)
    owners = [
        each.attribution.report
        for each, mine in zip(ranks.chosen, ranks.places, strict=True)
        for _ in mine
    ]
    seen = [
        AlignedCollectives(report.path.name, report.run.get("rank", ""), place, times.clip(0))
        for report, place, times in zip(owners, ranks.every, waited, strict=True)
    ]
    return seen, met


def _columns(seen: Sequence[AlignedCollectives], by: str) -> dict[str, Column]:
    """Return the columns of the table, a row for each device or each of its kinds of collective."""
    alike = by == BY[0]
    rows = [
        (each, kind, (each.place.kind == kind) | alike)
        for each in seen
        for kind in range(1 if alike else len(each.place.kinds))
    ]
    times = [(each.place.start_ns[mine], each.place.end_ns[mine]) for each, _, mine in rows]
    covers = [IntervalUnion.of(*time) for time in times]
    collective = _ints(cover.busy_ns for cover in covers)
    hidden = _ints(
        each.place.compute.within(cover.start_ns, cover.end_ns).sum()
        for (each, _, _), cover in zip(rows, covers, strict=True)
    )
    columns: dict[str, Column] = {
        "calls": _ints(mine.sum() for _, _, mine in rows),
        "total_ns": _ints((end - start).sum() for start, end in times),
        "collective_ns": collective,
        "hidden_ns": hidden,
        "exposed_ns": collective - hidden,
        "hidden_share": hidden / np.maximum(collective, 1),
        "waiting_ns": _ints(each.waiting_ns[mine].sum() for each, _, mine in rows),
    }
    who = _who([each for each, _, _ in rows])
    if not alike:
        kinds = [each.place.kinds[kind] for each, kind, _ in rows]
        return {**who, "collective": kinds, **columns}
    return {
        **who,
        **columns,
        "compute_ns": _ints(each.place.compute.busy_ns for each in seen),
        "span_ns": _ints(last - first for first, last in (bounds_of(each.place) for each in seen)),
    }


def _who(seen: Sequence[AlignedCollectives]) -> dict[str, Column]:
    return {
        "report": [each.report for each in seen],
        "rank": [each.rank for each in seen],
        "process": _ints(each.place.process for each in seen),
        "device": _ints(each.place.device for each in seen),
    }


def _ints(values: Iterable[int]) -> Int64:
    return np.array(list(values), np.int64)


def _constant(seen: Sequence[AlignedCollectives]) -> tuple[str, ...]:
    """Return the columns that tell nothing apart."""
    several_reports = len({each.report for each in seen}) > 1
    several_processes = len({(each.report, each.place.process) for each in seen}) > len(
        {each.report for each in seen}
    )
    hidden = {
        "report": not several_reports,
        "rank": not any(each.rank for each in seen),
        "process": not several_processes,
        "device": all(each.place.device == tables.MISSING for each in seen),
    }
    return tuple(name for name, away in hidden.items() if away)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the overlap; see the module's docstring."""
    parser = cli.parser(__doc__, "analysis.overlap")
    parser.add_argument("more", nargs="*", metavar="REPORT", help="of the other ranks")
    parser.add_argument("--by", choices=BY, default=BY[0], help="a row each (default %(default)s)")
    selection.add_options(parser)
    args = cli.parse(parser, argv)
    with ExitStack() as stack:
        reports = [stack.enter_context(Report(path)) for path in (args.report, *args.more)]
        table = overlap(*reports, by=args.by, **selection.options_of(args))
    cli.write_answer(table, args)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
