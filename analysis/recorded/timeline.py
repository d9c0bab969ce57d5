"""Everything a GPU did, and the CUDA calls behind it: kernels, graph replays, copies, sets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.intervals import NONE
from analysis.recorded.correlation import callers
from analysis.source import device_tables, tables

if TYPE_CHECKING:
    from analysis.source.report import Report

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TABLES: Final = (tables.KERNEL, tables.GRAPH, device_tables.COPY, device_tables.SET)
"""In the order of `Timeline.kind`."""

SYNCHRONISES: Final = re.compile(r"cu(?:da)?(?:Stream|Device|Event|Ctx|Thread)Synchronize")
COPIES: Final = re.compile(r"cu(?:da)?Memcpy", re.IGNORECASE)
SETS: Final = re.compile(r"cu(?:da)?Memset", re.IGNORECASE)
ASYNC: Final = re.compile(r"async", re.IGNORECASE)
"""What CUDA's calls do, by their names in the runtime (`cuda…`) and the driver (`cu…`)."""


@dataclass(frozen=True)
class Calls:
    """The CUDA calls of the host.

    Attributes:
        names: ``(K,)`` distinct names.
        name: ``(C,)`` the position of each call's name.
        start_ns: ``(C,)``.
        end_ns: ``(C,)``.
        thread: ``(C,)`` global thread id.
    """

    names: list[str]
    name: Int64
    start_ns: Int64
    end_ns: Int64
    thread: Int64

    def __len__(self) -> int:
        return len(self.name)

    def like(self, *patterns: re.Pattern[str]) -> Bools:
        """Return which calls have a name that begins with the first pattern and has the others."""
        first, *others = patterns
        fits = [
            first.match(name) is not None and all(other.search(name) for other in others)
            for name in self.names
        ]
        return np.array(fits, np.bool_)[self.name]

    @cached_property
    def synchronise(self) -> Bools:
        """Which wait for the device and do nothing else."""
        return self.like(SYNCHRONISES)

    @cached_property
    def copy_at_once(self) -> Bools:
        """Which copy and return when that is done: copies without ``Async`` in the name."""
        return self.like(COPIES) & ~self.like(COPIES, ASYNC)


@dataclass(frozen=True)
class Timeline:
    """What GPUs did, table by table in the order of the file.

    Attributes:
        kind: ``(N,)`` position in `TABLES`.
        start_ns: ``(N,)`` on the device.
        end_ns: ``(N,)``.
        process: ``(N,)`` process id.
        device: ``(N,)`` CUDA ordinal.
        pageable: ``(N,)`` whether it is a copy from or to pageable memory.
        call: ``(N,)`` position in ``calls`` of the call that started it, or `NONE`.
        calls: all CUDA calls, those that started nothing included.
    """

    kind: Int64
    start_ns: Int64
    end_ns: Int64
    process: Int64
    device: Int64
    pageable: Bools
    call: Int64
    calls: Calls

    @classmethod
    def of(cls, report: Report, wanted: Sequence[str] = TABLES) -> Self:
        """Read it from a report; empty where the GPU did nothing that was recorded.

        Args:
            report: what was recorded.
            wanted: the tables to read, some of `TABLES` in their order, copies among them.
        """
        copies = device_tables.copies(report)
        parts = [
            copies if table == device_tables.COPY else device_tables.work(report, table)
            for table in wanted
        ]
        size = [len(part["start_ns"]) for part in parts]
        column = {
            name: np.concatenate([part[name] for part in parts])
            for name in ("start_ns", "end_ns", *device_tables.WORK)
        }
        pageable = np.zeros(sum(size), np.bool_)
        kind = np.repeat([TABLES.index(table) for table in wanted], size)
        pageable[kind == TABLES.index(device_tables.COPY)] = is_pageable(copies)
        rows = device_tables.calls(report)
        names, name = tables.named(report, rows["name_id"])
        global_pid = column["global_pid"]
        unknown = global_pid == tables.MISSING
        return cls(
            kind=kind,
            start_ns=column["start_ns"],
            end_ns=column["end_ns"],
            process=np.where(unknown, tables.MISSING, (global_pid >> 24) & 0xFFFFFF),
            device=column["device"],
            pageable=pageable,
            call=callers(
                (global_pid, column["correlation"]),
                (rows["thread"], rows["correlation"]),
                rows["start_ns"],
            ),
            calls=Calls(names, name, rows["start_ns"], rows["end_ns"], rows["thread"]),
        )

    def __len__(self) -> int:
        return len(self.kind)

    @cached_property
    def of_copies(self) -> Bools:
        """Which are copies."""
        copies: Bools = self.kind == TABLES.index(device_tables.COPY)
        return copies

    @cached_property
    def blocking_copy(self) -> Bools:
        """``(C,)`` which calls keep the host in a copy: synchronous, or of pageable memory.

        A copy of pageable memory passes through a pinned buffer that the driver fills, whatever the
        call is named (NVIDIA's expert rule ``cuda_memcpy_async``).
        """
        result = self.calls.copy_at_once.copy()
        result[self.call[self.pageable & (self.call != NONE)]] = True
        return result


def is_pageable(copies: dict[str, npt.NDArray[np.int64]]) -> Bools:
    """Return which copies have pageable memory at either end."""
    ends = np.stack([copies["source"], copies["target"]])
    pageable: Bools = (ends == device_tables.PAGEABLE).any(axis=0)
    return pageable
