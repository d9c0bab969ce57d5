"""Memory copies and sets: how many, how fast, and which kept the host waiting.

    python -m analysis.copies report.sqlite

Copies by direction, those of pageable memory apart, and sets. `synchronous_calls` are those that
NVIDIA's expert rules name: copies without Async in the name of the call, but for 64 kB and less to
the device and within one device; asynchronous copies of pageable memory, which are not; and sets of
pinned or managed memory without Async in the name.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import summarize
from analysis.attribution import warmup
from analysis.attribution.launches import within
from analysis.recorded import ranges as nvtx
from analysis.recorded.operators import has_operators
from analysis.recorded.timeline import ASYNC, COPIES, SETS, Calls, Timeline, is_pageable
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.show.render import duration
from analysis.show.table import Table
from analysis.source import device_tables, tables
from analysis.source.report import Report
from profiling import names

if TYPE_CHECKING:
    from analysis.source.database import Columns

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SMALL_BYTES: Final = 64_000
"""Up to here a synchronous copy to the device returns at once, says NVIDIA's cuda_memcpy_sync."""


@dataclass(frozen=True)
class Moves:
    """The copies of a report, then its sets, in the order of the file.

    Attributes:
        kinds: ``(K,)`` what they are called.
        kind: ``(M,)`` position in ``kinds``.
        start_ns: ``(M,)`` on the device.
        end_ns: ``(M,)``.
        bytes: ``(M,)``.
        process: ``(M,)`` process id.
        pageable: ``(M,)`` whether one end of a copy is pageable memory.
        synchronous: ``(M,)`` whether the host waited, by the rules above.
        call: ``(M,)`` position of the call in ``calls``, or `NONE`.
        calls: all CUDA calls.
    """

    kinds: list[str]
    kind: Int64
    start_ns: Int64
    end_ns: Int64
    bytes: Int64
    process: Int64
    pageable: Bools
    synchronous: Bools
    call: Int64
    calls: Calls

    @classmethod
    def of(cls, report: Report, timeline: Timeline | None = None) -> Self:
        """Read them from a report; empty where nothing was copied or set."""
        timeline = timeline or Timeline.of(report, (device_tables.COPY, device_tables.SET))
        copied, written = device_tables.copies(report), device_tables.sets(report)
        moved = len(timeline) - len(copied["bytes"]) - len(written["bytes"])
        kinds, kind = labels(report, copied, len(written["bytes"]))
        call = timeline.call[moved:]
        sets = len(copied["bytes"])
        return cls(
            kinds=kinds,
            kind=kind,
            start_ns=timeline.start_ns[moved:],
            end_ns=timeline.end_ns[moved:],
            bytes=np.append(copied["bytes"], written["bytes"]).clip(0),
            process=timeline.process[moved:],
            pageable=timeline.pageable[moved:],
            synchronous=np.append(
                waited_for(copied, call[:sets], timeline.calls),
                waited_for_set(written, call[sets:], timeline.calls),
            ),
            call=call,
            calls=timeline.calls,
        )

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def duration_ns(self) -> Int64:
        """How long each took on the device."""
        return self.end_ns - self.start_ns

    @cached_property
    def launch_ns(self) -> Int64:
        """When each was asked for; where that is not recorded, when it began."""
        if not len(self.calls):
            return self.start_ns
        return np.where(self.call != NONE, self.calls.start_ns[self.call], self.start_ns)


def labels(report: Report, copied: Columns, sets: int) -> tuple[list[str], Int64]:
    """Return the distinct kinds of copies and sets, and the position of each one's.

    Args:
        report: names the kinds.
        copied: the copies, ``N`` of them.
        sets: how many sets come after them.

    Returns:
        ``(K,)`` kinds, such as ``memcpy Host-to-Device, pageable``, and ``(N + sets,)`` positions.
    """
    known = device_tables.copy_kinds(report)
    code = copied["kind"] * 2 + is_pageable(copied)
    codes, place = np.unique(code, return_inverse=True)
    kinds = [
        f"memcpy {known.get(number // 2, f'kind {number // 2}')}{', pageable' * (number % 2)}"
        for number in codes.tolist()
    ]
    places = np.append(place.astype(np.int64), np.full(sets, len(kinds), np.int64))
    return [*kinds, "memset"], places


def waited_for(copied: Columns, call: Int64, calls: Calls) -> Bools:
    """Return which copies are synchronous: NVIDIA's ``cuda_memcpy_sync`` and ``cuda_memcpy_async``.

    The call is found by process and correlation id; the rules compare the id alone, and so count
    another process's copies. Copies by the driver's calls (``cuMemcpyHtoD``) count here too.

    Args:
        copied: the copies, ``N`` of them; so many answers.
        call: ``(N,)`` position of the call of each in ``calls``, or `NONE`.
        calls: all calls.
    """
    at_once = of_call(call, calls.like(COPIES) & ~calls.like(COPIES, ASYNC))
    later = of_call(call, calls.like(COPIES, ASYNC))
    small = (copied["bytes"] <= SMALL_BYTES) & (copied["kind"] == device_tables.HOST_TO_DEVICE)
    inside = (copied["source_device"] != tables.MISSING) & (
        copied["source_device"] == copied["target_device"]
    )
    result: Bools = (at_once & ~small & ~inside) | (later & is_pageable(copied))
    return result


