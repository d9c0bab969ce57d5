"""Advice on an idle GPU: waiting for launches, for a late host, or after it was waited for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.advice.blocking_copies import copies_that_block, gaps_of, large
from analysis.advice.finding import (
    WORTH_A_LINE,
    Cure,
    Finding,
    gpus_that,
    idle_share_in_words,
    more,
    wall_share,
)
from analysis.advice.remedies import (
    Remedy,
    held_by_no_stream,
    launched_together,
    on_time,
    without_waiting,
)
from analysis.advice.whereabouts import (
    MOST,
    NAMED,
    WORTH_A_WORD,
    fewest,
    in_a_row,
    launch_bound,
    whereabouts,
)
from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.union import IntervalUnion
from analysis.measures import idle
from analysis.measures.host.activity import host_activity, more_than_calls, nothing_known
from analysis.measures.host.doing import COLLECTS, NOT_SCHEDULED, doing, waits
from analysis.measures.host_calls import host_calls, loading_ns
from analysis.measures.idle_parts import BUSY, STREAM_WAIT
from analysis.recorded.cuda_calls import without_version
from analysis.show.render import duration, percent, plural
from analysis.show.sheet import in_prose

if TYPE_CHECKING:
    from analysis.measures.window import MeasuredWindow

LAUNCH_IDLE: Final = 0.2
"""A GPU that waits longer for launches gains more from fewer of them than from faster kernels."""

ALLOCATES: Final = re.compile(
    r"cu(?:da)?(?:Malloc|Free|Host(?:Alloc|Register|Unregister)|Mem(?:Alloc|Free|Create|Map|Unmap))"
)
"""Calls that get memory or give it back, and make the GPU and all threads wait for that."""

WAIT_LESS: Final = Cure(
    "leave .item(), .cpu() and synchronize() out of the loop",
    "leave such waits out of the loop, or wait for an event of earlier work instead",
)
LAUNCH_LESS: Final = Cure(
    "launch less (torch.compile, CUDA graphs with mode='reduce-overhead', fused operators) or give "
    "each launch more (a larger batch)",
    "launch less (fused kernels, CUDA graphs) or give each launch more (larger pieces of data)",
)
LOAD_BEFORE: Final = (
    "warm up with more steps, load all kernels at the start (CUDA_MODULE_LOADING=EAGER), or leave "
    "these steps out (--steps)"
)
LOAD_BEFORE_ALL: Final = (
    "warm up with more steps, or load all kernels at the start (CUDA_MODULE_LOADING=EAGER)"
)
"""Where no steps are known that could be left out."""

DO_AHEAD: Final = Cure(
    "do that ahead or on another thread (DataLoader workers, prefetching, asynchronous saving)",
    "do that ahead or on another thread, while kernels run",
)
LOAD_AHEAD: Final = Cure(
    "have the next batch ready before it is needed (DataLoader with more num_workers, "
    "prefetch_factor, persistent_workers), and let this thread sleep and wait for nothing else",
    "have what comes next ready before it is needed, on another thread, and let this one sleep and "
    "wait for nothing",
)
COLLECT_LESS: Final = (
    "gc.freeze() before the first step, gc.disable() around steps, and gc.collect() between some "
    "of them"
)
WAIT_LATER: Final = (
    "begin what it waits for earlier, or make the stream wait for its event only before the work "
    "that needs it"
)
KEEP_MEMORY: Final = Cure(
    "keep memory that is needed again: no torch.cuda.empty_cache() between steps, the largest "
    "shapes first",
    "allocate once, before the steps, or from a pool (cudaMallocAsync)",
)


def synchronisation(measured: MeasuredWindow) -> Finding | None:
    """Return advice on idle time of the GPU after the host had waited for it.

    A copy of a few bytes, such as a loss to print, is a wait like any other.
    """
    found = measured.idle
    small = copies_that_block(measured) & ~large(measured)
    chosen = measured.gaps & (found.cause == idle.SYNCHRONISATION) | gaps_of(measured, small)
    lost = int(found.duration_ns[chosen].sum())
    share = wall_share(measured, lost)
    if share < WORTH_A_LINE:
        return None
    where = whereabouts(measured, chosen)
    calls = waiting_calls(measured, chosen, small)
    named = f" in {in_a_row(calls)}" if calls else ""
    later = done_after_waiting(measured, chosen, calls)
    them = "it" if len(found.places) == 1 else "them"
    return Finding(
        "synchronisation",
        f"{gpus_that(measured, chosen, 'was', 'were')} idle for {duration(lost)} "
        f"({percent(share)}) after the host had waited for {them}{named}{later}{where.words}: "
        f"{WAIT_LESS.of(measured)}",
        more(measured, "analysis.gaps"),
        range=where.range,
        time_ns=lost,
        share=share,
        remedy=not_waited(measured, calls, small),
    )


def waiting_calls(measured: MeasuredWindow, chosen: Bools, small: Bools) -> list[str]:
    """Return the names of the calls that the host waited in during some gaps, the longest first.

    Args:
        measured: what is looked at.
        chosen: ``(G,)`` the gaps.
        small: ``(M,)`` copies of a few bytes, which wait too.
    """
    done, calls = measured.done, measured.done.calls
    waiting = calls.synchronise.copy()
    waiting[done.call[small & (done.call >= 0)]] = True
    spent: dict[str, int] = {}
    for kind in np.unique(calls.name[waiting]).tolist():
        some = waiting & (calls.name == kind)
        cover = IntervalUnion.of(calls.start_ns[some], calls.end_ns[some])
        every = measured.every_gap
        name = without_version(calls.names[kind])
        inside = cover.within(every.start_ns[chosen], every.end_ns[chosen])
        spent[name] = spent.get(name, 0) + int(inside.sum())
    ordered = sorted((name for name in spent if spent[name]), key=lambda name: -spent[name])
    return fewest(ordered, spent, MOST * sum(spent.values())) or ordered[:NAMED]


def not_waited(measured: MeasuredWindow, names: list[str], small: Bools) -> Remedy:
    """Return a run in which calls of some names, and copies of a few bytes, wait for nothing.

    Args:
        measured: what is looked at.
        names: without versions.
        small: ``(M,)`` the copies.
    """
    done, calls = measured.done, measured.done.calls
    known = np.array([without_version(name) in names for name in calls.names], np.bool_)
    waiting = calls.synchronise.copy()
    waiting[done.call[small & (done.call >= 0)]] = True
    chosen = waiting & known[calls.name]
    chosen &= measured.during(process_of(calls.thread), calls.start_ns)
    return without_waiting(chosen, ", ".join(f"no-wait {name}" for name in names))


def done_after_waiting(measured: MeasuredWindow, chosen: Bools, calls: list[str]) -> str:
    """Return in words what the host did for longest once it had waited; "" where that is little.

    Args:
        measured: what is looked at.
        chosen: ``(G,)`` the gaps.
        calls: in which it waited.
    """
    time = measured.idle.duration_ns
    rows = np.flatnonzero(chosen & (time >= idle.SLOW_CALL_NS))
    host = host_activity(measured.report, measured.every_gap.take(rows))
    lost = lost_by(host.name, time[rows])
    told = [name for name in lost if name and name not in calls]
    name = max(told, key=lambda name: lost[name], default="")
    share = lost.get(name, 0) / max(int(time[chosen].sum()), 1)
    return f", {percent(share)} of it {doing(name)} then" if share >= WORTH_A_WORD and name else ""


def kernel_loading(measured: MeasuredWindow) -> Finding | None:
    """Return advice on a GPU that waits until kernels are loaded on their first use."""
    chosen = measured.gaps & spent_loading(measured)
    lost = int(measured.idle.duration_ns[chosen].sum())
    share = wall_share(measured, lost)
    if share < WORTH_A_LINE:
        return None
    where = whereabouts(measured, chosen)
    by_call = lost_by_call(measured, chosen)
    calls = [name for name in sorted(by_call, key=lambda name: -by_call[name]) if name][:NAMED]
    named = f" (in {in_a_row(calls)})" if calls else ""
    cure = LOAD_BEFORE_ALL if measured.chosen.steps is None else LOAD_BEFORE
    return Finding(
        "kernel-loading",
        f"{gpus_that(measured, chosen, 'was', 'were')} idle for {duration(lost)} "
        f"{idle_share_in_words(measured, chosen, share)} while the host loaded kernels on their "
        f"first use{named}{where.words}: {cure}",
        more(measured, "analysis.gaps"),
        range=where.range,
        time_ns=lost,
        share=share,
        remedy=on_time(measured, chosen, "kernels loaded before"),
    )


def spent_loading(measured: MeasuredWindow) -> Bools:
    """Return ``(G,)`` in which gaps with a late host it loaded kernels for most of the time."""
    every = measured.every_gap
    most: Bools = measured.host_is_late & (loading_ns(every) >= MOST * every.duration_ns)
    return most


def launch_latency(measured: MeasuredWindow) -> Finding | None:
    """Return advice on a GPU that waits for launches, with the ranges that are launch-bound."""
    chosen = late_gaps(measured) & (measured.idle_part != BUSY)
    lost = int(measured.idle.duration_ns[chosen].sum())
    share = wall_share(measured, lost)
    if share < LAUNCH_IDLE:
        return None
    bound = launch_bound(measured)
    where = whereabouts(measured, chosen)
    named = f"; launch-bound: {in_a_row(bound)}" if bound else where.words
    return Finding(
        "launch-latency",
        f"{gpus_that(measured, chosen, 'waited', 'waited')} {duration(lost)} "
        f"{idle_share_in_words(measured, chosen, share)} for launches{named}: "
        f"{LAUNCH_LESS.of(measured)}",
        more(measured, "analysis.gaps"),
        range=(bound[0] if len(bound) == 1 else None) if bound else where.range,
        time_ns=lost,
        share=share,
        remedy=launched_together(measured),
    )


def waiting_stream(measured: MeasuredWindow) -> Finding | None:
    """Return advice on a GPU whose work was launched in time, and waited for another stream."""
    chosen = measured.gaps & (measured.idle_part == STREAM_WAIT)
    lost = int(measured.idle.duration_ns[chosen].sum())
    share = wall_share(measured, lost)
    if share < WORTH_A_LINE:
        return None
    where = whereabouts(measured, chosen)
    return Finding(
        "stream-wait",
        f"{gpus_that(measured, chosen, 'was', 'were')} idle for {duration(lost)} "
        f"{idle_share_in_words(measured, chosen, share)} before work that was launched in time and "
        f"waited for another stream or device{where.words}: {WAIT_LATER}",
        more(measured, "analysis.gaps"),
        range=where.range,
        time_ns=lost,
        share=share,
        remedy=held_by_no_stream(measured, chosen, "no wait for another stream"),
    )


def garbage_collection(measured: MeasuredWindow) -> Finding | None:
    """Return advice on a GPU that waits while Python collects garbage."""
    chosen = host_was_in(measured, COLLECTS.search)
    return late_host(
        measured, "garbage-collection", chosen, "Python collected garbage", COLLECT_LESS
    )


def waiting_host(measured: MeasuredWindow) -> Finding | None:
    """Return advice on a GPU that waits for a host that itself waits, mostly for data."""
    chosen = host_was_in(measured, waits)
    rows, host = measured.host_late
    times = np.where(chosen[rows], measured.idle.duration_ns[rows], 0)
    lost = int(times.sum())
    by_name = {name: time for name, time in lost_by(host.name, times).items() if time}
    ordered = sorted(by_name, key=lambda name: -by_name[name])
    named = fewest(ordered, by_name, MOST * lost) or ordered[:NAMED]
    calls = [name for name in named if name != NOT_SCHEDULED]
    did = f"waited in {in_a_row(calls)}" if calls else ""
    if NOT_SCHEDULED in named:
        did += f"{' or ' if did else ''}was not scheduled (it slept or waited)"
    others = lost_by(host.others, times)
    other = max(others, key=lambda name: others[name], default="")
    if other and others[other] >= MOST * lost:
        did += f", other threads of its process in {in_prose(other)}"
    return late_host(measured, "waiting-host", chosen, f"the host {did}", LOAD_AHEAD.of(measured))


def busy_host(measured: MeasuredWindow) -> Finding | None:
    """Return advice on a GPU that waits for a host which does something else than launching."""
    time = measured.idle.duration_ns
    chosen = late_gaps(measured) & (measured.idle_part == BUSY)
    lost = int(time[chosen].sum())
    rows, host = measured.host_late
    by_name = lost_by(host.name, np.where(chosen[rows], time[rows], 0))
    names = sorted((name for name in by_name if name), key=lambda name: -by_name[name])
    did, cure = "did something else", DO_AHEAD
    most = fewest(names, by_name, MOST * lost)
    if most:
        did = f"was in {in_a_row(most)}"
        cure = KEEP_MEMORY if ALLOCATES.match(most[0]) else DO_AHEAD
    elif names and by_name[names[0]] >= WORTH_A_WORD * lost:
        did += f" ({percent(by_name[names[0]] / max(lost, 1))} of it in {in_prose(names[0])})"
    elif more_than_calls(measured.report) and lost:
        did += f" ({percent(by_name.get('', 0) / lost)} of it in {nothing_known(measured.report)})"
    return late_host(measured, "busy-host", chosen, f"the host {did}", cure.of(measured))


def late_host(
    measured: MeasuredWindow, number: str, chosen: Bools, meanwhile: str, cure: str
) -> Finding | None:
    """Return advice on gaps in which the host did something else than launching.

    Args:
        measured: what is looked at.
        number: the id of the finding.
        chosen: ``(G,)`` the gaps.
        meanwhile: in words what happened on the host.
        cure: what to do.

    Returns:
        None where the gaps take too little time for advice.
    """
    lost = int(measured.idle.duration_ns[chosen].sum())
    share = wall_share(measured, lost)
    if share < WORTH_A_LINE:
        return None
    where = whereabouts(measured, chosen)
    shortest = int(measured.idle.duration_ns[chosen].min())
    least = next((time for time in (idle.RESUME_NS, idle.SLOW_CALL_NS) if shortest >= time), 0)
    or_more = f" of {duration(least)} or more" if least else ""
    return Finding(
        number,
        f"{gpus_that(measured, chosen, 'was', 'were')} idle for {duration(lost)} "
        f"{idle_share_in_words(measured, chosen, share)} in {plural(int(chosen.sum()), 'gap')}"
        f"{or_more} while {meanwhile}{where.words}: {cure}",
        more(measured, "analysis.gaps"),
        range=where.range,
        time_ns=lost,
        share=share,
        remedy=on_time(measured, chosen, "a host that launches in time"),
    )


def host_was_in(measured: MeasuredWindow, wanted: Callable[[str], object]) -> Bools:
    """Return ``(G,)`` in which gaps the host came late and did something that is wanted."""
    rows, host = measured.host_late
    known = {name for name in set(host.name) if name and wanted(name)}
    result = np.zeros(len(measured.gaps), np.bool_)
    result[rows] = [name in known for name in host.name]
    chosen: Bools = result & ~spent_loading(measured)
    return chosen


def lost_by(names: Sequence[str], time_ns: Int64) -> dict[str, int]:
    """Return the time of some gaps by what stands for each."""
    lost: dict[str, int] = {}
    for name, time in zip(names, time_ns.tolist(), strict=True):
        lost[name] = lost.get(name, 0) + time
    return lost


def lost_by_call(measured: MeasuredWindow, chosen: Bools) -> dict[str, int]:
    """Return the time of some gaps, ``(G,)``, by the call that the host was in for longest."""
    rows = np.flatnonzero(chosen)
    return lost_by(host_calls(measured.every_gap.take(rows)), measured.idle.duration_ns[rows])


def late_gaps(measured: MeasuredWindow) -> Bools:
    """Return ``(G,)`` which gaps a late host, or the latency of a launch, caused.

    Those for which another advice knows more of the host are not among them.
    """
    late = measured.host_is_late.copy()
    for wanted in (COLLECTS.search, waits):
        late &= ~host_was_in(measured, wanted)
    chosen: Bools = late & ~spent_loading(measured)
    return chosen
