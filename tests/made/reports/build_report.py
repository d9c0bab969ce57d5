"""Tiny reports in the schema of ``nsys export`` 2023.4, with times one can add up by eye.

Like nsys, a table is made only where it has rows. Names become `StringIds` as they are met.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROCESS: Final = 100
THREAD: Final = 100
LAUNCH_NS: Final = 1


@dataclass(frozen=True)
class Kernel:
    """A kernel, and the launch that began at ``launch`` and took 1 ns (None: not recorded).

    Its correlation id is its number among the kernels, from 1, unless one is given.
    """

    name: str | bytes
    start: int
    end: int
    device: int = 0
    process: int = PROCESS
    launch: int | None = None
    thread: int = THREAD
    stream: int = 7
    correlation: int | None = None


@dataclass(frozen=True)
class Call:
    """A CUDA call."""

    name: str
    start: int
    end: int
    correlation: int
    thread: int = THREAD
    process: int = PROCESS


@dataclass(frozen=True)
class Memory:
    """A copy of a kind (1: to the device), or a set where that is None."""

    start: int
    end: int
    bytes: int
    correlation: int
    kind: int | None = 1
    process: int = PROCESS


@dataclass(frozen=True)
class Graph:
    """One replay of a CUDA graph that was recorded as a whole."""

    number: int
    start: int
    end: int
    device: int = 0
    process: int = PROCESS


@dataclass(frozen=True)
class Range:
    """An NVTX range; ``registered`` puts the name into `StringIds`, None leaves it unnamed."""

    name: str | bytes | None
    start: int
    end: int | None
    thread: int = THREAD
    process: int = PROCESS
    domain: str = ""
    registered: bool = False
    kind: int = 59
    payload: int | None = None
    end_thread: int | None = None


@dataclass(frozen=True)
class Operator:
    """A row of TOOLKIT_OPERATOR."""

    name: str
    start: int
    end: int
    self_ns: int
    thread: int = THREAD
    process: int = PROCESS
    sequence: int | None = None
    forward_thread: int | None = None
    shapes: str | None = None
    types: str | None = None
    inputs: str | None = None


DDL: Final = {
    "StringIds": "id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL",
    "META_DATA_EXPORT": "name TEXT NOT NULL, value TEXT",
    "TOOLKIT_RUN": "key TEXT NOT NULL PRIMARY KEY, value TEXT",
    "TARGET_INFO_GPU": "id INTEGER, name TEXT, totalMemory INTEGER, cuDevice INTEGER",
    "CUPTI_ACTIVITY_KIND_KERNEL": (
        'start INTEGER NOT NULL, "end" INTEGER NOT NULL, deviceId INTEGER, streamId INTEGER, '
        "correlationId INTEGER, globalPid INTEGER, demangledName INTEGER, shortName INTEGER, "
        "mangledName INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_RUNTIME": (
        'start INTEGER NOT NULL, "end" INTEGER NOT NULL, eventClass INTEGER, globalTid INTEGER, '
        "correlationId INTEGER, nameId INTEGER, returnValue INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_MEMCPY": (
        'start INTEGER NOT NULL, "end" INTEGER NOT NULL, deviceId INTEGER, correlationId INTEGER, '
        "globalPid INTEGER, bytes INTEGER, copyKind INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_MEMSET": (
        'start INTEGER NOT NULL, "end" INTEGER NOT NULL, deviceId INTEGER, correlationId INTEGER, '
        "globalPid INTEGER, bytes INTEGER"
    ),
    "ENUM_CUDA_MEMCPY_OPER": "id INTEGER NOT NULL PRIMARY KEY, name TEXT, label TEXT",
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": (
        'start INTEGER NOT NULL, "end" INTEGER NOT NULL, deviceId INTEGER, globalPid INTEGER, '
        "graphId INTEGER, graphExecId INTEGER"
    ),
    "NVTX_EVENTS": (
        'start INTEGER NOT NULL, "end" INTEGER, eventType INTEGER, text TEXT, globalTid INTEGER, '
        "endGlobalTid INTEGER, textId INTEGER, domainId INTEGER, uint64Value INTEGER, "
        "int64Value INTEGER"
    ),
    "ThreadNames": "nameId INTEGER NOT NULL, priority INTEGER, globalTid INTEGER",
    "TOOLKIT_OPERATOR": (
        "start_ns INTEGER, end_ns INTEGER, self_ns INTEGER, name_id INTEGER, global_tid INTEGER, "
        "sequence INTEGER, forward_thread INTEGER, shapes INTEGER, types INTEGER, inputs INTEGER"
    ),
}


def global_id(process: int, thread: int = 0) -> int:
    """Return nsys's 64-bit id: 24 bits of process and 24 of thread."""
    return process << 24 | thread


@contextmanager
def written(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that writes to a report, without waiting for the disk."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")
        yield connection


