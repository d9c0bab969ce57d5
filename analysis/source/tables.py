"""The tables of a report, as arrays: with the modules below, what knows their names and holds SQL.

They are `operator_tables`, `device_tables` and `analysis.nvidia.tables`. Tables and
columns come and go between versions of nsys, and a table without rows is left out; so every
function here looks first at what there is. All times are integer nanoseconds from the start of
the recording. Numbers that are missing are `MISSING`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic import global_ids
from analysis.arithmetic.arrays import Int64, coded
from analysis.arithmetic.row_order import in_order
from analysis.source.database import NUMBERED

if TYPE_CHECKING:
    from analysis.source.database import Array, Columns
    from analysis.source.open_report import OpenReport

MISSING: Final = -1
ACTIVITY: Final = "CUPTI_ACTIVITY_KIND_"
"""How the names of CUDA's tables begin: their correlation ids are those of the CUDA calls."""

KERNEL: Final = f"{ACTIVITY}KERNEL"
GRAPH: Final = f"{ACTIVITY}GRAPH_TRACE"
RUNTIME: Final = f"{ACTIVITY}RUNTIME"
NVTX: Final = "NVTX_EVENTS"
OPERATOR: Final = "TOOLKIT_OPERATOR"
RANGE_COST: Final = "TOOLKIT_RANGE_COST"

PUSH_POP: Final = 59
START_END: Final = 60
DOMAIN_CREATE: Final = 75
"""`NVTX_EVENTS.eventType` (its names are in ENUM_NSYS_EVENT_TYPE of newer exports)."""

MOST_COST: Final = 1 << 56
"""FLOPs, bytes or elements of one range: more is no such figure, and sums of it would be none."""

IDS_A_QUERY: Final = 5000


def first(report: OpenReport, table: str, *columns: str) -> str:
    """Return SQL for the first of these columns that there is and is not NULL, else MISSING."""
    there = [f'"{column}"' for column in columns if report.has(table, column)]
    return f"coalesce({', '.join([*there, str(MISSING)])})" if there else str(MISSING)


def count(report: OpenReport, table: str) -> int:
    """Return how many rows a table has; 0 where there is no such table."""
    if not report.has(table):
        return 0
    return int(report.columns(f"SELECT count(*) AS n FROM {table}")["n"][0])


def is_empty(report: OpenReport, table: str) -> bool:
    """Return whether a table has no row, or is not there."""
    return not report.has(table) or not len(
        report.columns(f"SELECT 1 AS there FROM {table} LIMIT 1")["there"]
    )


def thread_names(report: OpenReport) -> list[tuple[int, str]]:
    """Return the global id and the name of threads, in the order in which they were named.

    The ids of strings grow as a recording comes upon them, so the order is that of the names' ids.
    """
    if not report.has("ThreadNames", "nameId", "globalTid"):
        return []
    rows = report.columns(
        f"SELECT {first(report, 'ThreadNames', 'nameId')} AS name_id, "
        f"{first(report, 'ThreadNames', 'globalTid')} AS thread FROM ThreadNames"
    )
    rows = in_order(rows, "name_id", "thread")
    known = strings(report, np.unique(rows["name_id"]).tolist())
    pairs = zip(rows["thread"].tolist(), rows["name_id"].tolist(), strict=True)
    return [(thread, known[number]) for thread, number in pairs]


def named_threads(report: OpenReport, wanted: re.Pattern[str]) -> Int64:
    """Return the global ids of threads that ever had a name that matches as a whole."""
    named_so = [thread for thread, name in thread_names(report) if wanted.fullmatch(name)]
    return np.unique(np.array(named_so, np.int64))


def range_bytes(report: OpenReport) -> dict[tuple[str, int], int]:
    """Return the least bytes a range must move, by its name and FLOPs, where it is known."""
    return _costs(report, "bytes")


def range_elements(report: OpenReport) -> dict[tuple[str, int], int]:
    """Return how many numbers a range yields, by its name and FLOPs, where it is known."""
    return _costs(report, "elements")


def _costs(report: OpenReport, what: str) -> dict[tuple[str, int], int]:
    if not report.has(RANGE_COST, "name", "flops", what):
        return {}
    found = report.columns(
        f"SELECT cast(name AS text) AS name, flops, {what} AS cost FROM {RANGE_COST} "
        f"WHERE name IS NOT NULL AND flops IS NOT NULL AND {what} IS NOT NULL ORDER BY 1, 2, 3",
        text=("name",),
    )
    rows = zip(*(column.tolist() for column in found.values()), strict=True)
    return {(name, flops): cost for name, flops, cost in rows if 0 <= cost <= MOST_COST}


def process_of(report: OpenReport, table: str, column: str = "globalPid") -> str:
    """Return SQL for the process id, bits 24 to 47 of a global id; MISSING without the column."""
    if not report.has(table, column):
        return str(MISSING)
    return f"(({first(report, table, column)} >> 24) & 16777215)"


def devices(report: OpenReport) -> list[int]:
    """Return the CUDA ordinals that kernels or graphs ran on, ascending."""
    return distinct(report, {table: first(report, table, "deviceId") for table in (KERNEL, GRAPH)})


