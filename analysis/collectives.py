"""Collectives by kind and size: bandwidth, transfer and waiting, and who came last.

    python -m analysis.collectives report.sqlite
    python -m analysis.collectives run.rank0.sqlite run.rank1.sqlite

Give several reports, one a rank, and they are brought onto one clock by the collectives they share.
Then the time of a collective is cut in two: `waiting`, from its start until the last rank had begun
it, and `transfer`, the rest. `bytes` is the whole array, as nccl-tests counts it: of an all-gather
and a reduce-scatter what all ranks have together. The algorithm bandwidth is that by the mean time,
the bus bandwidth what the busiest link carries of it (of an all-reduce of n ranks 2 (n - 1) / n of
it). Sizes are those that a PyTorch trace or NCCL's own NVTX ranges recorded; where none did, they
are left empty.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Unpack

import numpy as np

from analysis.attribution import selection
from analysis.attribution.selection import Options, Selection
from analysis.measures.alignment import assumed_ranks, rank_of
from analysis.measures.ranks.collective_rows import LateComers, collective_columns, place_labels
from analysis.measures.ranks.one_clock import RanksOnOneClock
from analysis.measures.ranks.ranges_before import ranges_before
from analysis.measures.ranks.waiting import absent_notes, met_collectives, waiting_notes
from analysis.show import cli
from analysis.show.render import percent, plural
from analysis.show.table import Table
from analysis.source.report import Report

if TYPE_CHECKING:
    from analysis.measures.collectives import DeviceCollectives


def collectives(report: Report, *others: Report, **selected: Unpack[Options]) -> Table:
    """Return one row per kind, size, type and number of ranks of collectives.

    Args:
        report: of one rank.
        others: of the same run, a rank each.
        selected: what counts of each: see `analysis.attribution.selection.Options`.

    Returns:
        The columns of `analysis.measures.ranks.collective_rows.collective_columns`.

    Raises:
        ReportError: there is no collective, or two reports are of the same rank or of two runs.
    """
    reports = (report, *others)
    ranks = RanksOnOneClock.of(reports, Selection(**selected))
    every = ranks.every
    met = met_collectives(every, ranks.offset_ns)
    before = [
        ranges_before(each.attribution, place)
        for each, mine in zip(ranks.chosen, ranks.places, strict=True)
        for place in mine
    ]
    labels = [
        label
        for number, (each, mine) in enumerate(zip(reports, ranks.places, strict=True))
        for label in place_labels(rank_of(each, number), mine, alone=not others)
    ]
    late = LateComers.of(met, before)
    columns = collective_columns(every, met, late, labels)
    alone = len(every) < 2
    return Table(
        name="collectives",
        columns=columns,
        heading="\n".join([*ranks.lines, *late.lines(labels)]),
        counted=ranks.counted,
        notes=(
            *ranks.notes,
            *assumed_ranks(reports),
            *unsized(every),
            *waiting_notes(met),
            *absent_notes(every),
        ),
        hidden=(
            *("shared_calls", "last_calls", "transfer_bus_bytes_per_s"),
            *(("transfer_ns", "waiting_ns", "last_rank", "last_range") if alone else ()),
        ),
        spare=("last_range", "algorithm_bytes_per_s", "dtype", "mean_ns"),
    )


def unsized(places: Sequence[DeviceCollectives]) -> tuple[str, ...]:
    """Return a line on collectives whose size was not recorded; none where there are none."""
    count = every = 0
    for place in places:
        assert place.messages is not None, "of collectives of a report the messages are looked for"
        known = np.array([each.bytes >= 0 for each in place.messages.told], np.bool_)
        count += int((~known[place.messages.message]).sum())
        every += len(place)
    if not count:
        return ()
    return (
        f"the size of {count:,} of {plural(every, 'collective')} ({percent(count / every)}) "
        "was not recorded: a PyTorch trace has it, and NCCL's NVTX ranges with payloads",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the collectives; see the module's docstring."""
    parser = cli.parser(__doc__, "analysis.collectives")
    parser.add_argument("more", nargs="*", metavar="REPORT", help="of the other ranks")
    selection.add_options(parser)
    args = cli.parse(parser, argv)
    with ExitStack() as stack:
        reports = [stack.enter_context(Report(path)) for path in (args.report, *args.more)]
        table = collectives(*reports, **selection.options_of(args))
    cli.write_answer(table, args)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
