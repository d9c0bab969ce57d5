"""A report: the tables of ``nsys export``, opened so that nothing changes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar, cast

from analysis.show.called import called
from analysis.show.cli import print_notes
from analysis.show.errors import ReportError
from analysis.show.render import plural
from analysis.show.sheet import visible
from analysis.source import report_metadata, tables
from analysis.source.database import Columns, Database
from analysis.source.opening import opened

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from analysis.source.readers.stretch import Stretch

T = TypeVar("T")


class Report:
    """A report, opened: what it says of itself, which tables it has, and their columns.

    `analysis.Report` adds the questions one can ask of it.

    Args:
        path: a SQLite export of any nsys since 2020, or the folder of a Parquet or Arrow export;
            an ``.nsys-rep`` or a PyTorch trace is converted into a temporary file, which goes when
            the report is closed.

    Attributes:
        path: as it was given.
        opened: what is read of it.
        left_out: how many rows do not count because their times make no sense, by the table; filled
            as tables are read, and told on stderr at the end of a ``with``.
        stretch: of which alone calls and device work are read; None for all: see `narrowed`.

    Raises:
        ReportError: it is none of these, or damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not os.fspath(path):  # which pathlib takes for the folder that one is in
            raise ReportError("''", "an empty name, not a report", "give the path of a report")
        self.path = Path(path)
        self.left_out: dict[str, int] = {}
        self.stretch: Stretch | None = None
        self._kept: dict[object, object] = {}
        with ExitStack() as stack:
            self.opened = stack.enter_context(opened(self.path))
            reader = self.opened.reader(self.check_unchanged)
            stack.callback(reader.close)
            self.database = Database(reader, self.path, self.opened.cache)
            stack.callback(self.database.close)
            self.schema = self.database.schema
            if not report_metadata.is_report(self.schema):
                hint = "give one that `nsys export --type=sqlite` or `make profile` wrote"
                what = "a folder of tables" if self.opened.files else "a SQLite file"
                raise ReportError(self.path, f"{what}, but not an nsys report", hint)
            self._resources = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        notes = self.notes_on_what_is_left_out() if error is None else []
        self.close()
        if isinstance(error, MemoryError):
            remedy = (
                f"cut a part out of it with {called('analysis.trim')}, or use a machine with more"
            )
            raise ReportError(self.path, "not enough memory for this report", remedy) from None
        if error is None or isinstance(error, ReportError):
            self.check_unchanged()
        print_notes(*notes)

    def check_unchanged(self) -> None:
        """Refuse to answer of a file that was written while it was read.

        Raises:
            ReportError: it is another file now, or another content.
        """
        self.opened.state.check(self.path)

    def notes_on_what_is_left_out(self) -> list[str]:
        """Return a note on each table with rows that do not count, and on a trace's lost events."""
        lost = report_metadata.events_without_times(self)
        events = f"{plural(lost, 'event')} of the trace left out: their times make no sense"
        return [
            *([events] if lost else []),
            *(
                f"{plural(count, 'row')} of {table} in {self.path.name} left out: the end lies "
                "before the start, or times are impossibly far away"
                for table, count in self.left_out.items()
            ),
        ]

    def close(self) -> None:
        """Close the file and remove the temporary copy, if there is one."""
        self._resources.close()

    def has(self, table: str, *columns: str) -> bool:
        """Return whether there is such a table, with these columns (it may still be empty)."""
        return set(columns) <= set(self.schema.get(table, ())) and table in self.schema

    def require(self, table: str, *columns: str, remedy: str) -> None:
        """Raise `ReportError` unless `has`; ``remedy`` says what to do."""
        if table not in self.schema:
            raise ReportError(self.path, f"no {table} in this report", remedy)
        for column in columns:
            if not self.has(table, column):
                raise ReportError(self.path, f"{table} has no column {column}", remedy)

    def narrowed(self, stretch: Stretch, made: Mapping[object, object]) -> Self:
        """Return this report with the calls and the device work of a stretch of it alone.

        It is open as long as this one is.

        Args:
            stretch: when, and of what process.
            made: by functions that make something `once`, what they would make of it.
        """
        narrow = copy(self)
        narrow.stretch = stretch
        narrow._kept = {**made}
        return narrow

    def columns(self, sql: str, rows: int = 0, text: Collection[str] = ()) -> Columns:
        """Return the columns of a query as arrays; see `Database.columns`."""
        return self.database.columns(sql, rows, text)

    def coded(self, sql: str, rows: int = 0) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return a column of text in codes; see `analysis.source.database.Database.coded`."""
        return self.database.coded(sql, rows)

    def leave_out(self, rows_of: str, count: int) -> None:
        """Note in ``left_out`` that some rows of a table do not count."""
        self.left_out[rows_of] = count

    def once(self, make: Callable[[Report], T]) -> T:
        """Return what a function makes of this report, made when first asked for and then kept.

        So every table of a report is read once, whoever asks for it.
        """
        if make not in self._kept:
            self._kept[make] = make(self)
        return cast(T, self._kept[make])

    def has_made(self, make: Callable[[Report], object]) -> bool:
        """Return whether something is kept already that a function makes `once` of this report."""
        return make in self._kept

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What the exporter says of itself: product, version, schema; empty before 2021."""
        return report_metadata.exporter_metadata(self)

    @cached_property
    def run(self) -> dict[str, str]:
        """What this project's launcher noted of the run: size, dtype, steps, …; else empty."""
        return report_metadata.run_metadata(self)

    @cached_property
    def gpus(self) -> list[report_metadata.Gpu]:
        """The GPUs of the machine, which need not be those that were used; may be empty."""
        return report_metadata.gpus(self)

    @cached_property
    def duration_ns(self) -> int | None:
        """How long was recorded, or None where the report does not say."""
        return report_metadata.duration_ns(self)

    @property
    def recorder(self) -> str:
        """Who recorded it, with its version: ``nsys 2024.6.2``, or ``unknown recorder``."""
        product = self.metadata.get("EXPORT_PRODUCT_NAME", "unknown recorder")
        version = ".".join(self.metadata.get("EXPORT_PRODUCT_VERSION", "").split(".")[:3])
        return f"{product.replace('NVIDIA Nsight Systems', 'nsys')} {version}".strip()

    @property
    def device(self) -> str:
        """The device's name: the run's own word, else the GPU whose kernels there are."""
        noted = self.run.get("device_name") or self.run.get("device")
        if noted:
            return noted
        used = set(self.once(tables.devices))
        names = [gpu.name for gpu in self.gpus if gpu.ordinal in used or len(self.gpus) == 1]
        return ", ".join(sorted(set(names))) if names and used else ""

    def describe(self) -> str:
        """Return one line that says which report this is: file, recorder, device."""
        # One line also where the name of the file has several.
        name = "".join(
            visible(letter) if letter.splitlines() == [""] else letter for letter in self.path.name
        )
        return " · ".join(part for part in (name, self.recorder, self.device) if part)
