"""When the operating system had each thread on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.union import IntervalUnion
from analysis.source.host import sampling

if TYPE_CHECKING:
    from analysis.source.report import Report

EARLIEST: Final = -(1 << 61)
"""Before any instant of a recording, and so near that times from there can still be added up."""


@dataclass(frozen=True)
class Scheduling:
    """Every time a thread got a CPU or left one, ordered by thread, then time.

    Attributes:
        start_ns: ``(E,)``.
        thread: ``(E,)`` global thread id.
        arrives: ``(E,)`` whether it got a CPU then, rather than left one.
    """

    start_ns: Int64
    thread: Int64
    arrives: Bools

    def __len__(self) -> int:
        return len(self.start_ns)

    def running(self, thread: int) -> IntervalUnion | None:
        """Return when a thread was on a CPU; None where nothing is known of it.

        Before its first row it was not if it then got a CPU, and was if it then left one; after
        the last, what that says goes on.
        """
        low, high = np.searchsorted(self.thread, [thread, thread + 1])
        if low == high:
            return None
        arrives = self.arrives[low:high]
        bounds = np.concatenate([[EARLIEST], self.start_ns[low:high], [-EARLIEST]])
        on = np.flatnonzero(np.append(not arrives[0], arrives))
        return IntervalUnion.of(bounds[on], bounds[on + 1])


def scheduling(report: Report) -> Scheduling:
    """Return when threads were on a CPU, read once; empty where that was not recorded."""
    return report.once(_read)


def _read(report: Report) -> Scheduling:
    rows = sampling.switches(report)
    order = np.lexsort((rows["start_ns"], rows["thread"]))
    arrives = rows["arrives"][order] > 0
    return Scheduling(rows["start_ns"][order], rows["thread"][order], arrives)
