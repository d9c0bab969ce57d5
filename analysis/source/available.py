"""How much memory this process may still use, and where on a disk there is room.

The memory is the least of what the machine, the container (cgroup 1 or 2) and the limit on data
(``ulimit -d``) leave, or what `VARIABLE` says. See proc(5) and the kernel's cgroup documentation.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from analysis.show.errors import ReportError

VARIABLE: Final = "SPANLIGHT_MEMORY"
UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

PROC: Final = Path("/proc")
CGROUPS: Final = Path("/sys/fs/cgroup")
LARGE_FILES: Final = Path("/var/tmp")
"""Where large temporary files go on a system whose usual folder for them is in memory."""

IN_MEMORY: Final = ("tmpfs", "ramfs")


def available_bytes() -> int:
    """Return how much memory there is to use.

    Raises:
        ReportError: `VARIABLE` is set and is no amount of memory.
    """
    asked = os.environ.get(VARIABLE)
    if asked:
        return amount(asked)
    return max(min([machine_bytes(), *container_bytes(), *limit_bytes()]), 0)


def amount(word: str) -> int:
    """Return a number of bytes from what a person writes.

    >>> amount("1.5G"), amount("500 MiB"), amount("4096")
    (1610612736, 524288000, 4096)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", word.strip(), re.IGNORECASE)
    if not found:
        raise ReportError(VARIABLE, f"{word!r} is no amount of memory", "give one such as 500M, 2G")
    return int(float(found[1]) * UNITS[found[2].upper()])


def machine_bytes() -> int:
    """Return what the kernel says programs can have without swapping."""
    return numbers(PROC / "meminfo").get("MemAvailable:", 1 << 62) * 1024


def container_bytes() -> Iterator[int]:
    """Yield what each control group around this process leaves of its limit.

    The pages of files do not count: they go where something else needs the room.
    """
    for line in lines(PROC / "self/cgroup"):
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
            if group.is_relative_to(top) and (most := number(group / limit)) is not None:
                cached = numbers(group / "memory.stat")
                freed = sum(cached.get(name, 0) for name in files)
                yield most - (number(group / used) or 0) + freed


def limit_bytes() -> Iterator[int]:
    """Yield what the limit on data leaves, where there is one."""
    import resource  # not on every system

    most, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY:
        yield most - numbers(PROC / "self/status").get("VmData:", 0) * 1024


def limited() -> bool:
    """Return whether there is a limit on the address space: files count against it as well."""
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def disk_folder() -> Path | None:
    """Return a folder for large temporary files, or None where all are in memory themselves."""
    folders = (Path(tempfile.gettempdir()).resolve(), LARGE_FILES)
    kinds = mounts()
    return next((folder for folder in folders if folder.is_dir() and on_disk(folder, kinds)), None)


def on_disk(folder: Path, kinds: dict[Path, str]) -> bool:
    """Return whether a folder lies on a file system that is not memory."""
    around = next((place for place in (folder, *folder.parents) if place in kinds), None)
    return around is None or kinds[around] not in IN_MEMORY


def mounts() -> dict[Path, str]:
    """Return the kind of each file system, by where it is; of several at one place the last."""
    fields = [line.split() for line in lines(PROC / "self/mounts")]
    return {Path(place): kind for _, place, kind, *_ in fields}


def numbers(path: Path) -> dict[str, int]:
    """Return the numbers of a file with a name and a number on each line."""
    fields = [line.split() for line in lines(path)]
    return {name: int(rest[0]) for name, *rest in fields if rest and rest[0].isdecimal()}


def number(path: Path) -> int | None:
    """Return the number that is all of a file; None where there is no file, or no limit in it."""
    word = "".join(lines(path))
    return int(word) if word.isdecimal() else None


def lines(path: Path) -> list[str]:
    """Return the lines of a file; none where it cannot be read."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
