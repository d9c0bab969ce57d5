"""Attention's three parts: time against FLOPs.

    python -m analysis.attention report.sqlite

Scores, softmax and final matmul by the ranges around them; masking counts with the scores. Time
is that of the kernels launched inside (on a CPU run, of operators), FLOPs are the ranges' payloads.
The ratios are to the softmax: where the time ratio is far below the FLOP ratio, the softmax costs
more than its arithmetic. Fused attention, one kernel for all three, is one row: its softmax cannot
be told apart, and its FLOPs are those of the work launched, half where the masked half is skipped.
Warm-up is left out; `--exclude none` includes it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis import cli, tables
from analysis.attribution import Attribution, placed
from analysis.errors import ReportError
from analysis.intervals import NONE, parents
from analysis.origin import origin
from analysis.report import Report
from analysis.table import Table
from profiling import names

if TYPE_CHECKING:
    from analysis.nvtx import Ranges

PARTS: Final = (*names.ATTENTION_PARTS, names.FUSED_ATTENTION)
"""What has a row: the parts, and all of them at once."""

Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def parts(report: Report, *, exclude_warmup: bool = True) -> Table:
    """Return one row for each of attention's parts that has a range.

    Returns:
        ``part, calls, kernel_ns, flops, bytes, flops_per_s, time_ratio, flop_ratio, backward_ns,
        source``: ``calls`` are instances of the range, ``kernel_ns`` is forward, the ratios are to
        the softmax. What is not known is NaN.

    Raises:
        ReportError: there is no work, or no range of attention's parts.
    """
    table = attention_parts(Attribution.of(report), exclude_warmup=exclude_warmup)
    if table is None:
        raise ReportError(
            report.path,
            "no range around attention's parts in this report",
            f"put {', '.join(PARTS)} into spans, see profiling.spans",
        )
    return table


def attention_parts(found: Attribution, *, exclude_warmup: bool = True) -> Table | None:
    """Return the same of what is attributed already, or None where no range has such a name."""
    ranges, (_, time_ns) = found.ranges, found.totals
    kept = ~found.ranges_in_warmup if exclude_warmup else np.ones(len(ranges), np.bool_)
    forward = {part: outermost(ranges, kept & ranges.called(part)) for part in PARTS}
    there = [part for part in PARTS if forward[part].any()]
    if not there:
        return None
    kernel = np.array([time_ns[forward[part]].sum() for part in there], np.int64)
    flops = np.array([payloads(ranges, forward[part]) for part in there])
    moved = np.array([least_bytes(found, forward[part]) for part in there])
    rate = np.divide(flops, kernel / 1e9, out=np.full(len(there), np.nan), where=kernel > 0)
    return Table(
        name="attention",
        columns={
            "part": there,
            "calls": np.array([instances(ranges, forward[part]) for part in there], np.int64),
            "kernel_ns": kernel,
            "flops": whole(flops),
            "bytes": whole(moved),
            "flops_per_s": rate,
            "time_ratio": ratios(kernel.astype(np.float64), there),
            "flop_ratio": ratios(flops, there),
            "backward_ns": backward(found, [forward[part] for part in there]),
            "source": [found.work.source] * len(there),
        },
        heading=heading(found, there),
        notes=notes(flops, there),
        unseen=("source",),
        spare=("bytes", "flops_per_s"),
    )


def outermost(ranges: Ranges, chosen: Bools) -> Bools:
    """Return which of the chosen ranges lie in no other of them, on their thread.

    A `masking` inside `computing attention scores` is of the same part: it counts once.
    """
    rows = np.flatnonzero(chosen)
    around = parents(ranges.start_ns[rows], ranges.end_ns[rows], ranges.thread[rows])
    result = np.zeros_like(chosen)
    result[rows[around == NONE]] = True
    return result


def backward(found: Attribution, parts: list[Bools]) -> npt.NDArray[np.int64] | Float64:
    """Return the time of the backward pass that each part brought about.

    NaN where no work of the report has an origin: then it holds no backward pass, or one that
    nothing connects with the forward pass.
    """
    came_from = origin(found)
    if not came_from.known.any():
        return np.full(len(parts), np.nan)
    time_ns = found.work.duration_ns
    times = [time_ns[placed(found.ranges.take(part), came_from.place)].sum() for part in parts]
    return np.array(times, np.int64)


def heading(found: Attribution, there: list[str]) -> str:
    """Return what the times are of."""
    what = "CPU operators' self time" if found.work.on_cpu else "kernel time"
    ratio = ", ratios to the softmax" if names.SOFTMAX in there else ""
    return f"Attention's parts: {what} against FLOPs{ratio}"


def notes(flops: Float64, there: list[str]) -> tuple[str, ...]:
    """Return what keeps the answer from being whole."""
    said = []
    if np.isnan(flops).any():
        said.append(
            "FLOPs are not known: the ranges carry no payload (record with profiling.spans)"
        )
    if there == [names.FUSED_ATTENTION]:
        said.append(
            "attention is fused: no softmax to compare with; record with eager attention to time "
            "its parts"
        )
    return tuple(said)


def instances(ranges: Ranges, rows: Bools) -> int:
    """Return how many instances there are; of several names for one part, the most frequent."""
    counts = np.bincount(ranges.name[rows], minlength=1)
    return int(counts.max())


def payloads(ranges: Ranges, rows: Bools) -> float:
    """Return the FLOPs of these ranges together, NaN where one has none."""
    payload = ranges.payload[rows]
    return float("nan") if (payload == tables.MISSING).any() else float(payload.sum())


def least_bytes(found: Attribution, rows: Bools) -> float:
    """Return the least bytes these ranges must move, NaN where the report does not say."""
    known = found.range_costs
    total = 0.0
    keys = zip(found.ranges.name[rows].tolist(), found.ranges.payload[rows].tolist(), strict=True)
    for name, payload in keys:
        total += known.get((found.ranges.names[name], payload), float("nan"))
    return total


def ratios(values: Float64, there: list[str]) -> Float64:
    """Return each value over the softmax's, NaN where there is none."""
    if names.SOFTMAX not in there or not values[there.index(names.SOFTMAX)]:  # none, or no time
        return np.full(len(values), np.nan)
    softmax = float(values[there.index(names.SOFTMAX)])
    return values / softmax


def whole(values: Float64) -> npt.NDArray[np.int64] | Float64:
    """Return whole numbers as such, unless one is missing."""
    return values if np.isnan(values).any() else values.astype(np.int64)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the parts; see the module's docstring."""
    parser = cli.parser(__doc__, "python -m analysis.attention")
    cli.add_exclude(parser)
    args = cli.parse(parser, argv)
    with Report(args.report) as report:
        table = parts(report, exclude_warmup=args.exclude == "warmup")
    cli.emit(table, args)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
