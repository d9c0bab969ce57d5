"""Which functions CPU samples found threads in while GPUs were idle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.containment import Intervals, distinct
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE
from analysis.recorded.cpu_samples import CpuSamples

if TYPE_CHECKING:
    from analysis.measures.idle import IdleGaps


def windows(gaps: IdleGaps, thread: Int64, rows: Int64) -> Intervals:
    """Return the gaps at some positions, each with a thread out of ``(G,)``."""
    return Intervals(thread[rows], gaps.start_ns[rows], gaps.end_ns[rows])


def most_sampled(samples: CpuSamples, place: Int64, gaps: Intervals) -> Int64:
    """Return which function most samples during each gap found, of several the first by name.

    Args:
        samples: all samples.
        place: ``(S,)`` ascending, of each sample; what the ``thread`` of a gap is compared with.
        gaps: ``G`` of them; a sample at the end of one lies outside.

    Returns:
        ``(G,)`` positions among the functions, `NONE` where there is no sample.
    """
    result = np.full(len(gaps), NONE, np.int64)
    for number in distinct(gaps.thread).tolist():
        low, high = np.searchsorted(place, [number, number + 1])
        rows = np.flatnonzero(gaps.thread == number)
        at = samples.start_ns[low:high]
        first = np.searchsorted(at, gaps.start_ns[rows], side="left")
        count = np.searchsorted(at, gaps.end_ns[rows], side="left") - first
        gap = np.repeat(np.arange(len(rows)), count)
        within = np.arange(len(gap)) + np.repeat(first - np.cumsum(count) + count, count)
        symbol = samples.symbol[low:high][within]
        known, functions = symbol != NONE, max(len(samples.symbols), 1)
        pair, times = np.unique(gap[known] * functions + symbol[known], return_counts=True)
        # In this order the last of each gap is the function with most samples; it stays.
        order = np.lexsort((-pair, times))
        result[rows[pair[order] // functions]] = pair[order] % functions
    return result


def sampled_elsewhere(samples: CpuSamples, gaps: IdleGaps, watched: Int64, chosen: Int64) -> Int64:
    """Return which function most samples of other threads found, ``(G,)``; `NONE` elsewhere.

    Args:
        samples: all samples.
        gaps: ``G`` of them.
        watched: ``(G,)`` the threads that are left out; those of their processes are looked at.
        chosen: positions of the gaps that are asked about.
    """
    result = np.full(len(gaps), NONE, np.int64)
    for thread in distinct(watched[chosen]).tolist() if len(samples) else ():
        rows = chosen[watched[chosen] == thread]
        kept = (process_of(samples.thread) == process_of(thread)) & (samples.thread != thread)
        kept = np.flatnonzero(kept)
        kept = kept[np.argsort(samples.start_ns[kept], kind="stable")]
        other = CpuSamples(
            samples.symbols,
            samples.modules,
            samples.symbol[kept],
            samples.start_ns[kept],
            np.full(len(kept), thread),
        )
        result[rows] = most_sampled(other, other.thread, windows(gaps, watched, rows))
    return result
