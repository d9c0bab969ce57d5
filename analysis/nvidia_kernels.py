"""NVIDIA's report on the kernels of each range: ``nvtx_kern_sum``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis import nvidia_tables as read
from analysis import tables
from analysis.intervals import NONE
from analysis.nvidia_cells import summary
from analysis.nvidia_ranges import NO_CUDA, NO_NVTX, STYLES, Launches, durations, launches, words
from analysis.projection import Keys
from analysis.table import Table

if TYPE_CHECKING:
    from analysis.report import Report

Int64 = npt.NDArray[np.int64]
ID_BITS = 0xFFFFFFFFFFFF
"""Of a global thread id: process and thread."""


@dataclass(frozen=True)
class Rows:
    """What the report groups: a kernel, a call that launched it, a range around that call.

    Attributes:
        kernel: ``(N,)`` the position of the kernel.
        thread: ``(N,)`` process and thread of the call, `NONE` without one.
        owner: ``(N,)`` the position of the range, `NONE` outside any.
    """

    kernel: Int64
    thread: Int64
    owner: Int64


def nvtx_kern_sum(report: Report, naming: str = "") -> Table:
    """Return ``nvtx_kern_sum``: the kernels by range, thread and name.

    A launch that was recorded twice has its kernels twice in the times, though not in "Kern Inst".
    Kernels outside any range, and those without a recorded launch, have rows without a range.

    Args:
        report: what was recorded.
        naming: of kernels, one of `nvidia_tables.NAME_COLUMNS`.
    """
    for table, remedy in ((tables.NVTX, NO_NVTX), (tables.KERNEL, NO_CUDA)):
        report.require(table, remedy=remedy)
    report.require(tables.RUNTIME, remedy=NO_CUDA)
    kernels = read.kernel_columns(report, naming, process="globalPid", correlation="correlationId")
    names, name = read.names_of(report, kernels["name_id"])
    duration = kernels["end_ns"] - kernels["start_ns"]
    keys = Keys(kernels["process"], kernels["correlation"])
    found = launches(report, keys)
    rows = expanded(found, keys)
    del kernels
    return grouped(found, rows, duration, names, name)


def expanded(found: Launches, keys: Keys) -> Rows:
    """Return every kernel with every call that launched it and every range around that."""
    kernels = np.argsort(keys.number, kind="stable")
    first = np.searchsorted(keys.number[kernels], np.arange(keys.count + 1))
    many = np.diff(first)[found.number]
    if not len(many) or int(many.max()) == 1:
        of_call = np.arange(len(many))
        kernel = kernels[first[found.number]]
        slices = found.slices
    else:
        # A graph's launch has many kernels: each counts as if it had a launch of its own.
        of_call = np.repeat(np.arange(len(many)), many)
        before = np.cumsum(many) - many
        kernel = kernels[np.arange(len(of_call)) + np.repeat(first[found.number] - before, many)]
        ends = np.append(before, len(of_call))
        slices = found.slices.moved(ends)
    owner, place = slices.pairs()
    outside = np.flatnonzero(~slices.covered(len(of_call)))
    launched = np.zeros(len(keys.number), np.bool_)
    launched[kernel] = True
    never = np.flatnonzero(~launched)
    thread = found.calls.thread[of_call] & ID_BITS
    return Rows(
        kernel=np.concatenate([kernel[place], kernel[outside], never]),
        thread=np.concatenate([thread[place], thread[outside], np.full(len(never), NONE)]),
        owner=np.concatenate([owner, np.full(len(outside) + len(never), NONE)]),
    )


def grouped(found: Launches, rows: Rows, duration: Int64, names: list[str], name: Int64) -> Table:
    """Return the report of these rows, ordered by range, process, thread, then most time."""
    threads = np.unique(rows.thread)
    ranges = found.ranges
    style = np.append(ranges.start_end.astype(np.int64), 0)
    # In the order in which NVIDIA groups: thread, range, style, kernel; NULL comes first.
    labels = np.append((ranges.name - NONE) * 2, 0)[rows.owner] + style[rows.owner]
    # A range without a name is a group of its own beside what is outside any: it has a style.
    labels = labels + (rows.owner != NONE)
    most, kinds = 2 * len(ranges.names) + 4, len(names) + 1
    key = np.searchsorted(threads, rows.thread) * most + labels
    kind, group = tables.compact(key * kinds + (name[rows.kernel] - NONE))
    stats = summary(group, duration[rows.kernel], len(kind))
    label, thread = kind // kinds % most, threads[kind // kinds // most]
    named = (label - 1).clip(0)
    table = Table(
        name="nvtx_kern_sum",
        columns={
            "NVTX Range": words(ranges.names, named // 2 + NONE),
            "Style": ["" if not one else STYLES[(one - 1) % 2] for one in label.tolist()],
            "PID": np.where(thread == NONE, tables.MISSING, thread >> 24),
            "TID": np.where(thread == NONE, tables.MISSING, thread & 0xFFFFFF),
            "NVTX Inst": distinct_in(group, rows.owner, len(kind)),
            "Kern Inst": distinct_in(group, rows.kernel, len(kind)),
            "Total Time (ns)": stats.total_ns,
            **durations(stats),
            "Kernel Name": words(names, kind % kinds + NONE),
        },
    )
    return table.take(np.lexsort((-stats.total_ns, thread, named // 2)))


def distinct_in(group: Int64, member: Int64, groups: int) -> Int64:
    """Return how many distinct members each group has; `NONE` is no member.

    >>> distinct_in(np.array([0, 0, 0, 1]), np.array([7, 7, 8, -1]), 2).tolist()
    [2, 0]
    """
    if not len(group):
        return np.zeros(groups, np.int64)
    width = int(member.max()) + 2
    pair = group * width + (member - NONE)
    pair.sort()
    new = np.append(True, pair[1:] != pair[:-1]) & (pair % width > 0)
    return np.bincount(pair[new] // width, minlength=groups).astype(np.int64)
