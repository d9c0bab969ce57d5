"""The rows of each table that belong to a stretch of a report, as SQL; the columns of string ids.

Work on a device goes with the call that launched it, in its process: a correlation id alone tells
nothing. What no call is recorded for goes by its own time, and so does everything else that has
one. Tables that say what things are (strings, devices, codes, costs by name) are kept whole, and a
table that is not known is cut only where it has times.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from analysis.arithmetic.global_ids import ID_BITS, ID_MASK, PROCESS_MASK
from analysis.show.output import quoted
from analysis.source import device_tables, memory_tables, nvtx_tables, tables
from analysis.trim.windows import ANY, LATEST_NS

STRINGS: Final = "StringIds"
DEVICE_WORK: Final = device_tables.OF_DEVICES
"""What a step has all of or nothing of, by when it was launched, else by when it began."""

WHOLE_TABLES: Final = ("MPI_COMMUNICATORS", "DIAGNOSTIC_EVENT")
WHOLE_PREFIXES: Final = ("ENUM_", "META_DATA_", "TARGET_INFO_", "CUDA_GRAPH_")
"""Definitions and remarks, which have times but hold for all of a recording."""

STATE_TABLES: Final = (memory_tables.NSYS_EVENTS, "CUDA_GPU_MEMORY_POOL_EVENTS")
"""Changes that are added up from the first on: kept from the beginning to the end of the cut."""

MARK_TYPES: Final = ", ".join(map(str, (34, 39, 65)))
RANGE_TYPES: Final = ", ".join(map(str, nvtx_tables.RANGE_TYPES))
EVENT_TYPES: Final = f"{RANGE_TYPES}, {MARK_TYPES}"
"""`NVTX_EVENTS.eventType` of what happens at an instant, and for a while; the rest define names."""

OPEN_END: Final = f'(CASE WHEN coalesce(s."end", -1) = -1 THEN {LATEST_NS} ELSE s."end" END)'
"""When a range ends: one that was never closed lasts (-1 stands for NULL in files of 2019)."""

CALL_STACKS: Final[Mapping[str, tuple[str, str]]] = {
    "CUDA_CALLCHAINS": (tables.RUNTIME, "callchainId"),
    "OSRT_CALLCHAINS": ("OSRT_API", "callchainId"),
    "SAMPLING_CALLCHAINS": ("COMPOSITE_EVENTS", "id"),
}
"""Call stacks, several rows an `id`, and what refers to them whatever the schema says."""

STRING_COLUMNS: Final = re.compile(
    r"(?:demangled|short|mangled|func|kernel|var|provider|task)Name|.*name_?id|.*text_?id"
    r"|.*string_?id|symbol|module|srcFile|CpuInstruction|contentId|description"
    r"|shapes|types|inputs|(?:type|group|ranks)_id",
    re.IGNORECASE,
)
"""Columns of numbers that refer to strings, by their names in all schemas up to 2026."""

KNOWN_TABLES: Final = re.compile(
    r"(?:ENUM|META|EXPORT_META|TARGET_INFO|NVTX|CUPTI|CUDA|CUDNN|CUBLAS|TOOLKIT|OSRT|MPI|UCP"
    r"|OPENGL|OPENMP|VULKAN|DX12|WDDM|ETW|GENERIC|GPU|PROFILER|SCHED|COMPOSITE|SAMPLING|ANALYSIS)_"
    r".*|ThreadNames|ProcessStreams|PROCESSES|UnwindMethodType"
)
"""Tables whose references have the names above, where the schema itself does not say."""


@dataclass(frozen=True)
class SourceTable:
    """One table of the report that is trimmed.

    Attributes:
        name: its name.
        sql: how it was made, with the exporter's comments on its columns.
        columns: the declared type of each column, upper case.
    """

    name: str
    sql: str
    columns: Mapping[str, str]

    @property
    def quoted(self) -> str:
        """Its name in SQL."""
        return quoted(self.name)

    @property
    def has_row_ids(self) -> bool:
        """Whether its rows have numbers by which they can be copied in pieces."""
        return "WITHOUT" not in self.sql.rpartition(")")[2].upper()

    def first(self, *names: str) -> str | None:
        """Return the first of some columns that the table has."""
        return next((name for name in names if name in self.columns), None)

    def commented(self, pattern: str) -> set[str]:
        """Return the columns whose line in the schema holds a pattern."""
        lines = re.findall(rf'^\s*"?(\w+)"?\s[^\n]*{pattern}', self.sql, re.MULTILINE)
        return set(lines) & set(self.columns)

    @property
    def references(self) -> list[str]:
        """The columns that refer to strings; of an unknown table all that hold whole numbers."""
        declared = self.commented(r"\bStringIds?\b")
        certain = (
            bool(declared) or "--" in self.sql or KNOWN_TABLES.fullmatch(self.name) is not None
        )
        return [
            name
            for name, kind in self.columns.items()
            if self.name != STRINGS
            and not re.search("TEXT|CHAR|CLOB|REAL|FLOA|DOUB", kind)
            and (name in declared or not certain or STRING_COLUMNS.fullmatch(name))
        ]


@dataclass(frozen=True)
class KeptRows:
    """The conditions on the rows to keep, as SQL on a table `s` with the notes in `cut`.

    Attributes:
        for_all: the stretches hold for every process.
        operators: ``(domain, process)`` of NVTX domains whose ranges are CPU operators.
        cpu_run: whether operators are the work.
    """

    for_all: bool
    operators: Sequence[tuple[int, int]] = ()
    cpu_run: bool = False

    def condition(self, source: SourceTable) -> str | None:
        """Return SQL that holds of the rows to keep of a table, None for all of them."""
        if source.name in WHOLE_TABLES or source.name.startswith(WHOLE_PREFIXES):
            return None
        if source.name == memory_tables.ALLOCATOR:
            return self.memory(source)
        if source.name == tables.NVTX:
            return self.nvtx(source)
        if source.name == tables.OPERATOR and self.cpu_run:
            return self.at("s.start_ns", source)
        own = self.own(source)
        if not self.calls(source):
            return own
        launched = self.at("c.start", source)
        return f"CASE WHEN c.start IS NOT NULL THEN {launched} ELSE {own or '1'} END"

    def calls(self, source: SourceTable) -> str:
        """Return SQL that joins, as `c`, the CUDA call that launched a row; "" of other tables."""
        process = source.first("globalPid", "globalTid")
        launched = source.name.startswith(tables.ACTIVITY) and source.name != tables.RUNTIME
        if not launched or process is None or "correlationId" not in source.columns:
            return ""
        return (
            f' LEFT JOIN cut.calls c ON c.process = s."{process}" & {PROCESS_MASK} '
            "AND c.correlation = s.correlationId"
        )

    def reaching(self, source: SourceTable) -> str:
        """Return SQL that holds of NVTX ranges which reach beyond the stretch they are in."""
        end = (
            f'(SELECT w."end" FROM cut.windows w WHERE w.process = {self.process(source)} '
            "AND w.start <= s.start ORDER BY w.start DESC LIMIT 1)"
        )
        return f"s.eventType IN ({RANGE_TYPES}) AND coalesce({end}, -1) < {OPEN_END}"

    def own(self, source: SourceTable) -> str | None:
        """Return the condition on rows by their own time, None where the table has none."""
        start, end = source.first("start", "start_ns"), source.first("end", "end_ns")
        if source.name in STATE_TABLES and start:
            process = self.process(source)
            return (
                f's."{start}" < (SELECT max(w."end") FROM cut.windows w '
                f"WHERE w.process = {process})"
            )
        if start and end and source.name not in DEVICE_WORK:
            return self.overlaps(f's."{start}"', f'coalesce(s."{end}", s."{start}")', source)
        if start and re.search("INT|^$", source.columns[start]):
            return self.at(f's."{start}"', source)
        if instant := source.first("timestamp", "time_ns"):
            # 0 is what CUDA events have whose time was not asked for.
            column = f's."{instant}"'
            return f"(coalesce({column}, 0) = 0 OR {self.at(column, source)})"
        return None

    def nvtx(self, source: SourceTable) -> str | None:
        """Return the condition on NVTX events: ranges, marks, and definitions of names."""
        if not {"start", "end", "eventType"} <= set(source.columns):
            return None
        reach = self.overlaps("s.start", OPEN_END, source)
        begun = self.at("s.start", source)
        if "globalTid" in source.columns:
            process = f"((s.globalTid >> {ID_BITS}) & {ID_MASK})"
            reach += (
                f" AND ({begun} OR NOT EXISTS (SELECT 1 FROM cut.strays x WHERE x.start = s.start "
                f'AND x.process = {process} AND x."end" = {OPEN_END}))'
            )
            for domain, owner in self.operators if self.cpu_run else ():
                mine = f"coalesce(s.domainId, -1) = {domain} AND {process} = {owner}"
                reach = f"CASE WHEN {mine} THEN {begun} ELSE {reach} END"
        return (
            f"CASE WHEN s.eventType IN ({RANGE_TYPES}) THEN {reach} "
            f"WHEN s.eventType IN ({MARK_TYPES}) THEN {begun} ELSE 1 END"
        )

    def memory(self, source: SourceTable) -> str:
        """Return the condition on changes of memory, all from the first stretch to the last.

        Of what came before, what took the blocks that are still held is kept, and the last change.
        """
        process = self.process(source)
        return (
            f"(s.time_ns >= (SELECT min(w.start) FROM cut.windows w WHERE w.process = {process}) "
            f'AND s.time_ns < (SELECT max(w."end") FROM cut.windows w WHERE w.process = {process})'
            ") OR s._rowid_ IN (SELECT h.id FROM cut.held h)"
        )

    def process(self, source: SourceTable) -> str:
        """Return SQL of the process of a row, `ANY` where it has none."""
        column = source.first("globalTid", "globalPid", "global_tid")
        if column is None or self.for_all:
            return str(ANY)
        return f'coalesce((s."{column}" >> {ID_BITS}) & {ID_MASK}, {ANY})'

    def at(self, instant: str, source: SourceTable) -> str:
        """Return SQL for whether an instant lies in a stretch."""
        return in_last_window(f"w.start <= {instant}", self.process(source), instant)

    def overlaps(self, start: str, end: str, source: SourceTable) -> str:
        """Return SQL for whether something goes on during a stretch, its very end left out."""
        last = f"w.start < max({end}, {start} + 1)"
        return in_last_window(last, self.process(source), start)


def in_last_window(begun: str, process: str, instant: str) -> str:
    """Return SQL for whether the last stretch that had begun lasts beyond an instant."""
    return (
        f'coalesce((SELECT w."end" FROM cut.windows w WHERE w.process = {process} AND {begun} '
        f"ORDER BY w.start DESC LIMIT 1) > {instant}, 0)"
    )


def stack_references(chain: str, sources: Iterable[SourceTable]) -> list[tuple[str, str]]:
    """Return ``(table, column)`` of all columns that refer to the call stacks of a table."""
    found = {
        (source.name, column)
        for source in sources
        for column in source.commented(rf"\bREFERENCES {chain}\b")
    }
    there = {(source.name, column) for source in sources for column in source.columns}
    return sorted(found | ({CALL_STACKS[chain]} & there))


def source_tables(
    connection: sqlite3.Connection,
) -> tuple[list[SourceTable], list[str], list[str]]:
    """Return the tables of a report, the SQL of its indexes and views, and the names left out.

    Left out are tables that another one keeps its content in (full-text search and the like), and
    SQLite's own.
    """
    listed = connection.execute(
        "SELECT type, name, tbl_name, sql FROM given.sqlite_master "
        "WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
    ).fetchall()
    virtual = [name for _, name, _, sql in listed if sql.upper().startswith("CREATE VIRTUAL")]
    left_out = [
        name
        for kind, name, _, _ in listed
        if kind == "table"
        and (name in virtual or any(name.startswith(f"{each}_") for each in virtual))
    ]
    sources = [
        SourceTable(name, sql, writable_columns(connection, name))
        for kind, name, _, sql in listed
        if kind == "table" and name not in left_out
    ]
    later = [
        sql for kind, _, table, sql in listed if kind in ("index", "view") and table not in left_out
    ]
    left_out += [name for kind, name, _, _ in listed if kind == "trigger"]
    return sources, later, left_out


def writable_columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return the declared type, in upper case, of each column of a table that can be written."""
    found = connection.execute("SELECT name, type FROM pragma_table_info(?, 'given')", (table,))
    return {name: (kind or "").upper() for name, kind in found}
