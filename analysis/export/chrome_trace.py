"""Time lines in Chrome's JSON, which many viewers read.

Its slices lie on threads, so a GPU is a process of its own and each stream a thread of it. Times
are microseconds with three decimals, which is to the nanosecond. Ranges that are started and ended
anywhere are asynchronous events, which may overlap; no other slice of one thread may.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

from analysis.arithmetic.global_ids import ID_MASK, process_of, thread_of
from analysis.arithmetic.intervals import NONE
from analysis.export.slices import PIECE, in_pieces, tracks_without_overlap
from analysis.export.timeline import BYTES, STARTED
from analysis.recorded.device_work import COPY, KINDS, SET
from analysis.show.output import as_unicode
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.export.ranks import Ranks
    from analysis.export.slices import Slices
    from analysis.export.timeline import Timeline


def write(stream: IO[str], ranks: Ranks, progress: Callable[[int], None]) -> None:
    """Write reports as one trace.

    Args:
        stream: where to.
        ranks: the reports.
        progress: is told how many events have been written.
    """
    stream.write('{"displayTimeUnit": "ns", "traceEvents": [\n')
    piece: list[str] = []
    written, begun = 0, False
    for event in _events(ranks):
        piece.append(event)
        if len(piece) == PIECE:
            stream.write((",\n" if begun else "") + ",\n".join(piece))
            written, begun = written + PIECE, True
            piece.clear()
            progress(written)
    stream.write((",\n" if begun and piece else "") + ",\n".join(piece) + "\n]}\n")


def overlapping(ranks: Ranks) -> int:
    """Return how many slices overlap another of their thread or stream without nesting."""
    count = 0
    for timeline in ranks.timelines:
        queue, work = timeline.queues[1], timeline.work
        count += int((tracks_without_overlap(work.start_ns, work.end_ns, queue) > 0).sum())
        for slices in timeline.slices:
            if slices.kind != STARTED:
                count += int((slices.tracks() > 0).sum())
    return count


def _events(ranks: Ranks) -> Iterator[str]:
    taken: set[int] = set()
    flow = 0
    for timeline, offset, label in zip(ranks.timelines, ranks.offset_ns, ranks.labels, strict=True):
        one = _Trace(timeline, offset + ranks.base_ns, label, taken, flow)
        yield from one.events()
        flow += len(timeline.work) + len(timeline)


class _Trace:
    """The events of one report.

    Args:
        timeline: of the report.
        shift_ns: what is added to its times.
        label: what tells it from other reports, or "".
        taken: process ids that others have; its own are added.
        flow: a number above those of all flows of others.
    """

    def __init__(
        self, timeline: Timeline, shift_ns: int, label: str, taken: set[int], flow: int
    ) -> None:
        self.timeline = timeline
        self.shift_ns = shift_ns
        self.label = label
        self.flow = flow
        wanted = [*timeline.processes, *({queue.process for queue in timeline.queues[0]})]
        self.pid = {process: _free(process, taken) for process in dict.fromkeys(wanted)}
        devices = sorted({queue.device for queue in timeline.queues[0]})
        self.gpu = {device: _free(ID_MASK + 1, taken) for device in devices}

    def events(self) -> Iterator[str]:
        """Yield every event, each a line of JSON."""
        yield from self._metadata()
        yield from self._work()
        for slices in self.timeline.slices:
            yield from self._started(slices) if slices.kind == STARTED else self._slices(slices)
        yield from self._flows()
        yield from self._counters()

    def _metadata(self) -> Iterator[str]:
        for process, name in self.timeline.processes.items():
            yield self._named("process_name", self.pid[process], 0, name or f"process {process}")
        for thread, name in self.timeline.threads.items():
            place = self.pid[process_of(thread)], thread_of(thread)
            yield self._named("thread_name", *place, name or f"thread {place[1]}", "")
        for device, pid in self.gpu.items():
            yield self._named("process_name", pid, 0, f"GPU {device}")
        for number, queue in enumerate(self.timeline.queues[0]):
            name = f"stream {queue.stream} of process {queue.process}"
            yield self._named("thread_name", self.gpu[queue.device], number, name, "")

    def _named(self, what: str, pid: int, tid: int, name: str, label: str | None = None) -> str:
        text = " ".join(filter(None, (self.label if label is None else label, name)))
        event = {"ph": "M", "name": what, "pid": pid, "tid": tid}
        return json.dumps({**event, "args": {"name": as_unicode(text)}})

    def _work(self) -> Iterator[str]:
        work = self.timeline.work
        queues, place = self.timeline.queues
        names = _quoted(work.names)
        for start, duration, kind, name, queue, correlation, size in in_pieces(
            *(work.start_ns + self.shift_ns, work.duration_ns, work.kind, work.name),
            *(place, work.correlation, work.bytes),
        ):
            told = [f'"{BYTES}": {size}'] if kind in (COPY, SET) else []
            if correlation != tables.MISSING:
                told.append(f'"correlation": {correlation}')
            yield (
                f'{{"ph": "X", "cat": "{KINDS[kind]}", "name": {names[name]}, '
                f'"pid": {self.gpu[queues[queue].device]}, "tid": {queue}, "ts": {_us(start)}, '
                f'"dur": {_us(duration)}, "args": {{{", ".join(told)}}}}}'
            )

    def _slices(self, slices: Slices) -> Iterator[str]:
        names = _quoted(slices.names)
        columns = (slices.start_ns + self.shift_ns, slices.end_ns - slices.start_ns)
        for start, duration, name, thread, *told in in_pieces(
            *columns, slices.name, slices.thread, *slices.numbers.values()
        ):
            yield (
                f'{{"ph": "X", "cat": "{slices.kind}", "name": {names[name]}, '
                f'"pid": {self.pid[process_of(thread)]}, "tid": {thread_of(thread)}, '
                f'"ts": {_us(start)}, "dur": {_us(duration)}, '
                f'"args": {{{_told(slices, told)}}}}}'
            )

    def _started(self, slices: Slices) -> Iterator[str]:
        names = _quoted(slices.names)
        number = self.flow + len(self.timeline.work)
        for start, end, name, thread, *told in in_pieces(
            *(slices.start_ns + self.shift_ns, slices.end_ns + self.shift_ns, slices.name),
            *(slices.thread, *slices.numbers.values()),
        ):
            number += 1
            where = (
                f'"cat": "{slices.kind}", "name": {names[name]}, "id": {number}, '
                f'"pid": {self.pid[process_of(thread)]}, "tid": {thread_of(thread)}'
            )
            args = f'"args": {{{_told(slices, told)}}}'
            yield f'{{"ph": "b", {where}, "ts": {_us(start)}, {args}}}'
            yield f'{{"ph": "e", {where}, "ts": {_us(end)}}}'

    def _flows(self) -> Iterator[str]:
        """Yield the arrows from calls to what they started."""
        work = self.timeline.work
        if not len(work) or not len(work.calls):
            return
        queues, place = self.timeline.queues
        calls, known = work.calls, work.call != NONE
        call = work.call[known]
        for number, (start, thread, ran, queue) in enumerate(
            in_pieces(
                *(calls.start_ns[call] + self.shift_ns, calls.thread[call]),
                *(work.start_ns[known] + self.shift_ns, place[known]),
            ),
            self.flow + 1,
        ):
            what = f'"cat": "launch", "name": "launch", "id": {number}'
            yield (
                f'{{"ph": "s", {what}, "pid": {self.pid[process_of(thread)]}, '
                f'"tid": {thread_of(thread)}, "ts": {_us(start)}}}'
            )
            yield (
                f'{{"ph": "f", "bp": "e", {what}, "pid": {self.gpu[queues[queue].device]}, '
                f'"tid": {queue}, "ts": {_us(ran)}}}'
            )

    def _counters(self) -> Iterator[str]:
        for counter in self.timeline.counters:
            pid = (self.gpu if counter.of_gpu else self.pid)[counter.owner]
            times = (counter.time_ns + self.shift_ns).tolist()
            for time, value in zip(times, counter.value, strict=True):
                yield (
                    f'{{"ph": "C", "name": "{counter.name}", "pid": {pid}, "ts": {_us(time)}, '
                    f'"args": {{"{counter.unit}": {value}}}}}'
                )


def _free(number: int, taken: set[int]) -> int:
    """Return a process id that no other report has, the number itself if it is free."""
    while number in taken:
        number += ID_MASK + 1
    taken.add(number)
    return number


def _quoted(names: list[str]) -> list[str]:
    return [json.dumps(as_unicode(name)) for name in names]


def _told(slices: Slices, values: list[int]) -> str:
    pairs = zip(slices.numbers, values, strict=True)
    return ", ".join(f'"{name}": {value}' for name, value in pairs if value != tables.MISSING)


def _us(time_ns: int) -> str:
    """Return a time in microseconds, to the nanosecond.

    >>> _us(1234567), _us(5)
    ('1234.567', '0.005')
    """
    return f"{time_ns // 1000}.{time_ns % 1000:03d}"
