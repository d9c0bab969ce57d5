"""Whether a report fits into the memory there is, and where its arrays go if it does not.

Both are decided before anything large is read, from how many rows the tables have. What does not
fit is read in pieces into temporary files, and all else is the same: see `analysis.source.paging`.

The memory there is, is the least of what the machine, the container (cgroup 1 or 2) and the limit
on data (``ulimit -d``) leave, or what `VARIABLE` says. See proc(5) and the kernel's cgroup
documentation.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analysis.show.errors import ReportError, reason
from analysis.show.sheet import say
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.source.open_report import OpenReport

VARIABLE: Final = "SPANLIGHT_MEMORY"
UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

PROC: Final = Path("/proc")
CGROUPS: Final = Path("/sys/fs/cgroup")
LARGE_FILES: Final = Path("/var/tmp")
"""Where large temporary files go on a system whose usual folder for them is in memory."""

IN_MEMORY: Final = ("tmpfs", "ramfs")

BYTES_A_ROW: Final = {tables.NVTX: 450, tables.OPERATOR: 350}
BYTES_OF_OTHERS: Final = 130
"""What the hungriest command holds for a row of an event table, as measured with a little more;
of a range with a name of its own where every other has one too."""

BYTES_ON_DISK: Final = 20
"""No row of an event table takes less than this of a report."""

BYTES_AT_START: Final = 100 << 20
"""What a command holds before it has read anything."""


@contextmanager
def paged_if_needed(report: OpenReport) -> Iterator[None]:
    """Keep the arrays of a report in temporary files while it is open, if memory is too small.

    Raises:
        ReportError: they must, and there is no folder on a disk.
    """
    needed = needed_bytes(report)
    _open.append(needed)
    try:
        with paged_beyond_memory(report, sum(_open)):
            yield
    finally:
        _open.remove(needed)


_open: Final[list[int]] = []
"""What each report needs that is open."""


@contextmanager
def paged_beyond_memory(report: OpenReport, needed: int) -> Iterator[None]:
    """Keep arrays in temporary files where more memory is needed than is free."""
    if sys.platform != "linux":  # other systems take memory to disk by themselves
        yield
        return
    there = available_bytes()
    if needed <= there:
        yield
        return
    from analysis.source import paging  # here: few reports need it

    folder = disk_folder()
    lack = f"may need {bytes_text(needed)} of memory, {bytes_text(there)} is free"
    if folder is None:
        problem = f"{lack}, and the folder for temporary files is in memory too"
        remedy = f"set TMPDIR to one on a disk, or {VARIABLE} to try it all the same"
        raise ReportError(report.path, problem, remedy)
    say(f"note: {report.path.name} {lack}: working in {folder}")
    report.database.memory_bytes = there
    with paging.arrays_in_files(folder, there // 2) as pages:
        report.database.relieve = pages.relieve
        yield


def needed_bytes(report: OpenReport) -> int:
    """Return how much memory the commands take at most to read a report and work on it.

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
        if table in BYTES_A_ROW or table.startswith(tables.ACTIVITY)
    )


def last_row(report: OpenReport, table: str) -> int:
    """Return the number of a table's last row; of a view, how many rows it has."""
    try:
        last = int(report.columns(f'SELECT coalesce(max(rowid), -1) AS n FROM "{table}"')["n"][0])
    except ReportError:
        last = tables.MISSING
    return last if last >= 0 else tables.count(report, table)


def out_of_memory_error(report: OpenReport) -> ReportError:
    """Return the error for a report after a `MemoryError`: what memory or disk was too small."""
    needed = f"it may need {bytes_text(sum(_open))}"
    paging = sys.modules.get("analysis.source.paging")
    failure = paging.failure() if paging else None
    if failure is not None and failure.errno != errno.ENOMEM:
        problem = f"no temporary files in {disk_folder()} ({reason(failure)}; {needed})"
        return ReportError(report.path, problem, "make room, or set TMPDIR to another folder")
    if paging is not None or address_space_is_limited():
        remedy = "raise the limit on it (ulimit -v, -d), or use a machine with more"
    else:
        remedy = f"set {VARIABLE}=500M to work in temporary files"
    return ReportError(report.path, f"not enough memory ({needed})", remedy)


