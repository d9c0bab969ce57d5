"""A table reader: what `Database` asks of a kind of file, or of a folder, that holds tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import ExitStack

    import pyarrow as pa

    from analysis.source.readers.stretch import Stretch


class TableReader(Protocol):
    """Tables that lie somewhere, and how they are asked in SQL; several threads may ask at once.

    Attributes:
        keeps_order: whether rows come in the order in which NVIDIA's own tools read them.
    """

    keeps_order: bool

    def schema(self) -> Mapping[str, tuple[str, ...]]:
        """Return the columns of every table, by the table's name."""

    def execute(
        self, sql: str, batch_rows: int, used: ExitStack, stretch: Stretch | None = None
    ) -> tuple[Sequence[str], Iterator[pa.RecordBatch]]:
        """Return the columns of a query and, in batches, its rows, in the order of the file.

        Args:
            sql: a query of what SQLite and DuckDB both understand alike.
            batch_rows: how many rows a batch has at most.
            used: what has to be closed when the last batch has been read is put onto it.
            stretch: of which the query's condition is, so that other rows need not be read.
        """

    def failure(self, error: Exception) -> str | None:
        """Return what an error that reading raised is about, in a few words; None if not ours."""

    def misfit(self, error: Exception) -> int | None:
        """Return the position of the column whose cells an error says are not all of one kind."""

    def found_instead(self, table: str, field: str, *, null_fits: bool) -> str | None:
        """Return the kind of a cell of a column that is no whole number, in SQLite's words.

        Args:
            table: which has the column.
            field: the column's name.
            null_fits: whether NULL is as good as a number.

        Returns:
            ``text``, ``blob``, ``real`` or ``null``; None where all cells are whole numbers.
        """

    def close(self) -> None:
        """Let go of the tables; what another thread still reads, once that is done."""
