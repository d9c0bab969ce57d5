"""A run as it can be replayed: calls, device work, and which of them follows on which."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.measures.replay.device_order import DeviceOrder, device_order, late_edges, possible
from analysis.measures.replay.host_chain import HostChain, host_chain
from analysis.measures.replay.lags import Means, late_ns, means
from analysis.measures.replay.waits import Waits, waits

if TYPE_CHECKING:
    from analysis.recorded.device_work import DeviceWork

LATE_NS: Final = 20_000
"""Work that begins this much later than all it is known to follow on followed on something else."""

AFTER_NS: Final = 10_000
"""Work begins within this after the work on another stream that it was made to wait for."""


@dataclass(frozen=True)
class RecordedRun:
    """The calls and the device work of a report, with what each follows on.

    Attributes:
        rows: ``(M,)`` which of all device work of the report it is.
        done: that work.
        chain: the host's calls, ``K`` of them.
        order: what the work follows on.
        waits: what the calls wait for.
        means: what starting and waiting take on average.
    """

    rows: Int64
    done: DeviceWork
    chain: HostChain
    order: DeviceOrder
    waits: Waits
    means: Means

    @property
    def first_launch_ns(self) -> int:
        """When the first call that started work began; the first work where none is known."""
        known = self.order.node[self.order.node != NONE]
        if not len(known):
            return int(self.done.start_ns.min(initial=0))
        return int(self.chain.start_ns[known].min())

    @property
    def last_end_ns(self) -> int:
        """When the last work ended."""
        return int(self.done.end_ns.max(initial=self.first_launch_ns))

    @property
    def window_ns(self) -> int:
        """The time from the first launch to the last end, which a replay is held against."""
        return self.last_end_ns - self.first_launch_ns


def recorded_run(
    every: DeviceWork,
    collective: Bools,
    marks: tuple[Int64, Int64],
    part: tuple[int, int] | None = None,
) -> RecordedRun:
    """Return a run as it can be replayed.

    Args:
        every: what the GPUs did.
        collective: ``(M,)`` which of that work is a collective.
        marks: ``(I,)`` threads and ``(I,)`` instants whose replayed times will be asked for.
        part: only what was launched from the first of two instants to the second; None for all.
    """
    done, rows = every, np.arange(len(every))
    if part is not None:
        kept = (every.call != NONE) & (every.launch_ns >= part[0]) & (every.launch_ns <= part[1])
        done, rows, collective = every.take(kept), np.flatnonzero(kept), collective[kept]
    chain = host_chain(done, marks, None if part is None else part[1])
    order = device_order(done, chain, collective)
    held = waits(done, chain, order)
    known = means(done, chain, order, held)
    late = (late_ns(done, chain, order, held, known) > LATE_NS) & (order.node != NONE)
    to, source = late_edges(done, order, late, AFTER_NS)
    if len(to):
        both = np.append(order.edge_to, to), np.append(order.edge_from, source)
        to, source = possible(done, order.lines, *both, order.meetings)
        order = replace(order, edge_to=to, edge_from=source)
        known = means(done, chain, order, held)
    return RecordedRun(rows, done, chain, order, held, known)
