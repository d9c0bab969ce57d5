"""What CUDA calls waited for, or made a stream wait for, as CUPTI recorded it.

Not every report has it: nsys records events only with ``--cuda-event-trace=true``, and older ones
no synchronisation at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.global_ids import process_of
from analysis.recorded.cuda_calls import cuda_calls, starting_calls
from analysis.source import device_tables

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report

EVENT: Final = 1
STREAM_WAIT: Final = 2
STREAM: Final = 3
"""What `ENUM_CUPTI_SYNC_TYPE` calls a wait for an event, of a stream for an event, for a stream.

The wait for all of a device has no number to be trusted: ``cudaDeviceSynchronize`` was seen with 0,
1 and 4.
"""


@dataclass(frozen=True)
class StreamEvents:
    """Rows that tie CUDA calls to streams and events, ``S`` of them.

    Attributes:
        call: ``(S,)`` the position of the call among the CUDA calls, or `NONE`.
        process: ``(S,)`` process id.
        device: ``(S,)`` CUDA ordinal.
        stream: ``(S,)``.
        event: ``(S,)`` the number of one record of an event, or `tables.MISSING`.
        sync_type: ``(S,)`` as in `EVENT` and below; of records of events `tables.MISSING`.
    """

    call: Int64
    process: Int64
    device: Int64
    stream: Int64
    event: Int64
    sync_type: Int64


def synchronizations(report: Report) -> StreamEvents:
    """Return what waited for what, read once; empty where that was not recorded."""
    return report.once(_synchronizations)


def event_records(report: Report) -> StreamEvents:
    """Return where events were recorded, read once; empty where that was not recorded."""
    return report.once(_event_records)


def _synchronizations(report: Report) -> StreamEvents:
    rows = device_tables.synchronizations(report)
    return _tied(report, rows, rows["sync_type"])


def _event_records(report: Report) -> StreamEvents:
    rows = device_tables.event_records(report)
    return _tied(report, rows, rows["event"] * 0 - 1)


def _tied(report: Report, rows: Columns, sync_type: Int64) -> StreamEvents:
    calls = cuda_calls(report)
    call = starting_calls(
        (rows["global_pid"], rows["correlation"]), (calls.thread, calls.correlation), calls.start_ns
    )
    process = process_of(rows["global_pid"])
    return StreamEvents(call, process, rows["device"], rows["stream"], rows["event"], sync_type)
