"""Adds to a tiny report what threads of the host did: samples, system calls, scheduling, Python."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.made.reports.build_device import Adder
from tests.made.reports.build_report import PROCESS, THREAD, global_id, written

DDL: Final = {
    "COMPOSITE_EVENTS": (
        "id INTEGER NOT NULL PRIMARY KEY, start INTEGER NOT NULL, cpu INTEGER, "
        "threadState INTEGER, globalTid INTEGER, cpuCycles INTEGER NOT NULL"
    ),
    "SAMPLING_CALLCHAINS": (
        "id INTEGER NOT NULL, symbol INTEGER NOT NULL, module INTEGER NOT NULL, "
        "kernelMode INTEGER, unresolved INTEGER, stackDepth INTEGER NOT NULL"
    ),
    "SCHED_EVENTS": "start INTEGER NOT NULL, cpu INTEGER, isSchedIn INTEGER, globalTid INTEGER",
    "OSRT_API": (
        'start INTEGER NOT NULL, "end" INTEGER NOT NULL, eventClass INTEGER, globalTid INTEGER, '
        "nameId INTEGER, returnValue INTEGER, nestingLevel INTEGER, callchainId INTEGER"
    ),
    "TOOLKIT_PYTHON": (
        "start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, name_id INTEGER NOT NULL, "
        "global_tid INTEGER NOT NULL"
    ),
}


@dataclass(frozen=True)
class Sample:
    """A CPU sample: the functions of its call chain, the innermost first, all in one module."""

    at: int
    functions: tuple[str, ...]
    module: str = "libpython3.13.so.1.0"
    thread: int = THREAD
    process: int = PROCESS


@dataclass(frozen=True)
class SystemCall:
    """A call of the operating system."""

    name: str
    start: int
    end: int
    thread: int = THREAD
    process: int = PROCESS


@dataclass(frozen=True)
class Running:
    """A stretch in which a CPU ran a thread."""

    start: int
    end: int
    thread: int = THREAD
    process: int = PROCESS


@dataclass(frozen=True)
class Python:
    """A call of a Python function."""

    name: str
    start: int
    end: int
    thread: int = THREAD
    process: int = PROCESS


def add_host(
    path: Path,
    *,
    samples: Iterable[Sample] = (),
    calls: Iterable[SystemCall] = (),
    running: Iterable[Running] = (),
    python: Iterable[Python] = (),
) -> Path:
    """Add rows to a report, and return its path."""
    with written(path) as connection:
        adder = Adder(connection)

        def insert(table: str, *row: object) -> None:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({DDL[table]})")
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)

        for number, sample in enumerate(samples, start=1):
            tid = global_id(sample.process, sample.thread)
            insert("COMPOSITE_EVENTS", number, sample.at, 3, 1, tid, 1)
            module = adder.string(sample.module)
            for depth, function in enumerate(sample.functions):
                row = (number, adder.string(function), module, 0, 0, depth)
                insert("SAMPLING_CALLCHAINS", *row)
        for call in calls:
            tid = global_id(call.process, call.thread)
            name = adder.string(call.name)
            insert("OSRT_API", call.start, call.end, 27, tid, name, 0, 0, None)
        for stretch in running:
            tid = global_id(stretch.process, stretch.thread)
            insert("SCHED_EVENTS", stretch.start, 3, 1, tid)
            insert("SCHED_EVENTS", stretch.end, 3, 0, tid)
        for each in python:
            tid = global_id(each.process, each.thread)
            insert("TOOLKIT_PYTHON", each.start, each.end, adder.string(each.name), tid)
    return path
