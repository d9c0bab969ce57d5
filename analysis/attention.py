"""Attention's three parts: time against FLOPs.

    python -m analysis.attention report.sqlite

Scores, softmax and final matmul by the ranges around them; masking counts with the scores. Time
is that of the kernels launched inside (on a CPU run, of operators), FLOPs are the ranges' payloads,
else those of the operators inside, by their shapes.
The ratios are to the softmax: where the time ratio is far below the FLOP ratio, the softmax costs
more than its arithmetic. A softmax counts 3 FLOPs an element; `--softmax-flops` changes that where
the report has the number of elements. `share` is of all that was launched, a part's backward
included. Fused attention, one kernel for all three, is one row: its softmax cannot be told apart,
and its FLOPs are those of the work launched, half where the masked half is skipped. Without any
such range, fused kernels are known by their names. Warm-up is left out; `--exclude none` includes
it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Unpack

import numpy as np

from analysis.arithmetic.arrays import Bools, Float64, Int64, quotient
from analysis.arithmetic.containment import Intervals, innermost_of_any
from analysis.arithmetic.intervals import NONE, parents
from analysis.attribution import costs, question, work_phases
from analysis.attribution.launches import Attribution, launched_inside, launched_totals
from analysis.attribution.origin import Origin, origin
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection
from analysis.costs.costed_calls import costed_calls
from analysis.costs.range_costs import range_costs
from analysis.recorded.ranges import outermost
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.show.table import Table
from analysis.source import tables
from analysis.source.report import Report
from profiling import names

if TYPE_CHECKING:
    from analysis.recorded.ranges import Ranges
    from analysis.recorded.work import Work

PARTS: Final = (*names.ATTENTION_PARTS, names.FUSED_ATTENTION)
"""What has a row: the parts, and all of them at once."""

NO_FLOPS: Final = (
    "FLOPs are not known: the ranges carry no payload, and no shapes of operators tell them "
    "(record with profiling.spans, or with shapes)"
)
BY_KERNEL: Final = (
    "no range around attention's parts: the {}s of fused attention are known by their names, "
    f"their FLOPs are not (put them into a span {names.FUSED_ATTENTION}, see profiling.spans)"
)
NO_SOFTMAX: Final = (
    "attention is fused: no softmax to compare with; record with eager attention to time its parts"
)


FUSED: Final = "attention"
"""Of kernels that do all of attention."""

BACKWARD_KERNEL: Final = re.compile(r"bwd|backward", re.IGNORECASE)
"""What the fused kernels of the backward pass have in their names."""


def attention(
    report: Report, *, softmax_flops: int = costs.SOFTMAX_FLOPS, **selected: Unpack[Options]
) -> Table:
    """Return one row for each of attention's parts that has a range, else one of fused kernels.

    Args:
        report: what was recorded.
        softmax_flops: how many FLOPs an element of a softmax counts, forward.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``part, calls, kernel_ns, flops, bytes, flops_per_s, time_ratio, flop_ratio, backward_ns,
        source, share``: ``calls`` are instances of the range (of fused kernels without one, their
        launches), ``kernel_ns`` is forward, the ratios are to the softmax, and ``share`` is that of
        forward and backward together of all time. What is not known is NaN.

    Raises:
        ReportError: there is no work, or no range of attention's parts and no fused kernel.
    """
    asked = Selection(**selected)
    chosen = Selected.of_work(report, asked)
    table = attention_parts(chosen, softmax_flops=softmax_flops)
    if table is None:
        if attention_parts(Selected.of(report, asked).everything) is not None:
            raise chosen.without("part of attention")
        raise ReportError(
            report.path,
            "no range around attention's parts in this report, and no kernel of fused attention",
            f"put {', '.join(PARTS)} into spans, see profiling.spans",
        )
    return replace(table, counted=chosen.heading_lines)


def attention_parts(chosen: Selected, *, softmax_flops: int = costs.SOFTMAX_FLOPS) -> Table | None:
    """Return the table of attention's parts in what counts; None without parts or fused kernels."""
    attribution = chosen.attribution
    ranges, time = attribution.ranges, np.where(chosen.work, attribution.work.duration_ns, 0)
    whole_ns = int(time.sum())
    forward = {
        part: outermost_of_part(ranges, chosen.ranges & ranges.called(part)) for part in PARTS
    }
    there = [part for part in PARTS if forward[part].any()]
    if not there:
        return fused_kernels(attribution, chosen.work, whole_ns)
    cost = range_costs(chosen, softmax_flops)
    some: Bools = np.logical_or.reduce([forward[part] for part in there])
    _, time_ns = launched_totals(ranges.take(some), attribution.launches, time)
    kernel = np.array([time_ns[forward[part][some]].sum() for part in there], np.int64)
    flops = np.array([sum_or_nan(cost.flops[forward[part]]) for part in there])
    table = parts_table(
        attribution,
        there,
        calls=[instances(ranges, forward[part]) for part in there],
        kernel_ns=kernel,
        flops=flops,
        moved=np.array([sum_or_nan(cost.bytes[forward[part]]) for part in there]),
        backward_ns=backward_times(attribution, [forward[part] for part in there], time),
        whole_ns=whole_ns,
    )
    known = names.SOFTMAX in there and not np.isnan(flops[there.index(names.SOFTMAX)])
    convention = costs.softmax_convention(None if cost.unscaled else softmax_flops) if known else ""
    # Only where it was asked for another way of counting does it matter that there is none.
    on_figures = notes(flops, there, cost.unscaled if softmax_flops != costs.SOFTMAX_FLOPS else 0)
    return replace(
        table, heading="\n".join(filter(None, (table.heading, convention))), notes=on_figures
    )


