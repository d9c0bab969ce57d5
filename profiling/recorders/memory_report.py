"""Memory in a report: TOOLKIT_MEMORY and TOOLKIT_RANGE_MEMORY, written by the launcher."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from analysis.source.trace import schema
from profiling.recorders.memory_samples import EVENTS

Note = dict[str, Any]
Row = tuple[object, ...]

_RANGES = (
    'SELECT n.start, n."end", n.globalTid FROM NVTX_EVENTS n '
    "LEFT JOIN StringIds s ON s.id = n.textId "
    f"WHERE n.eventType = {schema.PUSH_POP} AND coalesce(s.value, n.text) = ? "
    "AND n.globalTid & 0xFFFFFF = ? AND coalesce(n.domainId, 0) = 0 ORDER BY n.start"
)


def add_memory(
    report: Path, note: Note, ranges: Sequence[Sequence[object]]
) -> tuple[Note, dict[str, int]]:
    """Add the memory that the recorded process noted to its report.

    Args:
        report: the converted trace, or the export of nsys.
        note: what `profiling.recorders.memory_samples` left.
        ranges: rows of TOOLKIT_RANGE_MEMORY.

    Returns:
        Facts for TOOLKIT_RUN, and how many samples had no range of theirs in the report, by name.
    """
    lost: dict[str, int] = {}
    facts: Note = {"memory_source": note["source"]}
    with closing(sqlite3.connect(report)) as connection, connection:
        if note["source"] == EVENTS:
            facts["memory_base_bytes"] = note["base_bytes"]
            schema.create(connection, "TOOLKIT_MEMORY")  # a run may take none
            connection.execute(
                "UPDATE TOOLKIT_MEMORY SET allocated_bytes = allocated_bytes + :base, "
                "peak_bytes = peak_bytes + :base WHERE device = -1",
                {"base": note["base_bytes"]},
            )
        else:
            found = sorted(_borders(connection, note["borders"], lost))
            rows = _rows(found, note["device"])
            schema.insert(connection, "TOOLKIT_MEMORY", rows)
        if ranges:
            schema.insert(connection, "TOOLKIT_RANGE_MEMORY", ranges)
    return facts, lost


def _borders(
    connection: sqlite3.Connection, borders: Sequence[Any], lost: dict[str, int]
) -> Iterator[tuple[int, int, int, int | None, int]]:
    """Yield time, thread and sample of every border whose range is in the report.

    The k-th range of a thread and name in the report is the k-th that was pushed there, if there
    are as many.
    """
    for thread, name, pushed in borders:
        found = connection.execute(_RANGES, (name, thread)).fetchall()
        if len(found) != len(pushed):
            lost[name] = lost.get(name, 0) + len(pushed)
            continue
        for (start_ns, end_ns, global_tid), samples in zip(found, pushed, strict=True):
            times = (start_ns, end_ns)[: len(samples)]  # a range may be open at the end
            for time_ns, sample in zip(times, samples, strict=True):
                if time_ns is not None:
                    yield time_ns, global_tid, *sample


def _rows(found: Sequence[tuple[int, int, int, int | None, int]], device: int) -> Iterator[Row]:
    before: dict[int, int] = defaultdict(int)
    if found:
        before[device] = found[0][2]
    for time_ns, thread, allocated, reserved, peak in found:
        delta = allocated - before[device]
        before[device] = allocated
        yield time_ns, device, thread, None, delta, allocated, reserved, peak
