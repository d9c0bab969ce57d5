"""Whether a report fits into memory, and where its arrays go if it does not.

Both are settled before anything large is read, from how many rows the tables have. What does not
fit is read in pieces into temporary files, and all else is the same: see `analysis.source.paging`.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from analysis.show.errors import ReportError
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.source.report import Report

BYTES_A_ROW: Final = {tables.NVTX: 450, tables.OPERATOR: 350}
BYTES_OF_OTHERS: Final = 130
"""What the hungriest command holds for a row of an event table, as measured with a little more;
of a range with a name of its own where every other has one too."""

BYTES_ON_DISK: Final = 20
"""No row of an event table takes less than this of a report."""

BYTES_AT_START: Final = 100 << 20
"""What a command holds before it has read anything."""

ACTIVITY: Final = "CUPTI_ACTIVITY_KIND_"
"""How the names of the other tables of events begin."""


@contextmanager
def room(report: Report) -> Iterator[None]:
    """Let the arrays of a report lie in temporary files while it is open, if they must.

    Raises:
        ReportError: they must, and there is no folder on a disk.
    """
    needed = needed_bytes(report)
    _open.append(needed)
    try:
        with paged(report, sum(_open)):
            yield
    finally:
        _open.remove(needed)


_open: Final[list[int]] = []
"""What each report needs that is open."""


@contextmanager
def paged(report: Report, needed: int) -> Iterator[None]:
    """Let arrays lie in files where so much is needed that it does not fit into memory."""
    if sys.platform != "linux":  # other systems take memory to disk by themselves
        yield
        return
    from analysis.source import available

    there = available.available_bytes()
    if needed <= there:
        yield
        return
    from analysis.source import paging  # here: few reports need it

    folder = available.disk_folder()
    lack = f"may need {size(needed)} of memory, {size(there)} is free"
    if folder is None:
        problem = f"{lack}, and the folder for temporary files is in memory too"
        remedy = f"set TMPDIR to one on a disk, or {available.VARIABLE} to try it all the same"
        raise ReportError(report.path, problem, remedy)
    print(f"note: {report.path.name} {lack}: working in {folder}", file=sys.stderr)
    report.database.memory_bytes = there
    with paging.paged(folder, there // 2) as pages:
        report.database.relieve = pages.relieve
        yield


def needed_bytes(report: Report) -> int:
    """Return how much memory the commands take at most to read and work on a report.

    The rows are not counted, which would read all of them: they are not more than the last one's
    number says, nor than have room in the file.
    """
    pages = report.columns(
        "SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size"
    )
    most = int(pages["bytes"][0]) // BYTES_ON_DISK
    return BYTES_AT_START + sum(
        min(last_row(report, table), most) * BYTES_A_ROW.get(table, BYTES_OF_OTHERS)
        for table in report.schema
        if table in BYTES_A_ROW or table.startswith(ACTIVITY)
    )


def last_row(report: Report, table: str) -> int:
    """Return the number of the last row of a table; without numbers (a view) how many there are."""
    try:
        last = int(report.columns(f'SELECT coalesce(max(rowid), -1) AS n FROM "{table}"')["n"][0])
    except ReportError:
        last = tables.MISSING
    return last if last >= 0 else tables.count(report, table)


def lacking(report: Report) -> ReportError:
    """Return the error that says what there was too little of, after a `MemoryError`."""
    from analysis.source import available

    needed = f"it may need {size(sum(_open))}"
    paging = sys.modules.get("analysis.source.paging")
    failure = paging.failure() if paging else None
    if failure is not None and failure.errno != errno.ENOMEM:
        reason = (failure.strerror or str(failure)).lower()
        problem = f"no temporary files in {available.disk_folder()} ({reason}; {needed})"
        return ReportError(report.path, problem, "make room, or set TMPDIR to another folder")
    if paging is not None or available.limited():
        remedy = "raise the limit on it (ulimit -v, -d), or use a machine with more"
    else:
        remedy = f"set {available.VARIABLE}=500M to work in temporary files"
    return ReportError(report.path, f"not enough memory ({needed})", remedy)


def size(number: int) -> str:
    """Return a number of bytes as a person reads it."""
    from analysis.show.render import scaled

    return scaled(number, "B")
