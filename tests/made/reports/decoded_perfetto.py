"""A trace of Perfetto, decoded by the package's own classes and played back as its viewer does."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as messages

from analysis.export.gpu_correlation import extension


@dataclass
class GpuSlice:
    """A slice of a GPU."""

    name: str
    start: int
    end: int
    gpu: int
    queue: str
    stage: str
    process: int
    told: dict[str, str]


@dataclass
class HostSlice:
    """A slice of a thread; the track is the names of the tracks above it, its own last."""

    name: str
    start: int
    track: tuple[str, ...]
    told: dict[str, int]
    started: list[int]
    end: int | None = None


@dataclass
class Decoded:
    """What is in a trace.

    Attributes:
        gpu: slices of GPUs by their ids.
        host: slices of threads, each closed.
        counters: the values of each counter, by name.
        tracks: the description of each track, by its number.
        gpus: the names of GPUs.
    """

    gpu: dict[int, GpuSlice] = field(default_factory=dict)
    host: list[HostSlice] = field(default_factory=list)
    counters: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    tracks: dict[int, Any] = field(default_factory=dict)
    gpus: list[str] = field(default_factory=list)

    def on(self, kind: str) -> list[HostSlice]:
        """Return the slices on tracks of this name."""
        return [each for each in self.host if each.track[-1] == kind]

    def path(self, number: int) -> tuple[str, ...]:
        """Return the names of a track and of those above it."""
        track = self.tracks[number]
        above = self.path(track.parent_uuid) if track.parent_uuid else ()
        if track.HasField("process"):
            return (*above, f"process {track.process.pid} {track.process.process_name}")
        if track.HasField("thread"):
            return (*above, f"thread {track.thread.tid} {track.thread.thread_name}".strip())
        return (*above, track.name)


def decoded(content: bytes) -> Decoded:
    """Return what is in a trace; slices of one track that do not nest are an error."""
    found = Decoded()
    trace = messages.Trace.FromString(content)
    names: dict[int, str] = {}
    specifications: dict[int, str] = {}
    contexts: dict[int, int] = {}
    timed = []
    sequences = set()
    for packet in trace.packet:
        sequences.add(packet.trusted_packet_sequence_id)
        for each in packet.interned_data.event_names:
            assert each.iid not in names
            names[each.iid] = each.name
        specifications |= {each.iid: each.name for each in packet.interned_data.gpu_specifications}
        contexts |= {each.iid: each.pid for each in packet.interned_data.graphics_contexts}
        found.gpus += [each.name for each in packet.gpu_info.gpus]
        if packet.HasField("track_descriptor"):
            assert packet.track_descriptor.uuid not in found.tracks
            found.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
        if packet.HasField("gpu_render_stage_event"):
            event = packet.gpu_render_stage_event
            assert packet.sequence_flags == messages.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
            assert event.event_id not in found.gpu
            found.gpu[event.event_id] = GpuSlice(
                names[event.name_iid],
                packet.timestamp,
                packet.timestamp + event.duration,
                event.gpu_id,
                specifications[event.hw_queue_iid],
                specifications[event.stage_iid],
                contexts[event.context],
                {each.name: each.value for each in event.extra_data},
            )
        if packet.HasField("track_event"):
            timed.append(packet)
    assert len(sequences) == 1
    first = trace.packet[0]
    assert first.incremental_state_cleared
    play(found, names, timed)
    return found


def play(found: Decoded, names: dict[int, str], packets: list[Any]) -> None:
    """Open and close slices in the order of time, and of the file where times are alike."""
    kinds = messages.TrackEvent
    open_: dict[int, list[HostSlice]] = defaultdict(list)
    for packet in sorted(packets, key=lambda packet: int(packet.timestamp)):
        event = packet.track_event
        path = found.path(event.track_uuid)
        if event.type == kinds.TYPE_COUNTER:
            value = event.counter_value or event.double_counter_value
            found.counters[path[-1]].append((packet.timestamp, value))
        elif event.type == kinds.TYPE_SLICE_BEGIN:
            told = {each.name: each.int_value for each in event.debug_annotations}
            ids = list(event.Extensions[extension()].render_stage_submission_event_ids)
            begun = HostSlice(names[event.name_iid], packet.timestamp, path, told, ids)
            open_[event.track_uuid].append(begun)
            found.host.append(begun)
        else:
            open_[event.track_uuid].pop().end = packet.timestamp
    assert not any(open_.values())
