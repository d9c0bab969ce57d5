"""Columns of large reports, kept as Arrow files in the user's cache folder and mapped into memory.

Reading them takes half of a command's time. A folder stands for a report as it is now, a file in it
for a query. Files are written aside and then named, so that whoever is killed leaves no half of
one, and each says which report and query it is of: one that does not is not read. What another
process throws away stays mapped where it is in use.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import platformdirs
import pyarrow as pa

from analysis.show.errors import ReportError, reason
from analysis.show.sheet import say
from analysis.source.threads import begun
from profiling import names

VARIABLE: Final = "SPANLIGHT_CACHE"
OFF: Final = "off"
ALL: Final = "all"

LARGE_BYTES: Final = 50_000_000
"""Reports from here on are kept; smaller ones are read as fast."""

MOST_BYTES: Final = 10_000_000_000
"""What all reports together may take; those that were not used for longest go."""

SETTLED_NS: Final = 2_000_000_000
"""A report that was changed within this time may change again, with the same change time."""

MAPPED_BYTES: Final = 50_000_000
"""Columns of a query from here on are written at once, so that they take no memory of their own."""

FORGOTTEN_S: Final = 3600.0
"""A file that is still being written after so long belongs to a process that was killed."""

SUFFIX: Final = ".arrow"
NAME: Final = "report"
"""The file with the path of the report."""

KEY: Final = b"spanlight"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Column:
    """A column of a query: whole numbers, or text as a number for each row.

    Attributes:
        numbers: ``(N,)`` int64; of text positions among ``texts``.
        texts: the distinct texts; None for whole numbers.
    """

    numbers: npt.NDArray[np.int64]
    texts: list[str] | None = None

    def coded(self) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return the distinct texts, and ``(N,)`` positions among them."""
        return self.texts or [], self.numbers

    def array(self) -> Array:
        """Return the column, ``(N,)``; text becomes str objects, one for each distinct text."""
        if self.texts is None:
            return self.numbers
        distinct = np.empty(len(self.texts), object)
        distinct[:] = self.texts
        return distinct[self.numbers]


QueryColumns = Mapping[str, Column]


@dataclass(frozen=True)
class KeptReport:
    """A report of which columns are kept.

    Attributes:
        folder: where.
        report: the path of the report.
        bytes: what its files take.
        used_s: when they were last used, in seconds since 1970.
    """

    folder: Path
    report: str
    bytes: int
    used_s: float


