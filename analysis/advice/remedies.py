"""What the cure of a finding changes in the run: the edits by which a replay predicts its gain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.costs.costed_calls import costed_calls
from analysis.costs.device_peaks import DevicePeaks, ideal_of_work, ideal_times
from analysis.measures.idle import RESUME_NS
from analysis.measures.predictions.edit import Edit, Stretches
from analysis.measures.predictions.edits import at_once, collectives_beside

if TYPE_CHECKING:
    from analysis.measures.window import MeasuredWindow

LAUNCH_NS: Final = 10_000
"""What a call takes of the host that neither waits nor loads anything."""

FUSED_ADAM: Final = 7 / 20
"""What a fused AdamW moves beside the operators one by one.

Fused it reads a parameter, its gradient and its two moments, and writes all but the gradient: 7
accesses an element. One by one (torch.optim.adamw, `_single_tensor_adamw`): ``mul_`` of the
parameter 2, ``lerp_`` of the first moment 3, ``mul_`` and ``addcmul_`` of the second 2 and 3,
square root, quotient and sum 2 each, ``addcdiv_`` of the parameter 4: 20.
"""


class Remedy(NamedTuple):
    """What the cure of a finding changes.

    Attributes:
        label: in the words of ``whatif`` where that can be asked for the same, else in a few words.
        edits: of the run.
    """

    label: str
    edits: tuple[Edit, ...]


def all_work(measured: MeasuredWindow, ranked: Bools) -> Bools:
    """Return ``(M,)`` which device work some of the ranked work is, ``(N,)``."""
    result = np.zeros(len(measured.attribution.all_launches.thread), np.bool_)
    result[: len(ranked)] = ranked
    return result


def launches_of(measured: MeasuredWindow, work: Bools) -> Int64:
    """Return the calls that started some device work, ``(M,)``: positions, ascending."""
    done = measured.done
    return np.unique(done.call[work & (done.call != NONE)])


def calls_of(measured: MeasuredWindow, positions: Int64) -> Bools:
    """Return ``(C,)`` which CUDA calls are at some positions."""
    result = np.zeros(len(measured.done.calls), np.bool_)
    result[positions] = True
    return result


def faster_products(measured: MeasuredWindow, chosen: Bools, to: str, ratio: float) -> Remedy:
    """Return products in another number format, as near to its peak as they were to their own's.

    Args:
        measured: what is looked at.
        chosen: ``(N,)`` the products.
        to: the number format.
        ratio: of the peaks, where neither FLOPs nor bytes of the products are known.
    """
    work = measured.attribution.work
    calls = costed_calls(measured.attribution)
    peaks = DevicePeaks.of(measured.report, work)
    now = ideal_of_work(calls, ideal_times(calls, peaks), work.duration_ns)
    rate = peaks.flops_per_s(to)
    moving = np.where(calls.bytes >= 0, calls.bytes / peaks.bytes_per_s * 1e9, 0.0)
    computing = np.where(calls.flops >= 0, calls.flops / rate * 1e9, np.nan)
    then = ideal_of_work(calls, np.fmax(computing, moving), work.duration_ns)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = then / now
    factor = np.where(np.isfinite(found), found, ratio).clip(max=1.0)
    factors = np.ones(len(measured.attribution.all_launches.thread))
    factors[: len(work)] = np.where(chosen, factor, 1.0)
    took = work.duration_ns[chosen]
    mean = float((factor[chosen] * took).sum() / max(int(took.sum()), 1))
    return Remedy(f"scale gemm={mean:.3g}", (Edit(work=factors),))


def in_a_few_kernels(measured: MeasuredWindow, chosen: Bools) -> Remedy:
    """Return an optimizer, ``(N,)`` of the ranked work, that is fused and launched at once."""
    work = all_work(measured, chosen)
    factor = Edit(work=np.where(work, FUSED_ADAM, 1.0))
    label = f"scale optimizer={FUSED_ADAM:g}"
    if measured.attribution.work.on_cpu:
        return Remedy(label, (factor,))
    call = launches_of(measured, work)
    return Remedy(f"{label}, graph optimizer", (factor, at_once_by_step(measured, call)))


def without(measured: MeasuredWindow, chosen: Bools, label: str) -> Remedy:
    """Return the run without some ranked work, ``(N,)``, nor the calls that launched it."""
    work = all_work(measured, chosen)
    if measured.attribution.work.on_cpu:
        return Remedy(label, (Edit(work=np.where(work, 0.0, 1.0)),))
    calls = calls_of(measured, launches_of(measured, work))
    return Remedy(label, (Edit(gone=work, calls=np.where(calls, 0.0, 1.0), unqueued=calls),))


def without_waiting(chosen: Bools, label: str) -> Remedy:
    """Return calls, ``(C,)``, that wait for nothing any more."""
    return Remedy(label, (Edit(unwaited=chosen),))


def copied_later(measured: MeasuredWindow, chosen: Bools, label: str) -> Remedy:
    """Return copies, ``(M,)``, whose calls neither stage them nor wait for them."""
    calls = measured.done.calls
    mine = calls_of(measured, launches_of(measured, chosen))
    took = np.maximum(calls.end_ns - calls.start_ns, 1)
    factor = np.where(mine, np.minimum(LAUNCH_NS / took, 1.0), 1.0)
    return Remedy(label, (Edit(calls=factor, unwaited=mine),))


def launched_together(measured: MeasuredWindow) -> Remedy:
    """Return a run in which the first launch of each step launches all of its work.

    Only pauses of the host below `RESUME_NS` go: what it does in longer ones is no launching.
    """
    done = measured.done
    counts = measured.during(done.process, done.launch_ns) & (done.call != NONE)
    call = launches_of(measured, counts)
    waits = done.calls.synchronise | done.read_back | done.blocking_copy
    steps = measured.chosen.steps
    label = "all launches at once" if steps is None else "graph step"
    return Remedy(label, (at_once_by_step(measured, call[~waits[call]]),))


def at_once_by_step(measured: MeasuredWindow, call: Int64) -> Edit:
    """Return the edit in which the first of some launches in each step launches what all do."""
    calls, steps = measured.done.calls, measured.chosen.steps
    process = calls.thread[call] >> 24 & 0xFFFFFF
    group = np.unique(process, return_inverse=True)[1].ravel().astype(np.int64)
    if steps is not None:
        number = steps.at(calls.start_ns[call], process)
        group = group * (steps.count + 1) + number + 1
    return at_once(measured.done, call, group, longest_ns=RESUME_NS)


def on_time(measured: MeasuredWindow, gaps: Bools, label: str) -> Remedy:
    """Return a host that comes in time for the work after some idle gaps, ``(G,)``.

    What it did in them, until it launched, goes; so does what the launch itself took too long.
    """
    found, calls = measured.idle, measured.done.calls
    rows = np.flatnonzero(gaps & (found.call != NONE))
    call = found.call[rows]
    begun, returned = calls.start_ns[call], calls.end_ns[call]
    start, end = found.start_ns[rows], np.minimum(begun, found.end_ns[rows])
    late = end > start
    took = np.maximum(returned - begun, 1)
    factor = np.ones(len(calls))
    factor[call] = np.minimum(LAUNCH_NS / took, 1.0)
    # Other calls of the thread in the gap, such as the loading of a library, go with it.
    inside = np.zeros(len(calls), np.bool_)
    stretches = Stretches(calls.thread[call[late]], start[late], end[late])
    for thread in np.unique(stretches.thread).tolist():
        mine = np.flatnonzero(calls.thread == thread)
        cover = stretches.of_thread(thread)
        inside[mine] = cover.within(calls.start_ns[mine], calls.end_ns[mine]) > 0
    waits = calls.synchronise | measured.done.read_back | measured.done.blocking_copy
    factor[inside & ~waits & (factor == 1)] = 0.0
    return Remedy(label, (Edit(stretches=stretches, by=0.0, calls=factor),))


def copies_beside(chosen: Bools, label: str) -> Remedy:
    """Return copies, ``(M,)``, that run beside the kernels."""
    return Remedy(label, (Edit(apart=chosen),))


def collectives_overlapping(measured: MeasuredWindow) -> Remedy:
    """Return collectives that run beside what follows them."""
    return Remedy("overlap collective", (collectives_beside(measured.attribution),))


def held_by_no_stream(measured: MeasuredWindow, gaps: Bools, label: str) -> Remedy:
    """Return work after some gaps, ``(G,)``, that waits for no other stream."""
    found, done = measured.idle, measured.done
    rows = np.flatnonzero(gaps & (found.call != NONE))
    work = np.isin(done.call, found.call[rows]) & np.isin(done.start_ns, found.end_ns[rows])
    return Remedy(label, (Edit(unheld=work),))
