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
from typing import Unpack

import numpy as np

from analysis.arithmetic.arrays import Bools, quotient
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import summarize, sums
from analysis.attribution import question
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection
from analysis.recorded.device_work import RANKED, DeviceWork, device_work
from analysis.recorded.work import no_device_work
from analysis.show import cli
from analysis.show.render import are, duration, plural
from analysis.show.table import Table
from analysis.source.report import Report


def copies(report: Report, **selected: Unpack[Options]) -> Table:
    """Return one row per kind of copy, and one for sets, the one with the most time first.

    Args:
        report: what was recorded.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``kind, calls, bytes, total_ns, bytes_per_s, synchronous_calls``; the rate is of the time on
        the device, NaN where there is none (NVIDIA's ``cuda_gpu_trace`` divides whole numbers, and
        gets 0 of what takes a second).

    Raises:
        ReportError: CUDA was not recorded, or there is no such range, step, device or process.
    """
    done = device_work(report)
    if not len(done):
        raise no_device_work(report, "no copies")
    chosen = Selected.of_devices(report, Selection(**selected))
    moves = done.kind >= RANKED
    kept = moves & chosen.all_work
    kind, time = done.name[kept], done.duration_ns[kept]
    groups = len(done.names)
    found = summarize(kind, time, groups)
    moved = sums(kind, done.bytes[kept], groups)
    waits = np.bincount(done.name[kept & done.synchronous], minlength=groups).astype(np.int64)
    table = Table(
        name="copies",
        columns={
            "kind": done.names,
            "calls": found.calls,
            "bytes": moved,
            "total_ns": found.total_ns,
            "bytes_per_s": quotient(moved, found.total_ns / 1e9),
            "synchronous_calls": waits,
        },
        heading="\n".join((report.describe(), heading(done, kept))),
        counted=counted_lines(chosen, moves),
        notes=unknown_calls(done, kept),
        spare=("bytes_per_s",),
    )
    order = np.lexsort((-found.calls, -found.total_ns))
    return table.take(order[found.calls[order] > 0])


def heading(done: DeviceWork, kept: Bools) -> str:
    """Return in words how much was copied, and how much of it kept the host waiting."""
    count = int(kept.sum())
    if not count:
        return "no copies or sets"
    waiting, time = int((done.synchronous & kept).sum()), int(done.duration_ns[kept].sum())
    return f"{moved(count)}, {duration(time)} in all; {waiting:,} synchronous"


def moved(count: int) -> str:
    """Return how many copies and sets there are, in words."""
    return plural(count, "copy or set", "copies and sets")


def counted_lines(chosen: Selected, moves: Bools) -> tuple[str, ...]:
    """Return lines on the copies that were left out, or are warm-up.

    Args:
        chosen: the part of the report that counts.
        moves: ``(M,)`` which device work is a copy or a set.
    """
    attribution, done = chosen.attribution, chosen.attribution.device
    lines = []
    left = moves & ~chosen.all_work
    if left.any():
        time = duration(int(done.duration_ns[left].sum()))
        some = int(left.sum())
        lines.append(f"{moved(some)}, {time}, {are(some)} left out")
    warm = moves & chosen.all_work & attribution.all_in_warmup
    if warm.any():
        time = duration(int(done.duration_ns[warm].sum()))
        some = int(warm.sum())
        lines.append(f"{moved(some)}, {time}, {'was' if some == 1 else 'were'} warm-up: included")
    return (*lines, *chosen.place_lines)


def unknown_calls(done: DeviceWork, kept: Bools) -> tuple[str, ...]:
    """Return a line on copies of which it is not known whether they were synchronous."""
    unknown = int((kept & (done.call == NONE)).sum())
    if not unknown:
        return ()
    return (
        f"{moved(unknown)} {'has' if unknown == 1 else 'have'} no recorded call: whether the host "
        f"waited is not known, and {'it does' if unknown == 1 else 'they do'} not count as "
        "synchronous",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the copies; see the module's docstring."""
    return question.answer(copies, __doc__, "analysis.copies", argv)


if __name__ == "__main__":
    sys.exit(cli.run(main))
