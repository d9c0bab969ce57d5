"""Ranges as a tree: one row for each place in it, the names from the outermost range down."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.attribution.costs import whole_numbers
from analysis.ranges.rows import STYLES, labels, styles, table_of_ranges, totals
from analysis.show.render import duration, plural
from analysis.show.table import Table

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.measures.range_times import RangeTimes


INDENT: Final = "  "


def rows_by_place(
    attribution: Attribution,
    times: RangeTimes,
    parent: Int64,
    kept: Bools,
    *,
    levels: int | None = None,
    most: int | None = None,
) -> Table:
    """Return one row per place in the tree: the names from the outermost range down.

    Of the places inside one place those with the most kernel time come first, and among equals
    those that were open for longest.

    Args:
        attribution: the ranges and the work.
        times: of each range.
        parent: ``(R,)`` the range around each, or `NONE`.
        kept: ``(R,)`` which ranges count.
        levels: how deep the tree goes, 1 for the outermost ranges only; None for all of it.
        most: how many places it has, those that took most; None for all.
    """
    ranges = attribution.ranges
    names, domains, label = labels(ranges)
    path, parent_path, depth = places_in_tree(parent, label)
    count = len(parent_path)
    rows = np.flatnonzero(kept)
    outer = np.ones(len(ranges), np.bool_)  # no place lies in itself
    columns = totals(attribution, times, path, rows, outer, count)
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, path[rows], ranges.start_ns[rows])
    ranking = np.empty(count, np.int64)
    ranking[np.lexsort((first, -columns["wall_ns"], -columns["kernel_ns"]))] = np.arange(count)
    own = np.zeros(count, np.int64)
    own[path] = label
    used = columns["instances"] > 0
    shallow = used & (depth < (levels or count))
    wanted = weightiest(columns, depth, shallow, most)
    order = depth_first(parent_path, ranking, wanted)
    lost_ns, modelled = (
        sums(path[rows], of[rows], count) for of in (times.lost_ns, times.modelled)
    )
    lost = whole_numbers(np.where(modelled > 0, lost_ns, np.nan)[order])
    texts = path_texts(parent_path, [names[label] for label in own.tolist()])
    style = np.zeros(count, np.int64)
    style[path] = styles(ranges)
    answer = table_of_ranges(
        attribution,
        {
            "range": [names[own[place]] for place in order],
            "style": [STYLES[style[place]] for place in order],
            **{key: column[order] for key, column in columns.items()},
        },
        lost_ns=lost,
        depth=depth[order],
        path=[texts[place] for place in order],
        domain=[domains[own[place]] for place in order],
    )
    return replace(
        answer, notes=notes_on_cut(columns, used, shallow, wanted, attribution.work.source)
    )


def path_texts(parent: Int64, names: list[str]) -> list[str]:
    """Return the names from the outermost range down to each place, with slashes between.

    >>> path_texts(np.array([NONE, 0]), ["step", "forward"])
    ['step', 'step/forward']
    """
    texts: list[str] = []
    for above, name in zip(parent.tolist(), names, strict=True):
        texts.append(f"{texts[above]}/{name}" if above != NONE else name)
    return texts


def weightiest(columns: dict[str, Int64], depth: Int64, used: Bools, most: int | None) -> Bools:
    """Return the places in the tree with the largest share of kernel time, or of host time.

    What is around such a place has no smaller share, so that no place hangs in the air.

    Args:
        columns: by place, ``(P,)`` each.
        depth: ``(P,)``.
        used: ``(P,)`` which places there are to choose from.
        most: how many; None for all.
    """
    if most is None or int(used.sum()) <= most:
        return used
    times = [columns[name] * used for name in ("kernel_ns", "wall_ns")]
    share = np.maximum(*(time / max(int(time.max()), 1) for time in times))
    chosen = np.zeros(len(used), np.bool_)
    chosen[np.lexsort((depth, -share, ~used))[:most]] = True
    return chosen


def notes_on_cut(
    columns: dict[str, Int64], used: Bools, shallow: Bools, wanted: Bools, source: str
) -> tuple[str, ...]:
    """Return notes on the places that the tree does not show.

    Args:
        columns: by place, ``(P,)`` each.
        used: ``(P,)`` which places there are.
        shallow: ``(P,)`` which of these are not below the last level.
        wanted: ``(P,)`` which of these are shown.
        source: of the time, ``kernel`` or ``operator``.
    """
    lines = []
    if deeper := int((used & ~shallow).sum()):
        lines.append(f"{plural(deeper, 'place lies', 'places lie')} deeper than --depth")
    if (cut := shallow & ~wanted).any():
        most = duration(int(columns["kernel_ns"][cut].max()))
        lines.append(
            f"{plural(int(cut.sum()), 'more place')} in the tree, with {most} of {source} time at "
            f"most; --top {int(shallow.sum())} shows all"
        )
    return tuple(lines)


def places_in_tree(parent: Int64, label: Int64) -> tuple[Int64, Int64, Int64]:
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


def indented(table: Table) -> Table:
    """Return a tree with its names indented by their depth, for people to read."""
    columns = dict(table.columns)
    columns["range"] = [
        INDENT * depth + name
        for depth, name in zip(np.asarray(columns["depth"]).tolist(), columns["range"], strict=True)
    ]
    return replace(table, columns=columns)


def depth_first(parent: Int64, ranking: Int64, used: Bools) -> list[int]:
    """Return the used places of the tree, each before those inside it, by ascending rank."""
    inside: dict[int, list[int]] = {}
    for place in sorted(range(len(parent)), key=lambda one: -int(ranking[one])):
        inside.setdefault(int(parent[place]), []).append(place)
    order, waiting = [], list(inside.get(NONE, []))
    while waiting:
        place = waiting.pop()
        if used[place]:
            order.append(place)
        waiting.extend(inside.get(place, []))
    return order
