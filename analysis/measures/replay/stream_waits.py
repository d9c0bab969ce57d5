"""What streams were made to wait for, and so what must have ended before an event of a stream.

That is the last work before the event's record on its stream, and what that stream had been made to
wait for since that work, which may be the event of a further stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.recorded import synchronizations

if TYPE_CHECKING:
    from analysis.measures.replay.stream_lines import StreamLines
    from analysis.recorded.device_work import DeviceWork

Edges = tuple[Int64, Int64]


@dataclass(frozen=True)
class StreamWaits:
    """The waits of streams for events whose record is known: ``V`` of them, by stream and time.

    Attributes:
        lines: the work of the streams.
        stream: ``(V,)`` which waits.
        since_ns: ``(V,)`` when it was made to.
        source: ``(V,)`` the stream of the event.
        recorded_ns: ``(V,)`` when the event was recorded on it.
    """

    lines: StreamLines
    stream: Int64
    since_ns: Int64
    source: Int64
    recorded_ns: Int64

    def work_before(self, stream: Int64, instant_ns: Int64) -> Edges:
        """Return all work that an event would wait for.

        Args:
            stream: ``(N,)`` on which streams.
            instant_ns: ``(N,)`` recorded when.

        Returns:
            Pairs: the position of an event, and work before it.
        """
        which = np.arange(len(stream))
        pairs: list[Edges] = []
        while len(which):
            last = self.lines.last_before(stream, instant_ns)
            pairs.append((which[last != NONE], last[last != NONE]))
            since = np.full(len(last), np.iinfo(np.int64).min)
            since[last != NONE] = self.lines.key_ns[last[last != NONE]]
            low, high = self._place(stream, since), self._place(stream, instant_ns)
            count = (high - low).clip(0)
            row = np.repeat(low - np.append(0, np.cumsum(count))[:-1], count)
            row += np.arange(len(row))
            further = np.stack([np.repeat(which, count), self.source[row], self.recorded_ns[row]])
            # An event was recorded before what waits for it: this ends.
            earlier = self.recorded_ns[row] < np.repeat(instant_ns, count)
            which, stream, instant_ns = np.unique(further[:, earlier], axis=1)
        found = [np.concatenate(part) for part in zip(*pairs, strict=True)] if pairs else []
        return (found[0], found[1]) if found else (which, which)

    def edges(self) -> Edges:
        """Return the work that follows on the work before an event of another stream."""
        to = self.lines.first_from(self.stream, self.since_ns)
        which, source = self.work_before(self.source, self.recorded_ns)
        there = to[which] != NONE
        return to[which[there]], source[there]

    def _place(self, stream: Int64, instant_ns: Int64) -> Int64:
        """Return ``(N,)`` how many waits come before an instant of a stream, in the order here."""
        times = np.unique(np.append(self.since_ns, instant_ns))
        width = len(times) + 1
        known = self.stream * width + np.searchsorted(times, self.since_ns)
        wanted = stream * width + np.searchsorted(times, instant_ns)
        return np.searchsorted(known, wanted, side="left").astype(np.int64)


def stream_waits(done: DeviceWork, lines: StreamLines) -> StreamWaits:
    """Return what streams were made to wait for, as far as it was recorded."""
    rows = synchronizations.synchronizations(done.report)
    some = np.flatnonzero((rows.sync_type == synchronizations.STREAM_WAIT) & (rows.call != NONE))
    stream = lines.find(rows.process[some], rows.device[some], rows.stream[some])
    _, source, recorded = recorded_at(done, lines, rows.process[some], rows.event[some])
    good = np.flatnonzero((stream != NONE) & (source != NONE))
    since = done.calls.start_ns[rows.call[some[good]]] if len(good) else good
    order = np.lexsort((since, stream[good]))
    good, since = good[order], since[order]
    return StreamWaits(lines, stream[good], since, source[good], recorded[good])


def recorded_at(
    done: DeviceWork, lines: StreamLines, process: Int64, event: Int64
) -> tuple[Bools, Int64, Int64]:
    """Return where and when events of processes were recorded.

    Returns:
        ``(N,)`` each: whether that is known; on which stream, `NONE` of one that never did
        anything; when.
    """
    records = synchronizations.event_records(done.report)
    usable = np.flatnonzero((records.call != NONE) & (records.event >= 0))
    if not len(usable) or not len(event):
        none = np.full(len(event), NONE, np.int64)
        return none > NONE, none, none
    stream = lines.find(records.process[usable], records.device[usable], records.stream[usable])
    begun = done.calls.start_ns[records.call[usable]]
    keys = zip(records.process[usable].tolist(), records.event[usable].tolist(), strict=True)
    known = {key: place for place, key in enumerate(keys)}
    wanted = zip(process.tolist(), event.tolist(), strict=True)
    place = np.array([known.get(key, NONE) for key in wanted], np.int64)
    there = place != NONE
    return there, np.where(there, stream[place], NONE), np.where(there, begun[place], 0)
