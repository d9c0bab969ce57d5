"""Everything of a report that a time line shows: threads and their slices, GPUs, counters.

It is the whole file: nothing is left out, warm-up neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.global_ids import process_of, thread_of
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.union import IntervalUnion
from analysis.export.slices import Slices
from analysis.measures.memory_changes import memory_changes
from analysis.recorded import ranges
from analysis.recorded.device_work import DeviceWork, device_work
from analysis.recorded.host_functions import HostFunctions, python_functions, system_calls
from analysis.recorded.operators import all_operators
from analysis.show.errors import ReportError
from analysis.source import tables
from analysis.source.memory_tables import ALLOCATOR, NSYS_EVENTS

if TYPE_CHECKING:
    from analysis.source.report import Report

RANGES: Final = "ranges"
STARTED: Final = "started and ended ranges"
CALLS: Final = "CUDA calls"
OPERATORS: Final = "operators"
PYTHON: Final = "Python functions"
SYSTEM: Final = "system calls"
"""Kinds of slices, in the order in which a thread's tracks stand below one another."""

BYTES: Final = "bytes"
PERCENT: Final = "%"

WINDOWS: Final = 1000
"""In how many windows of equal length the share of busy time is told."""


@dataclass(frozen=True)
class Counter:
    """A figure over time: each value holds until the next.

    Attributes:
        name: what is counted.
        unit: `BYTES` or `PERCENT`.
        of_gpu: whether it is a GPU's, whoever used it, and not a process's.
        owner: the number of that GPU or process.
        time_ns: ``(N,)`` ascending.
        value: ``(N,)``.
    """

    name: str
    unit: str
    of_gpu: bool
    owner: int
    time_ns: Int64
    value: list[int] | list[float]


@dataclass(frozen=True)
class Queue:
    """A stream of a GPU that a process put work into."""

    process: int
    device: int
    stream: int


@dataclass(frozen=True)
class Timeline:
    """What a time line shows of one report.

    Attributes:
        report: what was recorded.
        slices: of host threads, kind after kind.
        work: of GPUs, ``M`` rows.
    """

    report: Report
    slices: tuple[Slices, ...]
    work: DeviceWork

    @classmethod
    def of(cls, report: Report) -> Timeline:
        """Return the time line of a report.

        Raises:
            ReportError: nothing was recorded.
        """
        made = cls(
            report, tuple(each for each in _slices(report) if len(each)), device_work(report)
        )
        if not made.slices and not len(made.work):
            problem = "no kernels, copies, CUDA calls, ranges or operators in this report"
            raise ReportError(report.path, problem, "record it again with --trace=cuda,nvtx")
        return made

    def __len__(self) -> int:
        return sum(map(len, self.slices)) + len(self.work)

    def of_kind(self, kind: str) -> Slices | None:
        """Return the slices of a kind, None where there are none."""
        return next((each for each in self.slices if each.kind == kind), None)

    @cached_property
    def first_ns(self) -> int:
        """When the first of all began."""
        starts = [self.work.start_ns, *(each.start_ns for each in self.slices)]
        times = [*starts, *(each.time_ns for each in self.counters)]
        return min(int(column.min()) for column in times if len(column))

    @cached_property
    def threads(self) -> dict[int, str]:
        """The name of each thread that has slices, "" where it has none, by its global id."""
        known = dict(tables.thread_names(self.report))
        used = np.unique(np.concatenate([np.empty(0, np.int64), *self._threads]))
        return {number: known.get(number, "") for number in used.tolist()}

    @property
    def _threads(self) -> list[Int64]:
        return [np.unique(each.thread) for each in self.slices]

    @cached_property
    def processes(self) -> dict[int, str]:
        """The name of each process, by its id: that of its main thread, "" where it has none."""
        known = dict(tables.thread_names(self.report))
        main = {process_of(number): text for number, text in known.items() if is_main(number)}
        counted = {each.owner for each in self.counters if not each.of_gpu}
        used = {
            *map(process_of, self.threads),
            *(np.unique(self.work.process).tolist() if len(self.work) else ()),
            *counted,
        } - {tables.MISSING}
        return {number: main.get(number, "") for number in sorted(used)}

    @cached_property
    def queues(self) -> tuple[list[Queue], Int64]:
        """The streams that work ran on, and ``(M,)`` the position of each row's."""
        work = self.work
        columns = np.stack([work.device, work.process, work.stream])
        found, place = np.unique(columns, axis=1, return_inverse=True)
        made = [Queue(process, device, stream) for device, process, stream in found.T.tolist()]
        return made, place.reshape(-1).astype(np.int64)

    @cached_property
    def started(self) -> tuple[Int64, Int64]:
        """The work that each CUDA call started: ``(C + 1,)`` bounds in ``(K,)`` rows of work."""
        calls = self.of_kind(CALLS)
        count = len(calls) if calls is not None else 0
        rows = np.flatnonzero(self.work.call != NONE)
        call = self.work.call[rows]
        order = np.argsort(call, kind="stable")
        return np.searchsorted(call[order], np.arange(count + 1)), rows[order]

    @cached_property
    def counters(self) -> tuple[Counter, ...]:
        """The memory held where it was recorded, and the busy share of each GPU."""
        return (*_memory(self.report), *_busy(self.work))


def is_main(thread: int) -> bool:
    """Return whether a thread, by its global id, is the main one of its process."""
    return process_of(thread) == thread_of(thread)


def _slices(report: Report) -> Iterator[Slices]:
    found = ranges.load(report)
    for kind, some in ((RANGES, ~found.start_end), (STARTED, found.start_end)):
        mine = found.take(some)
        numbers = {"payload": mine.payload}
        yield Slices(kind, mine.names, mine.name, mine.start_ns, mine.end_ns, mine.thread, numbers)
    calls = device_work(report).calls
    numbers = {"correlation": calls.correlation}
    yield Slices(
        CALLS, calls.names, calls.name, calls.start_ns, calls.end_ns, calls.thread, numbers
    )
    for kind, functions in (
        (OPERATORS, all_operators(report)),
        (PYTHON, python_functions(report)),
        (SYSTEM, system_calls(report)),
    ):
        yield _of_functions(kind, functions)


def _of_functions(kind: str, found: HostFunctions) -> Slices:
    return Slices(kind, found.names, found.name, found.start_ns, found.end_ns, found.thread)


def _memory(report: Report) -> Iterator[Counter]:
    if all(tables.is_empty(report, table) for table in (ALLOCATOR, NSYS_EVENTS)):
        return
    for each in memory_changes(report)[0]:
        name = f"memory held on {each.name}"
        yield Counter(name, BYTES, False, each.process, each.time_ns, each.allocated.tolist())


def _busy(work: DeviceWork) -> Iterator[Counter]:
    if not len(work):
        return
    first, last = int(work.start_ns.min()), int(work.end_ns.max())
    width = max(-(-(last - first) // WINDOWS), 1)
    low = first + width * np.arange(-(-(last - first) // width), dtype=np.int64)
    for device in np.unique(work.device).tolist():
        mine = work.device == device
        union = IntervalUnion.of(work.start_ns[mine], work.end_ns[mine])
        share = union.within(low, low + width) / width * 100
        time_ns = np.append(low, first + width * len(low))
        yield Counter(f"GPU {device} busy", PERCENT, True, device, time_ns, [*share.tolist(), 0.0])
