"""The tables of a report, written from the staged rows of a trace."""

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Final

from analysis.arithmetic.global_ids import ID_BITS, PROCESS_MASK
from analysis.source.trace import messages, schema
from analysis.source.trace.description import insert_description
from analysis.source.trace.events import HOST, SCHEMA, Staging
from analysis.source.trace.fields import base_name
from analysis.source.trace.payloads import insert_annotations, pair_payloads

GPU_TABLES: Final = ("kernel", "copy", "fill", "wait")


# Kineto gives a kernel's device in place of its process. A correlation id that only one process
# has tells which launched it; where several have it, or none, the one that launches most of what
# runs on the device is taken, and where nothing is known, the trace's main process.
OWNER: Final = (
    "coalesce((SELECT process FROM staging.launcher l WHERE l.correlation = s.correlation), "
    "(SELECT process FROM staging.owner o WHERE o.device = s.device), :process)"
)
WORK: Final = f"start - :origin, stop - :origin, device, context, stream, correlation, {OWNER}"
WORK_COLUMNS: Final = 'start, "end", deviceId, contextId, streamId, correlationId, globalPid'

# Shared memory comes as one figure, static and dynamic together; the grid has no number.
INSERTS: Final[Mapping[str, tuple[str, str]]] = {
    "CUPTI_ACTIVITY_KIND_KERNEL": (
        f"{WORK_COLUMNS}, demangledName, shortName, mangledName, registersPerThread, gridX, gridY, "
        "gridZ, blockX, blockY, blockZ, staticSharedMemory, dynamicSharedMemory, "
        "localMemoryPerThread, localMemoryTotal, gridId, graphNodeId",
        f"SELECT {WORK}, name, (SELECT short FROM staging.short n WHERE n.name = s.name), name, "
        "registers, grid_x, grid_y, grid_z, block_x, block_y, block_z, 0, shared_bytes, 0, 0, 0, "
        "graph_node FROM staging.kernel s",
    ),
    "CUPTI_ACTIVITY_KIND_MEMCPY": (
        f"{WORK_COLUMNS}, bytes, copyKind, srcKind, dstKind, srcDeviceId, dstDeviceId, graphNodeId",
        f"SELECT {WORK}, bytes, kind, source_kind, target_kind, source_device, target_device, "
        "graph_node FROM staging.copy s",
    ),
    "CUPTI_ACTIVITY_KIND_MEMSET": (
        f"{WORK_COLUMNS}, value, bytes, memKind, graphNodeId",
        f"SELECT {WORK}, 0, bytes, memory_kind, graph_node FROM staging.fill s",
    ),
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": (
        f"{WORK_COLUMNS}, syncType, eventId",
        f"SELECT {WORK}, kind, event FROM staging.wait s",
    ),
    "CUPTI_ACTIVITY_KIND_RUNTIME": (
        'start, "end", eventClass, globalTid, correlationId, nameId, returnValue',
        "SELECT start - :origin, stop - :origin, class, thread, correlation, name, 0 "
        "FROM staging.call s",
    ),
    "TOOLKIT_MEMORY": (
        "time_ns, device, global_tid, address, delta_bytes, allocated_bytes, reserved_bytes, "
        "peak_bytes",
        "SELECT start - :origin, device, thread, address, delta, allocated, reserved, allocated "
        "FROM staging.memory s",
    ),
    "TOOLKIT_COLLECTIVE": (
        "start_ns, end_ns, global_tid, device, correlation, name_id, in_elements, out_elements, "
        "type_id, group_id, ranks_id, group_size, sequence",
        "SELECT start - :origin, stop - :origin, thread, device, correlation, name, in_elements, "
        "out_elements, type, coalesce(group_name, :group), coalesce(ranks, :ranks), "
        "coalesce(size, :size), sequence FROM staging.message s",
    ),
    "TOOLKIT_PYTHON": (
        "start_ns, end_ns, name_id, global_tid",
        "SELECT start - :origin, stop - :origin, name, thread FROM staging.python s",
    ),
}

ENUMS: Final = (
    ("NVTX_EVENTS", "ENUM_NSYS_EVENT_TYPE"),
    ("CUPTI_ACTIVITY_KIND_MEMCPY", "ENUM_CUDA_MEMCPY_OPER"),
    ("CUPTI_ACTIVITY_KIND_MEMCPY", "ENUM_CUDA_MEM_KIND"),
    ("CUPTI_ACTIVITY_KIND_MEMSET", "ENUM_CUDA_MEM_KIND"),
    ("CUPTI_ACTIVITY_KIND_SYNCHRONIZATION", "ENUM_CUPTI_SYNC_TYPE"),
)


