"""The CUDA calls of the host, runtime (``cuda…``) and driver (``cu…``), and which started what.

A call and what it starts on a GPU share a correlation id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import CorrelationKeys
from analysis.arithmetic.global_ids import global_process_of
from analysis.arithmetic.intervals import NONE
from analysis.source import device_tables, tables

if TYPE_CHECKING:
    from analysis.source.report import Report

SYNCHRONISES: Final = re.compile(r"cu(?:da)?(?:Stream|Device|Event|Ctx|Thread)Synchronize")
COPIES: Final = re.compile(r"cu(?:da)?Memcpy", re.IGNORECASE)
SETS: Final = re.compile(r"cu(?:da)?Memset", re.IGNORECASE)
ASYNC: Final = re.compile(r"async", re.IGNORECASE)
"""What CUDA's calls do, by their names."""

VERSION: Final = re.compile(r"_v\d{4,}$")
"""What nsys adds to a name: the version of CUDA that a call is of, times 1000 (3020 is 3.2)."""


def without_version(name: str) -> str:
    """Return the name of a call without the version that nsys adds.

    >>> without_version("cudaGraphLaunch_v10000"), without_version("cuMemcpyHtoD_v2")
    ('cudaGraphLaunch', 'cuMemcpyHtoD_v2')
    """
    return VERSION.sub("", name)


@dataclass(frozen=True)
class CudaCalls:
    """Every CUDA call of the host, in order of time.

    Attributes:
        report: what was recorded; the names are read from it when asked for.
        name_id: ``(C,)`` the string id of each name.
        start_ns: ``(C,)``.
        end_ns: ``(C,)``.
        thread: ``(C,)`` global thread id.
        correlation: ``(C,)`` the number that a call shares with what it starts on a GPU.
    """

    report: Report
    name_id: Int64
    start_ns: Int64
    end_ns: Int64
    thread: Int64
    correlation: Int64

    def __len__(self) -> int:
        return len(self.start_ns)

    @cached_property
    def _named(self) -> tuple[list[str], Int64]:
        return tables.named(self.report, self.name_id)

    @property
    def names(self) -> list[str]:
        """``(K,)`` the distinct names of the calls, ascending."""
        return self._named[0]

    @property
    def name(self) -> Int64:
        """``(C,)`` the position of each call's name."""
        return self._named[1]

    def like(self, *patterns: re.Pattern[str]) -> Bools:
        """Return ``(C,)`` which calls' names begin with the first pattern and hold the others."""
        first, *others = patterns
        fits = [
            first.match(name) is not None and all(other.search(name) for other in others)
            for name in self.names
        ]
        return np.array(fits, np.bool_)[self.name]

    @cached_property
    def synchronise(self) -> Bools:
        """``(C,)`` which calls wait for the device and do nothing else."""
        return self.like(SYNCHRONISES)

    @cached_property
    def copy_at_once(self) -> Bools:
        """``(C,)`` which calls copy before they return: copies without ``Async`` in the name."""
        return self.like(COPIES) & ~self.like(COPIES, ASYNC)


def cuda_calls(report: Report) -> CudaCalls:
    """Return the CUDA calls of a report, read once; empty where none were recorded."""
    return report.once(_read)


def _read(report: Report) -> CudaCalls:
    return CudaCalls(report, **report.once(device_tables.calls))


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