def parts_table(
    attribution: Attribution,
    there: list[str],
    *,
    calls: list[int],
    kernel_ns: Int64,
    flops: Float64,
    moved: Float64,
    backward_ns: Int64 | Float64,
    whole_ns: int,
) -> Table:
    """Return the table of some of attention's parts, from their figures.

    Args:
        attribution: the attributed work.
        there: ``(P,)`` the parts.
        calls: ``(P,)``.
        kernel_ns: ``(P,)`` forward.
        flops: ``(P,)``, NaN where not known.
        moved: ``(P,)`` the least bytes, likewise.
        backward_ns: ``(P,)``, likewise.
        whole_ns: the time that a share is of.
    """
    return Table(
        name="attention",
        columns={
            "part": there,
            "calls": np.array(calls, np.int64),
            "kernel_ns": kernel_ns,
            "flops": costs.whole_numbers(flops),
            "bytes": costs.whole_numbers(moved),
            "flops_per_s": quotient(flops, kernel_ns / 1e9),
            "time_ratio": ratios(kernel_ns.astype(np.float64), there),
            "flop_ratio": ratios(flops, there),
            "backward_ns": backward_ns,
            "source": [attribution.work.source] * len(there),
            "share": (kernel_ns + np.nan_to_num(backward_ns)) / max(whole_ns, 1),
        },
        heading=heading(attribution, there),
        hidden=("source",),
        droppable=("bytes", "flops_per_s"),
        spare=("calls", "share", "backward_ns"),
    )


def fused_kernels(attribution: Attribution, kept: Bools, whole_ns: int) -> Table | None:
    """Return a row of the kernels that do all of attention, or None where there are none.

    Args:
        attribution: the attributed work.
        kept: ``(N,)`` which of it counts.
        whole_ns: the time that a share is of.
    """
    work = attribution.work
    fused = kept & is_fused(work)
    if not fused.any():
        return None
    late = fused & is_backward_kernel(work)
    calls, forward = calls_and_work(work, fused & ~late, kept)
    _, backward = calls_and_work(work, late, kept)
    flops, moved = costs_by_shapes(attribution, calls, forward)
    table = parts_table(
        attribution,
        [names.FUSED_ATTENTION],
        calls=[int(calls.sum())],
        kernel_ns=np.array([work.duration_ns[forward].sum()], np.int64),
        flops=np.array([flops]),
        moved=np.array([moved]),
        backward_ns=np.array([work.duration_ns[backward & ~forward].sum()], np.int64),
        whole_ns=whole_ns,
    )
    unknown = (BY_KERNEL.format(work.source),) if np.isnan(flops) else ()
    return replace(table, notes=(*unknown, NO_SOFTMAX))


def costs_by_shapes(attribution: Attribution, calls: Bools, work: Bools) -> tuple[float, float]:
    """Return the FLOPs and least bytes of calls of attention, by the shapes of operators.

    Args:
        attribution: the attributed work.
        calls: ``(N,)`` which work is a call of attention.
        work: ``(N,)`` which is the work of those calls.

    Returns:
        NaN each where a call's are not known: its products are what tells them.
    """
    costed = costed_calls(attribution, spans=False)
    multiplies = np.append(costed.is_matrix & (costed.flops != tables.MISSING), False)
    known = work & multiplies[costed.owner]
    owned = known
    if attribution.work.calls is not None:  # on a CPU it lies somewhere inside the call
        times = attribution.work.calls
        spans = Intervals(times.thread, times.start_ns, times.end_ns)
        asked = np.flatnonzero(calls)
        around = innermost_of_any(spans.take(asked), spans.take(np.flatnonzero(known)))
        owned = np.zeros_like(calls)
        owned[asked[around[around != NONE]]] = True
    if (calls & ~owned).any():
        return float("nan"), float("nan")
    rows = np.unique(costed.owner[known])
    return sum_or_nan(costed.flops[rows]), sum_or_nan(costed.bytes[rows])


