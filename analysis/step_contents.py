"""What each step of a report contains: which work, which ranges, how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis import steps, tables
from analysis.attribution import PROCESS_BITS, lookup, within
from analysis.intervals import NONE
from analysis.render import duration

if TYPE_CHECKING:
    from analysis.attribution import Attribution
    from analysis.steps import Steps

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

COPIES: Final = ("CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET")


@dataclass(frozen=True)
class Contents:
    """What each step contains; a report without steps is one step, whole.

    Attributes:
        steps: the steps, or None where the report as a whole stands for one.
        count: how many there are.
        work: ``(N,)`` the step of each piece of work, or `NONE`.
        ranges: ``(R,)`` the step that each range began in, or `NONE`.
        wall_ns: ``(count,)`` how long each was open on the host; of a whole report, from the first
            start of its work to the last end.
        busy_ns: ``(count,)`` for how long the devices worked, together: on each, the union of its
            kernels, copies, sets and graph replays. 0 on a CPU.
        busy_calls: ``(count,)`` of how many of those that is.
        notes: what is in no step, and why.
    """

    steps: Steps | None
    count: int
    work: Int64
    ranges: Int64
    wall_ns: Int64
    busy_ns: Int64
    busy_calls: Int64
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Spans:
    """Intervals of work, with the process and the instant that launched them.

    Attributes:
        start_ns: ``(N,)`` on the device, or on the CPU.
        end_ns: ``(N,)``.
        device: ``(N,)`` CUDA ordinal.
        process: ``(N,)`` id, `tables.MISSING` where no launch was recorded.
        launch_ns: ``(N,)``.
    """

    start_ns: Int64
    end_ns: Int64
    device: Int64
    process: Int64
    launch_ns: Int64


def of(found: Attribution, *, exclude_warmup: bool = True) -> Contents:
    """Return the contents of each step of a report."""
    known = steps.of(found, exclude_warmup=exclude_warmup)
    spans = cpu_spans(found) if found.work.on_cpu else device_spans(found)
    ranges = found.ranges
    if known is not None:
        number = known.at(spans.launch_ns, spans.process)
        began = known.at(ranges.start_ns, ranges.process)
    else:
        warm = within(spans.launch_ns, spans.process, found.warmup) & exclude_warmup
        number = np.where(warm, NONE, 0)
        began = np.where(found.ranges_in_warmup & exclude_warmup, NONE, 0)
    count = known.count if known is not None else 1
    work = number[: len(found.work.kind)]
    inside = number != NONE
    busy, calls = np.zeros(count, np.int64), np.zeros(count, np.int64)
    if not found.work.on_cpu:
        busy = busy_times(spans, number, count)
        calls = np.bincount(number[inside], minlength=count).astype(np.int64)
    if known is not None:
        wall = known.wall_ns
    else:
        first = int(spans.start_ns[inside].min(initial=np.iinfo(np.int64).max))
        last = int(spans.end_ns[inside].max(initial=0))
        wall = np.array([max(last - first, 0)], np.int64)
    notes = (*(known.notes if known else ()), *left_out(found, known, work))
    return Contents(known, count, work, began, wall, busy, calls, notes)


def left_out(found: Attribution, known: Steps | None, work: Int64) -> tuple[str, ...]:
    """Return a line on the work that is neither in a step nor in a warm-up range."""
    stray = (work == NONE) & ~found.work_in_warmup
    if known is None or not stray.any():
        return ()
    unknown = int((stray & ~found.launches.known).sum())
    time = duration(int(found.work.duration_ns[stray].sum()))
    what = "operators" if found.work.on_cpu else "kernels"
    why = f", {unknown:,} of them without a recorded launch" if unknown else ""
    return (f"{int(stray.sum()):,} {what}, {time}, are in no step{why}: left out",)


def cpu_spans(found: Attribution) -> Spans:
    """Return the operators' times: they launch themselves."""
    launches = found.launches
    process = (launches.thread >> 24) & 0xFFFFFF
    device = np.zeros(len(process), np.int64)
    return Spans(launches.start_ns, launches.end_ns, device, process, launches.start_ns)


def device_spans(found: Attribution) -> Spans:
    """Return what the devices did: first the work of `found`, in its order, then copies and sets.

    A copy is found its launch as a kernel is: by correlation id within the process.
    """
    report = found.report
    times = ("start_ns", "end_ns", "device")
    ids = ("correlation", "global_pid")
    worked = [tables.device_work(report, table, *times) for table in (tables.KERNEL, tables.GRAPH)]
    copied = [tables.device_work(report, table, *times, *ids) for table in COPIES]
    launches = found.launches
    thread, launch = launches.thread, launches.start_ns
    if sum(len(part["start_ns"]) for part in copied):
        correlation, process = (np.concatenate([part[field] for part in copied]) for field in ids)
        calls = tables.runtime_calls(report)
        place = lookup(
            (process & PROCESS_BITS, correlation),
            (calls["thread"] & PROCESS_BITS, calls["correlation"]),
            calls["start_ns"],
        )
        row = place[place != NONE]
        for_copies = np.full((2, len(place)), tables.MISSING, np.int64)
        for_copies[:, place != NONE] = calls["thread"][row], calls["start_ns"][row]
        thread = np.concatenate([thread, for_copies[0]])
        launch = np.concatenate([launch, for_copies[1]])
    start, end, device = (
        np.concatenate([part[field] for part in (*worked, *copied)]) for field in times
    )
    process = np.where(thread != tables.MISSING, (thread >> 24) & 0xFFFFFF, tables.MISSING)
    return Spans(start, end, device, process, launch)


def busy_times(spans: Spans, number: Int64, count: int) -> Int64:
    """Return for how long the devices worked on each step, summed over devices.

    Args:
        spans: when they worked.
        number: ``(N,)`` the step of each span, or `NONE`.
        count: how many steps there are.
    """
    busy = np.zeros(count, np.int64)
    rows = np.flatnonzero(number != NONE)
    ordinals = np.unique(spans.device[rows])
    group = number[rows] * len(ordinals) + np.searchsorted(ordinals, spans.device[rows])
    order = np.lexsort((spans.start_ns[rows], group))
    rows, group = rows[order], group[order]
    bounds = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(rows)]
    for low, high in pairwise(bounds):
        if low < high:
            one = rows[low:high]
            busy[number[one[0]]] += union_ns(spans.start_ns[one], spans.end_ns[one])
    return busy


def union_ns(start_ns: Int64, end_ns: Int64) -> int:
    """Return how long at least one of some intervals lasted.

    Args:
        start_ns: ``(N,)`` ascending, at least one.
        end_ns: ``(N,)``.

    >>> union_ns(np.array([0, 5, 20]), np.array([10, 8, 25]))
    15
    """
    reach = np.maximum.accumulate(end_ns)
    before = np.concatenate([start_ns[:1], reach[:-1]])
    return int(np.maximum(end_ns - np.maximum(start_ns, before), 0).sum())
