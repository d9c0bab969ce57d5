"""One table of device work: every kernel, graph replay, copy and set of a report, read once.

Each row is tied to the CUDA call that started it by process and correlation id (see
`analysis.recorded.cuda_calls`). Every question about what a GPU did is a mask or a sum over it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE
from analysis.recorded.cuda_calls import (
    ASYNC,
    COPIES,
    SETS,
    CudaCalls,
    cuda_calls,
    starting_calls,
)
from analysis.source import device_tables, tables

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report

KINDS: Final = ("kernel", "graph", "copy", "set")
"""What a row is: a kernel, the replay of a CUDA graph that was recorded as a whole, a copy, a set.

Rows come in this order, those of one kind in order of time.
"""

KERNEL, GRAPH, COPY, SET = range(4)

RANKED: Final = 2
"""Kinds below this compute, and are ranked; copies and sets only move memory."""

REPLAY: Final = "[CUDA graph replay] graph"
MEMSET: Final = "memset"

SMALL_BYTES: Final = 64_000
"""Up to here a synchronous copy to the device returns at once, says NVIDIA's cuda_memcpy_sync."""


@dataclass(frozen=True)
class DeviceWork:
    """The work of a report's GPUs, ``N`` rows: kernels, graph replays, copies, sets.

    Attributes:
        report: what was recorded; the CUDA calls are read from it when asked for.
        sizes: how many rows there are of each of `KINDS`.
        start_ns: ``(N,)`` on the device.
        end_ns: ``(N,)``.
        device: ``(N,)`` CUDA ordinal.
        stream: ``(N,)``.
        correlation: ``(N,)`` the number that the launching call shares.
        global_pid: ``(N,)`` nsys's id of the process.
        graph: ``(N,)`` the CUDA graph it is part of, or a replay of.
        graph_node: ``(N,)`` the node of that graph.
        kernel_names: ``(sizes[0],)`` string ids of the kernels' names.
        copied: further columns of the copies: see `device_tables.COLUMNS`.
        written: further columns of the sets.
        whole: whether all rows of the report are there.

    Numbers that are missing are `tables.MISSING`.
    """

    report: Report
    sizes: tuple[int, ...]
    start_ns: Int64
    end_ns: Int64
    device: Int64
    stream: Int64
    correlation: Int64
    global_pid: Int64
    graph: Int64
    graph_node: Int64
    kernel_names: Int64
    copied: Columns
    written: Columns
    whole: bool = True

    def __len__(self) -> int:
        return len(self.start_ns)

    def take(self, kept: Bools) -> Self:
        """Return the rows that a mask, ``(N,)``, keeps; which call started each stays known."""
        bounds = np.cumsum([0, *self.sizes])
        parts = [kept[low:high] for low, high in pairwise(bounds.tolist())]
        fields = ("start_ns", "end_ns", *device_tables.WORK)
        taken = replace(
            self,
            sizes=tuple(int(part.sum()) for part in parts),
            **{field: getattr(self, field)[kept] for field in fields},
            kernel_names=self.kernel_names[parts[KERNEL]],
            copied={name: column[parts[COPY]] for name, column in self.copied.items()},
            written={name: column[parts[SET]] for name, column in self.written.items()},
            whole=False,
        )
        vars(taken).update(calls=self.calls, call=self.call[kept])
        return taken

    @property
    def ranked(self) -> int:
        """The number of rows that are kernels or graph replays, which come first."""
        return sum(self.sizes[:RANKED])

    @cached_property
    def kind(self) -> Int64:
        """``(N,)`` the kind of each row, a position in `KINDS`."""
        return np.repeat(np.arange(len(KINDS)), self.sizes)

    @property
    def duration_ns(self) -> Int64:
        """``(N,)`` the time that each row took on the device."""
        return self.end_ns - self.start_ns

    @cached_property
    def process(self) -> Int64:
        """``(N,)`` the process id of each row, or `tables.MISSING`."""
        unknown = self.global_pid == tables.MISSING
        return np.where(unknown, tables.MISSING, process_of(self.global_pid))

    @cached_property
    def bytes(self) -> Int64:
        """``(N,)`` the bytes that were copied or set; 0 of a kernel."""
        moved = np.append(self.copied["bytes"], self.written["bytes"])
        return np.append(np.zeros(self.ranked, np.int64), moved.clip(0))

    @cached_property
    def names(self) -> list[str]:
        """``(K,)`` the names of rows: of kernels, then of replays, of kinds of copies, of sets."""
        return [name for part in self.names_by_kind for name in part[0]]

    @cached_property
    def name(self) -> Int64:
        """``(N,)`` the position of each row's name in ``names``."""
        shift = np.cumsum([0, *(len(part[0]) for part in self.names_by_kind)])
        places = [part[1] + first for part, first in zip(self.names_by_kind, shift, strict=False)]
        return np.concatenate(places)

    @cached_property
    def names_by_kind(self) -> list[tuple[list[str], Int64]]:
        """For each of `KINDS` its distinct names, and ``(rows,)`` the position of each row's."""
        graphs = self.graph[self.sizes[0] : self.ranked]
        return [
            tables.named(self.report, self.kernel_names),
            replay_names(graphs),
            self._copy_names(),
            ([MEMSET] * bool(self.sizes[SET]), np.zeros(self.sizes[SET], np.int64)),
        ]

    def _copy_names(self) -> tuple[list[str], Int64]:
        known = device_tables.copy_kinds(self.report)
        codes, place = np.unique(
            self.copied["copy_kind"] * 2 + copies_pageable(self.copied), return_inverse=True
        )
        kinds = [
            f"memcpy {known.get(code // 2, f'kind {code // 2}')}{', pageable' * (code % 2)}"
            for code in codes.tolist()
        ]
        return kinds, place.astype(np.int64)

    @cached_property
    def calls(self) -> CudaCalls:
        """All CUDA calls of the host, those that started nothing included."""
        return cuda_calls(self.report)

    @cached_property
    def call(self) -> Int64:
        """``(N,)`` position in ``calls`` of the call that started each row, or `NONE`."""
        return self._kept("calls of device work", self._calls)["call"]

    def _calls(self) -> Columns:
        found = starting_calls(
            (self.global_pid, self.correlation),
            (self.calls.thread, self.calls.correlation),
            self.calls.start_ns,
        )
        return {"call": found}

    @cached_property
    def launches(self) -> tuple[Int64, Int64, Int64]:
        """``(N,)`` thread, start and end of each row's call, or `tables.MISSING`."""
        found = self._kept(
            "launches of device work",
            lambda: {
                field: self.of_call(getattr(self.calls, field))
                for field in ("thread", "start_ns", "end_ns")
            },
        )
        return found["thread"], found["start_ns"], found["end_ns"]

    def _kept(self, name: str, make: Callable[[], Columns]) -> Columns:
        return self.report.database.kept(name, make) if self.whole else make()

    def of_call(self, column: Int64) -> Int64:
        """Return ``(N,)`` a column of the CUDA calls at each row's call, or `tables.MISSING`."""
        if not len(column):
            return np.full(len(self), tables.MISSING, np.int64)
        return np.where(self.call != NONE, column[self.call], tables.MISSING)

    @cached_property
    def launch_ns(self) -> Int64:
        """``(N,)`` when each row's CUDA call began; where it is not recorded, when the row did."""
        if not len(self.calls):
            return self.start_ns
        return np.where(self.call != NONE, self.calls.start_ns[self.call], self.start_ns)

    @cached_property
    def pageable(self) -> Bools:
        """``(N,)`` which rows are copies from or to pageable memory."""
        result = np.zeros(len(self), np.bool_)
        result[self.kind == COPY] = copies_pageable(self.copied)
        return result

    @cached_property
    def synchronous(self) -> Bools:
        """``(N,)`` which copies and sets the host waited for.

        NVIDIA's expert rules ``cuda_memcpy_sync``, ``cuda_memcpy_async`` and ``cuda_memset_sync``.
        The call is found by process and correlation id; the rules compare the id alone, and so
        count another process's copies. Copies by the driver's calls (``cuMemcpyHtoD``) count too.
        """
        result = np.zeros(len(self), np.bool_)
        copies, sets = self.kind == COPY, self.kind == SET
        small = (self.copied["bytes"] <= SMALL_BYTES) & (
            self.copied["copy_kind"] == device_tables.HOST_TO_DEVICE
        )
        inside = (self.copied["source_device"] != tables.MISSING) & (
            self.copied["source_device"] == self.copied["target_device"]
        )
        at_once = self._started_by(self.calls.copy_at_once)[copies]
        later = self._started_by(self.calls.like(COPIES, ASYNC))[copies]
        result[copies] = (at_once & ~small & ~inside) | (later & copies_pageable(self.copied))
        host = np.isin(self.written["memory"], (device_tables.PINNED, device_tables.MANAGED))
        at_once = self._started_by(self.calls.like(SETS) & ~self.calls.like(SETS, ASYNC))[sets]
        result[sets] = at_once & host
        return result

    def _started_by(self, fits: Bools) -> Bools:
        """Return ``(N,)`` which rows were started by one of some calls, ``(C,)``."""
        result = np.zeros(len(self), np.bool_)
        known = self.call != NONE
        result[known] = fits[self.call[known]]
        return result

    @cached_property
    def read_back(self) -> Bools:
        """``(C,)`` which calls keep the host to copy a few bytes to it, as ``.item()`` does.

        They wait for the work whose result that is; copying takes none of their time.
        """
        few = self.kind == COPY
        few[few] = (
            (self.copied["bytes"] > 0)
            & (self.copied["bytes"] <= SMALL_BYTES)
            & (self.copied["copy_kind"] == device_tables.DEVICE_TO_HOST)
        )
        result = np.zeros(len(self.calls), np.bool_)
        result[self.call[few & (self.pageable | self.synchronous) & (self.call != NONE)]] = True
        return result

    @cached_property
    def blocking_copy(self) -> Bools:
        """``(C,)`` which calls keep the host in a copy: synchronous, or of pageable memory.

        A copy of pageable memory passes through a pinned buffer that the driver fills, whatever the
        call is named (NVIDIA's expert rule ``cuda_memcpy_async``).
        """
        result = self.calls.copy_at_once.copy()
        result[self.call[self.pageable & (self.call != NONE)]] = True
        return result