def calls_and_work(work: Work, chosen: Bools, kept: Bools) -> tuple[Bools, Bools]:
    """Return which work is a call of its own, and which is the work of those calls.

    A kernel is both. Of operators that contain one another only the outermost is a call, and all
    inside it is its work: ``aten::scaled_dot_product_attention`` itself does next to nothing.

    Args:
        work: ``N`` calls.
        chosen: ``(N,)`` which of it is asked for.
        kept: ``(N,)`` which of it counts.
    """
    if work.calls is None or not chosen.any():
        return chosen, chosen
    spans = Intervals(work.calls.thread, work.calls.start_ns, work.calls.end_ns)
    wanted = spans.take(np.flatnonzero(chosen))
    outermost_calls = np.zeros_like(chosen)
    outermost_calls[chosen] = parents(wanted.start_ns, wanted.end_ns, wanted.thread) == NONE
    around = innermost_of_any(spans.take(np.flatnonzero(outermost_calls)), spans)
    return outermost_calls, (around != NONE) & kept


def outermost_of_part(ranges: Ranges, chosen: Bools) -> Bools:
    """Return ``(R,)`` which of the chosen ranges lie in no other of them, on their thread.

    A `masking` inside `computing attention scores` is of the same part: it counts once.
    """
    result = np.zeros_like(chosen)
    result[chosen] = outermost(ranges.take(chosen))
    return result


def backward_times(attribution: Attribution, parts: list[Bools], time_ns: Int64) -> Int64 | Float64:
    """Return the time in the backward pass that each part of attention brought about.

    NaN where no work of the report has an origin: then it holds no backward pass, or one that
    nothing connects with the forward pass.

    Args:
        attribution: the attributed work.
        parts: ``(R,)`` the ranges of each part.
        time_ns: ``(N,)`` the time of the work, 0 of what does not count.
    """
    came_from = origin(attribution)
    if not came_from.known.any():
        return np.full(len(parts), np.nan)
    times = [
        time_ns[launched_inside(attribution.ranges.take(part), came_from.creator)].sum()
        for part in parts
    ]
    return np.array(times, np.int64)


def heading(attribution: Attribution, there: list[str]) -> str:
    """Return the heading of attention's parts: what the times and ratios are of."""
    what = "CPU operators' self time" if attribution.work.on_cpu else "kernel time"
    ratio = ", ratios to the softmax" if names.SOFTMAX in there else ""
    return f"Attention's parts: {what} against FLOPs{ratio}"


def notes(flops: Float64, there: list[str], unscaled: int) -> tuple[str, ...]:
    """Return notes on figures of attention's parts that are not known."""
    lines = []
    if np.isnan(flops).any():
        lines.append(NO_FLOPS)
    if unscaled and names.SOFTMAX in there:
        lines.append(costs.unscaled_line(unscaled))
    if there == [names.FUSED_ATTENTION]:
        lines.append(NO_SOFTMAX)
    return tuple(lines)


def instances(ranges: Ranges, rows: Bools) -> int:
    """Return how many instances a part has; of several names for it, the most frequent counts."""
    counts = np.bincount(ranges.name[rows], minlength=1)
    return int(counts.max())


def sum_or_nan(values: Int64) -> float:
    """Return the sum of some figures, NaN where one of them is `tables.MISSING`."""
    return float("nan") if (values == tables.MISSING).any() else float(values.sum())


def ratios(values: Float64, there: list[str]) -> Float64:
    """Return the ratio of each part's figure to the softmax's, NaN without a softmax."""
    if names.SOFTMAX not in there or not values[there.index(names.SOFTMAX)]:  # none, or no time
        return np.full(len(values), np.nan)
    softmax = float(values[there.index(names.SOFTMAX)])
    return values / softmax


def is_fused(work: Work) -> Bools:
    """Return ``(N,)`` which work is of a kernel that does all of attention."""
    return work.in_category(FUSED)


def is_backward_kernel(work: Work) -> Bools:
    """Return ``(N,)`` which work belongs to a backward pass by the name of its kernel."""
    late = [BACKWARD_KERNEL.search(name) is not None for name in work.names]
    result: Bools = np.array(late, np.bool_)[work.kind]
    return result


def work_of_part(attribution: Attribution, part: str, came_from: Origin) -> tuple[Bools, Bools]:
    """Return the work of one part of attention, in forward and in backward.

    Args:
        attribution: the attributed work.
        part: the canonical name of its range.
        came_from: where that work comes from.

    Returns:
        ``(N,)`` each; nothing is in both, and nothing in either where no range is called so.
    """
    none = np.zeros(len(attribution.work.kind), np.bool_)
    chosen = attribution.ranges.called(part)
    if not chosen.any():
        return none, none
    forward = work_phases.work_inside(attribution, chosen)[: len(none)]
    later = launched_inside(attribution.ranges.take(chosen), came_from.creator)
    return forward, later & ~forward


def main(argv: Sequence[str] | None = None) -> int:
    """Print the parts; see the module's docstring."""
    return question.answer(attention, __doc__, "analysis.attention", argv, costs.add_softmax_option)


if __name__ == "__main__":
    sys.exit(cli.run(main))
