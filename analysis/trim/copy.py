"""The rows of a report that are kept, copied into a new file in SQL, a piece at a time.

Nothing is held in memory, so a report may be larger than that; what is written down on the way (the
first call of each correlation id, the stretches, the strings in use) lies in a file of its own. How
many steps fit into a file of some size is found by writing it: by the space that steps took so far,
then half-way between what fits and what does not.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from analysis.arithmetic.global_ids import PROCESS_MASK
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.show.output import quoted
from analysis.show.progress import Bar
from analysis.source import device_tables, memory_tables, operator_tables, tables
from analysis.source.report_metadata import RUN_TABLE
from analysis.trim.as_sqlite import sqlite_uri
from analysis.trim.disk_folder import disk_folder
from analysis.trim.rules import (
    CALL_STACKS,
    DEVICE_WORK,
    EVENT_TYPES,
    STRINGS,
    KeptRows,
    SourceTable,
    source_tables,
    stack_references,
)
from analysis.trim.windows import ANY, LATEST_NS, Windows

if TYPE_CHECKING:
    from analysis.source.report import Report

PIECE_ROWS: Final = 100_000
"""Rows between two looks at the keyboard and at the size."""


class TooLarge(Exception):
    """The trimmed file grew beyond the size that is allowed."""


@dataclass
class TrimmedFile:
    """The figures of one trimmed file: rows kept, rows there were, sizes.

    Attributes:
        rows: of each table, how many are kept and how many there were.
        size_bytes: of the file.
        before_bytes: of what it was cut from, as SQLite.
        reaching: ranges that begin before or end after what is kept.
        without_call: kernels, copies and the like that no recorded call launched.
        recorded: rows of what belongs to a stretch: no strings, devices, codes, …
    """

    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    size_bytes: int = 0
    before_bytes: int = 0
    reaching: int = 0
    without_call: int = 0
    recorded: int = 0

    @property
    def kept(self) -> int:
        """How many rows are kept, of all tables."""
        return sum(kept for kept, _ in self.rows.values())

    @property
    def total(self) -> int:
        """How many rows the report has, of all tables."""
        return sum(total for _, total in self.rows.values())


class Trimmer:
    """A report that is cut, once or several times.

    Attributes:
        left_out: tables that cannot be copied row by row, and are not.
    """

    def __init__(self, report: Report, folder: Path) -> None:
        self.report = report
        self.notes = folder / "notes.sqlite"
        self.uri = sqlite_uri(report, folder)
        self.cut = KeptRows(
            for_all=False,
            operators=operator_tables.operator_domains(report),
            cpu_run=device_tables.are_empty(report, (tables.KERNEL, tables.GRAPH)),
        )
        with closing(self._connected("file::memory:")) as connection:
            self.page_bytes = number(connection, "PRAGMA given.page_size")
            self.size_bytes = self.page_bytes * number(connection, "PRAGMA given.page_count")
            self.sources, self.indexes, self.left_out = source_tables(connection)
            self.counts = {
                source.name: number(connection, f"SELECT count(*) FROM given.{source.quoted}")
                for source in self.sources
            }
            self._calls(connection)

    @classmethod
    @contextmanager
    def of(cls, report: Report) -> Iterator[Self]:
        """Yield what cuts a report; its notes go when it ends.

        Args:
            report: what to cut; it is only read.
        """
        with tempfile.TemporaryDirectory(prefix="trim-", dir=disk_folder()) as folder:
            yield cls(report, Path(folder))

    def _connected(self, uri: str) -> sqlite3.Connection:
        """Return a connection to a new file, with the report and the notes attached to it."""
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        connection.execute("PRAGMA temp_store = FILE")
        for name, place in (("given", self.uri), ("cut", self.notes.as_uri())):
            connection.execute(f"ATTACH ? AS {name}", (place,))
        # No file has to survive a crash: the last one is given its name when it is complete.
        for name in ("main", "cut"):
            connection.execute(f"PRAGMA {name}.journal_mode = OFF")
            connection.execute(f"PRAGMA {name}.synchronous = OFF")
        return connection

    def _calls(self, connection: sqlite3.Connection) -> None:
        """Write down when each correlation id of each process was first called."""
        connection.execute(
            "CREATE TABLE cut.calls (process INTEGER, correlation INTEGER, start INTEGER, "
            "PRIMARY KEY (process, correlation)) WITHOUT ROWID"
        )
        source = next((each for each in self.sources if each.name == tables.RUNTIME), None)
        wanted = {"start", "globalTid", "correlationId"}
        if source is None or not wanted <= set(source.columns):
            return
        for condition in self._pieces(connection, source):
            connection.execute(
                f"INSERT INTO cut.calls SELECT s.globalTid & {PROCESS_MASK}, s.correlationId, "
                f"s.start FROM given.{tables.RUNTIME} s NOT INDEXED WHERE s.globalTid IS NOT NULL "
                f"AND s.correlationId IS NOT NULL AND {condition} "
                "ON CONFLICT DO UPDATE SET start = min(start, excluded.start)"
            )

    def _pieces(self, connection: sqlite3.Connection, source: SourceTable) -> Iterator[str]:
        """Yield conditions that hold of one piece of a table after another."""
        if not source.has_row_ids:
            yield "1"
            return
        after = "1"
        while True:
            (last,) = connection.execute(
                f"SELECT max(_rowid_) FROM (SELECT _rowid_ FROM given.{source.quoted} s "
                f"WHERE {after} ORDER BY _rowid_ LIMIT {PIECE_ROWS})"
            ).fetchone()
            if last is None:
                return
            yield f"{after} AND s._rowid_ <= {last}"
            after = f"s._rowid_ > {last}"

    def write(self, draft: Path, windows: Windows, most_bytes: int | None = None) -> TrimmedFile:
        """Write the rows that belong to some stretches to a new file.

        Args:
            draft: where; what is there is replaced.
            windows: the stretches.
            most_bytes: how large it may become.

        Raises:
            TooLarge: it would become larger.
        """
        draft.unlink(missing_ok=True)
        cut = replace(self.cut, for_all=windows.for_all)
        with (
            closing(self._connected(draft.absolute().as_uri())) as connection,
            Bar(f"trimming {self.report.path.name}") as bar,
        ):
            connection.execute(f"PRAGMA main.page_size = {self.page_bytes}")
            self._note(connection, windows, cut)
            connection.execute("BEGIN")
            for source in self.sources:
                connection.execute(source.sql)
            done, total = 0, sum(self.counts.values())
            for source in self._in_order():
                condition = self._condition(connection, cut, source)
                for number, piece in enumerate(self._pieces(connection, source)):
                    bar(done + number * PIECE_ROWS, total)
                    self._copy(connection, source, piece, condition, cut.calls(source))
                    check_size(connection, most_bytes)
                done += self.counts[source.name]
            for sql in self.indexes:
                connection.execute(sql)
            made = self._counted(connection, cut)
            note_trimming(connection, self._facts(windows, made))
            check_size(connection, most_bytes)
            connection.execute("COMMIT")
        made.size_bytes = draft.stat().st_size
        return made

    def _in_order(self) -> list[SourceTable]:
        """Return the tables, what is referred to after what refers to it."""
        late = [*CALL_STACKS, STRINGS]
        rank = {name: place for place, name in enumerate(late, 1)}
        return sorted(self.sources, key=lambda source: rank.get(source.name, 0))

    def _condition(
        self, connection: sqlite3.Connection, cut: KeptRows, source: SourceTable
    ) -> str | None:
        """Return which rows of a table are kept; strings and call stacks if they are in use."""
        if source.name == STRINGS and "id" in source.columns:
            pairs = [(each.name, column) for each in self.sources for column in each.references]
        elif source.name in CALL_STACKS and "id" in source.columns:
            pairs = stack_references(source.name, self.sources)
        else:
            return cut.condition(source)
        connection.execute("DELETE FROM cut.used")
        for name, column in pairs:
            connection.execute(
                f"INSERT OR IGNORE INTO cut.used SELECT {quoted(column)} FROM main.{quoted(name)} "
                f"WHERE typeof({quoted(column)}) = 'integer'"
            )
        return "s.id IN (SELECT id FROM cut.used)" if pairs else None

    def _copy(
        self,
        connection: sqlite3.Connection,
        source: SourceTable,
        piece: str,
        condition: str | None,
        join: str,
    ) -> None:
        listed = ", ".join(quoted(column) for column in source.columns)
        fields = ", ".join(f"s.{quoted(column)}" for column in source.columns)
        order = "" if piece == "1" else " ORDER BY s._rowid_"
        kept = "" if condition is None else f" AND ({condition})"
        connection.execute(
            f"INSERT INTO main.{source.quoted} ({listed}) SELECT {fields} "
            f"FROM given.{source.quoted} s NOT INDEXED{join} WHERE {piece}{kept}{order}"
        )

    def _note(self, connection: sqlite3.Connection, windows: Windows, cut: KeptRows) -> None:
        """Write the stretches down, and what of the memory that was taken before is still held."""
        for table, fields in NOTE_TABLES.items():
            connection.execute(f"DROP TABLE IF EXISTS cut.{table}")
            connection.execute(f"CREATE TABLE cut.{table} ({fields})")
        connection.executemany("INSERT INTO cut.windows VALUES (?, ?, ?)", windows.joined())
        connection.executemany("INSERT INTO cut.strays VALUES (?, ?, ?)", windows.strays)
        connection.execute('CREATE INDEX cut.begun ON windows (process, start, "end")')
        for source in self.sources:
            if source.name == memory_tables.ALLOCATOR:
                connection.execute(HELD_MEMORY.format(process=cut.process(source)))

    def _counted(self, connection: sqlite3.Connection, cut: KeptRows) -> TrimmedFile:
        """Return what has been written."""

        def count(source: SourceTable, condition: str = "1", join: str = "") -> int:
            sql = f"SELECT count(*) FROM main.{source.quoted} s{join} WHERE {condition}"
            return number(connection, sql)

        made = TrimmedFile(before_bytes=self.size_bytes)
        for source in self.sources:
            made.rows[source.name] = (count(source), self.counts[source.name])
            if cut.condition(source) is None or source.name in (STRINGS, *CALL_STACKS):
                continue
            made.recorded += made.rows[source.name][0]
            if source.name == tables.NVTX:
                made.reaching = count(source, cut.reaching(source))
                made.recorded -= count(source, f"s.eventType NOT IN ({EVENT_TYPES})")
            if source.name in DEVICE_WORK:
                calls = cut.calls(source)
                made.without_call += count(source, "c.start IS NULL" if calls else "1", calls)
        return made

    def _facts(self, windows: Windows, made: TrimmedFile) -> dict[str, str]:
        """Return what the new file says of itself."""
        cut = {name: rows for name, rows in made.rows.items() if rows[0] < rows[1]}
        counts = [f"{name} {kept} of {total}" for name, (kept, total) in cut.items()]
        stretches = [
            f"{start} to {'the end' if end == LATEST_NS else end}"
            + ("" if process == ANY else f" in process {process}")
            for process, start, end in windows.joined()
            if process != ANY or windows.for_all
        ]
        return {
            "trimmed": f"{windows.describe()}; {made.kept} of {made.total} rows",
            "trimmed_from": self.report.path.name,
            "trimmed_window_ns": ", ".join(stretches),
            "trimmed_rows": ", ".join(counts) or "all",
        }


def note_trimming(connection: sqlite3.Connection, facts: Mapping[str, str]) -> None:
    """Write into `TOOLKIT_RUN` of the new file how it was trimmed, and how it was before."""
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS main.{RUN_TABLE} (key TEXT NOT NULL PRIMARY KEY, value TEXT)"
    )
    for key, value in facts.items():
        sql = f"SELECT value FROM main.{RUN_TABLE} WHERE key = ?"
        before = connection.execute(sql, (key,)).fetchone()
        text = f"{value}; before that: {before[0]}" if before else value
        connection.execute(f"DELETE FROM main.{RUN_TABLE} WHERE key = ?", (key,))
        connection.execute(f"INSERT INTO main.{RUN_TABLE} (key, value) VALUES (?, ?)", (key, text))


def check_size(connection: sqlite3.Connection, most_bytes: int | None) -> None:
    """Raise `TooLarge` where the new file is larger than ``most_bytes``."""
    pages, size = (number(connection, f"PRAGMA main.page_{what}") for what in ("count", "size"))
    if most_bytes is not None and pages * size > most_bytes:
        raise TooLarge


def number(connection: sqlite3.Connection, sql: str) -> int:
    """Return the only value of a query."""
    return int(connection.execute(sql).fetchone()[0])


NOTE_TABLES: Final = {
    "windows": 'process INTEGER, start INTEGER, "end" INTEGER',
    "strays": 'process INTEGER, start INTEGER, "end" INTEGER',
    "used": "id INTEGER PRIMARY KEY",
    "held": "id INTEGER PRIMARY KEY",
}

HELD_MEMORY: Final = f"""
INSERT OR IGNORE INTO cut.held SELECT id FROM (
    SELECT s._rowid_ AS id, s.delta_bytes AS delta, s.address AS address,
        row_number() OVER (PARTITION BY {{process}}, s.device, s.address
            ORDER BY s.time_ns DESC, s._rowid_ DESC) AS of_block,
        row_number() OVER (PARTITION BY {{process}}, s.device
            ORDER BY s.time_ns DESC, s._rowid_ DESC) AS of_device
    FROM given.{memory_tables.ALLOCATOR} s
    WHERE s.time_ns < (SELECT min(w.start) FROM cut.windows w WHERE w.process = {{process}})
) WHERE of_device = 1 OR (of_block = 1 AND address IS NOT NULL AND delta > 0)
"""
"""What held memory before the first stretch: the newest row of each block, and of each device."""


def write_steps_that_fit(
    trimmer: Trimmer, draft: Path, chosen: Windows, most_bytes: int | None
) -> tuple[TrimmedFile, Windows]:
    """Write as many of the last steps as fit, and return the file's figures and those steps.

    Args:
        trimmer: the report.
        draft: where to write.
        chosen: all that may be kept.
        most_bytes: how large the file may be; None for everything that is chosen.

    Raises:
        ReportError: not even one fits.
    """
    if most_bytes is None:
        return trimmer.write(draft, chosen), chosen
    total = len(chosen.numbers)
    fits, too_many, tried, made = 0, total + 1, 1, TrimmedFile()
    while fits + 1 < too_many:
        try:
            made = trimmer.write(draft, chosen.last(tried), most_bytes)
        except TooLarge:
            too_many = tried
        else:
            fits = tried
        last, guess = tried, max(2 * fits, fits * most_bytes // (made.size_bytes or 1))
        tried = min(guess, total if too_many > total else (fits + too_many) // 2)
    if not fits:
        one = chosen.last(1).describe()
        path, limit = trimmer.report.path, f"{most_bytes / 1e6:g} MB"
        remedy = "allow more with --max-size, or choose less with --within RANGE"
        raise ReportError(path, f"{one} does not fit into {limit}", remedy)
    kept = chosen.last(fits)
    if last != fits:  # what lies there is of an attempt that failed
        made = trimmer.write(draft, kept)
    if fits < total:
        cli.print_notes(
            f"{fits:,} of {total:,} steps fit into {most_bytes / 1e6:g} MB: the last ones"
        )
    return made, kept
