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
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis import cli, tables, warmup
from analysis.attribution import Attribution
from analysis.errors import ReportError
from analysis.intervals import NONE, parents
from analysis.operators import distinct
from analysis.range_times import RangeTimes, range_times
from analysis.report import Report
from analysis.table import Column, Table
from analysis.vocabulary import canonical, clean, matching
from profiling.names import WARMUP

if TYPE_CHECKING:
    from analysis.nvtx import Ranges

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

STYLES: Final = ("PushPop", "StartEnd")
INDENT: Final = "  "
ONCE: Final = ("busy_ns", "kernel_ns", "backward_ns")
"""What a range inside one of its own name does not add to."""


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
            and ``path`` as further columns; else one row per name and style.
        instances: one row per range, in the order they open, with ``start_ns`` and ``thread`` as
            further columns.
        exclude: ranges by name that are left out, with all inside them.

    Returns:
        ``range, style, instances, wall_ns, span_ns, busy_ns, kernel_ns, self_ns, gpu_ops, flops,
        backward_ns, source``; ``flops`` is NaN where it is not known.

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


def by_name(found: Attribution, times: RangeTimes, kept: Bools) -> Table:
    """Return one row per name and style, the longest span first."""
    ranges = found.ranges
    names, name = distinct(np.array([clean(one) for one in ranges.names], object))
    label = name[ranges.name]
    group = label * 2 + ranges.start_end
    rows = np.flatnonzero(kept)
    outer = outermost_of_name(ranges, label)
    columns = totals(found, times, group, rows, outer, 2 * len(names))
    used = np.flatnonzero(columns["instances"])
    order = used[np.lexsort((used, -columns["wall_ns"][used], -columns["span_ns"][used]))]
    return table(
        found,
        {
            "range": [names[place // 2] for place in order.tolist()],
            "style": [STYLES[place % 2] for place in order.tolist()],
            **{key: column[order] for key, column in columns.items()},
        },
    )


def outermost_of_name(ranges: Ranges, label: Int64) -> Bools:
    """Return which ranges lie in no other of their name, on their thread."""
    of_name = ranges.thread, label
    _, thread = np.unique(of_name[0], return_inverse=True)
    place = thread.astype(np.int64) * (int(label.max()) + 1) + label
    outermost: Bools = parents(ranges.start_ns, ranges.end_ns, place) == NONE
    return outermost


def totals(
    found: Attribution, times: RangeTimes, group: Int64, rows: Int64, outer: Bools, groups: int
) -> dict[str, Int64 | Float64]:
    """Return the sums over the ranges of each group."""

    def summed(values: Int64, once: bool = False) -> Int64:
        result = np.zeros(groups, np.int64)
        chosen = rows[outer[rows]] if once else rows
        np.add.at(result, group[chosen], values[chosen])
        return result

    counted = np.bincount(group[rows], minlength=groups).astype(np.int64)
    unknown = np.zeros(groups, np.bool_)
    chosen = rows[outer[rows]]
    unknown[group[chosen[times.flops[chosen] == tables.MISSING]]] = True
    return {
        "instances": counted,
        "wall_ns": summed(found.ranges.wall_ns),
        "span_ns": summed(times.span_ns),
        **{key: summed(getattr(times, key), once=True) for key in ONCE[:2]},
        "self_ns": summed(times.self_ns),
        "gpu_ops": summed(times.gpu_ops),
        "flops": np.where(unknown, np.nan, summed(times.flops, once=True)),
        "backward_ns": summed(times.backward_ns, once=True),
    }


def each(found: Attribution, times: RangeTimes, rows: Int64) -> Table:
    """Return one row per range, in the order they open."""
    ranges = found.ranges
    rows = rows[np.argsort(ranges.start_ns[rows], kind="stable")]
    flops = times.flops[rows].astype(np.float64)
    flops[times.flops[rows] == tables.MISSING] = np.nan
    return table(
        found,
        {
            "range": [ranges.names[number] for number in ranges.name[rows].tolist()],
            "style": [STYLES[int(late)] for late in ranges.start_end[rows].tolist()],
            "instances": np.ones(len(rows), np.int64),
            "wall_ns": ranges.wall_ns[rows],
            "span_ns": times.span_ns[rows],
            "busy_ns": times.busy_ns[rows],
            "kernel_ns": times.kernel_ns[rows],
            "self_ns": times.self_ns[rows],
            "gpu_ops": times.gpu_ops[rows],
            "flops": flops,
            "backward_ns": times.backward_ns[rows],
        },
        start_ns=ranges.start_ns[rows],
        thread=ranges.thread[rows],
    )


def nested(found: Attribution, times: RangeTimes, parent: Int64, kept: Bools) -> Table:
    """Return one row per place in the tree: the names from the outermost range down."""
    ranges = found.ranges
    names, name = distinct(np.array([clean(one) for one in ranges.names], object))
    label = name[ranges.name]
    path, parent_path, depth = places(parent, label)
    count = len(parent_path)
    rows = np.flatnonzero(kept)
    outer = np.ones(len(ranges), np.bool_)  # no place lies in itself
    columns = totals(found, times, path, rows, outer, count)
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, path[rows], ranges.start_ns[rows])
    own = np.zeros(count, np.int64)
    own[path] = label
    order = depth_first(parent_path, first, columns["instances"] > 0)
    texts: list[str] = []
    for place in range(count):
        above = texts[parent_path[place]] + "/" if parent_path[place] != NONE else ""
        texts.append(above + names[own[place]])
    style = np.zeros(count, np.int64)
    style[path] = ranges.start_end
    return table(
        found,
        {
            "range": [INDENT * int(depth[place]) + names[own[place]] for place in order],
            "style": [STYLES[style[place]] for place in order],
            **{key: column[order] for key, column in columns.items()},
        },
        depth=depth[order],
        path=[texts[place] for place in order],
    )


def places(parent: Int64, label: Int64) -> tuple[Int64, Int64, Int64]:
    """Return the place of each range in the tree of names.

    Returns:
        ``(N,)`` places; and for each place that of its parent (lower, or `NONE`) and its depth.
    """
    path = np.full(len(parent), NONE, np.int64)
    above: list[Int64] = []
    depths: list[Int64] = []
    level, count, depth = np.flatnonzero(parent == NONE), 0, 0
    children = np.argsort(parent, kind="stable")
    begins = np.searchsorted(parent[children], np.arange(len(parent)), side="left")
    ends = np.searchsorted(parent[children], np.arange(len(parent)), side="right")
    while len(level):
        up = np.where(parent[level] != NONE, path[parent[level]], NONE)
        pairs, place = np.unique(np.stack([up, label[level]]), axis=1, return_inverse=True)
        path[level] = place.ravel() + count
        above.append(pairs[0])
        depths.append(np.full(pairs.shape[1], depth, np.int64))
        count, depth = count + pairs.shape[1], depth + 1
        sizes = ends[level] - begins[level]
        before = np.cumsum(sizes) - sizes
        level = children[np.arange(int(sizes.sum())) + np.repeat(begins[level] - before, sizes)]
    return path, np.concatenate(above), np.concatenate(depths)


def depth_first(parent: Int64, first_ns: Int64, used: Bools) -> list[int]:
    """Return the places that are used, each followed by those inside it, the earliest first."""
    inside: dict[int, list[int]] = {}
    for place in sorted(range(len(parent)), key=lambda one: -int(first_ns[one])):
        inside.setdefault(int(parent[place]), []).append(place)
    order, waiting = [], list(inside.get(NONE, []))
    while waiting:
        place = waiting.pop()
        if used[place]:
            order.append(place)
        waiting.extend(inside.get(place, []))
    return order


def table(found: Attribution, columns: dict[str, Column], **more: Column) -> Table:
    """Return the columns as an answer."""
    flops = columns["flops"]
    assert not isinstance(flops, list)
    known = not bool(np.isnan(flops).any())
    columns = {**columns, "flops": flops.astype(np.int64) if known else flops}
    left = (f"{found.ranges.unclosed:,} ranges were never closed: they end with the last",)
    notes = warmup.note(found, excluded=False) + (left if found.ranges.unclosed else ())
    return Table(
        name="ranges",
        columns={**columns, "source": [found.work.source] * len(flops), **more},
        heading=found.report.describe(),
        notes=notes,
        unseen=("source", "path", "depth", "thread", "start_ns", "style"),
        spare=("self_ns", "wall_ns", "gpu_ops"),
    )


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
