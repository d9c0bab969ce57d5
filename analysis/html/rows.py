"""Events of one kind, row by row, with the lane that each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.intervals import NONE, ordered
from analysis.knowledge.categories import CATEGORIES, categories
from analysis.knowledge.vocabulary import clean
from analysis.recorded.device_work import KERNEL, RANKED
from analysis.source.tables import compact

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Int64
    from analysis.html.happened import Happened

KERNELS, COPIES = "kernels", "copies"
RANGES, OPERATORS, CALLS = "ranges", "operators", "calls"

ON_DEVICES: Final = (KERNELS, COPIES)
ON_THREADS: Final = (RANGES, OPERATORS, CALLS)
"""The kinds of lanes, as they are drawn of each device and of each thread."""


class Names:
    """Names of all events, each once, with the category of those that are work."""

    def __init__(self) -> None:
        self.place: dict[str, int] = {}
        self.category: dict[int, int] = {}

    def add(self, names: Sequence[str], labels: Sequence[str] = ()) -> Int64:
        """Return ``(K,)`` positions of some names; ``labels`` are their categories, if any."""
        places = [self.place.setdefault(name, len(self.place)) for name in names]
        for place, label in zip(places, labels, strict=False):
            self.category[place] = CATEGORIES.index(label)
        return np.array(places, np.int64)


@dataclass(frozen=True)
class Rows:
    """Events of one kind, with the lane that each belongs to.

    Attributes:
        kind: what they are.
        group: ``(N,)`` a number from 0 for each lane of the kind.
        places: of each lane: process, device and stream, or the global id of a thread.
        start_ns: ``(N,)``.
        end_ns: ``(N,)``.
        columns: further columns, ``(N,)`` each, as they are stored.
    """

    kind: str
    group: Int64
    places: list[tuple[int, ...]]
    start_ns: Int64
    end_ns: Int64
    columns: dict[str, Int64]

    @cached_property
    def order(self) -> Int64:
        """``(N,)`` positions by lane, then start, the longer of two that start together first."""
        return ordered(self.start_ns, self.end_ns, self.group)

    @cached_property
    def bounds(self) -> Int64:
        """``(L + 1,)`` where in that order each lane begins, and the end."""
        return np.append(0, np.cumsum(np.bincount(self.group, minlength=len(self.places))))

    @cached_property
    def row(self) -> Int64:
        """``(N,)`` the row of each event in its lane."""
        row = np.empty(len(self.group), np.int64)
        row[self.order] = np.arange(len(row))
        return row - self.bounds[self.group]

    def lanes(self, origin_ns: int) -> list[dict[str, Int64]]:
        """Return the columns of each lane, times counted from the row before."""
        start = self.start_ns[self.order]
        took = self.end_ns[self.order] - start
        columns = {name: column[self.order] for name, column in self.columns.items()}
        return [
            {
                "start": np.diff(start[low:high], prepend=origin_ns),
                "duration": took[low:high],
                **{name: column[low:high] for name, column in columns.items()},
            }
            for low, high in pairwise(self.bounds.tolist())
        ]


def device_rows(happened: Happened, names: Names) -> list[Rows]:
    """Return kernels with graph replays, and copies with sets, by process, device and stream."""
    work = happened.work
    labels = [
        categories(known) if kind == KERNEL else [CATEGORIES[-1]] * len(known)
        for kind, (known, _) in enumerate(work.names_by_kind[:RANKED])
    ]
    name = names.add(work.names, [label for part in labels for label in part])[work.name]
    parts = ((KERNELS, slice(work.ranked)), (COPIES, slice(work.ranked, None)))
    result = []
    for kind, part in parts:
        group, places = grouped(work.process[part], work.device[part], work.stream[part])
        columns = {"name": name[part], "idle": happened.idle[part]}
        if kind == KERNELS and (happened.origin != NONE).any():
            called = names.add([clean(each) for each in happened.ranges.names])
            forward = happened.origin[part]
            from_range = called[happened.ranges.name[forward]] + 1
            columns["origin"] = np.where(forward == NONE, 0, from_range)
        if kind == COPIES:
            columns["bytes"] = work.bytes[part]
        result.append(Rows(kind, group, places, work.start_ns[part], work.end_ns[part], columns))
    return result


def thread_rows(happened: Happened, names: Names) -> list[Rows]:
    """Return ranges, operators and CUDA calls, by thread."""
    result = []
    for kind, table in zip(
        ON_THREADS, (happened.ranges, happened.operators, happened.calls), strict=True
    ):
        if table is None:
            continue
        labels = categories(table.names) if kind == OPERATORS else ()
        name = names.add(table.names, labels)[table.name]
        group, places = grouped(table.thread)
        columns = {"name": name}
        if kind == RANGES and happened.ranges.inferred.any():
            columns["inferred"] = happened.ranges.inferred.astype(np.int64)
        result.append(Rows(kind, group, places, table.start_ns, table.end_ns, columns))
    return result


def grouped(*columns: Int64) -> tuple[Int64, list[tuple[int, ...]]]:
    """Return a number from 0 for each distinct combination of columns, and the combinations.

    >>> group, places = grouped(np.array([7, 7, 8]), np.array([0, 1, 0]))
    >>> group.tolist(), places
    ([0, 1, 2], [(7, 0), (7, 1), (8, 0)])
    """
    group = np.zeros(len(columns[0]), np.int64)
    places: list[tuple[int, ...]] = [()]
    for column in columns:
        distinct, place = compact(column)
        count, values = max(len(distinct), 1), distinct.tolist()
        used, group = compact(group * count + place)
        pairs = (divmod(number, count) for number in used.tolist())
        places = [(*places[before], values[last]) for before, last in pairs]
    return group, places
