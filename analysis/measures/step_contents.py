"""What each step of a report contains: which work, which ranges, how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.union import covered_by_group, serialized
from analysis.measures.window import MeasuredWindow
from analysis.recorded.device_work import RANKED
from analysis.show.render import duration
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.attribution.selected import Selected
    from analysis.attribution.steps import Steps
    from analysis.recorded.device_work import DeviceWork


@dataclass(frozen=True)
class StepContents:
    """The work, the ranges and the times of each step; without steps the report is one.

    Attributes:
        steps: the steps, or None where the report as a whole stands for one.
        count: how many there are.
        work: ``(N,)`` the step of each piece of work, or `NONE`.
        ranges: ``(R,)`` the step that each range began in, or `NONE`.
        wall_ns: ``(count,)`` how long each was open on the host; of a whole report how long the
            window is that counts (`MeasuredWindow.windows`), on a CPU from the first start of its
            work to the last end.
        windows_ns: of a whole report, how long the windows of all its GPUs are together; else 0.
        busy_ns: ``(count,)`` for how long the devices worked, together: on each, the union of its
            kernels, copies, sets and graph replays. 0 on a CPU.
        queued_ns: ``(count,)`` for how long they would have, had no two kernels of one stream run
            at the same time.
        busy_calls: ``(count,)`` of how many of those that is.
        notes: what is in no step or outside the window, and why.
    """

    steps: Steps | None
    count: int
    work: Int64
    ranges: Int64
    wall_ns: Int64
    windows_ns: int
    busy_ns: Int64
    queued_ns: Int64
    busy_calls: Int64
    notes: tuple[str, ...]


def step_contents(chosen: Selected, *, whole: bool = False) -> StepContents:
    """Return the contents of each step that counts, or of the whole report as one step."""
    attribution = chosen.attribution
    known = None if whole else chosen.steps
    launches = attribution.all_launches
    if known is not None:
        number = known.at(launches.start_ns, launches.process)
        began = known.at(attribution.ranges.start_ns, attribution.ranges.process)
    else:
        number, began = np.zeros(len(launches), np.int64), np.zeros(len(chosen.ranges), np.int64)
    number = np.where(chosen.all_work, number, NONE)
    began = np.where(chosen.ranges, began, NONE)
    work = number[: len(attribution.work)]
    count = known.count if known is not None else 1
    inside = number != NONE
    busy, queued, calls = np.zeros((3, count), np.int64)
    measured = MeasuredWindow(chosen)
    if not attribution.work.on_cpu:
        done = attribution.device
        times = done.start_ns, done.end_ns
        if known is None:
            times = cut_to_windows(measured, *times)
            inside &= times[1] > times[0]
            number = np.where(inside, number, NONE)
        busy = busy_by_step(*times, done.device, number, count)
        queued = busy_by_step(*serialized(*times, queue_numbers(done)), done.device, number, count)
        calls = np.bincount(number[inside], minlength=count).astype(np.int64)
    if known is not None:
        wall = known.wall_ns
    else:
        if attribution.work.on_cpu:
            from_ns, until_ns = (times[inside] for times in attribution.ran)
        else:
            from_ns, until_ns = measured.windows.T
        first = int(from_ns.min(initial=np.iinfo(np.int64).max))
        wall = np.array([max(int(until_ns.max(initial=0)) - first, 0)], np.int64)
    notes = (
        *(known.notes if known else ()),
        *note_on_stray_work(chosen, known, work),
        *(note_on_window(measured) if known is None and not attribution.work.on_cpu else ()),
    )
    windows_ns = measured.wall_ns if known is None and not attribution.work.on_cpu else 0
    return StepContents(known, count, work, began, wall, windows_ns, busy, queued, calls, notes)


def note_on_stray_work(chosen: Selected, known: Steps | None, work: Int64) -> tuple[str, ...]:
    """Return a line on work that counts and lies in no step."""
    attribution = chosen.attribution
    stray = (work == NONE) & ~attribution.work_in_warmup & chosen.work
    if known is None or not stray.any():
        return ()
    unknown = int((stray & ~attribution.launches.known).sum())
    time = duration(int(attribution.work.duration_ns[stray].sum()))
    calls = int(stray.sum())
    what = attribution.work.source + ("s" if calls > 1 else "")
    why = f" ({unknown:,} without a recorded launch)" if unknown else ""
    return (f"left out, in no step: {calls:,} {what}, {time}{why}",)


def cut_to_windows(measured: MeasuredWindow, start_ns: Int64, end_ns: Int64) -> tuple[Int64, Int64]:
    """Return the starts and ends of device work, ``(M,)``, cut to the windows of its devices."""
    start, end = start_ns.copy(), end_ns.copy()
    for place, window in zip(measured.every_gap.places, measured.windows, strict=True):
        here = place.did(measured.done)
        start[here] = start[here].clip(*window)
        end[here] = end[here].clip(*window)
    return start, end


def note_on_window(measured: MeasuredWindow) -> tuple[str, ...]:
    """Return a line on ranked work that counts and was not launched in the window; none without."""
    stray = measured.chosen.work & ~measured.work
    if not stray.any():
        return ()
    work = measured.attribution.work
    time, calls = duration(int(work.duration_ns[stray].sum())), int(stray.sum())
    verb = "counts" if calls == 1 else "count"
    return (
        f"busy, wall and idle leave out the time {measured.outside}, in which {calls:,} "
        f"{work.source}{'s'[: calls - 1]}, {time}, that {verb} were launched",
    )


def queue_numbers(done: DeviceWork) -> Int64:
    """Return a number for the queue of each piece of work: its stream, or one of its own.

    Copies and the kernels inside a CUDA graph may run beside others of the stream they are noted
    under.
    """
    queue = np.arange(len(done))
    ordered = np.flatnonzero((done.kind < RANKED) & (done.graph_node == tables.MISSING))
    if len(ordered):
        known = np.stack([done.device, done.global_pid, done.stream])[:, ordered]
        _, same = np.unique(known, axis=1, return_inverse=True)
        queue[ordered] = len(done) + same.ravel()
    return queue


def busy_by_step(start_ns: Int64, end_ns: Int64, device: Int64, number: Int64, count: int) -> Int64:
    """Return for how long the devices were busy in each step, summed over devices.

    Args:
        start_ns: ``(M,)`` when they worked.
        end_ns: ``(M,)``.
        device: ``(M,)`` CUDA ordinals.
        number: ``(M,)`` the step of each piece of work, or `NONE`.
        count: how many steps there are.
    """
    rows = np.flatnonzero(number != NONE)
    ordinals = np.unique(device[rows])
    group = number[rows] * len(ordinals) + np.searchsorted(ordinals, device[rows])
    busy = covered_by_group(group, start_ns[rows], end_ns[rows], count * len(ordinals))
    by_step: Int64 = busy.reshape(count, len(ordinals)).sum(1)
    return by_step
