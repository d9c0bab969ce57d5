"""What devices held over time: TOOLKIT_MEMORY of our own reports, or nsys' own memory events.

nsys sees what is asked of CUDA, so for PyTorch the large pieces its allocator asks for, and not the
tensors in them; where a report has both, our table counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.intervals import NONE, maxima
from analysis.recorded.cuda_calls import cuda_calls, starting_calls
from analysis.show.errors import ReportError
from analysis.source import tables
from analysis.source.memory_tables import (
    ALLOCATOR,
    HOST,
    NSYS_EVENTS,
    allocator_changes,
    nsys_changes,
)

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report


CUDA_EVENTS: Final = "CUDA's allocations, as nsys saw them (for PyTorch its allocator's pieces)"
TORCH_EVENTS: Final = "torch's allocator, every allocation and release"
_REMEDY: Final = (
    "record it: make profile MEMORY=1, torch.profiler with profile_memory=True, or nsys profile "
    "--cuda-memory-usage=true"
)


@dataclass(frozen=True)
class MemoryChanges:
    """The memory that one device held for one process, change by change.

    Attributes:
        process: its id.
        device: CUDA's ordinal, or `HOST`.
        time_ns: ``(N,)`` ascending.
        thread: ``(N,)`` the global id of the thread, or `tables.MISSING`.
        address: ``(N,)`` of the block, or `tables.MISSING` where this is a sample.
        delta: ``(N,)`` bytes taken, or given back where below 0.
        allocated: ``(N,)`` bytes held afterwards.
        peak: ``(N,)`` the most bytes held since the change before.
    """

    process: int
    device: int
    time_ns: Int64
    thread: Int64
    address: Int64
    delta: Int64
    allocated: Int64
    peak: Int64

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def name(self) -> str:
        """The name of the device, as torch calls it."""
        return "cpu" if self.device == HOST else f"cuda:{self.device}"

    @property
    def has_blocks(self) -> bool:
        """Whether every change is of a block, not a sample, so that holders can be told."""
        return bool((self.address != tables.MISSING).all())

    @cached_property
    def _levels(self) -> list[Int64]:
        return maxima(self.peak)

    def held_at(self, instant_ns: Int64) -> Int64:
        """Return ``(M,)`` the bytes held at some instants, a change at the instant included."""
        place = np.searchsorted(self.time_ns, instant_ns, side="right")
        before = int(self.allocated[0] - self.delta[0])
        return np.append(before, self.allocated)[place]

    def most_held(self, start_ns: Int64, end_ns: Int64) -> Int64:
        """Return ``(M,)`` the most bytes held during some windows, bounds included."""
        low = np.searchsorted(self.time_ns, start_ns, side="right")
        high = np.searchsorted(self.time_ns, end_ns, side="right")
        result = self.held_at(start_ns)
        for level in self._levels:  # a window is made of few whole nodes of the tree
            odd = (low < high) & (low % 2 == 1)
            result[odd] = np.maximum(result[odd], level[low[odd]])
            low = np.where(odd, low + 1, low)
            odd = (low < high) & (high % 2 == 1)
            high = np.where(odd, high - 1, high)
            result[odd] = np.maximum(result[odd], level[high[odd]])
            low, high = low // 2, high // 2
        return result

    def held(self, place: int) -> Int64:
        """Return the positions of the changes that took the blocks held after one change."""
        last = len(self.address[: place + 1]) - 1
        _, newest = np.unique(self.address[last::-1], return_index=True)
        rows = np.sort(last - newest)
        return rows[self.delta[rows] > 0]


def memory_changes(report: Report) -> tuple[list[MemoryChanges], str]:
    """Return the memory that each device held for each process, and the source of the figures.

    Raises:
        ReportError: no memory was recorded.
    """
    if not tables.is_empty(report, ALLOCATOR):
        source = report.run.get("memory_source", "")
        origin = TORCH_EVENTS if source in {"", "allocator"} else source
        return _split(allocator_changes(report)), origin
    if not tables.is_empty(report, NSYS_EVENTS):
        return _split(_of_nsys(report)), CUDA_EVENTS
    raise ReportError(report.path, f"no memory was recorded by {report.recorder}", _REMEDY)


def _of_nsys(report: Report) -> Columns:
    """Return nsys's events in the columns of torch's; the thread is that of the CUDA call."""
    rows = nsys_changes(report)
    calls = cuda_calls(report)
    call = starting_calls(
        (rows.pop("global_pid"), rows.pop("correlation")),
        (calls.thread, calls.correlation),
        calls.start_ns,
    )
    known = np.flatnonzero(call != NONE)
    rows["thread"] = np.full(len(call), tables.MISSING, np.int64)
    rows["thread"][known] = calls.thread[call[known]]
    held = np.zeros(len(rows["time_ns"]), np.int64)
    for process, device in _places(rows):
        mine = (rows["process"] == process) & (rows["device"] == device)
        held[mine] = np.cumsum(rows["delta"][mine])
    return {**rows, "allocated": held, "peak": held}


def _places(rows: Columns) -> list[tuple[int, int]]:
    pairs = np.unique(np.stack([rows["process"], rows["device"]]), axis=1).T.tolist()
    return [(int(process), int(device)) for process, device in pairs]


def _split(rows: Columns) -> list[MemoryChanges]:
    fields = ("time_ns", "thread", "address", "delta", "allocated", "peak")
    made = []
    for process, device in _places(rows):
        mine = (rows["process"] == process) & (rows["device"] == device)
        made.append(MemoryChanges(process, device, **{name: rows[name][mine] for name in fields}))
    return made