def waited_for_set(written: Columns, call: Int64, calls: Calls) -> Bools:
    """Return ``(N,)`` which sets are synchronous, by NVIDIA's ``cuda_memset_sync``: see above."""
    at_once = of_call(call, calls.like(SETS) & ~calls.like(SETS, ASYNC))
    host = np.isin(written["memory"], (device_tables.PINNED, device_tables.MANAGED))
    result: Bools = at_once & host
    return result


def of_call(call: Int64, fits: Bools) -> Bools:
    """Return ``(N,)`` which work was started by a call that fits, ``(C,)``; without one, none."""
    result = np.zeros(len(call), np.bool_)
    known = call != NONE
    result[known] = fits[call[known]]
    return result


def copies(report: Report, *, exclude: Sequence[str] = ()) -> Table:
    """Return one row per kind of copy, and one for sets, the one with the most time first.

    Args:
        report: what was recorded.
        exclude: names of ranges: what was asked for during one of them is left out.

    Returns:
        ``kind, calls, bytes, total_ns, bytes_per_s, synchronous_calls``; the rate is of the time on
        the device, NaN where there is none (NVIDIA's ``cuda_gpu_trace`` divides whole numbers, and
        gets 0 of what takes a second).

    Raises:
        ReportError: CUDA was not recorded, or there is no such range.
    """
    listed = (tables.KERNEL, tables.GRAPH, device_tables.COPY, device_tables.SET)
    if device_tables.are_empty(report, listed):
        problem = "no GPU work in this report, so no copies"
        if has_operators(report):
            problem += " (a CPU run)"
        raise ReportError(report.path, problem, "record on a GPU, with --trace=cuda,nvtx")
    moves = Moves.of(report)
    kept, notes = selected(report, moves, exclude)
    kind, time = moves.kind[kept], moves.duration_ns[kept]
    groups = len(moves.kinds)
    found = summarize(kind, time, groups)
    moved = np.zeros(groups, np.int64)
    np.add.at(moved, kind, moves.bytes[kept])
    seconds = found.total_ns / 1e9
    waits = np.bincount(kind[moves.synchronous[kept]], minlength=groups).astype(np.int64)
    table = Table(
        name="copies",
        columns={
            "kind": moves.kinds,
            "calls": found.calls,
            "bytes": moved,
            "total_ns": found.total_ns,
            "bytes_per_s": np.divide(
                moved, seconds, out=np.full(groups, np.nan), where=seconds > 0
            ),
            "synchronous_calls": waits,
        },
        heading="\n".join((report.describe(), heading(len(time), int(time.sum()), moves, kept))),
        notes=notes,
    )
    order = np.lexsort((-found.calls, -found.total_ns))
    return table.take(order[found.calls[order] > 0])


def heading(count: int, time_ns: int, moves: Moves, kept: Bools) -> str:
    """Return how much was copied, and how much of it kept the host waiting."""
    if not count:
        return "no copies or sets"
    waiting = int((moves.synchronous & kept).sum())
    return f"{count:,} copies and sets, {duration(time_ns)} in all; {waiting:,} synchronous"


def selected(report: Report, moves: Moves, exclude: Sequence[str]) -> tuple[Bools, tuple[str, ...]]:
    """Return ``(N,)`` which copies count, and what there is to say about the others.

    Args:
        report: has the ranges.
        moves: the copies and sets.
        exclude: names of ranges; what was launched during one does not count.

    Raises:
        ReportError: no range has such a name.
    """
    kept = np.ones(len(moves), np.bool_)
    if not exclude and not tables.has_range(report, warmup.NAMES):
        return kept, unknown_calls(moves, kept)  # and the ranges need not be read
    ranges = nvtx.load(report)
    notes: list[str] = []
    for name in exclude:
        chosen, said = warmup.left_out(report.path, ranges, name)
        notes += said
        kept &= ~within(moves.launch_ns, moves.process, ranges.take(chosen))
    if not kept.all():
        left = int(moves.duration_ns[~kept].sum())
        notes.append(f"{int((~kept).sum()):,} copies and sets, {duration(left)}, are left out")
    warm = kept & within(moves.launch_ns, moves.process, ranges.take(ranges.called(names.WARMUP)))
    if warm.any():
        time = duration(int(moves.duration_ns[warm].sum()))
        notes.append(
            f"{int(warm.sum()):,} copies and sets, {time}, were warm-up: included; "
            "--exclude warmup leaves them out"
        )
    return kept, (*notes, *unknown_calls(moves, kept))


def unknown_calls(moves: Moves, kept: Bools) -> tuple[str, ...]:
    """Return a line on copies of which it is not known whether they were synchronous."""
    unknown = int((kept & (moves.call == NONE)).sum())
    if not unknown:
        return ()
    return (
        f"{unknown:,} copies and sets have no recorded call: whether the host waited is not "
        "known, and they do not count as synchronous",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the copies; see the module's docstring."""
    parser = cli.parser(__doc__, "python -m analysis.copies")
    parser.add_argument(
        "--exclude",
        metavar="RANGE",
        action="append",
        default=[],
        help="without what was asked for in this range, such as warmup; may be repeated",
    )
    args = cli.parse(parser, argv)
    with Report(args.report) as report:
        table = copies(report, exclude=args.exclude)
    cli.emit(table, args)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
