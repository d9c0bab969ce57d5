"""Advice on an idle GPU: waiting for launches, for a late host, or after it was waited for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.advice.blocking_copies import copies_that_block, gaps_of, large
from analysis.advice.finding import WORTH_A_LINE, Cure, Finding, more, wall_share
from analysis.advice.whereabouts import (
    MOST,
    NAMED,
    WORTH_A_WORD,
    fewest,
    in_a_row,
    launch_bound,
    whereabouts,
)
from analysis.arithmetic.arrays import Bools
from analysis.arithmetic.union import IntervalUnion
from analysis.measures import idle
from analysis.measures.host_calls import host_calls, loading_ns
from analysis.recorded.cuda_calls import without_version
from analysis.show.render import duration, percent, plural

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
DO_AHEAD: Final = Cure(
    "do that ahead or on another thread (DataLoader workers, prefetching, asynchronous saving)",
    "do that ahead or on another thread, while kernels run",
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
    calls = waits(measured, chosen, small)
    named = f" in {in_a_row(calls)}" if calls else ""
    return Finding(
        "synchronisation",
        f"the GPU was idle for {duration(lost)} ({percent(share)}) after the host had waited "
        f"for it{named}{where.words}: {WAIT_LESS.of(measured)}",
        more(measured, "analysis.gaps"),
        range=where.range,
        time_ns=lost,
        share=share,
    )


def waits(measured: MeasuredWindow, chosen: Bools, small: Bools) -> list[str]:
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
    return Finding(
        "kernel-loading",
        f"the GPU was idle for {duration(lost)} ({percent(share)} of the time) while the host "
        f"loaded kernels on their first use{named}{where.words}: {LOAD_BEFORE}",
        more(measured, "analysis.gaps"),
        range=where.range,
        time_ns=lost,
        share=share,
    )


def spent_loading(measured: MeasuredWindow) -> Bools:
    """Return ``(G,)`` in which gaps with a late host it loaded kernels for most of the time."""
    every = measured.every_gap
    late = np.isin(every.cause, (idle.HOST, idle.LAUNCH_LATENCY))
    most: Bools = late & (loading_ns(every) >= MOST * every.duration_ns)
    return most


def launch_latency(measured: MeasuredWindow) -> Finding | None:
    """Return advice on a GPU that waits for launches, with the ranges that are launch-bound."""
    short = measured.idle.duration_ns < idle.RESUME_NS
    chosen = late_gaps(measured) & short
    lost = int(measured.idle.duration_ns[chosen].sum())
    share = wall_share(measured, lost)
    if share < LAUNCH_IDLE:
        return None
    bound = launch_bound(measured)
    where = whereabouts(measured, chosen)
    named = f"; launch-bound: {in_a_row(bound)}" if bound else where.words
    return Finding(
        "launch-latency",
        f"the GPU waited {duration(lost)} ({percent(share)} of the time) for launches{named}: "
        f"{LAUNCH_LESS.of(measured)}",
        more(measured, "analysis.gaps"),
        range=(bound[0] if len(bound) == 1 else None) if bound else where.range,
        time_ns=lost,
        share=share,
    )


def busy_host(measured: MeasuredWindow) -> Finding | None:
    """Return advice on a GPU that waits for a host which does something else than launching."""
    time = measured.idle.duration_ns
    chosen = late_gaps(measured) & (time >= idle.RESUME_NS)
    lost = int(time[chosen].sum())
    share = wall_share(measured, lost)
    if share < WORTH_A_LINE:
        return None
    by_call = lost_by_call(measured, chosen)
    ordered = sorted(by_call, key=lambda name: -by_call[name])
    did, cure = "did something else", DO_AHEAD
    calls = [name for name in ordered if name]
    most = fewest(calls, by_call, MOST * lost)
    if most:
        did = f"was in {in_a_row(most)}"
        cure = KEEP_MEMORY if ALLOCATES.match(most[0]) else DO_AHEAD
    elif calls and by_call[calls[0]] >= WORTH_A_WORD * lost:
        did += f" ({percent(by_call[calls[0]] / lost)} of it in {calls[0]})"
    where = whereabouts(measured, chosen)
    return Finding(
        "busy-host",
        f"the GPU was idle for {duration(lost)} ({percent(share)} of the time) in "
        f"{plural(int(chosen.sum()), 'gap')} of {duration(idle.RESUME_NS)} or more while the host "
        f"{did}{where.words}: {cure.of(measured)}",
        more(measured, "analysis.gaps"),
        range=where.range,
        time_ns=lost,
        share=share,
    )


def lost_by_call(measured: MeasuredWindow, chosen: Bools) -> dict[str, int]:
    """Return the time of some gaps, ``(G,)``, by the call that the host was in for longest."""
    rows = np.flatnonzero(chosen)
    lost: dict[str, int] = {}
    times = measured.idle.duration_ns[rows].tolist()
    for name, time in zip(host_calls(measured.every_gap.take(rows)), times, strict=True):
        lost[name] = lost.get(name, 0) + time
    return lost


def late_gaps(measured: MeasuredWindow) -> Bools:
    """Return ``(G,)`` which gaps a late host, or the latency of a launch, caused."""
    causes = (idle.HOST, idle.LAUNCH_LATENCY)
    late = measured.gaps & np.isin(measured.idle.cause, causes)
    chosen: Bools = late & ~spent_loading(measured)
    return chosen
