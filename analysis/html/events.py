"""What happened, as lanes of a time line: one for each kind of event on a stream or a thread.

A lane is columns of whole numbers from 0, a row an event, in order of their starts, of those that
start together the longer first. Times are counted from the row before; names are positions in one
list for all lanes; a kernel or copy says where in which lane the call stands that started it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.global_ids import process_of, thread_of
from analysis.arithmetic.intervals import NONE, ordered
from analysis.knowledge.categories import CATEGORIES, categories
from analysis.knowledge.vocabulary import clean
from analysis.recorded.device_work import KERNEL, RANKED
from analysis.source.tables import compact

if TYPE_CHECKING:
    from analysis.recorded.cuda_calls import CudaCalls
    from analysis.recorded.device_work import DeviceWork
    from analysis.recorded.operators import Operators
    from analysis.recorded.ranges import Ranges

KERNELS, COPIES = "kernels", "copies"
RANGES, OPERATORS, CALLS = "ranges", "operators", "calls"

ON_DEVICES: Final = (KERNELS, COPIES)
ON_THREADS: Final = (RANGES, OPERATORS, CALLS)
"""The kinds of lanes, as they are drawn of each device and of each thread."""

IN_WORDS: Final = {COPIES: "copies", OPERATORS: "operators", CALLS: "CUDA calls"}
"""What the label of a lane says of its kind."""


@dataclass(frozen=True)
class Happened:
    """What a report holds, as tables in memory; what it has none of is empty or None.

    Attributes:
        work: of devices.
        calls: of the host to CUDA.
        ranges: those that are inferred among them.
        drawn_under: ``(R,)`` the range of another thread that each range serves (autograd's the
            `backward` of the thread that waits), a position among them, or `NONE`.
        operators: of a CPU.
        idle: ``(M,)`` of each piece of device work why its device had been idle right before, one
            more than a position in ``causes``; 0 where it had not.
        causes: of idle time, in words.
        threads: names of threads by global id.
    """

    work: DeviceWork
    calls: CudaCalls
    ranges: Ranges
    drawn_under: Int64
    operators: Operators | None
    idle: Int64
    causes: Sequence[str]
    threads: Mapping[int, str]


@dataclass(frozen=True)
class Lane:
    """Events of one kind on one stream or thread.

    Attributes:
        kind: one of `ON_DEVICES` or `ON_THREADS`.
        label: what it is called.
        process: the process's id, None where not known.
        thread: the thread's id, None of a device.
        device: the CUDA ordinal, None of a thread.
        stream: None of a thread, and where it is not known.
        columns: by name, ``(N,)`` each, whole numbers from 0.
        side: which of several reports it is of; "" where there is one.
    """

    kind: str
    label: str
    process: int | None
    thread: int | None
    device: int | None
    stream: int | None
    columns: dict[str, Int64]
    side: str = ""

    @property
    def described(self) -> dict[str, Any]:
        """The lane without its columns, as JSON has it."""
        place = {name: getattr(self, name) for name in ("process", "thread", "device", "stream")}
        told = {"kind": self.kind, "label": self.label, **place}
        told |= {"side": self.side} if self.side else {}
        return told | {"count": len(self.columns["start"])}


@dataclass(frozen=True)
class Events:
    """All lanes of a report, in the order they are drawn.

    Attributes:
        origin_ns: when the first event began; times are counted from there.
        span_ns: from there to the end of the last.
        names: of all events, distinct.
        category: of each name, a position in `CATEGORIES`, or `NONE`.
        called: of each name, the position of what tables call it, without numbers of single calls.
        causes: why devices were idle.
        lanes: the lanes.
    """

    origin_ns: int
    span_ns: int
    names: list[str]
    category: list[int]
    called: list[int]
    causes: Sequence[str]
    lanes: list[Lane]

    @property
    def described(self) -> dict[str, Any]:
        """All but the lanes, as JSON has it; a number of 64 bits is text."""
        return {
            "origin_ns": str(self.origin_ns),
            "span_ns": self.span_ns,
            "names": self.names,
            "categories": list(CATEGORIES),
            "category": self.category,
            "called": self.called,
            "causes": list(self.causes),
        }


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


def number_by_appearance(lanes: Sequence[Lane], names: Names) -> None:
    """Number names anew, in the order in which lanes have them first; those of none come last.

    Names that differ from call to call then mostly count up, which deflates to next to nothing.
    What a table calls a name is a name too.
    """
    for name in list(names.place):
        names.place.setdefault(clean(name), len(names.place))
    count = len(names.place)
    after = sum(len(lane.columns["name"]) for lane in lanes)
    first = np.full(count, after, np.int64)
    for column in (lane.columns["name"] for lane in reversed(lanes)):
        before = after - len(column)
        # Of several assignments to one place the last counts: the first appearance.
        first[column[::-1]] = np.arange(before, after)[::-1]
        after = before
    order = np.argsort(first, kind="stable")
    number = np.empty(count, np.int64)
    number[order] = np.arange(count)
    for lane in lanes:
        lane.columns["name"] = number[lane.columns["name"]]
    known = list(names.place)
    names.category = {int(number[place]): label for place, label in names.category.items()}
    names.place = {known[old]: new for new, old in enumerate(order.tolist())}


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


def events_of(happened: Happened) -> Events:
    """Return the lanes of a report: its devices, then its threads."""
    names = Names()
    every = [*device_rows(happened, names), *thread_rows(happened, names)]
    every = [rows for rows in every if len(rows.group)]
    origin = min((int(rows.start_ns.min()) for rows in every), default=0)
    last = max((int(rows.end_ns.max()) for rows in every), default=0)
    drawn = sorted(
        ((rows, number) for rows in every for number in range(len(rows.places))), key=drawing_order
    )
    place = {(rows.kind, number): position for position, (rows, number) in enumerate(drawn)}
    columns = {rows.kind: rows.lanes(origin) for rows in every}
    by_kind = {rows.kind: rows for rows in every}
    for kind in (KERNELS, COPIES):
        if kind in by_kind:
            add_launches(columns[kind], by_kind[kind], happened.work, by_kind.get(CALLS), place)
    if RANGES in by_kind:
        add_owners(columns[RANGES], by_kind[RANGES], happened, place)
    labels = labels_of(drawn, happened.threads)
    lanes = [
        lane_of(rows, number, columns[rows.kind][number], label)
        for (rows, number), label in zip(drawn, labels, strict=True)
    ]
    number_by_appearance(lanes, names)
    called = [names.place[clean(name)] for name in names.place]
    category = [names.category.get(place, NONE) for place in names.place.values()]
    return Events(
        origin, last - origin, list(names.place), category, called, happened.causes, lanes
    )


def one_under_another(sides: Mapping[str, Events]) -> Events:
    """Return the lanes of several reports as those of one, each with its own beginning at 0.

    Args:
        sides: the events of each report, by what its lanes are called besides.
    """
    names = Names()
    lanes: list[Lane] = []
    for side, events in sides.items():
        place = names.add(events.names)
        for new, category in zip(place.tolist(), events.category, strict=True):
            if category != NONE:
                names.category[new] = category
        first = len(lanes)
        for lane in events.lanes:
            columns = {**lane.columns, "name": place[lane.columns["name"]]}
            for other in ("lane", "owner_lane"):
                if other in columns:
                    columns[other] = columns[other] + first * (columns[other] > 0)
            label = f"{side} · {lane.label}"
            lanes.append(replace(lane, label=label, columns=columns, side=side))
    known = list(names.place)
    return Events(
        origin_ns=0,
        span_ns=max((events.span_ns for events in sides.values()), default=0),
        names=known,
        category=[names.category.get(place, NONE) for place in range(len(known))],
        called=[names.place[clean(name)] for name in known],
        causes=next(iter(sides.values())).causes,
        lanes=lanes,
    )


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


def add_launches(
    lanes: list[dict[str, Int64]],
    rows: Rows,
    work: DeviceWork,
    calls: Rows | None,
    place: Mapping[tuple[str, int], int],
) -> None:
    """Add to lanes of device work the lane and the row of the call that started each.

    ``lane`` is one more than the lane's number, 0 where the call is not known. ``call`` is the
    distance from the row after that of the event before, which it mostly is: 0, -1, 1, -2 are
    stored as 0, 1, 2, 3.

    Args:
        lanes: what is added to, as `Rows.lanes` returns them.
        rows: the work of one kind.
        work: all of it.
        calls: the CUDA calls; None where none were recorded.
        place: the position of each lane, by kind and number.
    """
    first = 0 if rows.kind == KERNELS else work.ranked
    call = work.call[first : first + len(rows.group)][rows.order]
    known = call != NONE
    lane, row = np.zeros(len(call), np.int64), np.full(len(call), NONE, np.int64)
    if calls is not None:
        number = np.array([place[CALLS, each] for each in range(len(calls.places))], np.int64)
        lane[known] = number[calls.group[call[known]]] + 1
        row[known] = calls.row[call[known]]
    for columns, (low, high) in zip(lanes, pairwise(rows.bounds.tolist()), strict=True):
        columns["lane"] = lane[low:high]
        columns["call"] = steps_from_next(row[low:high])


def steps_from_next(row: Int64) -> Int64:
    """Return how far each row is from the one after the row before, folded to numbers from 0.

    Rows that are not known, `NONE`, count as that next one. Before the first stands -1.

    >>> steps_from_next(np.array([0, 1, 3, 2, NONE, 4])).tolist()
    [0, 0, 2, 3, 0, 0]
    """
    at = np.arange(len(row))
    last = np.maximum.accumulate(np.where(row != NONE, at, NONE))
    known = np.where(last != NONE, row[last] + at - last, at)
    step = np.diff(known, prepend=NONE) - 1
    return np.where(step < 0, -2 * step - 1, 2 * step)


def add_owners(
    lanes: list[dict[str, Int64]],
    rows: Rows,
    happened: Happened,
    place: Mapping[tuple[str, int], int],
) -> None:
    """Add to lanes of ranges what those that serve another thread's range are drawn under.

    ``owner_lane`` and ``owner`` are one more than the lane's number and the row, 0 for none.

    Args:
        lanes: what is added to, as `Rows.lanes` returns them.
        rows: the ranges.
        happened: which serves which.
        place: the position of each lane, by kind and number.
    """
    under = happened.drawn_under[rows.order]
    number = np.array([place[RANGES, each] for each in range(len(rows.places))], np.int64)
    served = under != NONE
    for columns, (low, high) in zip(lanes, pairwise(rows.bounds.tolist()), strict=True):
        here = served[low:high]
        if here.any():
            owner = np.where(here, under[low:high], 0)
            columns["owner_lane"] = np.where(here, number[rows.group[owner]] + 1, 0)
            columns["owner"] = np.where(here, rows.row[owner] + 1, 0)


def drawing_order(lane: tuple[Rows, int]) -> tuple[int, ...]:
    """Return what lanes are ordered by: devices, then threads, those of a process together.

    A process's main thread, whose id is the process's, comes first.
    """
    rows, number = lane
    place = rows.places[number]
    if rows.kind in ON_DEVICES:
        process, device, *stream = place
        return 0, device, process, ON_DEVICES.index(rows.kind), *stream
    (thread,) = place
    process = process_of(thread)
    return 1, process, thread_of(thread) != process, thread, ON_THREADS.index(rows.kind)


def labels_of(drawn: Sequence[tuple[Rows, int]], threads: Mapping[int, str]) -> list[str]:
    """Return what lanes are called; the process is named where there are several.

    Args:
        drawn: the lanes.
        threads: names of threads by global id.
    """
    of_device, of_thread = set(), set()
    for rows, number in drawn:
        place = rows.places[number]
        if rows.kind in ON_DEVICES:
            of_device.add(place[0])
        else:
            of_thread.add(process_of(place[0]))
    result = []
    for rows, number in drawn:
        place = rows.places[number]
        if rows.kind in ON_DEVICES:
            process, device, *stream = place
            words = [f"GPU {device}"]
            words += [f"process {known_id(process)}"] * (len(of_device) > 1)
            words += [f"stream {known_id(each)}" for each in stream]
        else:
            (thread,) = place
            words = [f"process {process_of(thread)}"] * (len(of_thread) > 1)
            words += [f"thread {thread_of(thread)}", *filter(None, [threads.get(thread)])]
        result.append(" · ".join([*words, *filter(None, [IN_WORDS.get(rows.kind)])]))
    return result


def known_id(number: int) -> int | str:
    """Return a number that tells a process or stream, "?" where it is not known."""
    return "?" if number < 0 else number


def lane_of(rows: Rows, number: int, columns: dict[str, Int64], label: str) -> Lane:
    """Return one of the lanes of some rows."""
    place = [None if each < 0 else each for each in rows.places[number]]
    if rows.kind in ON_DEVICES:
        process, device, *stream = place
        return Lane(rows.kind, label, process, None, device, next(iter(stream), None), columns)
    thread = rows.places[number][0]
    return Lane(rows.kind, label, process_of(thread), thread_of(thread), None, None, columns)