class Builder:
    """Collects rows, and writes the tables that have some."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[object, ...]]] = {}
        self.strings: dict[str | bytes, int] = {}
        self.domains: dict[tuple[str, int], int] = {}

    def add(self, table: str, *row: object) -> None:
        """Add a row with a value for every column."""
        self.rows.setdefault(table, []).append(row)

    def string(self, text: str | bytes) -> int:
        """Return the id of a string."""
        return self.strings.setdefault(text, len(self.strings) + 1)

    def kernel(self, kernel: Kernel, correlation: int) -> None:
        """Add a kernel and its launch."""
        if kernel.correlation is not None:
            correlation = kernel.correlation
        name = self.string(kernel.name)
        pid = global_id(kernel.process)
        self.add(
            "CUPTI_ACTIVITY_KIND_KERNEL",
            *(kernel.start, kernel.end, kernel.device, kernel.stream, correlation, pid),
            *(name, name, None),
        )
        if kernel.launch is not None:
            tid = global_id(kernel.process, kernel.thread)
            call = self.string("cudaLaunchKernel_v7000")
            times = (kernel.launch, kernel.launch + LAUNCH_NS)
            self.add("CUPTI_ACTIVITY_KIND_RUNTIME", *times, 0, tid, correlation, call, 0)

    def call(self, call: Call) -> None:
        """Add a CUDA call."""
        tid = global_id(call.process, call.thread)
        row = (call.start, call.end, 0, tid, call.correlation, self.string(call.name), 0)
        self.add("CUPTI_ACTIVITY_KIND_RUNTIME", *row)

    def memory(self, one: Memory) -> None:
        """Add a copy or a set."""
        row = (one.start, one.end, 0, one.correlation, global_id(one.process), one.bytes)
        if one.kind is None:
            self.add("CUPTI_ACTIVITY_KIND_MEMSET", *row)
            return
        if "ENUM_CUDA_MEMCPY_OPER" not in self.rows:
            self.add("ENUM_CUDA_MEMCPY_OPER", 1, "CUDA_MEMCPY_KIND_HTOD", "Host-to-Device")
            self.add("ENUM_CUDA_MEMCPY_OPER", 2, "CUDA_MEMCPY_KIND_DTOH", "Device-to-Host")
        self.add("CUPTI_ACTIVITY_KIND_MEMCPY", *row, one.kind)

    def range(self, span: Range) -> None:
        """Add a range, and its domain when that is met for the first time."""
        tid = global_id(span.process, span.thread)
        domain = 0
        if span.domain:
            key = (span.domain, span.process)
            if key not in self.domains:
                self.domains[key] = len(self.domains) + 1
                made = (0, None, 75, span.domain, tid, None, None, self.domains[key], None, None)
                self.add("NVTX_EVENTS", *made)
            domain = self.domains[key]
        text_id = self.string(span.name) if span.registered and span.name is not None else None
        text = None if span.registered else span.name
        times = (span.start, span.end, span.kind)
        ended = None if span.end_thread is None else global_id(span.process, span.end_thread)
        self.add("NVTX_EVENTS", *times, text, tid, ended, text_id, domain, None, span.payload)

    def write(self, path: Path) -> None:
        """Write everything to a new file."""
        for text, number in self.strings.items():
            self.add("StringIds", number, text)
        with written(path) as connection:
            for table in ("StringIds", *self.rows):
                connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({DDL[table]})")
            for table, rows in self.rows.items():
                marks = ", ".join("?" * len(rows[0]))
                # Bytes that are no UTF-8 can only be stored as text by a cast.
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
            for table, column in (("StringIds", "value"), ("NVTX_EVENTS", "text")):
                if table in self.rows:
                    connection.execute(f"UPDATE {table} SET {column} = CAST({column} AS TEXT)")


def make_report(
    path: Path,
    *,
    kernels: Iterable[Kernel] = (),
    graphs: Iterable[Graph] = (),
    calls: Iterable[Call] = (),
    memory: Iterable[Memory] = (),
    ranges: Iterable[Range] = (),
    operators: Iterable[Operator] = (),
    gpus: Iterable[str] = (),
    threads: Mapping[int, str] | None = None,
    run: Mapping[str, str] | None = None,
    product: str = "NVIDIA Nsight Systems",
) -> Path:
    """Write a report and return its path."""
    builder = Builder()
    for correlation, kernel in enumerate(kernels, start=1):
        builder.kernel(kernel, correlation)
    for graph in graphs:
        device = (graph.device, global_id(graph.process))
        row = (graph.start, graph.end, *device, graph.number, graph.number)
        builder.add("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", *row)
    for call in calls:
        builder.call(call)
    for one in memory:
        builder.memory(one)
    for span in ranges:
        builder.range(span)
    for operator in operators:
        tid = global_id(operator.process, operator.thread)
        times = (operator.start, operator.end, operator.self_ns)
        text = builder.string(operator.name)
        node = (operator.sequence, operator.forward_thread)
        told = (operator.shapes, operator.types, operator.inputs)
        texts = [None if each is None else builder.string(each) for each in told]
        builder.add("TOOLKIT_OPERATOR", *times, text, tid, *node, *texts)
    for thread, name in (threads or {}).items():
        builder.add("ThreadNames", builder.string(name), 0, global_id(PROCESS, thread))
    for number, name in enumerate(gpus):
        builder.add("TARGET_INFO_GPU", number, name, 80 << 30, number)
    for key, value in (run or {}).items():
        builder.add("TOOLKIT_RUN", key, value)
    builder.add("META_DATA_EXPORT", "EXPORT_PRODUCT_NAME", product)
    builder.add("META_DATA_EXPORT", "EXPORT_PRODUCT_VERSION", "2023.4.4.54")
    builder.write(path)
    return path