def device_work(report: Report) -> DeviceWork:
    """Return the device work of a report, read once; empty where no GPU did anything."""
    return report.once(_read)


def has_read_device_work(report: Report) -> bool:
    """Return whether the device work of a report was read already."""
    return report.has_made(_read)


def _read(report: Report) -> DeviceWork:
    device_tables.check_room(report)
    parts = [device_tables.device_events(report, table) for table in device_tables.OF_DEVICES]
    sizes = tuple(len(part["start_ns"]) for part in parts)
    fields = ("start_ns", "end_ns", *device_tables.WORK)

    def together() -> Columns:
        return {field: joined([part[field] for part in parts]) for field in fields}

    whole = report.stretch is None
    columns = report.database.kept("device work", together) if whole else together()
    return DeviceWork(
        report,
        sizes,
        **columns,
        kernel_names=parts[KERNEL]["name_id"],
        copied=parts[COPY],
        written=parts[SET],
        whole=whole,
    )


def joined(parts: list[Int64]) -> Int64:
    """Return arrays one after another; where only one has rows that one, and no copy of it."""
    with_rows = [part for part in parts if len(part)]
    return with_rows[0] if len(with_rows) == 1 else np.concatenate(parts)


def replay_names(graph: Int64) -> tuple[list[str], Int64]:
    """Return the names of graph replays by the graph's number, and ``(G,)`` positions in them."""
    numbers, place = tables.compact(graph)
    known = ["unknown" if number == tables.MISSING else str(number) for number in numbers.tolist()]
    return [f"{REPLAY} {number}" for number in known], place


def copies_pageable(copied: Columns) -> Bools:
    """Return ``(copies,)`` which copies have pageable memory at either end."""
    ends = np.stack([copied["source_memory"], copied["target_memory"]])
    result: Bools = (ends == device_tables.PAGEABLE).any(axis=0)
    return result
