"""A stretch of a recording, some time or one process, of which alone an answer is.

It says what of large tables is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.global_ids import process_of

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Bools, Int64

Bounds = tuple[int, int]


@dataclass(frozen=True)
class Stretch:
    """A stretch of time of one process or of all, and the numbers of the calls made in it.

    What a call started in it may run long after, so a row of device work is read where it ran in
    the stretch or has the number of such a call. More may be read than that, never less: whoever
    asks still looks at which rows count.

    Attributes:
        start_ns: when it begins.
        end_ns: when it ends; both are part of it.
        process: the one that did it; None for all.
        process_sql: what the process of a row is, in SQL, where one is asked for.
        correlation: the lowest and the highest number of its calls; None where those do not matter.
    """

    start_ns: int = np.iinfo(np.int64).min
    end_ns: int = np.iinfo(np.int64).max
    process: int | None = None
    process_sql: str = ""
    correlation: Bounds | None = None

    @property
    def condition(self) -> str:
        """The rows that are read, in SQL, by nsys's names of the columns."""
        ran = f'(start <= {self.end_ns} AND coalesce("end", start) >= {self.start_ns})'
        if self.correlation is not None:
            lowest, highest = self.correlation
            ran = f'({ran} OR "correlationId" BETWEEN {lowest} AND {highest})'
        return ran if self.process is None else f"{ran} AND {self.process_sql} = {self.process}"

    def rows_of(self, columns: Mapping[str, Int64]) -> dict[str, Int64]:
        """Return the rows that are read of columns that are there, by our names of them."""
        kept: Bools = (columns["start_ns"] <= self.end_ns) & (columns["end_ns"] >= self.start_ns)
        if self.correlation is not None and "correlation" in columns:
            lowest, highest = self.correlation
            number = columns["correlation"]
            kept = kept | ((number >= lowest) & (number <= highest))
        if self.process is not None:
            of_it = columns.get("thread", columns.get("global_pid"))
            kept = kept & (of_it is not None and process_of(of_it) == self.process)
        places = np.flatnonzero(kept)
        return {name: column[places] for name, column in columns.items()}

    def may_have_rows(self, bounds: Callable[[str], Bounds | None]) -> bool:
        """Return whether some rows that lie together may be among those that are read.

        Args:
            bounds: gives the least and the greatest value of a column in them; None if not known.
        """
        starts, ends = bounds("start"), bounds("end")
        if starts is None or ends is None:
            return True
        # A row without an end ends where it starts, and is in no bounds of the ends.
        if starts[0] <= self.end_ns and max(starts[1], ends[1]) >= self.start_ns:
            return True
        if self.correlation is None:
            return False
        numbers = bounds("correlationId")
        lowest, highest = self.correlation
        return numbers is None or (numbers[0] <= highest and numbers[1] >= lowest)
