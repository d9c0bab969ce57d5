"""What happened, as lanes of a time line: one for each kind of event on a stream or a thread.

A lane is columns of whole numbers from 0, a row an event, in order of their starts, of those that
start together the longer first. Times are counted from the row before; names are positions in one
list for all lanes; a kernel or copy says where in which lane the call stands that started it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.arithmetic.global_ids import process_of, thread_of
from analysis.arithmetic.intervals import NONE
from analysis.html.labels import drawing_order, labels_of
from analysis.html.links import add_launches, add_owners
from analysis.html.rows import (
    CALLS,
    COPIES,
    KERNELS,
    ON_DEVICES,
    RANGES,
    Names,
    Rows,
    device_rows,
    thread_rows,
)
from analysis.knowledge.categories import CATEGORIES
from analysis.knowledge.vocabulary import clean

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Int64
    from analysis.html.happened import Happened


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
        """All but the names and lanes, as JSON has it; a number of 64 bits is text."""
        return {
            "origin_ns": str(self.origin_ns),
            "span_ns": self.span_ns,
            "categories": list(CATEGORIES),
            "category": self.category,
            "called": self.called,
            "causes": list(self.causes),
        }


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
        lane.columns.update(renamed(lane.columns, number))
    known = list(names.place)
    names.category = {int(number[place]): label for place, label in names.category.items()}
    names.place = {known[old]: new for new, old in enumerate(order.tolist())}


def renamed(columns: Mapping[str, Int64], number: Int64) -> dict[str, Int64]:
    """Return the columns that hold names, by what each name's number becomes."""
    result = {"name": number[columns["name"]]}
    if "origin" in columns:
        origin = columns["origin"]
        result["origin"] = np.where(origin > 0, number[origin - 1] + 1, 0)
    return result


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
    called = [names.place.get(clean(name), place) for name, place in names.place.items()]
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
            columns = {**lane.columns, **renamed(lane.columns, place)}
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
        called=[names.place.get(clean(name), place) for name, place in names.place.items()],
        causes=next(iter(sides.values())).causes,
        lanes=lanes,
    )


def lane_of(rows: Rows, number: int, columns: dict[str, Int64], label: str) -> Lane:
    """Return one of the lanes of some rows."""
    place = [None if each < 0 else each for each in rows.places[number]]
    if rows.kind in ON_DEVICES:
        process, device, *stream = place
        return Lane(rows.kind, label, process, None, device, next(iter(stream), None), columns)
    thread = rows.places[number][0]
    return Lane(rows.kind, label, process_of(thread), thread_of(thread), None, None, columns)
