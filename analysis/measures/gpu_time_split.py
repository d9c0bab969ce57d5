"""What the time of each GPU went into: compute, communication, copies, or nothing at all.

The measured window of a GPU is cut up so that each instant counts once. While any kernel runs that
is no collective (or a graph is replayed), it is compute, whatever runs beside it. The rest is
communication while a collective runs: that time is exposed. What then is left is copies (and sets)
while any is under way, the profiler's own overhead where that held the process up, and idle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.union import IntervalUnion
from analysis.measures.collectives import CATEGORY
from analysis.recorded.device_work import RANKED
from profiling import names

if TYPE_CHECKING:
    from analysis.measures.window import MeasuredWindow

ELSEWHERE: Final = "elsewhere"
"""Where the host was in no phase."""

PARTS: Final = (
    ("compute", "compute_ns"),
    ("communication not under compute", "communication_ns"),
    ("copies not under a kernel", "copy_ns"),
    ("the profiler's own overhead", "overhead_ns"),
    ("idle", "idle_ns"),
)
"""What a line calls each part of `GpuTimeSplit`, in the order in which they are taken."""


@dataclass(frozen=True)
class GpuTimeSplit:
    """How the measured window of one GPU of one process splits; the parts make up ``wall_ns``.

    Attributes:
        process: its id.
        device: CUDA ordinal.
        wall_ns: how long the window is: `MeasuredWindow.windows`.
        compute_ns: some kernel that is no collective ran, or a graph was replayed.
        communication_ns: a collective ran, and no other kernel: exposed communication.
        copy_ns: something was copied or set, and no kernel ran: exposed copies.
        overhead_ns: nothing ran, and the profiler held the process up.
        idle_ns: nothing ran; the sum of the gaps of `MeasuredWindow.idle` on this GPU.
        overlapped_communication_ns: a collective ran under compute: part of ``compute_ns``.
        overlapped_copy_ns: something was copied or set under a kernel: part of the two above it.
    """

    process: int
    device: int
    wall_ns: int
    compute_ns: int
    communication_ns: int
    copy_ns: int
    overhead_ns: int
    idle_ns: int
    overlapped_communication_ns: int
    overlapped_copy_ns: int

    def share(self, part_ns: int) -> float:
        """Return a part of the window as a share of it."""
        return part_ns / max(self.wall_ns, 1)

    def describe(self) -> str:
        """Return the parts of the window that are not 0 in words, in percent that add up to 100."""
        times = [int(getattr(self, field)) for _, field in PARTS]
        tenths = apportioned(times, 1000)
        lines = [
            f"{label} {tenth / 10:.1f} %"
            for (label, field), time, tenth in zip(PARTS, times, tenths, strict=True)
            if time or field in {"compute_ns", "idle_ns"}
        ]
        return " · ".join(lines)


def apportioned(times: list[int], whole: int) -> list[int]:
    """Return whole numbers in proportion to some times, rounded so that they add up to ``whole``.

    All are rounded down, and what is missing goes to those that lost most by it.

    >>> apportioned([1, 1, 1], 1000), apportioned([0, 0], 1000)
    ([334, 333, 333], [0, 0])
    """
    total = sum(times)
    if not total:
        return [0] * len(times)
    parts = [divmod(time * whole, total) for time in times]
    missing = whole - sum(quotient for quotient, _ in parts)
    by_loss = sorted(range(len(times)), key=lambda place: -parts[place][1])
    return [quotient + (place in by_loss[:missing]) for place, (quotient, _) in enumerate(parts)]


def gpu_time_splits(measured: MeasuredWindow, windows: Int64 | None = None) -> list[GpuTimeSplit]:
    """Return what the measured time of each GPU went into, by process and device.

    Args:
        measured: a report, and the part of it that counts.
        windows: ``(P, 2)`` other windows, from and until, one for each of the ``idle.places``.

    Returns:
        As many as the report has GPUs that did anything; none of a run on a CPU.
    """
    done = measured.done
    communicates = is_collective(measured)
    is_kernel = done.kind < RANKED
    chosen = measured.windows if windows is None else windows
    result = []
    for place, window in zip(measured.every_gap.places, chosen, strict=True):
        here = place.did(done)
        compute = union_of_work(measured, here & is_kernel & ~communicates)
        talking = union_of_work(measured, here & communicates)
        moving = union_of_work(measured, here & ~is_kernel)
        kernels = compute.joined(talking)
        nested = (compute, kernels, kernels.joined(moving), place.busy)
        inside = [covered_ns(cover, window) for cover in nested]
        communication, copies = inside[1] - inside[0], inside[2] - inside[1]
        wall = int(window[1] - window[0])
        result.append(
            GpuTimeSplit(
                process=place.process,
                device=place.device,
                wall_ns=wall,
                compute_ns=inside[0],
                communication_ns=communication,
                copy_ns=copies,
                overhead_ns=inside[3] - inside[2],
                idle_ns=wall - inside[3],
                overlapped_communication_ns=covered_ns(talking, window) - communication,
                overlapped_copy_ns=covered_ns(moving, window) - copies,
            )
        )
    return result


def splits_outside_window(measured: MeasuredWindow) -> list[GpuTimeSplit]:
    """Return how the time before and after the measured window splits, to a GPU's last work.

    `gpu_time_splits` leaves that time out: loading, warm-up, and what follows the last step.
    """
    places = measured.every_gap.places
    spans = [(place.busy.start_ns[0], place.busy.end_ns[-1]) for place in places]
    whole = gpu_time_splits(measured, np.array(spans, np.int64).reshape(-1, 2))
    times = [field.name for field in fields(GpuTimeSplit) if field.name.endswith("_ns")]
    return [
        replace(every, **{time: getattr(every, time) - getattr(inside, time) for time in times})
        for every, inside in zip(whole, gpu_time_splits(measured), strict=True)
    ]


def is_collective(measured: MeasuredWindow) -> Bools:
    """Return ``(M,)`` which device work is a collective, by the name of its kernel."""
    work = measured.attribution.work
    result = np.zeros(len(measured.done), np.bool_)
    if not work.on_cpu:
        result[: len(work)] = work.in_category(CATEGORY)
    return result


def union_of_work(measured: MeasuredWindow, chosen: Bools) -> IntervalUnion:
    """Return the time in which any of the chosen device work, ``(M,)``, ran."""
    done = measured.done
    return IntervalUnion.of(done.start_ns[chosen], done.end_ns[chosen])


def covered_ns(cover: IntervalUnion, window: Int64 | Sequence[int]) -> int:
    """Return how much of a window, from and until, a union of intervals covers, in ns."""
    low, high = np.array(window, np.int64)[:, None]
    return int(cover.within(low, high).sum())


def idle_by_phase(measured: MeasuredWindow) -> dict[str, int]:
    """Return how long, in ns, the GPUs were idle while the host was in each phase.

    All GPUs of a process are idle in the phase that any of its threads has open; where two phases
    are open at once the earlier in `names.PHASES` counts, so that the times add up.

    Returns:
        By phase, in the order they run, then `ELSEWHERE`; empty where the report has no phases.
    """
    kept = measured.attribution.ranges.take(measured.chosen.ranges)
    opened = {label: kept.take(kept.called(label)) for label in names.PHASES}
    if not any(len(phase) for phase in opened.values()):
        return {}
    gaps = measured.idle.take(np.flatnonzero(measured.gaps))
    result = dict.fromkeys((*names.PHASES, ELSEWHERE), 0)
    for process in np.unique(gaps.process).tolist():
        mine = gaps.take(np.flatnonzero(gaps.process == process))
        start = end = np.empty(0, np.int64)
        before = 0
        for label, phase in opened.items():
            of_it = phase.process == process
            start = np.append(start, phase.start_ns[of_it])
            end = np.append(end, phase.end_ns[of_it])
            inside = int(IntervalUnion.of(start, end).within(mine.start_ns, mine.end_ns).sum())
            result[label] += inside - before
            before = inside
        result[ELSEWHERE] += int(mine.duration_ns.sum()) - before
    return {label: time for label, time in result.items() if time}
