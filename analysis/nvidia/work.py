"""NVIDIA's reports on kernels, launches, copies and CUDA calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64, coded
from analysis.arithmetic.containment import CorrelationKeys, innermost
from analysis.arithmetic.global_ids import global_process_of, process_of, thread_of, without_machine
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import Statistics
from analysis.nvidia import tables as read
from analysis.nvidia.cells import nvidia_statistics, prefixed_names, rounded
from analysis.nvidia.ranges import (
    NO_CUDA,
    NO_NVTX,
    durations,
    launches_in_ranges,
    names_of_codes,
    ranges_and_calls,
    time_columns,
)
from analysis.show.errors import ReportError
from analysis.show.table import Column, Table
from analysis.source import device_tables, tables

if TYPE_CHECKING:
    from analysis.source.report import Report


SUFFIX_LETTERS = 6


def cuda_gpu_kern_sum(report: Report, naming: str = "", *, nvtx_name: bool = False) -> Table:
    """Return ``cuda_gpu_kern_sum``: kernels by name, over all devices and processes.

    Args:
        report: what was recorded.
        naming: of kernels, one of `analysis.nvidia.tables.NAME_COLUMNS`.
        nvtx_name: whether to put the range in front that began last of those around the launch.
    """
    report.require(tables.KERNEL, remedy=NO_CUDA)
    kernels = read.kernel_columns(report, naming)
    names, name = read.names_of(report, kernels["name_id"])
    if nvtx_name:
        names, name = with_ranges(report, names, name)
    kind, group = tables.compact(name - NONE)
    stats = nvidia_statistics(group, kernels["end_ns"] - kernels["start_ns"], len(kind))
    columns = time_columns(stats, "Instances") | {"Name": names_of_codes(names, kind + NONE)}
    return Table("cuda_gpu_kern_sum", columns).take(np.lexsort((stats.calls, -stats.total_ns)))


def with_ranges(report: Report, names: list[str], name: Int64) -> tuple[list[str], Int64]:
    """Return kernels' names as ``range/kernel``, where a range is around the launch.

    Domains are not named here. Of ranges that began together the first in the file counts.

    Args:
        report: has the ranges.
        names: ``(K,)`` distinct names of kernels.
        name: ``(N,)`` position of each kernel's.

    Returns:
        The distinct names, and ``(N,)`` positions in them.

    Raises:
        ReportError: there are no ranges, or no calls.
    """
    report.require(tables.NVTX, remedy=NO_NVTX)
    report.require(tables.RUNTIME, remedy=NO_CUDA)
    wanted = {"process": "globalPid", "correlation": "correlationId"}
    kernels = read.kernel_columns(report, "", **wanted)
    keys = CorrelationKeys(kernels["process"], kernels["correlation"])
    found = launches_in_ranges(ranges_and_calls(report, prefix=False), keys)
    spans = found.spans
    # Of those that begin together all that begin before the last are longer, and contain it too.
    new = np.append(True, (np.diff(spans.start_ns) != 0) | (np.diff(spans.thread) != 0))
    block = np.cumsum(new)
    width = int(found.row.max(initial=0)) + 1
    first = np.minimum.accumulate(found.row - block * width) + block * width
    place = innermost(spans, found.launch)
    inside = np.flatnonzero(place != NONE)
    number, place = found.number[inside], place[inside]
    # The last assignment counts: that of the range that begins last, and of the first call as
    # SQLite's automatic index orders the calls of one launch.
    launch = found.launch.take(inside)
    rank = np.empty(len(inside), np.int64)
    first_calls = (found.call[inside], launch.thread, launch.end_ns, launch.start_ns)
    rank[np.lexsort(first_calls)] = np.arange(len(inside))
    order = np.lexsort((-rank, spans.start_ns[place]))
    row = np.full(keys.count, NONE, np.int64)
    row[number[order]] = first[place[order]]
    of_row = np.full(width + 1, NONE, np.int64)
    of_row[found.row] = found.ranges.name
    return prefixed_names(found.ranges.names, of_row[row[keys.number]], names, name)


def cuda_kern_exec_sum(report: Report, naming: str = "", *, nvtx_name: bool = False) -> Table:
    """Return ``cuda_kern_exec_sum``: launching, waiting and running, by thread, device and names.

    A launch that was recorded twice counts twice; kernels without a recorded launch do not count.
    A kernel that began before its launch returned has no queue time. The arguments are those of
    `cuda_gpu_kern_sum`.
    """
    report.require(tables.KERNEL, remedy=NO_CUDA)
    report.require(tables.RUNTIME, remedy=NO_CUDA)
    wanted = {"process": "globalPid", "correlation": "correlationId", "device": "deviceId"}
    kernels = read.kernel_columns(report, naming, **wanted)
    names, name = read.names_of(report, kernels["name_id"])
    if nvtx_name:
        names, name = with_ranges(report, names, name)
    calls = read.calls(report, named=True)
    api_names, api = without_versions(*read.names_of(report, calls["name_id"]))
    kernel, call = kernel_call_pairs(report, kernels["process"], kernels["correlation"], calls)
    start, end = kernels["start_ns"][kernel], kernels["end_ns"][kernel]
    began, returned = calls["start_ns"][call], calls["end_ns"][call]
    code = order_codes(
        (without_machine(calls["thread"][call]), kernels["device"][kernel]),
        ((api[call], len(api_names)), (name[kernel], len(names))),
    )
    kinds, sample, group = np.unique(code, return_index=True, return_inverse=True)
    size = len(kinds)
    queued = start >= returned
    total = nvidia_statistics(group, np.maximum(returned, end) - began, size)
    queue = nvidia_statistics(group[queued], (start - returned)[queued], size)
    thread, device = calls["thread"][call][sample], kernels["device"][kernel][sample]
    table = Table(
        name="cuda_kern_exec_sum",
        columns={
            "PID": process_of(thread),
            "TID": thread_of(thread),
            "DevId": device,
            "Count": total.calls,
            "QCount": queue.calls,
            **phase_columns("T", total),
            **phase_columns("A", nvidia_statistics(group, returned - began, size)),
            **phase_columns("Q", queue),
            **phase_columns("K", nvidia_statistics(group, end - start, size)),
            "API Name": names_of_codes(api_names, api[call][sample]),
            "Kernel Name": names_of_codes(names, name[kernel][sample]),
        },
    )
    return table.take(np.argsort(-rounded(total.mean_ns), kind="stable"))


def kernel_call_pairs(
    report: Report, process: Int64, correlation: Int64, calls: dict[str, Int64]
) -> tuple[Int64, Int64]:
    """Return all pairs of a kernel, ``(P,)`` ascending, and a call that launched it, ``(P,)``.

    Args:
        report: what was recorded.
        process: ``(N,)`` global process ids of kernels.
        correlation: ``(N,)``; `tables.MISSING` pairs with nothing.
        calls: ``thread`` and ``correlation`` of all calls, each ``(C,)``.
    """
    keys = CorrelationKeys(global_process_of(calls["thread"]), calls["correlation"])
    number = keys.find(process, correlation)
    ordered = np.argsort(keys.number, kind="stable")
    first = np.searchsorted(keys.number[ordered], np.arange(keys.count + 1))
    some = np.flatnonzero((number != NONE) & (correlation != tables.MISSING))
    many = np.diff(first)[number[some]]
    read.check_joined(report, int(many.sum()), len(process))
    before = np.cumsum(many) - many
    place = np.arange(int(many.sum())) + np.repeat(first[number[some]] - before, many)
    return np.repeat(some, many), ordered[place]


def order_codes(values: tuple[Int64, ...], codes: tuple[tuple[Int64, int], ...]) -> Int64:
    """Return ``(N,)`` numbers that order rows as their values, then their codes, do.

    Args:
        values: columns of any numbers, each ``(N,)``, the foremost first.
        codes: columns that follow them, each ``(N,)`` from `NONE` up, and how many codes there are.
    """
    result = np.zeros(len(values[0]), np.int64)
    for value in values:
        distinct, place = np.unique(value, return_inverse=True)
        result = result * (len(distinct) + 1) + place
    for code, kinds in codes:
        result = result * (kinds + 1) + (code - NONE)
    return result


def phase_columns(letter: str, found: Statistics) -> dict[str, Int64 | Float64]:
    """Return the five columns of one phase of a launch; empty cells where nothing was measured."""
    none = found.calls == 0
    columns = {f"{letter}{name}": column for name, column in durations(found).items()}
    for name, column in columns.items():
        if not name.endswith("StdDev (ns)"):
            columns[name] = np.where(none, np.nan if column.dtype.kind == "f" else NONE, column)
    return columns


def without_versions(names: list[str], code: Int64) -> tuple[list[str], Int64]:
    """Return names of CUDA calls without a version of four digits, as NVIDIA's SQL strips it.

    >>> without_versions(["cudaFree_v3020", "cudaGraphLaunch_v10000"], np.array([1, 0]))[0]
    ['cudaFree', 'cudaGraphLaunch_v10000']
    """
    known, place = coded(map(without_version, names))
    return known, np.append(place, NONE)[code]


def without_version(name: str) -> str:
    """Return the name of a CUDA call without its last six letters, where they begin with _v."""
    cut = name[-SUFFIX_LETTERS:][:2] == "_v" and len(name) >= SUFFIX_LETTERS
    return name[:-SUFFIX_LETTERS] if cut else name


def cuda_api_sum(report: Report) -> Table:
    """Return ``cuda_api_sum``: CUDA calls by the id of their name, not by the name shown."""
    report.require(tables.RUNTIME, remedy=NO_CUDA)
    calls = read.call_times(report)
    kind, group = tables.compact(calls["name_id"] - tables.MISSING)
    stats = nvidia_statistics(group, calls["duration_ns"], len(kind))
    names, name = read.names_of(report, kind + tables.MISSING)
    shown = [without_version(one) for one in names_of_codes(names, name)]
    columns = time_columns(stats, "Num Calls") | {"Name": shown}
    return Table("cuda_api_sum", columns).take(np.argsort(-stats.total_ns, kind="stable"))


def cuda_gpu_mem_time_sum(report: Report) -> Table:
    """Return ``cuda_gpu_mem_time_sum``: the time of copies and sets, by kind."""
    names, stats = memory_statistics(report, '"end" - start', 0.1)
    columns = time_columns(stats, "Count") | {"Operation": names}
    return Table("cuda_gpu_mem_time_sum", columns).take(np.argsort(-stats.total_ns, kind="stable"))


def cuda_gpu_mem_size_sum(report: Report) -> Table:
    """Return ``cuda_gpu_mem_size_sum``: the bytes of copies and sets, by kind."""
    names, stats = memory_statistics(report, "bytes", 1000)
    sizes = {
        "Avg (MB)": stats.mean_ns,
        "Med (MB)": stats.median_ns,
        "Min (MB)": stats.min_ns,
        "Max (MB)": stats.max_ns,
        "StdDev (MB)": stats.std_ns,
    }
    columns: dict[str, Column] = {
        "Total (MB)": stats.total_ns / 1e6,
        "Count": stats.calls,
        **{name: column / 1e6 for name, column in sizes.items()},
        "Operation": names,
    }
    return Table("cuda_gpu_mem_size_sum", columns).take(np.argsort(-stats.total_ns, kind="stable"))


def memory_statistics(report: Report, value: str, unit: float) -> tuple[list[str], Statistics]:
    """Return the kinds of copies and sets, by name, and statistics of one value of each.

    Args:
        report: has them.
        value: SQL for what is wanted of each.
        unit: as `analysis.nvidia.cells.nvidia_statistics` takes it.

    Raises:
        ReportError: there is no copy and no set.
    """
    if not report.has(device_tables.COPY) and not report.has(device_tables.SET):
        raise ReportError(report.path, "no copy and no set in this report", NO_CUDA)
    names, code, values = read.memory(report, value)
    used = set(code.tolist())
    known, place = coded(name if one in used else None for one, name in enumerate(names))
    return known, nvidia_statistics(place[code], values, len(known), unit)