def write_report(
    connection: sqlite3.Connection,
    staging: Staging,
    metadata: Mapping[str, object],
    unpaired: dict[str, int] | None = None,
) -> dict[str, int]:
    """Fill the report from the staged rows of a trace, and count the rows of each event table.

    Times in the report are from the trace's earliest event; when that was stands in
    TARGET_INFO_SESSION_START_TIME, where the trace's clock tells.

    Raises:
        TraceError: the payloads of the spans do not fit the annotations, and ``unpaired``, which
            counts those, was not given.
    """
    converted: dict[str, int] = {}
    origin = _origin(connection)
    _find_owners(connection)
    _stage_short_names(connection, staging)
    values: dict[str, int | None] = {
        "origin": origin,
        "process": _main_process(connection, staging),
    }
    values |= _only_group(staging, metadata)
    for table, (columns, select) in INSERTS.items():
        if _any(connection, select.rsplit(" ", 2)[1]):
            schema.create(connection, table)
            done = connection.execute(
                f"INSERT INTO {table} ({columns}) {select} ORDER BY s.start, s.rowid", values
            )
            converted[table] = done.rowcount
    pair_payloads(connection, metadata.get("toolkit_payloads"), unpaired)
    if _any(connection, "staging.annotation"):
        converted["NVTX_EVENTS"] = insert_annotations(connection, origin)
    if _any(connection, "staging.operator"):
        rows = _operators(connection, origin)
        schema.insert(connection, "TOOLKIT_OPERATOR", rows)
        (count,) = connection.execute("SELECT count(*) FROM TOOLKIT_OPERATOR").fetchone()
        converted["TOOLKIT_OPERATOR"] = count
        (recorded,) = connection.execute("SELECT count(*) FROM staging.operator").fetchone()
        if recorded > count:
            staging.left_out["cpu_op: one call with its caller of the same name"] = recorded - count
    for labels in dict.fromkeys(labels for table, labels in ENUMS if table in converted):
        schema.insert(connection, labels, schema.LABELS[labels])
    insert_description(connection, staging, metadata, origin)
    return converted


def _only_group(staging: Staging, metadata: Mapping[str, object]) -> dict[str, int | None]:
    """Return the process group of a run that has one: what a collective that names none is of."""
    found = messages.only_group(metadata)
    texts = {"group": found.group, "ranks": found.ranks}
    ids = {key: staging.name_id(text) if text else None for key, text in texts.items()}
    return {**ids, "size": found.size}


def _origin(connection: sqlite3.Connection) -> int:
    selects = " UNION ALL ".join(
        f"SELECT min(start) AS start FROM staging.{name}" for name in SCHEMA
    )
    (origin,) = connection.execute(f"SELECT min(start) FROM ({selects})").fetchone()
    return int(origin)


def _find_owners(connection: sqlite3.Connection) -> None:
    """Fill staging.launcher and staging.owner, where the trace has several processes."""
    connection.execute("CREATE TABLE staging.launcher (correlation INTEGER PRIMARY KEY, process)")
    connection.execute("CREATE TABLE staging.owner (device INTEGER PRIMARY KEY, process)")
    if len(_processes(connection, "call")) < 2:
        return
    connection.execute(
        "INSERT INTO staging.launcher "
        f"SELECT correlation, min(thread & {PROCESS_MASK}) FROM staging.call "
        "WHERE correlation IS NOT NULL GROUP BY correlation "
        f"HAVING min(thread & {PROCESS_MASK}) = max(thread & {PROCESS_MASK})"
    )
    work = " UNION ALL ".join(f"SELECT device, correlation FROM staging.{t}" for t in GPU_TABLES)
    # SQLite takes the bare column from the row that has the maximum.
    connection.execute(
        "INSERT INTO staging.owner SELECT device, process FROM ("
        "SELECT device, process, max(works) FROM ("
        f"SELECT device, process, count(*) AS works FROM ({work}) "
        "JOIN staging.launcher USING (correlation) GROUP BY device, process) GROUP BY device)"
    )


def _main_process(connection: sqlite3.Connection, staging: Staging) -> int:
    """Return the global id of the process with the most events, else of the one called CPU."""
    for table in ("call", "operator", "annotation"):
        found = _processes(connection, table)
        if found:
            return found[0]
    return HOST | (staging.processes[0] if staging.processes else 0) << ID_BITS


def _processes(connection: sqlite3.Connection, table: str) -> list[int]:
    """Return the processes of the events of a staged table, the busiest first."""
    found = connection.execute(
        f"SELECT thread & {PROCESS_MASK} AS process, count(*) FROM staging.{table} "
        "GROUP BY process ORDER BY 2 DESC, 1"
    )
    return [process for process, _ in found]


def _stage_short_names(connection: sqlite3.Connection, staging: Staging) -> None:
    connection.execute("CREATE TABLE staging.short (name INTEGER PRIMARY KEY, short INTEGER)")
    used = {at for (at,) in connection.execute("SELECT DISTINCT name FROM staging.kernel")}
    kernels = [(name, at) for name, at in staging.names.items() if at in used]
    connection.executemany(
        "INSERT INTO staging.short VALUES (?, ?)",
        [(at, staging.name_id(base_name(name))) for name, at in kernels],
    )


def _operators(connection: sqlite3.Connection, origin: int) -> Iterator[tuple[object, ...]]:
    """Yield the rows of TOOLKIT_OPERATOR: each call with its self time, repeats merged into it."""
    # Here, because a trace of a GPU alone needs no arrays.
    import numpy as np

    from analysis.arithmetic.intervals import merge_repeats

    every = "FROM staging.operator ORDER BY thread, start, stop DESC, rowid"
    calls = connection.execute(f"SELECT start, stop, thread, name {every}")
    self_ns, is_first = merge_repeats(*np.fromiter(calls, np.dtype((np.int64, 4))).T)
    rows = connection.execute(
        "SELECT start - ?, stop - ?, name, thread, sequence, forward_thread, shapes, types, inputs "
        f"{every}",
        (origin, origin),
    )
    for (start_ns, end_ns, *rest), own_ns, kept in zip(rows, self_ns, is_first, strict=True):
        if kept:
            yield start_ns, end_ns, int(own_ns), *rest


def _any(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None
