"""Which CUDA call started what ran on a GPU: the two share a correlation id."""

from __future__ import annotations

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.containment import CorrelationKeys
from analysis.arithmetic.global_ids import global_process_of
from analysis.arithmetic.intervals import NONE
from analysis.source import tables


def starting_calls(
    wanted: tuple[Int64, Int64], calls: tuple[Int64, Int64], start_ns: Int64
) -> Int64:
    """Return for each piece of work the position of the CUDA call that started it.

    A correlation id is unique only within a process, so that is compared too (NVIDIA's expert rules
    do not). A call may be recorded twice, as ``cudaLaunchKernel`` and ``cudaLaunchKernel_v7000``:
    the earlier counts, so that no work counts twice (in NVIDIA's rules it does).

    Args:
        wanted: ``(N,)`` global process ids, and ``(N,)`` correlation ids, of the work. Where either
            is `tables.MISSING` the call is not known.
        calls: ``(C,)`` global thread ids, and ``(C,)`` correlation ids.
        start_ns: ``(C,)`` of the calls; among several that began together the first row counts.

    Returns:
        ``(N,)`` positions, or `NONE`.

    >>> one = np.array([1 << 24])
    >>> two_calls = ((one + 5).repeat(2), np.array([7, 7]))
    >>> starting_calls((one, np.array([7])), two_calls, np.array([9, 4])).tolist()
    [1]
    """
    known = (wanted[0] != tables.MISSING) & (wanted[1] != tables.MISSING)
    keys = CorrelationKeys(global_process_of(wanted[0]), wanted[1])
    number = keys.find(global_process_of(calls[0]), calls[1])
    some = np.flatnonzero(number != NONE)
    # Of several with one number the last assignment counts, so the earliest comes last; of those
    # that began together the first row does.
    latest_first = some[np.argsort(start_ns[some], kind="stable")][::-1]
    first = np.full(keys.count + 1, NONE, np.int64)
    first[number[latest_first]] = latest_first
    return np.where(known, first[keys.number], NONE)
