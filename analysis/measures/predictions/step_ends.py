"""How long steps take in a replay: until the host is done with them, and the device too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.intervals import NONE

if TYPE_CHECKING:
    from analysis.attribution.steps import Steps
    from analysis.measures.replay.recorded_run import RecordedRun
    from analysis.measures.replay.replay import Replayed


@dataclass(frozen=True)
class StepEnds:
    """What the time of each step, process by process, depends on: ``W`` of them.

    Attributes:
        steps: the steps.
        opened: ``(W,)`` where the chain of the host's calls has each one's begin.
        closed: ``(W,)`` and its end.
        work: ``(L,)`` work by process, then launch.
        last: ``(W,)`` the last of these launched in the step or before it, or `NONE`.
        earlier: ``(W,)`` the last of these launched before it, or `NONE`.
        first: ``(W,)`` the first of these of its process.
    """

    steps: Steps
    opened: Int64
    closed: Int64
    work: Int64
    last: Int64
    earlier: Int64
    first: Int64

    @classmethod
    def of(cls, run: RecordedRun, steps: Steps) -> StepEnds:
        """Return what the time of steps depends on; their bounds are the marks of the run."""
        marks, chain, node = run.chain.marks, run.chain, run.order.node
        opened, closed = np.split(marks, 2)
        work = np.flatnonzero(node != NONE)
        launched, process = chain.start_ns[node[work]], chain.process[node[work]]
        order = np.lexsort((launched, process))
        work, launched, process = work[order], launched[order], process[order]
        first = np.searchsorted(process, steps.process, side="left")
        until = np.searchsorted(process, steps.process, side="right")
        bounds = list(zip(first.tolist(), until.tolist(), strict=True))
        last = np.array(
            [
                low + int(np.searchsorted(launched[low:high], end, side="right")) - 1
                for (low, high), end in zip(bounds, steps.end_ns.tolist(), strict=True)
            ],
            np.int64,
        )
        earlier = np.array(
            [
                low + int(np.searchsorted(launched[low:high], start, side="left")) - 1
                for (low, high), start in zip(bounds, steps.start_ns.tolist(), strict=True)
            ],
            np.int64,
        )
        last, earlier = (np.where(place < first, NONE, place) for place in (last, earlier))
        return cls(steps, opened, closed, work, last, earlier, first)

    def ends_ns(self, replayed: Replayed) -> Int64:
        """Return ``(W,)`` when host and device are done with each step and all before it."""
        return self._reached(replayed, replayed.end_ns[self.closed], self.last)

    def begins_ns(self, replayed: Replayed) -> Int64:
        """Return ``(W,)`` when each step begins: with the host's, unless what is before lasts."""
        return self._reached(replayed, replayed.start_ns[self.opened], self.earlier)

    def _reached(self, replayed: Replayed, instant_ns: Int64, last: Int64) -> Int64:
        """Return ``(W,)`` instants, or if later the ends of the work up to some, ``(W,)``."""
        result = instant_ns.copy()
        ended = replayed.work_end_ns[self.work]
        for first in np.unique(self.first).tolist():
            mine = np.flatnonzero((self.first == first) & (last != NONE))
            if len(mine):
                reach = np.maximum.accumulate(ended[first : int(last[mine].max()) + 1])
                result[mine] = np.maximum(instant_ns[mine], reach[last[mine] - first])
        return result

    def times_ns(self, replayed: Replayed) -> Int64:
        """Return ``(S,)`` how long each step takes, in the process where it takes longest."""
        took = (self.ends_ns(replayed) - self.begins_ns(replayed)).clip(0)
        result = np.zeros(self.steps.count, np.int64)
        np.maximum.at(result, self.steps.number, took)
        return result

    def last_event(self, replayed: Replayed, window: int) -> tuple[int, int]:
        """Return the call and the work, one of them `NONE`, with which a step, of ``W``, ends."""
        end = int(self.ends_ns(replayed)[window])
        if int(replayed.end_ns[self.closed[window]]) == end or self.last[window] == NONE:
            return int(self.closed[window]), NONE
        rows = self.work[int(self.first[window]) : int(self.last[window]) + 1]
        return NONE, int(rows[int(np.argmax(replayed.work_end_ns[rows]))])