def bytes_text(number: int) -> str:
    """Return a number of bytes as a person reads it."""
    from analysis.show.render import scaled

    return scaled(number, "B")


def available_bytes() -> int:
    """Return how much memory this process may still use.

    Raises:
        ReportError: `VARIABLE` is set and is no amount of memory.
    """
    asked = os.environ.get(VARIABLE)
    if asked:
        return bytes_from_text(asked)
    return max(min([machine_bytes(), *container_bytes(), *limit_bytes()]), 0)


def bytes_from_text(word: str) -> int:
    """Return the number of bytes that a person wrote as an amount of memory.

    >>> bytes_from_text("1.5G"), bytes_from_text("500 MiB"), bytes_from_text("4096")
    (1610612736, 524288000, 4096)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", word.strip(), re.IGNORECASE)
    if not found:
        raise ReportError(VARIABLE, f"{word!r} is no amount of memory", "give one such as 500M, 2G")
    return int(float(found[1]) * UNITS[found[2].upper()])


def machine_bytes() -> int:
    """Return how much memory the kernel says programs can have without swapping."""
    return numbers_of(PROC / "meminfo").get("MemAvailable:", 1 << 62) * 1024


def container_bytes() -> Iterator[int]:
    """Yield how much memory each control group around this process leaves of its limit.

    The pages of files do not count: they go where something else needs the room.
    """
    for line in lines_of(PROC / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            top, limit, used = CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            files = ("total_inactive_file", "total_active_file")
        elif not controllers:
            top, limit, used = CGROUPS, "memory.max", "memory.current"
            files = ("inactive_file", "active_file")
        else:
            continue
        inner = top / path.strip("/")
        # Inside a container the path may be that of the machine, of which only the top is seen.
        for group in (inner, *inner.parents):
            if group.is_relative_to(top) and (most := number_of(group / limit)) is not None:
                cached = numbers_of(group / "memory.stat")
                freed = sum(cached.get(name, 0) for name in files)
                yield most - (number_of(group / used) or 0) + freed


def limit_bytes() -> Iterator[int]:
    """Yield how much memory the limit on data (``ulimit -d``) leaves, where there is one."""
    import resource  # not on every system

    most, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY:
        yield most - numbers_of(PROC / "self/status").get("VmData:", 0) * 1024


def address_space_is_limited() -> bool:
    """Return whether the address space is limited: files count against it as well."""
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def disk_folder() -> Path | None:
    """Return a folder on a disk for large temporary files, or None where all are in memory."""
    folders = (Path(tempfile.gettempdir()).resolve(), LARGE_FILES)
    kinds = file_system_kinds()
    return next((folder for folder in folders if folder.is_dir() and on_disk(folder, kinds)), None)


def on_disk(folder: Path, kinds: dict[Path, str]) -> bool:
    """Return whether a folder lies on a file system that is not memory."""
    around = next((place for place in (folder, *folder.parents) if place in kinds), None)
    return around is None or kinds[around] not in IN_MEMORY


def file_system_kinds() -> dict[Path, str]:
    """Return the kind of each file system by its mount point; of several at one place the last."""
    fields = [line.split() for line in lines_of(PROC / "self/mounts")]
    return {Path(place): kind for _, place, kind, *_ in fields}


def numbers_of(path: Path) -> dict[str, int]:
    """Return the numbers of a file that has a name and a number on each line."""
    fields = [line.split() for line in lines_of(path)]
    return {name: int(rest[0]) for name, *rest in fields if rest and rest[0].isdecimal()}


def number_of(path: Path) -> int | None:
    """Return the number that is all of a file; None where there is no file, or no number in it."""
    word = "".join(lines_of(path))
    return int(word) if word.isdecimal() else None


def lines_of(path: Path) -> list[str]:
    """Return the lines of a file; none where it cannot be read."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
