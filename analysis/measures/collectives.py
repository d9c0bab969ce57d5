"""Collectives and what a device computes beside them, place by place.

A place is one GPU of one process; on a CPU, one process. On a GPU collectives are kernels (NCCL and
its kin), and what computes is every other kernel; copies and sets are neither. On a CPU a backend
that works on threads of its own (gloo) leaves a range for each collective, ``gloo:all_reduce``, and
what computes are the operators outside of them. Where there is no such range, the host's own
``all_reduce``, ``reduce_scatter``, ``all_gather`` and ``broadcast`` ranges stand in. They end when
the host goes on: that of a call that waits is as long as its collective, with nothing hidden under
it; that of an asynchronous call, as in `model.parallel`, only launches it. What the host waits
later, in a ``communication`` range with no collective inside, is of no collective for certain: it
is said in a note and counted nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution.launches import Launches, during_ranges
from analysis.knowledge.collectives import UNEVEN
from analysis.recorded.messages import Messages, kernel_messages, range_messages
from analysis.show.errors import ReportError
from analysis.show.render import duration, plural
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.selected import Selected
    from analysis.recorded.ranges import Ranges

BACKEND: Final = re.compile(r"(?:gloo|mpi|ucc|xccl|fake):\w")
"""What c10d calls the range of a collective that a backend runs (`ProcessGroup*.cpp`)."""

CATEGORY: Final = "collective"


class Label(NamedTuple):
    """What tells collectives apart that several devices take part in: those of one label match.

    Attributes:
        group: what tells the process group from others; "" where it is not known.
        name: the kind of collective, or the name of what ran.
        bytes: the size of the message; `tables.MISSING` where not known, or not alike on all ranks.
    """

    group: str
    name: str
    bytes: int = tables.MISSING


@dataclass(frozen=True)
class DeviceCollectives:
    """The collectives and the compute of one GPU of one process, or of one process on a CPU.

    Attributes:
        process: its id.
        device: CUDA ordinal, or `tables.MISSING` on a CPU.
        kinds: ``(K,)`` names of collectives.
        kind: ``(C,)`` the position of each collective's name, in order of start.
        start_ns: ``(C,)`` from the start of the recording.
        end_ns: ``(C,)``.
        compute: when anything else was computed.
        messages: what each moved; None where that was not looked for.
        launches: ``(C,)`` what started each on the host, as far as recorded; None likewise.
    """

    process: int
    device: int
    kinds: list[str]
    kind: Int64
    start_ns: Int64
    end_ns: Int64
    compute: IntervalUnion
    messages: Messages | None = None
    launches: Launches | None = None

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def collective(self) -> IntervalUnion:
        """The time in which any collective ran on the device."""
        return IntervalUnion.of(self.start_ns, self.end_ns)

    def labels(self) -> tuple[list[Label], Int64]:
        """Return the distinct labels of the collectives, and ``(C,)`` the position of each one's.

        Of a message that was told it is the process group, the kind and, where all ranks have it
        alike, the size; else the name alone.
        """
        if self.messages is None:
            return [Label("", name) for name in self.kinds], self.kind
        told = self.messages.told
        count = len(told)
        keys, place = np.unique(self.kind * count + self.messages.message, return_inverse=True)
        made: dict[Label, int] = {}
        positions = []
        for key in keys.tolist():
            message, name = told[key % count], self.kinds[key // count]
            label = Label("", name)
            if message.group or message.bytes != tables.MISSING:
                size = tables.MISSING if message.kind in UNEVEN else message.bytes
                label = Label(message.group, message.kind, size)
            positions.append(made.setdefault(label, len(made)))
        return list(made), np.array(positions, np.int64)[place.astype(np.int64)]


@dataclass(frozen=True)
class Collectives:
    """The collectives of a report, device by device, with notes on how they were found."""

    places: tuple[DeviceCollectives, ...]
    notes: tuple[str, ...]


def collectives_by_device(chosen: Selected) -> Collectives:
    """Return the collectives of a report and the compute beside them, by process and device."""
    if not chosen.attribution.work.on_cpu:
        return Collectives(tuple(_on_gpus(chosen)), _graphs(chosen))
    return Collectives(*_on_cpu(chosen))


def collectives_of_ranks(
    chosen: Sequence[Selected],
) -> tuple[list[list[DeviceCollectives]], tuple[str, ...]]:
    """Return the places of each report that have collectives, else the first, and notes.

    Raises:
        ReportError: a report has no work that counts, or all have no collectives.
    """
    found = [collectives_by_device(each) for each in chosen]
    places = [
        [place for place in each.places if len(place)] or list(each.places[:1]) for each in found
    ]
    _check_any(chosen, places)
    return places, tuple(dict.fromkeys(note for each in found for note in each.notes))


def _check_any(chosen: Sequence[Selected], places: Sequence[Sequence[DeviceCollectives]]) -> None:
    """Refuse reports without collectives, and one of which nothing counts.

    Raises:
        ReportError: a report has no work that counts, or all have no collectives.
    """
    if any(len(place.kind) for mine in places for place in mine):
        for each, mine in zip(chosen, places, strict=True):
            if not mine:
                raise each.without("work")
        return
    for each in chosen:
        if any(len(place.kind) for place in collectives_by_device(each.everything).places):
            raise each.without("collectives")
    raise ReportError(
        chosen[0].attribution.report.path,
        "no collectives in this report",
        "record a parallel run: make profile RANKS=2",
    )


def _on_gpus(chosen: Selected) -> Iterator[DeviceCollectives]:
    attribution, counted = chosen.attribution, chosen.work
    done, names_, kind = attribution.device, attribution.work.names, attribution.work.kind
    collective = attribution.work.in_category(CATEGORY)
    process, device = (column[: len(counted)] for column in (done.process, done.device))
    start, end = attribution.ran
    known = zip(process[counted].tolist(), device[counted].tolist(), strict=True)
    for pid, ordinal in sorted(set(known)):
        here = counted & (process == pid) & (device == ordinal)
        mine, other = here & collective, here & ~collective
        yield _place(
            pid,
            ordinal,
            names_,
            (kind[mine], start[mine], end[mine]),
            IntervalUnion.of(start[other], end[other]),
            kernel_messages(done, np.flatnonzero(mine)),
            attribution.launches.take(mine),
        )


def _graphs(chosen: Selected) -> tuple[str, ...]:
    work = chosen.counted_work
    is_graph = np.array([source == "graph" for source in work.sources], np.bool_)
    replays = int(is_graph[work.kind].sum()) if len(is_graph) else 0
    if not replays:
        return ()
    some = plural(replays, "graph replay counts", "graph replays count")
    return (f"{some} as compute: what is inside was not recorded",)


def _on_cpu(chosen: Selected) -> tuple[tuple[DeviceCollectives, ...], tuple[str, ...]]:
    ranges, calls = chosen.attribution.ranges.take(chosen.ranges), chosen.counted_work.calls
    assert calls is not None, "a report without kernels is ranked by operators"
    backend = ranges.take(ranges.where(lambda name: BACKEND.match(name) is not None))
    notes: tuple[str, ...] = ()
    if not len(backend):
        backend = ranges.take(ranges.where(lambda name: name in names.COLLECTIVES))
        if len(backend):
            notes = (_of_the_host(ranges, backend),)
    inside = _inside(calls.start_ns, calls.thread, backend)
    found = []
    for pid in np.unique(np.concatenate([calls.process, backend.process])).tolist():
        mine, working = backend.process == pid, (calls.process == pid) & ~inside
        found.append(
            _place(
                pid,
                tables.MISSING,
                backend.names,
                (backend.name[mine], backend.start_ns[mine], backend.end_ns[mine]),
                IntervalUnion.of(calls.start_ns[working], calls.end_ns[working]),
                range_messages(chosen.attribution.report, backend.take(mine)),
                Launches(backend.thread[mine], backend.start_ns[mine], backend.start_ns[mine]),
            )
        )
    return tuple(found), notes


def _of_the_host(ranges: Ranges, chosen: Ranges) -> str:
    """Return what to know where the host's ranges stand in for the collectives themselves."""
    text = "no ranges of a backend's own threads: the host's calls count in their place"
    waited_ns = _waited_ns(ranges, chosen)
    if not waited_ns:
        return text
    return (
        f"{text}, but not the {duration(waited_ns)} that it waited for them afterwards: an "
        "asynchronous call ends before its collective does"
    )


