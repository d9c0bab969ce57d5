"""The schema of our reports: tables and columns with their types, and how to make them.

The names and types of the nsys tables are those of ``nsys export`` 2023.4 (schema 3.7.2), so that
``nsys stats`` reads them; like nsys, a table is made only where it has rows. The ``TOOLKIT_``
tables are this project's own.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from analysis.source.trace.fields import MEMORY_KINDS

VERSION: Final = (3, 7, 2)
"""The version of nsys' schema that the tables below have."""

_SPAN: Final = 'start INTEGER NOT NULL, "end" INTEGER NOT NULL, '
_WORK: Final = (
    _SPAN + "deviceId INTEGER NOT NULL, contextId INTEGER NOT NULL, greenContextId INTEGER, "
    "streamId INTEGER NOT NULL, correlationId INTEGER, globalPid INTEGER, "
)
_LABELS: Final = "id INTEGER NOT NULL PRIMARY KEY, name TEXT, label TEXT"

TABLES: Final[Mapping[str, str]] = {
    "StringIds": "id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL",
    "ThreadNames": "nameId INTEGER NOT NULL, priority INTEGER, globalTid INTEGER",
    "META_DATA_EXPORT": "name TEXT NOT NULL, value TEXT",
    "TARGET_INFO_SESSION_START_TIME": "utcEpochNs INTEGER, utcTime TEXT, localTime TEXT",
    "TARGET_INFO_GPU": (
        "vmId INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT, busLocation TEXT, "
        "isDiscrete INTEGER, l2CacheSize INTEGER, totalMemory INTEGER, memoryBandwidth INTEGER, "
        "clockRate INTEGER, smCount INTEGER, pwGpuId INTEGER, uuid TEXT, luid INTEGER, "
        "chipName TEXT, cuDevice INTEGER, ctxswDevPath TEXT, ctrlDevPath TEXT, revision INTEGER, "
        "nodeMask INTEGER, constantMemory INTEGER, maxIPC INTEGER, maxRegistersPerBlock INTEGER, "
        "maxShmemPerBlock INTEGER, maxShmemPerBlockOptin INTEGER, maxShmemPerSm INTEGER, "
        "maxRegistersPerSm INTEGER, threadsPerWarp INTEGER, asyncEngines INTEGER, "
        "maxWarpsPerSm INTEGER, maxBlocksPerSm INTEGER, maxThreadsPerBlock INTEGER, "
        "maxBlockDimX INTEGER, maxBlockDimY INTEGER, maxBlockDimZ INTEGER, maxGridDimX INTEGER, "
        "maxGridDimY INTEGER, maxGridDimZ INTEGER, computeMajor INTEGER, computeMinor INTEGER, "
        "smMajor INTEGER, smMinor INTEGER"
    ),
    "ENUM_NSYS_EVENT_TYPE": _LABELS,
    "ENUM_CUDA_MEMCPY_OPER": _LABELS,
    "ENUM_CUDA_MEM_KIND": _LABELS,
    "ENUM_CUPTI_SYNC_TYPE": _LABELS,
    "CUPTI_ACTIVITY_KIND_KERNEL": _WORK + (
        "demangledName INTEGER NOT NULL, shortName INTEGER NOT NULL, mangledName INTEGER, "
        "launchType INTEGER, cacheConfig INTEGER, registersPerThread INTEGER NOT NULL, "
        "gridX INTEGER NOT NULL, gridY INTEGER NOT NULL, gridZ INTEGER NOT NULL, "
        "blockX INTEGER NOT NULL, blockY INTEGER NOT NULL, blockZ INTEGER NOT NULL, "
        "staticSharedMemory INTEGER NOT NULL, dynamicSharedMemory INTEGER NOT NULL, "
        "localMemoryPerThread INTEGER NOT NULL, localMemoryTotal INTEGER NOT NULL, "
        "gridId INTEGER NOT NULL, sharedMemoryExecuted INTEGER, graphNodeId INTEGER, "
        "sharedMemoryLimitConfig INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_MEMCPY": _WORK + (
        "bytes INTEGER NOT NULL, copyKind INTEGER NOT NULL, deprecatedSrcId INTEGER, "
        "srcKind INTEGER, dstKind INTEGER, srcDeviceId INTEGER, srcContextId INTEGER, "
        "dstDeviceId INTEGER, dstContextId INTEGER, migrationCause INTEGER, graphNodeId INTEGER, "
        "virtualAddress INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_MEMSET": _WORK + (
        "value INTEGER NOT NULL, bytes INTEGER NOT NULL, graphNodeId INTEGER, memKind INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": _WORK + (
        "syncType INTEGER NOT NULL, eventId INTEGER NOT NULL"
    ),
    "CUPTI_ACTIVITY_KIND_RUNTIME": _SPAN + (
        "eventClass INTEGER NOT NULL, globalTid INTEGER, correlationId INTEGER, "
        "nameId INTEGER NOT NULL, returnValue INTEGER NOT NULL, callchainId INTEGER"
    ),
    "NVTX_EVENTS": (
        'start INTEGER NOT NULL, "end" INTEGER, eventType INTEGER NOT NULL, rangeId INTEGER, '
        "category INTEGER, color INTEGER, text TEXT, globalTid INTEGER, endGlobalTid INTEGER, "
        "textId INTEGER, domainId INTEGER, uint64Value INTEGER, int64Value INTEGER, "
        "doubleValue REAL, uint32Value INTEGER, int32Value INTEGER, floatValue REAL, "
        "jsonTextId INTEGER, jsonText TEXT"
    ),
    "TOOLKIT_RUN": "key TEXT NOT NULL PRIMARY KEY, value TEXT",
    "TOOLKIT_RANGE_COST": "name TEXT NOT NULL, flops INTEGER, bytes INTEGER, elements INTEGER",
    # `self_ns`: the duration less that of the operators directly inside. `sequence` and
    # `forward_thread` join an operator of the backward pass to its creator; NULL where unknown.
    # `shapes`, `types` and `inputs`: the profiler's `Input Dims`, `Input type` and `Concrete
    # Inputs` as JSON without spaces, an entry for each argument; NULL where they tell nothing.
    "TOOLKIT_OPERATOR": (
        "start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, self_ns INTEGER NOT NULL, "
        "name_id INTEGER NOT NULL REFERENCES StringIds(id), global_tid INTEGER NOT NULL, "
        "sequence INTEGER, forward_thread INTEGER, shapes INTEGER REFERENCES StringIds(id), "
        "types INTEGER REFERENCES StringIds(id), inputs INTEGER REFERENCES StringIds(id)"
    ),
    # The messages of collectives, as PyTorch told them: of a kernel (`device`, `correlation`), or
    # of what the host did (`global_tid`): `record_param_comms`, or the range of a backend that
    # works on threads of its own. Elements are those of all tensors of this rank; `type_id` is the
    # name of their type, `ranks_id` the list of the ranks of the group. NULL where not told.
    "TOOLKIT_COLLECTIVE": (
        "start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, global_tid INTEGER, device INTEGER, "
        "correlation INTEGER, name_id INTEGER NOT NULL REFERENCES StringIds(id), "
        "in_elements INTEGER, out_elements INTEGER, type_id INTEGER REFERENCES StringIds(id), "
        "group_id INTEGER REFERENCES StringIds(id), ranks_id INTEGER REFERENCES StringIds(id), "
        "group_size INTEGER, sequence INTEGER"
    ),
    # The calls of Python functions, of a trace that was recorded with stacks.
    "TOOLKIT_PYTHON": (
        "start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, "
        "name_id INTEGER NOT NULL REFERENCES StringIds(id), global_tid INTEGER NOT NULL"
    ),
    # What a device holds (-1 the host, else CUDA's ordinal). A row is an allocation or release of
    # torch's allocator (`address` known), or a sample at the border of a range. `peak_bytes`: the
    # most that was allocated since the row before. `reserved_bytes`: NULL on the host.
    "TOOLKIT_MEMORY": (
        "time_ns INTEGER NOT NULL, device INTEGER NOT NULL, global_tid INTEGER, address INTEGER, "
        "delta_bytes INTEGER NOT NULL, allocated_bytes INTEGER NOT NULL, reserved_bytes INTEGER, "
        "peak_bytes INTEGER NOT NULL"
    ),
    # Bytes one forward pass keeps for its backward pass in the ranges of a name, those inside
    # included; `computed_bytes`: the formula's, NULL where there is none. See memory_saved.py.
    "TOOLKIT_RANGE_MEMORY": (
        "name TEXT NOT NULL, instances INTEGER, saved_bytes INTEGER, computed_bytes INTEGER, "
        "instance_bytes INTEGER, shared_bytes INTEGER, parameter_bytes INTEGER, "
        "input_bytes INTEGER, constant_bytes INTEGER"
    ),
}  # fmt: skip

PUSH_POP: Final = 59
"""NVTX_EVENTS.eventType of a range that is pushed and popped."""

_COPY: Final = "CUDA_MEMCPY_KIND_"
_MEMORY: Final = "CUDA_MEMOPR_MEMORY_KIND_"
_SYNC: Final = "CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_"

LABELS: Final[Mapping[str, Sequence[tuple[int, str, str]]]] = {
    "ENUM_NSYS_EVENT_TYPE": ((PUSH_POP, "NvtxPushPopRange", "NvtxPushPopRange"),),
    "ENUM_CUDA_MEMCPY_OPER": (
        (0, _COPY + "UNKNOWN", "Unknown"),
        (1, _COPY + "HTOD", "Host-to-Device"),
        (2, _COPY + "DTOH", "Device-to-Host"),
        (3, _COPY + "HTOA", "Host-to-Array"),
        (4, _COPY + "ATOH", "Array-to-Host"),
        (5, _COPY + "ATOA", "Array-to-Array"),
        (6, _COPY + "ATOD", "Array-to-Device"),
        (7, _COPY + "DTOA", "Device-to-Array"),
        (8, _COPY + "DTOD", "Device-to-Device"),
        (9, _COPY + "HTOH", "Host-to-Host"),
        (10, _COPY + "PTOP", "Peer-to-Peer"),
    ),
    "ENUM_CUDA_MEM_KIND": tuple(
        (code, _MEMORY + kind.upper().replace(" ", "_"), kind)
        for code, kind in enumerate(MEMORY_KINDS)
    ),
    "ENUM_CUPTI_SYNC_TYPE": (
        (0, _SYNC + "UNKNOWN", "Unknown"),
        (1, _SYNC + "EVENT_SYNCHRONIZE", "Event sync"),
        (2, _SYNC + "STREAM_WAIT_EVENT", "Stream wait sync"),
        (3, _SYNC + "STREAM_SYNCHRONIZE", "Stream sync"),
        (4, _SYNC + "CONTEXT_SYNCHRONIZE", "Context sync"),
    ),
}
"""Id, symbol and label of the codes in other tables: the labels are what ``nsys stats`` prints."""


def create(connection: sqlite3.Connection, table: str) -> None:
    """Create a table of the schema where it is missing."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({TABLES[table]})")


def insert(connection: sqlite3.Connection, table: str, rows: Iterable[Sequence[object]]) -> None:
    """Create a table where it is missing, and add rows with a value for every column."""
    create(connection, table)
    width = len(connection.execute(f"SELECT * FROM {table} LIMIT 0").description)
    marks = ", ".join("?" * width)
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
