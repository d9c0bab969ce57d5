"""What each step of a report contains: which work, which ranges, how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.union import IntervalUnion, serialized
from analysis.attribution import steps
from analysis.attribution.launches import calls_of, within
from analysis.show.render import duration
from analysis.source import device_tables, tables

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution, Launches
    from analysis.attribution.steps import Steps
    from analysis.source.database import Columns

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


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
            kernels, copies, sets and graph replays, those of one stream one after the other. 0 on
            a CPU.
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


def of(found: Attribution, *, exclude_warmup: bool = True, whole: bool = False) -> Contents:
    """Return the contents of each step of a report, or of the whole even where there are steps."""
    known = None if whole else steps.of(found, exclude_warmup=exclude_warmup)
    spans = cpu_spans(found) if found.work.on_cpu else device_spans(found)
    ranges, launches = found.ranges, found.launches
    if known is not None:
        number = known.at(spans.launch_ns, spans.process)
        work = known.at(launches.start_ns, process_of(launches))
        began = known.at(ranges.start_ns, ranges.process)
    else:
        warm = within(spans.launch_ns, spans.process, found.warmup)
        number = np.where(warm & exclude_warmup, NONE, 0)
        work = np.where(found.work_in_warmup & exclude_warmup, NONE, 0)
        began = np.where(found.ranges_in_warmup & exclude_warmup, NONE, 0)
    count = known.count if known is not None else 1
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
    calls = int(stray.sum())
    what = found.work.source + ("s" if calls > 1 else "")
    why = f" ({unknown:,} without a recorded launch)" if unknown else ""
    return (f"left out, in no step: {calls:,} {what}, {time}{why}",)


def process_of(launches: Launches) -> Int64:
    """Return the process of each launch, MISSING where none was recorded."""
    process: Int64 = np.where(launches.known, (launches.thread >> 24) & 0xFFFFFF, tables.MISSING)
    return process


def cpu_spans(found: Attribution) -> Spans:
    """Return the operators' times: they launch themselves."""
    launches = found.launches
    process = process_of(launches)
    device = np.zeros(len(process), np.int64)
    return Spans(launches.start_ns, launches.end_ns, device, process, launches.start_ns)


def device_spans(found: Attribution) -> Spans:
    """Return everything the devices did: the work of `found`, then copies and sets."""
    report, times = found.report, ("start_ns", "end_ns", "device")
    more = (*times, "stream", "global_pid", "graph_node")
    parts = [tables.device_work(report, table, *more) for table in (tables.KERNEL, tables.GRAPH)]
    copied = [
        device_tables.work(report, table) for table in (device_tables.COPY, device_tables.SET)
    ]
    start, end, device = (
        np.concatenate([part[field] for part in (*parts, *copied)]) for field in times
    )
    launches = [found.launches]
    if len(start) > len(found.work.kind):
        global_pid, correlation = (
            np.concatenate([part[field] for part in copied])
            for field in ("global_pid", "correlation")
        )
        launches.append(calls_of(report, global_pid, correlation))
    process = np.concatenate([process_of(each) for each in launches])
    start, end = serialized(start, end, streams(parts, len(start)))
    return Spans(start, end, device, process, np.concatenate([each.start_ns for each in launches]))


def streams(parts: list[Columns], count: int) -> Int64:
    """Return a number for each stream, and one for each piece of work that waits for none.

    Copies and the kernels inside a CUDA graph may run beside others of the stream they are noted
    under.

    Args:
        parts: kernels and graph replays, which come first.
        count: how much work there is in all.
    """
    queue = np.arange(count)
    known = [np.concatenate([part[name] for part in parts]) for name in STREAM]
    ordered = np.flatnonzero(known.pop() == tables.MISSING)
    if len(ordered):
        _, same = np.unique(np.stack(known)[:, ordered], axis=1, return_inverse=True)
        queue[ordered] = count + same.ravel()
    return queue


STREAM: Final = ("device", "global_pid", "stream", "graph_node")


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
    order = np.argsort(group, kind="stable")
    rows, group = rows[order], group[order]
    bounds = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(rows)]
    for low, high in pairwise(bounds):
        one = rows[low:high]
        if len(one):
            busy[number[one[0]]] += IntervalUnion.of(spans.start_ns[one], spans.end_ns[one]).busy_ns
    return busy