class ColumnCache:
    """The columns that are kept of one report.

    Args:
        report: its path.
        state: what tells this content of the file from any other.
    """

    def __init__(self, report: Path, state: tuple[object, ...]) -> None:
        place = str(report.resolve())
        self._key = json.dumps([code_version(), place, *state])
        self._of_path = _short(place)
        self.folder = cache_folder() / f"{self._of_path}-{_short(self._key)}"
        self._report = place
        self._written = False
        self._works = True
        self._telling = Lock()
        self._writing: list[Future[bool]] = []

    @classmethod
    def of(cls, report: Path, state: tuple[object, ...], size: int, changed_ns: int) -> Self | None:
        """Return what is kept of a report, or None where nothing shall be.

        Args:
            report: its path.
            state: what tells this content of the file from any other.
            size: of the report, in bytes.
            changed_ns: when it was last changed, since 1970.

        Raises:
            ReportError: `VARIABLE` says something else than `OFF` and `ALL`.
        """
        asked = os.environ.get(VARIABLE, "")
        if asked not in ("", OFF, ALL):
            raise ReportError(VARIABLE, f"{asked!r} is no choice", f"give {OFF} or {ALL}, or none")
        settled = time.time_ns() - changed_ns > SETTLED_NS
        if asked == OFF or not settled or (size < LARGE_BYTES and asked != ALL):
            return None
        return cls(report, state)

    def get(self, query: str) -> QueryColumns | None:
        """Return the columns of a query, mapped from their file; None where there is none."""
        place = self._file(query)
        try:
            batch, told = _mapped(place)
        except (OSError, pa.ArrowException):
            return None
        if told.get(KEY) != self._said(query):
            return None
        with suppress(OSError):
            os.utime(self.folder)  # that is when it was last used
        return {
            field.name: _column(column)
            for field, column in zip(batch.schema, batch.columns, strict=True)
        }

    def put(self, query: str, columns: QueryColumns) -> QueryColumns:
        """Keep the columns of a query; large ones are returned as they are mapped from their file.

        Smaller ones are written while the command goes on. Where columns cannot be kept, a note
        says so once.
        """
        if not self._works:
            return columns
        if sum(column.numbers.nbytes for column in columns.values()) >= MAPPED_BYTES:
            return (self._write(query, columns) and self.get(query)) or columns
        try:
            self._writing.append(begun(partial(self._write, query, columns)))
        except RuntimeError:  # there is no room for another thread
            self._write(query, columns)
        return columns

    def close(self) -> None:
        """Wait until everything is written, and throw away what is too much."""
        for each in self._writing:
            each.result()
        if self._written:
            with suppress(OSError):
                prune()

    def _write(self, query: str, columns: QueryColumns) -> bool:
        """Write the columns of a query; return whether that could be done."""
        try:
            self._make_folder()
            self._write_file(query, columns)
        except (OSError, MemoryError, pa.ArrowException, UnicodeEncodeError) as error:
            with self._telling:
                told, self._works = not self._works, False
            if not told:
                why = reason(error) if isinstance(error, OSError) else type(error).__name__
                say(f"note: columns are not kept in {self.folder.parent} ({why}); {VARIABLE}={OFF}")
        return self._works

    def _file(self, query: str) -> Path:
        return self.folder / f"{_short(query)}{SUFFIX}"

    def _said(self, query: str) -> bytes:
        return json.dumps([self._key, query]).encode()

    def _make_folder(self) -> None:
        if self._written:
            return
        top = self.folder.parent
        top.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = top.stat()
        if found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise PermissionError(1, "others may write there", str(top))
        # Of an earlier content of the same file nothing is asked for again.
        for other in top.glob(f"{self._of_path}-*"):
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        with _draft_of(self.folder / NAME) as draft:
            draft.write_bytes(os.fsencode(self._report))
        self._written = True

    def _write_file(self, query: str, columns: QueryColumns) -> None:
        arrays = {name: _arrow(column) for name, column in columns.items()}
        fields = [pa.field(name, array.type) for name, array in arrays.items()]
        schema = pa.schema(fields, metadata={KEY: self._said(query)})
        batch = pa.RecordBatch.from_arrays(list(arrays.values()), schema=schema)
        with (
            _draft_of(self._file(query)) as draft,
            pa.OSFile(str(draft), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            writer.write_batch(batch)


@cache
def code_version() -> str:
    """Return what tells the code that makes columns from that of other versions.

    What another version kept is read anew, so that no answer is of two.
    """
    root = Path(__file__).resolve().parents[1]
    made_by = [root / folder for folder in ("arithmetic", "knowledge", "recorded", "source")]
    files = sorted(path for folder in made_by for path in folder.rglob("*.py"))
    files.append(Path(names.__file__))
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:24]


def cache_folder() -> Path:
    """Return where columns are kept, whether or not the folder is there."""
    return Path(platformdirs.user_cache_dir("spanlight", appauthor=False)) / "columns"


def kept_reports() -> list[KeptReport]:
    """Return the reports of which columns are kept, that which was used last first."""
    found = [kept for folder in _folders() if (kept := _kept(folder)) is not None]
    return sorted(found, key=lambda kept: -kept.used_s)


def clear() -> None:
    """Throw away everything that is kept.

    Raises:
        OSError: some of it cannot be deleted.
    """
    for folder in _folders():
        shutil.rmtree(folder)


def prune(most_bytes: int = MOST_BYTES) -> None:
    """Throw away what was not used for longest until the rest takes no more than it may."""
    now, total = time.time(), 0
    for kept in kept_reports():
        for draft in kept.folder.glob(".*"):
            with suppress(OSError):
                if now - draft.stat().st_mtime > FORGOTTEN_S:
                    draft.unlink()
        total += kept.bytes
        if total > most_bytes:
            shutil.rmtree(kept.folder, ignore_errors=True)


def _folders() -> Iterator[Path]:
    try:
        yield from [each for each in cache_folder().iterdir() if each.is_dir()]
    except FileNotFoundError:
        return


def _kept(folder: Path) -> KeptReport | None:
    """Return what is kept in a folder; None where another process just threw it away."""
    try:
        size = sum(each.stat().st_size for each in folder.iterdir())
        name = folder / NAME
        report = os.fsdecode(name.read_bytes()) if name.exists() else ""
        return KeptReport(folder, report, size, folder.stat().st_mtime)
    except OSError:
        return None


def _mapped(place: Path) -> tuple[pa.RecordBatch, Mapping[bytes, bytes]]:
    with pa.memory_map(str(place)) as source:
        reader = pa.ipc.open_file(source)
        return reader.get_batch(0), reader.schema.metadata or {}


def _column(array: pa.Array) -> Column:
    if not pa.types.is_dictionary(array.type):
        return Column(_numbers(array))
    return Column(_numbers(array.indices), array.dictionary.to_pylist())


def _numbers(array: pa.Array) -> npt.NDArray[np.int64]:
    # pyarrow's own `to_numpy` imports pandas first.
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.empty(0, np.int64)
    return np.frombuffer(buffer, np.int64)[array.offset : array.offset + len(array)]


def _arrow(column: Column) -> pa.Array:
    numbers = np.ascontiguousarray(column.numbers, np.int64)
    array = pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])
    if column.texts is None:
        return array
    return pa.DictionaryArray.from_arrays(array, pa.array(column.texts, pa.large_string()))


@contextmanager
def _draft_of(place: Path) -> Iterator[Path]:
    """Yield an empty file beside another, which takes that one's place when it is done."""
    handle, name = tempfile.mkstemp(prefix=".", dir=place.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def _short(text: str) -> str:
    return sha256(text.encode(errors="surrogateescape")).hexdigest()[:24]
