"""How much memory is free: the least of what the machine, the container and the limits leave.

Containers are control groups of version 1 or 2; the limit is that on data (``ulimit -d``). See
proc(5) and the kernel's documentation of control groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
CGROUPS: Final = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """Return how much memory this process may still use."""
    return max(min([machine_bytes(), *container_bytes(), *limit_bytes()]), 0)


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