def processes(report: OpenReport) -> list[int]:
    """Return the ids of the processes that launched kernels or graphs, ascending."""
    found = distinct(
        report, {table: first(report, table, "globalPid") for table in (KERNEL, GRAPH)}
    )
    return sorted({global_ids.process_of(number) for number in found})


def distinct(report: OpenReport, wanted: Mapping[str, str]) -> list[int]:
    """Return the distinct values, but for MISSING, of an SQL expression a table, ascending."""
    found: set[int] = set()
    for table, sql in wanted.items():
        if report.has(table):
            found.update(report.columns(f"SELECT DISTINCT {sql} AS v FROM {table}")["v"].tolist())
    return sorted(found - {MISSING})


def strings(report: OpenReport, ids: Iterable[int]) -> dict[int, str]:
    """Return the text of these string ids, and of no others; one that is not there is named so."""
    wanted = sorted({int(number) for number in ids})
    return {number: f"[no string {number}]" for number in wanted} | known_strings(report, wanted)


def known_strings(report: OpenReport, ids: Iterable[int]) -> dict[int, str]:
    """Return the text of those of these string ids that there are."""
    wanted = sorted({int(number) for number in ids})
    report.database.check_held(len(wanted), "different names", NUMBERED)
    found: dict[int, str] = {}
    for begin in range(
        0, len(wanted) if report.has("StringIds", "id", "value") else 0, IDS_A_QUERY
    ):
        listed = ", ".join(map(str, wanted[begin : begin + IDS_A_QUERY]))
        part = report.columns(
            "SELECT id, cast(coalesce(value, '') AS text) AS value "
            f"FROM StringIds WHERE id IN ({listed})",
            text=("value",),
        )
        found.update(zip(part["id"].tolist(), part["value"].tolist(), strict=True))
    return found


def has_string(report: OpenReport, globs: Iterable[str]) -> bool:
    """Return whether any string of a report fits one of some patterns, which hold no quote."""
    if not report.has("StringIds", "value"):
        return False
    fits = " OR ".join(f"value GLOB '{glob}'" for glob in globs)
    found = report.columns(f"SELECT 1 AS there FROM StringIds WHERE {fits} LIMIT 1")
    return len(found["there"]) > 0


def named(report: OpenReport, ids: Int64) -> tuple[list[str], Int64]:
    """Return the distinct names of these string ids, and for each id its name's position.

    Args:
        report: where the strings are.
        ids: ``(N,)``.

    Returns:
        ``(K,)`` distinct names, ascending, and ``(N,)`` positions in it.
    """
    ordered, inverse = compact(ids)
    texts = strings(report, ordered.tolist())
    names, place = coded(texts[number] for number in ordered.tolist())
    return names, place[inverse]


def compact(ids: Int64) -> tuple[Int64, Int64]:
    """Return `numpy.unique` with the inverse, without its sort where the ids are few and small.

    >>> [part.tolist() for part in compact(np.array([7, 3, 7]))]
    [[3, 7], [1, 0, 1]]
    """
    if not len(ids) or int(ids.min()) < 0 or int(ids.max()) > 4 * len(ids) + (1 << 20):
        unique, inverse = np.unique(ids, return_inverse=True)
        return unique, inverse.astype(np.int64)
    there = np.zeros(int(ids.max()) + 1, np.bool_)
    there[ids] = True
    return np.flatnonzero(there).astype(np.int64), (np.cumsum(there, dtype=np.int64) - 1)[ids]


def name_sql(report: OpenReport) -> tuple[str, str]:
    """Return SQL for the string id and for the text of a row of `NVTX`; the id wins."""
    there = report.has(NVTX, "text")
    text = "cast(coalesce(text, '') AS text)" if there else "cast('' AS text)"
    return first(report, NVTX, "textId"), text


def texts_of(report: OpenReport, events: Columns) -> Array:
    """Return the name of each event: its registered string where it has one, else its text."""
    texts = events["text"].copy()
    registered = events["name_id"] != MISSING
    if registered.any():
        known = strings(report, np.unique(events["name_id"][registered]).tolist())
        texts[registered] = [known[number] for number in events["name_id"][registered].tolist()]
    return texts


def has_range(report: OpenReport, wanted: Iterable[str], like: Iterable[str] = ()) -> bool:
    """Return whether an NVTX event has one of these names, without reading them all.

    Args:
        report: where to look.
        wanted: names.
        like: globs of further ones.
    """
    if not report.has(NVTX, "eventType"):
        return False
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in wanted)

    def test(column: str) -> str:
        globs = (f"{column} GLOB '{glob}'" for glob in like)
        return " OR ".join((f"{column} IN ({listed})", *globs))

    tests = [test("text")] if report.has(NVTX, "text") else []
    if report.has(NVTX, "textId") and report.has("StringIds", "id", "value"):
        ids = report.columns(f"SELECT id FROM StringIds WHERE {test('value')}")["id"]
        tests += [f"textId IN ({', '.join(map(str, ids.tolist()))})"] if len(ids) else []
    if not tests:
        return False
    sql = f"SELECT 1 AS there FROM {NVTX} WHERE {' OR '.join(tests)} LIMIT 1"
    return len(report.columns(sql)["there"]) > 0
