"""GPU time of every NVTX range.

    python -m analysis.ranges report.sqlite
    python -m analysis.ranges report.sqlite --tree
    python -m analysis.ranges report.sqlite --instances --format csv

A range has what was launched inside it on its own thread. `span` runs from the first operation's
start to the last one's end, idle time included, and with `gpu ops` equals NVIDIA's
nvtx_gpu_proj_sum; `busy` is the time anything of it ran; `kernel` sums its kernels, `self` only
those of no range inside it; `backward` is what its work brought about in the backward pass. Times
are totals over the instances. Where a range lies inside one of its own name, only the outer one
counts for busy, kernel and backward, so that nothing counts twice.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis import cli
from analysis.attribution import Attribution
from analysis.errors import ReportError
from analysis.intervals import NONE, parents
from analysis.range_rows import by_name, each
from analysis.range_times import range_times
from analysis.range_tree import nested
from analysis.report import Report
from analysis.table import Table
from analysis.vocabulary import canonical, matching
from profiling.names import WARMUP

if TYPE_CHECKING:
    from analysis.nvtx import Ranges

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def summary(
    report: Report,
    *,
    tree: bool = False,
    instances: bool = False,
    exclude: Sequence[str] = (),
) -> Table:
    """Return the ranges of a report with the GPU time of each.

    Args:
        report: what was recorded.
        tree: one row per place in the tree of ranges, in the order they first open, with ``depth``
            and ``path`` as further columns; else one row per name, style and domain.
        instances: one row per range, in the order they open, with ``start_ns`` and ``thread`` as
            further columns.
        exclude: ranges by name that are left out, with all inside them.

    Returns:
        ``range, style, instances, wall_ns, span_ns, busy_ns, kernel_ns, self_ns, gpu_ops, flops,
        backward_ns, source, domain``; ``flops`` is NaN where it is not known, and ``backward_ns``
        where no work of the report has an origin; ``domain`` is "" for what NVTX has no name for,
        else what NVIDIA's reports put before the range's name.

    Raises:
        ReportError: there is neither work nor a range.
    """
    found = Attribution.of(report)
    if not len(found.ranges):
        raise ReportError(report.path, "no NVTX ranges in this report", "record with --trace=nvtx")
    times, parent = range_times(found), parents_of(found.ranges)
    kept = np.ones(len(found.ranges), np.bool_)
    for name in exclude:
        kept &= ~below(found, name, parent)
    if instances:
        return each(found, times, np.flatnonzero(kept))
    if tree:
        return nested(found, times, parent, kept)
    return by_name(found, times, kept)


def parents_of(ranges: Ranges) -> Int64:
    """Return the innermost other range around each, or `NONE`."""
    return parents(ranges.start_ns, ranges.end_ns, ranges.thread)


def below(found: Attribution, name: str, parent: Int64) -> Bools:
    """Return which ranges have a name or lie inside one that has, on any thread for warm-up."""
    known = matching(found.ranges.names, name)
    if not known:
        raise ReportError(found.report.path, f"no NVTX range is called {name!r}", "see the list")
    if {canonical(one) for one in known} == {WARMUP}:
        return found.ranges_in_warmup
    result = np.array([one in known for one in found.ranges.names], np.bool_)[found.ranges.name]
    while True:
        # Ranges come after those around them, so a few rounds reach the bottom.
        further = result | ((parent != NONE) & result[parent])
        if np.array_equal(further, result):
            return result
        result = further


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ranges; see the module's docstring."""
    parser = cli.parser(__doc__, "python -m analysis.ranges")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--tree", action="store_true", help="nest them by where they stand")
    shape.add_argument("--instances", action="store_true", help="each one, in the order they open")
    parser.add_argument(
        "--exclude",
        metavar="RANGE",
        action="append",
        default=[],
        help="leave a range out, such as warmup, and what is inside it; may be repeated",
    )
    args = cli.parse(parser, argv)
    with Report(args.report) as report:
        answer = summary(report, tree=args.tree, instances=args.instances, exclude=args.exclude)
    cli.emit(answer, args)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
