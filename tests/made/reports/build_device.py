"""Adds to a tiny report what a device does besides kernels: copies, sets, calls, overhead."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.made.reports.build_report import PROCESS, THREAD, global_id, written

PAGEABLE: Final = 0
PINNED: Final = 1
DEVICE: Final = 2
TO_DEVICE: Final = 1
TO_HOST: Final = 2
WITHIN: Final = 8

EVENT_WAIT, STREAM_WAIT, STREAM_SYNC = 1, 2, 3
"""What CUPTI calls a wait for an event, of a stream for an event, for a stream."""

BLOCKING, DEFAULT = 1, 3
"""Kinds of streams: one that the legacy default stream joins, and that stream."""


@dataclass(frozen=True)
class Copy:
    """A copy, and the call that asked for it (``launch`` None: not recorded)."""

    start: int
    end: int
    bytes: int = 0
    kind: int = TO_DEVICE
    source: int = PINNED
    target: int = DEVICE
    call: str = "cudaMemcpyAsync_v3020"
    launch: int | None = None
    done: int | None = None
    device: int = 0
    process: int = PROCESS
    thread: int = THREAD
    same: bool = False
    stream: int = 7


@dataclass(frozen=True)
class Set:
    """A memory set, and its call, which takes 1 ns."""

    start: int
    end: int
    bytes: int = 0
    memory: int = DEVICE
    call: str = "cudaMemsetAsync_v3020"
    launch: int | None = None
    process: int = PROCESS
    stream: int = 7


@dataclass(frozen=True)
class Call:
    """A CUDA call that starts nothing."""

    name: str
    start: int
    end: int
    thread: int = THREAD
    process: int = PROCESS


@dataclass(frozen=True)
class Waiting:
    """A call that waits, or makes a stream wait, with what CUPTI recorded of it."""

    call: Call
    sync_type: int
    stream: int = 7
    event: int | None = None


@dataclass(frozen=True)
class EventRecord:
    """A call that records an event on a stream."""

    call: Call
    event: int
    stream: int = 7


@dataclass(frozen=True)
class Overhead:
    """What the profiler took."""

    name: str
    start: int
    end: int
    process: int = PROCESS


DDL: Final = {
    "CUPTI_ACTIVITY_KIND_MEMCPY": (
        'start INTEGER NOT NULL, "end" INTEGER NOT NULL, deviceId INTEGER, contextId INTEGER, '
        "greenContextId INTEGER, streamId INTEGER, correlationId INTEGER, globalPid INTEGER, "
        "bytes INTEGER, copyKind INTEGER, srcKind INTEGER, dstKind INTEGER, srcDeviceId INTEGER, "
        "dstDeviceId INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_MEMSET": (
        'start INTEGER NOT NULL, "end" INTEGER NOT NULL, deviceId INTEGER, contextId INTEGER, '
        "greenContextId INTEGER, streamId INTEGER, correlationId INTEGER, globalPid INTEGER, "
        "bytes INTEGER, memKind INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_RUNTIME": (
        'start INTEGER NOT NULL, "end" INTEGER NOT NULL, eventClass INTEGER, globalTid INTEGER, '
        "correlationId INTEGER, nameId INTEGER, returnValue INTEGER"
    ),
    "PROFILER_OVERHEAD": 'start INTEGER, "end" INTEGER, globalTid INTEGER, nameId INTEGER',
    "ENUM_CUDA_MEM_KIND": "id INTEGER, name TEXT, label TEXT",
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": (
        'start INTEGER NOT NULL, "end" INTEGER NOT NULL, deviceId INTEGER, contextId INTEGER, '
        "streamId INTEGER, correlationId INTEGER, globalPid INTEGER, syncType INTEGER, "
        "eventId INTEGER, eventSyncId INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_CUDA_EVENT": (
        "timestamp INTEGER, deviceId INTEGER, contextId INTEGER, streamId INTEGER, "
        "correlationId INTEGER, globalPid INTEGER, eventId INTEGER, eventSyncId INTEGER"
    ),
    "TARGET_INFO_CUDA_STREAM": (
        "streamId INTEGER, processId INTEGER, contextId INTEGER, flag INTEGER"
    ),
    "TOOLKIT_RANGE_COST": "name TEXT NOT NULL, flops INTEGER, bytes INTEGER, elements INTEGER",
}

FIRST_CORRELATION: Final = 100_000
"""Higher than any that the kernels of a tiny report have."""


class Adder:
    """Inserts rows into a report that is there already."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.correlation = FIRST_CORRELATION
        labels = enumerate(("Pageable", "Pinned", "Device", "Array", "Managed"))
        for number, label in labels:
            self.insert("ENUM_CUDA_MEM_KIND", number, label, label)

    def insert(self, table: str, *row: object) -> None:
        """Add a row with a value for every column."""
        self.connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({DDL[table]})")
        marks = ", ".join("?" * len(row))
        self.connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)

    def string(self, text: str) -> int:
        """Return the id of a string, a new one if need be."""
        row = self.connection.execute("SELECT id FROM StringIds WHERE value = ?", (text,))
        if found := row.fetchone():
            return int(found[0])
        (last,) = self.connection.execute("SELECT coalesce(max(id), 0) FROM StringIds").fetchone()
        self.connection.execute("INSERT INTO StringIds VALUES (?, ?)", (last + 1, text))
        return int(last) + 1

    def call(self, call: Call) -> int:
        """Add a call and return its correlation id."""
        self.correlation += 1
        tid = global_id(call.process, call.thread)
        ids = (self.correlation, self.string(call.name), 0)
        self.insert("CUPTI_ACTIVITY_KIND_RUNTIME", call.start, call.end, 0, tid, *ids)
        return self.correlation

    def copy(self, copy: Copy) -> None:
        """Add a copy and its call."""
        correlation = self.correlation = self.correlation + 1
        if copy.launch is not None:
            done = copy.launch + 1 if copy.done is None else copy.done
            correlation = self.call(Call(copy.call, copy.launch, done, copy.thread, copy.process))
        ids = (copy.device, 1, None, copy.stream, correlation, global_id(copy.process))
        kinds = (copy.bytes, copy.kind, copy.source, copy.target)
        ends = (copy.device, copy.device) if copy.same else (None, None)
        self.insert("CUPTI_ACTIVITY_KIND_MEMCPY", copy.start, copy.end, *ids, *kinds, *ends)

    def set(self, each: Set) -> None:
        """Add a memory set and its call."""
        correlation = self.correlation = self.correlation + 1
        if each.launch is not None:
            correlation = self.call(
                Call(each.call, each.launch, each.launch + 1, process=each.process)
            )
        ids = (0, 1, None, each.stream, correlation, global_id(each.process))
        row = (each.start, each.end, *ids, each.bytes, each.memory)
        self.insert("CUPTI_ACTIVITY_KIND_MEMSET", *row)

    def waiting(self, each: Waiting) -> None:
        """Add a call that waits, and what CUPTI recorded of it; handles of events serve again."""
        call = each.call
        ids = (0, 1, each.stream, self.call(call), global_id(call.process))
        row = (call.start, call.end, *ids, each.sync_type, 1, each.event)
        self.insert("CUPTI_ACTIVITY_KIND_SYNCHRONIZATION", *row)

    def event(self, each: EventRecord) -> None:
        """Add a call that records an event, and what CUPTI recorded of it."""
        ids = (0, 1, each.stream, self.call(each.call), global_id(each.call.process))
        self.insert("CUPTI_ACTIVITY_KIND_CUDA_EVENT", 0, *ids, 1, each.event)


