"""NVIDIA's report on the kernels of each range: ``nvtx_kern_sum``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.containment import CorrelationKeys, Slices, distinct
from analysis.arithmetic.global_ids import process_of, thread_of, without_machine
from analysis.arithmetic.intervals import NONE
from analysis.nvidia import tables as read
from analysis.nvidia.cells import nvidia_statistics
from analysis.nvidia.ranges import (
    NO_CUDA,
    NO_NVTX,
    STYLES,
    Launches,
    durations,
    launches_in_ranges,
    names_of_codes,
    ranges_and_calls,
)
from analysis.show.table import Table
from analysis.source import tables
from analysis.source.database import both

if TYPE_CHECKING:
    from analysis.source.nvtx_tables import RangeRows
    from analysis.source.report import Report


@dataclass(frozen=True)
class Kernels:
    """The kernels of a report: names, ``(K,)`` durations, and numbers of their correlation ids."""

    names: list[str]
    name: Int64
    duration_ns: Int64
    keys: CorrelationKeys


@dataclass(frozen=True)
class KernelRows:
    """The rows that ``nvtx_kern_sum`` groups: a kernel, its launch, a range around the launch.

    Attributes:
        kernel: ``(N,)`` the position of the kernel.
        owner: ``(N,)`` the position of the range, `NONE` outside any.
        code: ``(N,)`` a number for thread, range, style and kernel's name, which orders as they do,
            one after another; NULL comes first.
    """

    kernel: Int64
    owner: Int64
    code: Int64


def nvtx_kern_sum(report: Report, naming: str = "") -> Table:
    """Return ``nvtx_kern_sum``: the kernels by range, thread and name.

    A launch that was recorded twice has its kernels twice in the times, though not in "Kern Inst".
    Kernels outside any range, and those without a recorded launch, have rows without a range.

    Args:
        report: what was recorded.
        naming: of kernels, one of `analysis.nvidia.tables.NAME_COLUMNS`.
    """
    for table, remedy in ((tables.NVTX, NO_NVTX), (tables.KERNEL, NO_CUDA)):
        report.require(table, remedy=remedy)
    report.require(tables.RUNTIME, remedy=NO_CUDA)
    kernels, place = both(lambda: read_kernels(report, naming), lambda: ranges_and_calls(report))
    found = launches_in_ranges(place, kernels.keys)
    launched = np.bincount(kernels.keys.number, minlength=kernels.keys.count + 1)[found.number]
    rows = int(launched.sum()) + int(found.slices.sums(launched).sum())
    read.check_joined(report, rows, len(kernels.name))
    return kern_sum_table(found, kernels)


def read_kernels(report: Report, naming: str) -> Kernels:
    """Return the kernels of a report, named by one of `analysis.nvidia.tables.NAME_COLUMNS`."""
    wanted = {"process": "globalPid", "correlation": "correlationId"}
    rows = read.kernel_columns(report, naming, **wanted)
    names, name = read.names_of(report, rows["name_id"])
    keys = CorrelationKeys(rows["process"], rows["correlation"])
    return Kernels(names, name, rows["end_ns"] - rows["start_ns"], keys)


def launched_kernels(launches: Launches, keys: CorrelationKeys) -> tuple[Int64, Int64, Slices]:
    """Return every pair of a launch and a kernel it launched, and which ranges contain the pairs.

    A graph's launch has many kernels: each counts as if it had a launch of its own.
    """
    kernels = np.argsort(keys.number, kind="stable")
    first = np.searchsorted(keys.number[kernels], np.arange(keys.count + 1))
    many = np.diff(first)[launches.number]
    if not len(many) or int(many.max()) == 1:
        return np.arange(len(many)), kernels[first[launches.number]], launches.slices
    of_call = np.repeat(np.arange(len(many)), many)
    before = np.cumsum(many) - many
    kernel = kernels[np.arange(len(of_call)) + np.repeat(first[launches.number] - before, many)]
    return of_call, kernel, launches.slices.moved(np.append(before, len(of_call)))


def kernel_rows(launches: Launches, kernels: Kernels, threads: Int64) -> KernelRows:
    """Return every kernel with each call that launched it and each range around that call.

    Args:
        launches: the launches.
        kernels: what was launched.
        threads: process and thread of all launches, `NONE` first.
    """
    call, kernel, slices = launched_kernels(launches, kernels.keys)
    kinds, most = len(kernels.names) + 1, label_count(launches.ranges)
    named = kernels.name - NONE
    thread = np.searchsorted(threads, without_machine(launches.launch.thread))[call]
    of_call = thread * (most * kinds) + named[kernel]
    style = launches.ranges.start_end.astype(np.int64)
    # A range without a name is a group of its own beside what is outside any: it has a style.
    of_range = ((launches.ranges.name - NONE) * 2 + style + 1) * kinds
    outside = np.flatnonzero(~slices.covered(len(call)))
    without = np.ones(len(kernels.name), np.bool_)
    without[kernel] = False
    never = np.flatnonzero(without)
    owner, place = slices.pairs()
    return KernelRows(
        kernel=np.concatenate([kernel[place], kernel[outside], never]),
        owner=np.concatenate([owner, np.full(len(outside) + len(never), NONE)]),
        code=np.concatenate([of_call[place] + of_range[owner], of_call[outside], named[never]]),
    )


def label_count(ranges: RangeRows) -> int:
    """Return how many numbers the labels of ranges take: their names, each in two styles."""
    return 2 * len(ranges.names) + 4


def kern_sum_table(launches: Launches, kernels: Kernels) -> Table:
    """Return ``nvtx_kern_sum`` of some launches, by range, process and thread, then most time."""
    threads = np.unique(np.append(without_machine(distinct(launches.launch.thread)), NONE))
    rows = kernel_rows(launches, kernels, threads)
    kinds, most = len(kernels.names) + 1, label_count(launches.ranges)
    kind, group = tables.compact(rows.code)
    stats = nvidia_statistics(group, kernels.duration_ns[rows.kernel], len(kind))
    label, thread = kind // kinds % most, threads[kind // kinds // most]
    name = (label - 1).clip(0) // 2
    table = Table(
        name="nvtx_kern_sum",
        columns={
            "NVTX Range": names_of_codes(launches.ranges.names, name + NONE),
            "Style": ["" if not one else STYLES[(one - 1) % 2] for one in label.tolist()],
            "PID": np.where(thread == NONE, tables.MISSING, process_of(thread)),
            "TID": np.where(thread == NONE, tables.MISSING, thread_of(thread)),
            "NVTX Inst": distinct_in(group, rows.owner, len(kind)),
            "Kern Inst": distinct_in(group, rows.kernel, len(kind)),
            "Total Time (ns)": stats.total_ns,
            **durations(stats),
            "Kernel Name": names_of_codes(kernels.names, kind % kinds + NONE),
        },
    )
    return table.take(np.lexsort((-stats.total_ns, thread, name)))


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
