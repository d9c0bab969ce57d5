"""A time line as a trace of Perfetto: its native protobuf, in which slices of a GPU may overlap.

GPU work is render stage events, a queue a stream; what threads did is slices of track events, each
kind on a track of its own beside the ranges of its thread; a call is tied to what it started. Times
are those of the report, in nanoseconds, all moved by one number where that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as messages
from perfetto.trace_builder.proto_builder import TraceProtoBuilder

from analysis.arithmetic.global_ids import process_of, thread_of
from analysis.export.gpu_correlation import extension
from analysis.export.slices import PIECE, edges, in_pieces
from analysis.export.timeline import BYTES, CALLS, RANGES
from analysis.recorded.device_work import COPY, KINDS, SET
from analysis.show.output import as_unicode
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Int64
    from analysis.export.slices import Slices
    from analysis.export.timeline import Counter, Timeline

NAMES_A_PACKET: Final = 1_000

IDS_OF_ONE: Final = 1 << 40
"""How far apart the ids of two traces of one archive begin, so that none is in both."""

LARGEST_GPU: Final = (1 << 31) - 1

COMPUTES: Final = ("kernel", "graph")
STAGES: Final = {"graph": "CUDA graph replay"}
"""What a kind of device work is called where that is not its own name."""


class PerfettoTrace:
    """A trace that is being written, packet by packet.

    Args:
        stream: where to.
        timeline: what is shown.
        shift_ns: what is added to all times; none may be below 0 then.
        number: of the trace, from 0, among those of an archive.
        label: what tells its processes from those of other traces, such as the rank; or "".
        progress: is told how many slices have been written.
    """

    def __init__(
        self,
        stream: IO[bytes],
        timeline: Timeline,
        *,
        shift_ns: int = 0,
        number: int = 0,
        label: str = "",
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.stream = stream
        self.timeline = timeline
        self.shift_ns = shift_ns
        self.label = label
        self.progress = progress
        self._sequence = number + 1
        self._first_id = number * IDS_OF_ONE + 1
        self._ids = iter(range(self._first_id, self._first_id + IDS_OF_ONE))
        self._builder = TraceProtoBuilder()
        self._in_piece = 0
        self._written = 0
        self._names: dict[str, int] = {}
        self._processes: dict[int, int] = {}
        self._threads: dict[int, int] = {}
        self._gpu_correlation = extension()

    def write(self) -> None:
        """Write the whole trace."""
        self._head()
        self._intern_names()
        self._describe_gpus()
        self._describe_processes_and_threads()
        self._write_work()
        for slices in self.timeline.slices:
            self._write_slices(slices)
        for counter in self.timeline.counters:
            self._write_counter(counter)
        self._flush()

    def _packet(self) -> Any:
        """Return the next packet, to be filled in before another is asked for."""
        if self._in_piece == PIECE:
            self._flush()
        self._in_piece += 1
        packet = self._builder.add_packet()
        packet.trusted_packet_sequence_id = self._sequence
        return packet

    def _flush(self) -> None:
        # Traces one after another are one trace with the packets of all.
        self.stream.write(self._builder.serialize())
        self._builder = TraceProtoBuilder()
        self._in_piece = 0
        self.progress(self._written)

    def _interning(self) -> Any:
        packet = self._packet()
        packet.sequence_flags = messages.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        return packet.interned_data

    def _head(self) -> None:
        packet = self._packet()
        packet.first_packet_on_sequence = True
        packet.incremental_state_cleared = True
        packet.sequence_flags = messages.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED

    def _intern_names(self) -> None:
        """Write every name once; slices refer to it by its number."""
        work = self.timeline.work
        texts = (work.names, *(each.names for each in self.timeline.slices))
        known = list(dict.fromkeys(name for names in texts for name in names))
        self._names = {name: number for number, name in enumerate(known, 1)}
        for begin in range(0, len(known), NAMES_A_PACKET):
            interned = self._interning()
            for name in known[begin : begin + NAMES_A_PACKET]:
                interned.event_names.add(iid=self._names[name], name=as_unicode(name))

    def _numbers_of(self, names: Sequence[str]) -> list[int]:
        return [self._names[name] for name in names]

    def _describe_gpus(self) -> None:
        """Write the GPUs, the kinds of their work, their streams, and whose these are."""
        if not len(self.timeline.work):
            return
        by_ordinal = {gpu.ordinal: gpu.name for gpu in self.timeline.report.gpus}
        used = {queue.device for queue in self.timeline.queues[0]}
        # They are numbered by their place in the list; of those between nothing is known.
        last = max((ordinal for ordinal in used & set(by_ordinal) if ordinal < 1024), default=-1)
        if last >= 0:
            gpus = self._packet().gpu_info.gpus
            for ordinal in range(last + 1):
                gpus.add(name=as_unicode(by_ordinal.get(ordinal, f"GPU {ordinal}")))
        interned = self._interning()
        kinds = messages.InternedGpuRenderStageSpecification
        for number, kind in enumerate(KINDS, 1):
            category = kinds.COMPUTE if kind in COMPUTES else kinds.OTHER
            name = STAGES.get(kind, kind)
            interned.gpu_specifications.add(iid=number, name=name, category=category)
        queues = self.timeline.queues[0]
        several = len({queue.process for queue in queues}) > 1
        for number, queue in enumerate(queues, len(KINDS) + 1):
            name = f"stream {queue.stream}" if queue.stream != tables.MISSING else "no stream"
            if several and queue.process != tables.MISSING:
                name += f" of process {queue.process}"
            if not 0 <= queue.device <= LARGEST_GPU:
                name += f" of device {queue.device}"
            interned.gpu_specifications.add(iid=number, name=name, category=kinds.COMPUTE)
        for number, process in enumerate(self._contexts(), 1):
            context = interned.graphics_contexts.add(iid=number)
            context.api = messages.InternedGraphicsContext.CUDA
            if process != tables.MISSING:
                context.pid = process

    def _contexts(self) -> list[int]:
        return sorted({queue.process for queue in self.timeline.queues[0]})

    def _describe_processes_and_threads(self) -> None:
        for process, name in self.timeline.processes.items():
            self._processes[process] = next(self._ids)
            track = self._packet().track_descriptor
            track.uuid = self._processes[process]
            track.process.pid = process
            track.process.process_name = as_unicode(
                " ".join(filter(None, (self.label, name or f"process {process}")))
            )
        for thread, name in self.timeline.threads.items():
            self._threads[thread] = next(self._ids)
            track = self._packet().track_descriptor
            track.uuid = self._threads[thread]
            track.thread.pid = process_of(thread)
            track.thread.tid = thread_of(thread)
            if name:
                track.thread.thread_name = as_unicode(name)

    def _write_work(self) -> None:
        work = self.timeline.work
        if not len(work):
            return
        queues, queue = self.timeline.queues
        context = {process: number for number, process in enumerate(self._contexts(), 1)}
        of_queue = [
            (number, each.device, context[each.process])
            for number, each in enumerate(queues, len(KINDS) + 1)
        ]
        names = self._numbers_of(work.names)
        flags = messages.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        columns = (work.start_ns + self.shift_ns, work.duration_ns, work.kind, work.name, queue)
        event_id = self._first_id
        for start, duration, kind, name, place, size in in_pieces(*columns, work.bytes):
            packet = self._packet()
            packet.timestamp = start
            packet.sequence_flags = flags
            event = packet.gpu_render_stage_event
            event.event_id = event_id
            event.duration = duration
            event.name_iid = names[name]
            event.stage_iid = kind + 1
            event.hw_queue_iid, device, event.context = of_queue[place]
            if 0 <= device <= LARGEST_GPU:
                event.gpu_id = device
            if kind in (COPY, SET):
                event.extra_data.add(name=BYTES, value=str(size))
            event_id += 1
            self._written += 1

    def _write_slices(self, slices: Slices) -> None:
        track = slices.tracks()
        uuids = self._describe_tracks(slices, track)
        names = self._numbers_of(slices.names)
        started = self._started(slices)
        numbers = {
            text: column
            for text, column in slices.numbers.items()
            if bool((column != tables.MISSING).any())
        }
        flags = messages.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        begins, ends = messages.TrackEvent.TYPE_SLICE_BEGIN, messages.TrackEvent.TYPE_SLICE_END
        found = edges(slices)
        row = found.row
        columns = (
            *(found.time_ns + self.shift_ns, found.is_end, row, slices.name[row]),
            *(slices.thread[row], track[row]),
            *(column[row] for column in numbers.values()),
        )
        for time, is_end, number, name, thread, place, *told in in_pieces(*columns):
            packet = self._packet()
            packet.timestamp = time
            event = packet.track_event
            event.track_uuid = uuids[thread, place]
            if is_end:
                event.type = ends
                self._written += 1
                continue
            packet.sequence_flags = flags
            event.type = begins
            event.name_iid = names[name]
            for text, value in zip(numbers, told, strict=True):
                if value != tables.MISSING:
                    event.debug_annotations.add(name=text, int_value=value)
            if ids := started(number):
                tie = event.Extensions[self._gpu_correlation]
                tie.render_stage_submission_event_ids.extend(ids)

    def _started(self, slices: Slices) -> Callable[[int], list[int]]:
        """Return what tells the ids of the work that a call started; none of other slices."""
        if slices.kind != CALLS or not len(self.timeline.work):
            return lambda _: []
        bounds, rows = self.timeline.started
        low, ids = bounds.tolist(), (rows + self._first_id).tolist()
        return lambda call: ids[low[call] : low[call + 1]]

    def _describe_tracks(self, slices: Slices, track: Int64) -> dict[tuple[int, int], int]:
        """Write the tracks of a kind of slices; return the number of each, by thread and track.

        The first track of ranges is the thread's own, all others stand below it.
        """
        pairs = sorted(set(zip(slices.thread.tolist(), track.tolist(), strict=True)))
        made = {}
        for thread, place in pairs:
            if slices.kind == RANGES and place == 0:
                made[thread, place] = self._threads[thread]
                continue
            made[thread, place] = next(self._ids)
            described = self._packet().track_descriptor
            described.uuid = made[thread, place]
            described.parent_uuid = self._threads[thread]
            described.name = slices.kind
        return made

    def _write_counter(self, counter: Counter) -> None:
        uuid = next(self._ids)
        described = self._packet().track_descriptor
        described.uuid = uuid
        described.name = counter.name
        if not counter.of_gpu:
            described.parent_uuid = self._processes[counter.owner]
        if counter.unit == BYTES:
            described.counter.unit = messages.CounterDescriptor.UNIT_SIZE_BYTES
        else:
            described.counter.unit_name = counter.unit
        whole = counter.unit == BYTES
        times = (counter.time_ns + self.shift_ns).tolist()
        for time, value in zip(times, counter.value, strict=True):
            packet = self._packet()
            packet.timestamp = time
            event = packet.track_event
            event.type = messages.TrackEvent.TYPE_COUNTER
            event.track_uuid = uuid
            if whole:
                event.counter_value = value
            else:
                event.double_counter_value = value
