"""The message that ties a CUDA call to what it started, which the package of Perfetto lacks.

Perfetto's viewer draws an arrow from a slice of a thread to each slice of a GPU whose ``event_id``
is among its ``GpuCorrelation.render_stage_submission_event_ids`` (field 3000 of TrackEvent, from
``protos/perfetto/trace/gpu/gpu_track_event.proto``; google/perfetto pull request 5425).
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, message_factory
from perfetto.protos.perfetto.trace import perfetto_trace_pb2

FIELD: Final = 3000
PACKAGE: Final = "perfetto.protos"


def extension() -> Any:
    """Return the field of a TrackEvent that ties it to slices of a GPU, declared if it must be."""
    event = perfetto_trace_pb2.TrackEvent.DESCRIPTOR
    pool = event.file.pool
    try:
        return pool.FindExtensionByNumber(event, FIELD)
    except KeyError:
        message_factory.GetMessages([_declared(event.file.name)], pool=pool)
        return pool.FindExtensionByNumber(event, FIELD)


def _declared(imported: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="spanlight/gpu_track_event.proto",
        package=PACKAGE,
        syntax="proto2",
        dependency=[imported],
    )
    correlation = file.message_type.add(name="GpuCorrelation")
    kinds = descriptor_pb2.FieldDescriptorProto
    correlation.field.add(
        name="render_stage_submission_event_ids",
        number=1,
        type=kinds.TYPE_UINT64,
        label=kinds.LABEL_REPEATED,
    )
    holder = file.message_type.add(name="GpuTrackEvent")
    holder.extension.add(
        name="gpu_correlation",
        number=FIELD,
        type=kinds.TYPE_MESSAGE,
        label=kinds.LABEL_OPTIONAL,
        type_name=f".{PACKAGE}.GpuCorrelation",
        extendee=f".{PACKAGE}.TrackEvent",
    )
    return file
