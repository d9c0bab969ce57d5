"""Rows of ranges, one a name, style and domain, or one a range; and the notes below them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64, coded
from analysis.arithmetic.containment import distinct
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.statistics import sums
from analysis.attribution import work_phases
from analysis.attribution.costs import nan_where_missing
from analysis.attribution.launches import during_ranges
from analysis.knowledge.vocabulary import clean
from analysis.recorded.ranges import outermost
from analysis.show.render import duration, plural
from analysis.show.table import Column, Table
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.attribution.selected import Selected
    from analysis.measures.range_times import RangeTimes
    from analysis.recorded.ranges import Ranges

STYLES: Final = ("PushPop", "StartEnd", "inferred")
"""How a range was opened; one that is inferred was not."""


def styles(ranges: Ranges) -> Int64:
    """Return ``(R,)`` the style of each range, a position in `STYLES`."""
    return np.where(ranges.inferred, 2, ranges.start_end.astype(np.int64))


def rows_by_name(attribution: Attribution, times: RangeTimes, kept: Bools) -> Table:
    """Return one row per name, style and domain, the longest span first."""
    ranges = attribution.ranges
    texts, domains, label = labels(ranges)
    group = label * len(STYLES) + styles(ranges)
    rows = np.flatnonzero(kept)
    outer = outermost(ranges, label)
    columns = totals(attribution, times, group, rows, outer, len(STYLES) * len(texts))
    used = np.flatnonzero(columns["instances"])
    order = used[np.lexsort((used, -columns["wall_ns"][used], -columns["span_ns"][used]))]
    return table_of_ranges(
        attribution,
        {
            "range": [texts[place // len(STYLES)] for place in order.tolist()],
            "style": [STYLES[place % len(STYLES)] for place in order.tolist()],
            **{key: column[order] for key, column in columns.items()},
        },
        domain=[domains[place // len(STYLES)] for place in order.tolist()],
    )


def labels(ranges: Ranges) -> tuple[list[str], list[str], Int64]:
    """Return names and domains of ranges, ``(L,)`` each, and ``(R,)`` which pair each range has."""
    texts, name = coded(map(clean, ranges.names))
    used, label = tables.compact(ranges.domain * len(texts) + name[ranges.name])
    pairs = [divmod(number, len(texts)) for number in used.tolist()]
    return (
        [texts[place] for _, place in pairs],
        [ranges.domains[domain] for domain, _ in pairs],
        label,
    )


def totals(
    attribution: Attribution,
    times: RangeTimes,
    group: Int64,
    rows: Int64,
    outer: Bools,
    groups: int,
) -> dict[str, Int64]:
    """Return sums over the ranges of each group, `tables.MISSING` where a figure is not known."""

    def summed(values: Int64, chosen: Int64) -> Int64:
        return sums(group[chosen], values[chosen], groups)

    def where_known(values: Int64, chosen: Int64) -> Int64:
        unknown = np.zeros(groups, np.bool_)
        unknown[group[chosen[values[chosen] == tables.MISSING]]] = True
        return np.where(unknown, tables.MISSING, summed(values, chosen))

    # What a range inside one of its own name has, that one has too.
    once = rows[outer[rows]]
    return {
        "instances": np.bincount(group[rows], minlength=groups).astype(np.int64),
        "wall_ns": summed(attribution.ranges.wall_ns, rows),
        "span_ns": summed(times.span_ns, rows),
        "busy_ns": summed(times.busy_ns, once),
        "kernel_ns": summed(times.kernel_ns, once),
        "self_ns": summed(times.self_ns, rows),
        "gpu_ops": summed(times.gpu_ops, rows),
        "flops": where_known(times.flops, once),
        "backward_ns": where_known(times.backward_ns, once),
    }


def rows_by_instance(attribution: Attribution, times: RangeTimes, rows: Int64) -> Table:
    """Return one row per range, in the order they open."""
    ranges = attribution.ranges
    attribution.report.database.check_held(len(rows), "rows", "leave --instances out")
    rows = rows[np.argsort(ranges.start_ns[rows], kind="stable")]
    return table_of_ranges(
        attribution,
        {
            "range": [ranges.names[number] for number in ranges.name[rows].tolist()],
            "style": [STYLES[place] for place in styles(ranges)[rows].tolist()],
            "instances": np.ones(len(rows), np.int64),
            "wall_ns": ranges.wall_ns[rows],
            "span_ns": times.span_ns[rows],
            "busy_ns": times.busy_ns[rows],
            "kernel_ns": times.kernel_ns[rows],
            "self_ns": times.self_ns[rows],
            "gpu_ops": times.gpu_ops[rows],
            "flops": times.flops[rows],
            "backward_ns": times.backward_ns[rows],
        },
        start_ns=ranges.start_ns[rows],
        thread=ranges.thread[rows],
        domain=[ranges.domains[number] for number in ranges.domain[rows].tolist()],
    )


def table_of_ranges(attribution: Attribution, columns: dict[str, Column], **more: Column) -> Table:
    """Return columns of ranges as a table with heading and notes."""
    columns = dict(columns)
    for name in ("flops", "backward_ns"):
        columns[name] = nan_where_missing(np.asarray(columns[name]))
    source = attribution.work.source if len(attribution.work.kind) else ""
    unseen = ("source", "path", "depth", "thread", "start_ns", "style")
    return Table(
        name="ranges",
        columns={**columns, "source": [source] * len(columns["range"]), **more},
        heading=attribution.report.describe(),
        hidden=unseen if any(more["domain"]) else (*unseen, "domain"),
        droppable=lesser_columns({**columns, **more}),
    )


def lesser_columns(columns: Mapping[str, Column]) -> tuple[str, ...]:
    """Return the columns that a narrow table leaves out before it cuts a name, in that order.

    The name, how often and the time stay; what is known of no range goes first.
    """
    unsure = [name for name in ("flops", "backward_ns", "lost_ns") if name in columns]
    unknown = [name for name in unsure if not known_anywhere(columns[name])]
    others = ("self_ns", "wall_ns", "gpu_ops", "domain", "lost_ns", "span_ns", "busy_ns")
    return (*dict.fromkeys((*unknown, *others, "backward_ns", "flops")),)


def known_anywhere(column: Column) -> bool:
    """Return whether any value of a column of numbers is known."""
    return any(value == value for value in np.asarray(column).tolist())  # only NaN differs


def notes_on_ranges(chosen: Selected) -> tuple[str, ...]:
    """Return notes on ranges that are inferred or left open, and on work of other threads."""
    ranges = chosen.attribution.ranges
    unclosed = ranges.unclosed
    some = plural(unclosed, "range was never closed: it ends", "ranges were never closed: they end")
    left = (f"{some} with the last",)
    return (
        *note_on_inferred(ranges),
        *note_on_other_threads(chosen),
        *(left if unclosed else ()),
    )


def note_on_inferred(ranges: Ranges) -> tuple[str, ...]:
    """Return a note on which ranges were not recorded; in csv and json their style says so."""
    inferred = ranges.take(ranges.inferred)
    known = [
        name for name in (*names.PHASES, names.STEP, names.WARMUP) if inferred.called(name).any()
    ]
    return (f"inferred, not recorded: {', '.join(known)}",) if known else ()


def note_on_other_threads(chosen: Selected) -> tuple[str, ...]:
    """Return a note on work that other threads launched while a phase or step was open.

    The rule is that of `analysis.attribution.work_phases`, by which other commands count; where
    outermost ranges stand in for phases there is nothing to compare with.
    """
    attribution = chosen.attribution
    if not has_other_threads(attribution):
        return ()
    waiting = attribution.ranges.take(work_phases.phase_ranges(attribution)[0])
    wanted = (*names.PHASES, names.STEP)
    if not len(waiting) or not waiting.where(lambda name: name in wanted).any():
        return ()
    rows = np.flatnonzero(chosen.work & launched_elsewhere(attribution, waiting))
    launches = attribution.launches.take(rows)
    place, by_caller = work_phases.ranges_around(launches, waiting)
    helping = np.flatnonzero(by_caller)
    shown = attribution.ranges.take(chosen.ranges)
    parts, total = [], 0
    for label in wanted:
        of_label = helping[waiting.called(label)[place[helping]]]
        windows = shown.take(shown.called(label))
        during = during_ranges(launches.start_ns[of_label], launches.process[of_label], windows)
        if during.any():
            parts.append(label)
            total += int(attribution.work.duration_ns[rows[of_label[during]]].sum())
    if not parts:
        return ()
    return (
        f"{duration(total)} were launched by other threads during {' and '.join(parts)}: here a "
        "range has what its own thread launched, as NVIDIA counts; phases, --within and compare "
        "count them there too",
    )


def has_other_threads(attribution: Attribution) -> bool:
    """Return whether a process launches, or opens ranges, on more than one thread."""
    known = [distinct(attribution.launches.thread), distinct(attribution.ranges.thread)]
    threads = np.unique(np.concatenate(known))
    threads = threads[threads != tables.MISSING]
    return len(threads) > len(np.unique(process_of(threads)))


def launched_elsewhere(attribution: Attribution, chosen: Ranges) -> Bools:
    """Return ``(N,)`` which launches may lie in a range of another thread, among some ranges.

    On the one thread of a process that has such ranges that can be none: the most of the launches
    need not be looked at.
    """
    threads = np.unique(chosen.thread)
    _, place, count = np.unique(process_of(threads), return_inverse=True, return_counts=True)
    alone = threads[count[place] == 1]
    result: Bools = attribution.launches.known & ~np.isin(attribution.launches.thread, alone)
    return result
