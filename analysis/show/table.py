"""The answer to a question: named columns of equal length, a heading and notes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.arrays import Int64

if TYPE_CHECKING:
    import pandas as pd

Column = npt.NDArray[Any] | list[str]


def columns_of(
    rows: Sequence[Mapping[str, Any]],
    dtype: type[object] | None = None,
    names: Sequence[str] | None = None,
) -> dict[str, Column]:
    """Return rows as the columns of a table, text as lists and numbers as arrays.

    Args:
        rows: of no rows there are no columns.
        dtype: of the numbers; ``object`` keeps whole ones whole beside what is missing.
        names: of the columns, in order, where rows have other keys too, or lack some: what a row
            lacks, or has as None, is NaN, or "" in a column of text. None for those of the first.

    >>> columns_of([{"a": 1}, {"a": 2, "b": "x"}], object, ("b", "a"))
    {'b': ['', 'x'], 'a': array([1, 2], dtype=object)}
    """
    if names is None:
        cells = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    else:
        cells = {name: [row.get(name) for row in rows] for name in (names if rows else ())}
    columns: dict[str, Column] = {}
    for name, values in cells.items():
        if any(isinstance(value, str) for value in values):
            columns[name] = [value or "" for value in values]
        else:
            numbers = [math.nan if value is None else value for value in values]
            columns[name] = np.array(numbers, dtype)
    return columns


def joined_columns(parts: Sequence[Mapping[str, Column]]) -> dict[str, Column]:
    """Return the columns of some tables, of one kind and at least one, one under another."""
    return {
        name: [word for part in parts for word in part[name]]
        if isinstance(column, list)
        else np.concatenate([part[name] for part in parts])
        for name, column in parts[0].items()
    }


@dataclass(frozen=True)
class Table:
    """The answer to one question, as named columns of equal length.

    Attributes:
        name: what it is called as a table of a database.
        columns: by name, in the order of the csv; numbers as arrays, text as lists. The name ends
            in the unit: ``_ns``, ``bytes``, ``share`` (of 1), ``flops``, ….
        heading: what stands above it where a person reads it.
        counted: lines below the heading that say what part of a report it is of; where a format has
            no heading, they are notes.
        notes: lines for stderr: what was left out, and why.
        hidden: columns that the human table leaves out.
        droppable: columns that it leaves out where long names have no room, the first to go first.
        spare: columns that go besides, in a terminal where names could not be read, in order.
        whole: what json says of the answer as a whole, by name, in values that JSON has; the rows
            are then ``rows`` beside.
    """

    name: str
    columns: dict[str, Column]
    heading: str = ""
    notes: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    droppable: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()
    whole: Mapping[str, Any] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        """The heading, and what part of a report the table is of."""
        return "\n".join(filter(None, (self.heading, *self.counted)))

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different lengths: {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def take(self, order: npt.NDArray[np.intp] | Int64) -> Self:
        """Return the table with the rows at some positions, in their order."""
        return replace(
            self,
            columns={
                name: [column[place] for place in order.tolist()]
                if isinstance(column, list)
                else column[order]
                for name, column in self.columns.items()
            },
        )

    def head(self, rows: int) -> Self:
        """Return the table with only its first rows."""
        cut = {name: column[:rows] for name, column in self.columns.items()}
        return replace(self, columns=cut)

    def rows(self) -> list[dict[str, int | float | str]]:
        """Return the rows of the table as dictionaries of plain Python values."""
        lists = [
            column if isinstance(column, list) else column.tolist()
            for column in self.columns.values()
        ]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*lists, strict=True)]

    def frame(self) -> pd.DataFrame:
        """Return the table as a DataFrame with the columns of the csv."""
        import pandas as pd  # here: it costs half a second, and no command needs it

        # Whole numbers with NaN among them are Python's own: in a frame they are floats.
        columns = {
            name: column.astype(np.float64)
            if isinstance(column, np.ndarray) and column.dtype == object
            else column
            for name, column in self.columns.items()
        }
        return pd.DataFrame(columns)
