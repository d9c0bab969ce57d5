"""Which streams and devices ran at the same time.

    python -m analysis.streams report.sqlite
    python -m analysis.streams report.sqlite --steps 1:3 --format csv

A row for each pair of streams that did anything, those that ran together for longest first. A
stream is one of a device, in one process; `busy` is the time in which anything of it ran (kernels,
graph replays, copies, sets), `overlap` that in which both had something running. Streams of two
devices overlap where the devices worked at the same time. The heading says for how long each device
worked on two streams or more at once. Warm-up is left out; `--exclude none` includes it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Unpack

import numpy as np

from analysis.arithmetic.union import IntervalUnion
from analysis.attribution import question
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection
from analysis.recorded.work import no_device_work
from analysis.show import cli
from analysis.show.render import duration, percent, plural
from analysis.show.table import Table
from analysis.source.report import Report


@dataclass(frozen=True)
class Stream:
    """What one stream of one device did for one process.

    Attributes:
        process: process id.
        device: CUDA ordinal.
        stream: its number.
        busy: when anything of it ran.
    """

    process: int
    device: int
    stream: int
    busy: IntervalUnion


def streams(report: Report, **selected: Unpack[Options]) -> Table:
    """Return one row per pair of streams, those that ran together for longest first.

    Args:
        report: what was recorded.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``device_a, stream_a, device_b, stream_b, busy_a_ns, busy_b_ns, overlap_ns, process_a,
        process_b``; a stream whose number is not recorded is -1.

    Raises:
        ReportError: there is no GPU work, or no such range, step, device or process.
    """
    chosen = Selected.of_devices(report, Selection(**selected))
    if not len(chosen.attribution.device):
        raise no_device_work(report, "no streams")
    known = streams_of(chosen)
    pairs = [
        (one, other, overlap_ns(one.busy, other.busy)) for one, other in combinations(known, 2)
    ]
    pairs.sort(key=lambda pair: -pair[2])  # among equals the order of the streams stays
    firsts, seconds = [one for one, _, _ in pairs], [other for _, other, _ in pairs]
    columns = {
        "device_a": [each.device for each in firsts],
        "stream_a": [each.stream for each in firsts],
        "device_b": [each.device for each in seconds],
        "stream_b": [each.stream for each in seconds],
        "busy_a_ns": [each.busy.busy_ns for each in firsts],
        "busy_b_ns": [each.busy.busy_ns for each in seconds],
        "overlap_ns": [overlap for _, _, overlap in pairs],
        "process_a": [each.process for each in firsts],
        "process_b": [each.process for each in seconds],
    }
    told_apart = len({(each.device, each.stream) for each in known}) == len(known)
    return Table(
        name="streams",
        columns={name: np.array(column, np.int64) for name, column in columns.items()},
        heading="\n".join((report.describe(), *heading(known))),
        counted=chosen.heading_lines,
        notes=nothing_at_once(known, sum(overlap for _, _, overlap in pairs)),
        hidden=("process_a", "process_b") if told_apart else (),
    )


def nothing_at_once(known: Sequence[Stream], overlap_ns: int) -> tuple[str, ...]:
    """Return a line where no two streams ran at the same time.

    Args:
        known: the streams that did anything.
        overlap_ns: of all pairs of them.
    """
    if len(known) == 1:
        return (f"one stream did everything (GPU {known[0].device}): there is no pair",)
    if not overlap_ns:
        return (f"nothing ran at the same time on any two of {len(known):,} streams",)
    return ()


def streams_of(chosen: Selected) -> list[Stream]:
    """Return the streams that did anything that counts, by process, device and number."""
    done, rows = chosen.attribution.device, np.flatnonzero(chosen.all_work)
    keys = np.stack([done.process[rows], done.device[rows], done.stream[rows]])
    known, place = np.unique(keys, axis=1, return_inverse=True)
    order = np.argsort(place.ravel(), kind="stable")
    bounds = np.searchsorted(place.ravel()[order], np.arange(known.shape[1] + 1))
    result = []
    for number, (process, device, stream) in enumerate(known.T.tolist()):
        mine = rows[order[bounds[number] : bounds[number + 1]]]
        busy = IntervalUnion.of(done.start_ns[mine], done.end_ns[mine])
        result.append(Stream(process, device, stream, busy))
    return result


def overlap_ns(one: IntervalUnion, other: IntervalUnion) -> int:
    """Return for how long two unions of intervals have something in common."""
    few, many = sorted((one, other), key=len)
    return int(many.within(few.start_ns, few.end_ns).sum())


def heading(known: Sequence[Stream]) -> tuple[str, ...]:
    """Return for each device how many streams it worked on, and how long on two or more at once."""
    devices = sorted({(each.process, each.device) for each in known})
    several = len({process for process, _ in devices}) > 1
    lines = []
    for process, device in devices:
        mine = [each.busy for each in known if (each.process, each.device) == (process, device)]
        busy = together(mine).busy_ns
        at_once = at_least_two_ns(mine)
        where = f"GPU {device}" + (f" in process {process}" if several else "")
        line = f"{where}: {plural(len(mine), 'stream')}, busy {duration(busy)}"
        if len(mine) > 1:
            share = percent(at_once / max(busy, 1))
            line += f", on two or more at once {duration(at_once)} ({share})"
        lines.append(line)
    return tuple(lines)


def together(unions: Sequence[IntervalUnion]) -> IntervalUnion:
    """Return the union of several unions of intervals."""
    start, end = (
        np.concatenate([getattr(each, side) for each in unions]) for side in ("start_ns", "end_ns")
    )
    return IntervalUnion.of(start, end)


def at_least_two_ns(unions: Sequence[IntervalUnion]) -> int:
    """Return for how long two or more unions of intervals cover the same instants."""
    start = np.concatenate([each.start_ns for each in unions])
    end = np.concatenate([each.end_ns for each in unions])
    instant = np.concatenate([start, end])
    order = np.argsort(instant, kind="stable")
    change = np.concatenate([np.ones(len(start), np.int64), np.full(len(end), -1)])[order]
    running, instant = np.cumsum(change)[:-1], instant[order]
    return int(np.diff(instant)[running >= 2].sum())


def main(argv: Sequence[str] | None = None) -> int:
    """Print the pairs of streams; see the module's docstring."""
    return question.answer(streams, __doc__, "analysis.streams", argv)


if __name__ == "__main__":
    sys.exit(cli.run(main))
