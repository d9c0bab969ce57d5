"""The way from the end of a replay back to its beginning: what held up what, all along.

What lies on it is what a run is limited by: only a change of that makes it shorter.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.intervals import NONE

if TYPE_CHECKING:
    from analysis.measures.replay.lags import Lags
    from analysis.measures.replay.replay import Replayed, Score


@dataclass(frozen=True)
class CriticalPath:
    """What the time between two instants of a replay is spent with, on the critical path.

    Attributes:
        host_ns: the host's own time, between and in calls.
        latency_ns: launches on their way, work following on work, waits returning.
        work_ns: ``(M,)`` of each piece of device work.
    """

    host_ns: int
    latency_ns: int
    work_ns: Int64


class Moment(Enum):
    """What happens at an instant of a replay."""

    ENDED = "work ended"
    STARTED = "work started"
    RETURNED = "a call returned"
    BEGUN = "a call began"


class Event(NamedTuple):
    """A moment of some work or call, by its position."""

    moment: Moment
    place: int


class Link(NamedTuple):
    """What lies between an event and the one that it had to wait for.

    Attributes:
        before: that event; None at the beginning.
        from_ns: when that was.
        work: the work that ran between, or `NONE`.
        of_host: whether the host was at its own between.
    """

    before: Event | None
    from_ns: int
    work: int = NONE
    of_host: bool = False


@dataclass(frozen=True)
class Backwards:
    """A replay, to be gone through from its end.

    Attributes:
        score: the run.
        lags: those that were replayed.
        replayed: the replay.
    """

    score: Score
    lags: Lags
    replayed: Replayed

    def path(self, last: Event, from_ns: int) -> CriticalPath:
        """Return what lies between an instant and an event; what reaches over it counts by part."""
        run = self.score.run
        work_ns = np.zeros(len(run.done), np.int64)
        host = latency = 0
        event: Event | None = last
        until = self.at(last)
        while event is not None and until > from_ns:
            link = self.link(event)
            took = until - max(link.from_ns, from_ns)
            if link.work != NONE:
                work_ns[link.work] += took
            elif link.of_host:
                host += took
            else:
                latency += took
            event, until = link.before, link.from_ns
        return CriticalPath(host, latency, work_ns)

    def at(self, event: Event) -> int:
        """Return when an event was."""
        times = {
            Moment.ENDED: self.replayed.work_end_ns,
            Moment.STARTED: self.replayed.work_start_ns,
            Moment.RETURNED: self.replayed.end_ns,
            Moment.BEGUN: self.replayed.start_ns,
        }
        return int(times[event.moment][event.place])

    def link(self, event: Event) -> Link:
        """Return what an event had to wait for."""
        if event.moment is Moment.ENDED:
            return self._ended(event.place)
        if event.moment is Moment.STARTED:
            return self._started(event.place)
        if event.moment is Moment.RETURNED:
            return self._returned(event.place)
        before = int(self.score.run.chain.before[event.place])
        if before == NONE:
            return Link(None, 0, of_host=True)
        return Link(Event(Moment.RETURNED, before), int(self.replayed.end_ns[before]), of_host=True)

    def _ended(self, work: int) -> Link:
        start = self.replayed.work_start_ns
        parts = self.score.parts.get(int(self.score.run.order.meetings.group[work]), [work])
        last = max(parts, key=lambda part: int(start[part]))  # which the others waited for
        return Link(Event(Moment.STARTED, last), int(start[last]), work=work)

    def _started(self, work: int) -> Link:
        run, lags, ended = self.score.run, self.lags, self.replayed.work_end_ns
        order = run.order
        found: list[tuple[int, Event]] = [
            (int(ended[other] + lags.edge_ns[pair]), Event(Moment.ENDED, other))
            for pair in self.score.edges.get(work, ())
            for other in [int(order.edge_from[pair])]
        ]
        if (before := int(order.before[work])) != NONE:
            time = int(ended[before] + lags.follow_ns[work])
            found.append((time, Event(Moment.ENDED, before)))
        if (call := int(order.node[work])) != NONE:
            event = Event(Moment.BEGUN if run.waits.waiting[call] else Moment.RETURNED, call)
            found.append((self.at(event) + int(lags.lag_ns[work]), event))
        if not found:
            return Link(None, 0)
        _, event = max(found, key=lambda pair: pair[0])
        return Link(event, self.at(event))

    def _returned(self, call: int) -> Link:
        run, lags, ended = self.score.run, self.lags, self.replayed.work_end_ns
        found = [
            (int(ended[work] + lags.tail_ns[pair]), work)
            for pair in self.score.targets.get(call, ())
            for work in [int(run.waits.work[pair])]
        ]
        if (room := int(run.order.full_queue[call])) != NONE:
            found.append((int(ended[room] + lags.queue_ns[call]), room))
        begun = int(self.replayed.start_ns[call])
        if found and max(found)[0] > begun + int(lags.host_ns[call]):
            work = max(found)[1]
            return Link(Event(Moment.ENDED, work), int(ended[work]))
        return Link(Event(Moment.BEGUN, call), begun, of_host=True)