def _waited_ns(ranges: Ranges, chosen: Ranges) -> int:
    """Return the time in ``communication`` ranges of the host in which no collective begins."""
    around = ranges.take(ranges.where(lambda name: name == names.COMMUNICATION))
    waited_ns = 0
    for number in np.unique(around.thread):
        mine = around.take(around.thread == number)
        begins = np.sort(chosen.start_ns[chosen.thread == number])
        empty = np.searchsorted(begins, mine.start_ns) == np.searchsorted(begins, mine.end_ns)
        waited_ns += int((mine.end_ns - mine.start_ns)[empty].sum())
    return waited_ns


def _inside(start_ns: Int64, thread: Int64, chosen: Ranges) -> Bools:
    """Return which calls begin during a collective of their own thread: they are part of it."""
    inside = np.zeros(len(start_ns), np.bool_)
    for number in np.unique(chosen.thread):
        mine = thread == number
        windows = chosen.take(chosen.thread == number)
        process = np.full(int(mine.sum()), process_of(int(number)))
        inside[mine] = during_ranges(start_ns[mine], process, windows)
    return inside


def _place(
    process: int,
    device: int,
    known: list[str],
    collectives: tuple[Int64, Int64, Int64],
    compute: IntervalUnion,
    messages: Messages,
    launches: Launches,
) -> DeviceCollectives:
    kind, start, end = collectives
    order = np.lexsort((end, start))
    used, position = np.unique(kind[order], return_inverse=True)
    return DeviceCollectives(
        process=process,
        device=device,
        kinds=[known[number] for number in used.tolist()],
        kind=position.astype(np.int64),
        start_ns=start[order],
        end_ns=end[order],
        compute=compute,
        messages=messages.take(order),
        launches=launches.take(order),
    )