def add_device_work(
    path: Path,
    *,
    copies: Iterable[Copy] = (),
    sets: Iterable[Set] = (),
    calls: Iterable[Call] = (),
    waits: Iterable[Waiting] = (),
    events: Iterable[EventRecord] = (),
    streams: Iterable[tuple[int, int]] = (),
    overhead: Iterable[Overhead] = (),
    costs: Iterable[tuple[str, int | None, int | None, int | None]] = (),
) -> Path:
    """Add rows to a report and return its path.

    ``costs`` are name, FLOPs, bytes, elements; ``streams`` are their number and kind.
    """
    with written(path) as connection:
        adder = Adder(connection)
        for copy in copies:
            adder.copy(copy)
        for each in sets:
            adder.set(each)
        for call in calls:
            adder.call(call)
        for wait in waits:
            adder.waiting(wait)
        for event in events:
            adder.event(event)
        for stream, kind in streams:
            adder.insert("TARGET_INFO_CUDA_STREAM", stream, PROCESS, 1, kind)
        for taken in overhead:
            row = (taken.start, taken.end, global_id(taken.process, 1), adder.string(taken.name))
            adder.insert("PROFILER_OVERHEAD", *row)
        for cost in costs:
            adder.insert("TOOLKIT_RANGE_COST", *cost)
    return path
