"""The CUDA calls of the host, as one table: runtime (``cuda…``) and driver (``cu…``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.source import device_tables, tables

if TYPE_CHECKING:
    from analysis.source.report import Report

SYNCHRONISES: Final = re.compile(r"cu(?:da)?(?:Stream|Device|Event|Ctx|Thread)Synchronize")
COPIES: Final = re.compile(r"cu(?:da)?Memcpy", re.IGNORECASE)
SETS: Final = re.compile(r"cu(?:da)?Memset", re.IGNORECASE)
ASYNC: Final = re.compile(r"async", re.IGNORECASE)
"""What CUDA's calls do, by their names."""


@dataclass(frozen=True)
class CudaCalls:
    """Every CUDA call of the host, in the order of the file.

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
    return CudaCalls(report, **device_tables.calls(report))
