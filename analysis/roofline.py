"""The roofline: each range's or operator's FLOPs, bytes and rate, against what the device could do.

    python -m analysis.roofline report.sqlite
    python -m analysis.roofline report.sqlite --by operator
    python -m analysis.roofline report.sqlite --peak-tflops 156 --peak-gbs 2039

FLOPs are the payloads of the ranges, else those of the ranges and operators inside; of an operator
they follow from its shapes, where these were recorded. Bytes are the least that must move. The
ideal time is the longer of FLOPs at the peak rate and bytes at the bandwidth; what the work took
longer than that is lost. `bound` says what keeps a range from being faster: `launch` where the GPU
was idle for most of its time, else `compute` or `memory`, by the FLOPs a byte; `unknown` where a
figure is lacking. `peak_share` is of the peak rate, `roof_share` of what the memory allows too.
Warm-up is left out; `--exclude none` includes it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, Unpack

import numpy as np

from analysis.arithmetic.arrays import Bools, Float64, Int64, quotient
from analysis.arithmetic.statistics import sums as total
from analysis.attribution import costs, question
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection
from analysis.costs.device_peaks import DevicePeaks
from analysis.costs.operator_sums import OperatorSums, operator_sums
from analysis.costs.range_sums import range_sums
from analysis.knowledge.short_names import distinct_short_names
from analysis.measures.collectives import CATEGORY as COLLECTIVE
from analysis.measures.mfu import mfu
from analysis.recorded.operator_calls import operator_calls
from analysis.show import cli
from analysis.show.command import number_type
from analysis.show.errors import ReportError
from analysis.show.render import duration, percent, plural, scaled
from analysis.show.sheet import in_prose
from analysis.show.table import Column, Table
from analysis.source import tables
from analysis.source.report import Report
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.costs.range_sums import RangeSums

By = Literal["range", "operator"]

NAN: Final = float("nan")

LAUNCH_BOUND: Final = 0.5
"""Idle for more than this share of a range's time on the GPU, launching is what takes longest."""

COMMUNICATION: Final = "communication"
"""What bounds a collective: the links between ranks, of which no peak is known."""

MOST_NAMED: Final = 5
"""How many names of work that is not modelled are listed."""


def roofline(
    report: Report,
    *,
    by: By = "range",
    peak_tflops: float | None = None,
    peak_gbs: float | None = None,
    softmax_flops: int = costs.SOFTMAX_FLOPS,
    **selected: Unpack[Options],
) -> Table:
    """Return one row per range name, or operator and shapes, that has FLOPs or bytes.

    Args:
        report: what was recorded.
        by: ``range``, that with the most kernel time first; or ``operator``, that which lost most.
        peak_tflops: the peak rate in TFLOP/s; None looks the GPU up in `analysis.knowledge.peaks`.
        peak_gbs: the memory bandwidth in GB/s; likewise.
        softmax_flops: how many FLOPs an element of a softmax counts, forward.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``range, kernel_ns, flops, bytes, intensity, flops_per_s, peak_share, bound, ideal_ns,
        lost_ns, flops_source, roof_share, instances, idle_share, source``; by operator the first
        column is ``operator``, and after ``flops_source`` come ``shapes, number_format, calls,
        source``. What is not known is NaN. Where the ideal time is that of a part of the work
        only, lost time is of that part.

    Raises:
        ReportError: there is no work, or nothing with FLOPs.
    """
    chosen = Selected.of(report, Selection(**selected))
    attribution = chosen.attribution
    limit = DevicePeaks.of(report, attribution.work, peak_tflops, peak_gbs)
    ask = by_operator if by == "operator" else by_range
    table = ask(chosen, limit, softmax_flops)
    if table is not None:
        return table
    what = "operator with known shapes" if by == "operator" else "range with FLOPs"
    if ask(chosen.everything, limit, softmax_flops) is not None:
        raise chosen.without(what)
    if by == "operator":
        unread = operator_calls(report).unread
        raise ReportError(
            report.path,
            "no operator in this report has its shapes recorded"
            + (f": {unread}" if unread else ""),
            "record with spanlight profile (SHAPES=1 under nsys), or "
            "torch.profiler(record_shapes=True)",
        )
    raise ReportError(
        report.path,
        "no range in this report carries FLOPs, or launched operators whose shapes tell them",
        "record with profiling.spans: with span(name, flops=...); or with shapes",
    )


def by_range(chosen: Selected, limit: DevicePeaks, softmax_flops: int) -> Table | None:
    """Return the roofline of the ranges that count, or None where none of them has FLOPs."""
    attribution, kept = chosen.attribution, chosen.ranges
    ranges = attribution.ranges
    sums = range_sums(chosen, softmax_flops, limit)
    counts = kept & (sums.flops != tables.MISSING)
    if not counts.any():
        return None
    labels, place = costs.canonical_labels(ranges)
    group = place[counts]
    columns = range_figures(sums, counts, group, len(labels), limit)
    table = Table(
        name="roofline",
        columns={
            "range": labels,
            **columns,
            "source": [attribution.work.source] * len(labels),
        },
        heading="\n".join(heading(chosen, limit, softmax_flops, labels, group)),
        counted=chosen.heading_lines,
        notes=(
            *notes(attribution, sums, kept, place, group, limit),
            *too_fast(np.asarray(columns["peak_share"], np.float64), limit),
        ),
        hidden=("source", "flops_source"),
        droppable=("instances", "roof_share", "idle_share", "bytes"),
        spare=("ideal_ns", "bound", "intensity", "flops", "lost_ns"),
    )
    kernel_ns, flops = (
        total(group, of[counts], len(labels)) for of in (sums.kernel_ns, sums.flops)
    )
    order = np.lexsort((-flops, -kernel_ns))
    table = table.take(order[np.isin(order, group)])
    whole = {
        name: costs.whole_numbers(np.asarray(table.columns[name], np.float64))
        for name in ("bytes", "ideal_ns", "lost_ns")
    }
    return replace(table, columns={**table.columns, **whole})


def range_figures(
    sums: RangeSums, counts: Bools, group: Int64, groups: int, limit: DevicePeaks
) -> dict[str, Column]:
    """Return the columns of the roofline that are figures, and what limits each range.

    Args:
        sums: of every range.
        counts: ``(R,)`` the ranges that count, ``N`` of them.
        group: ``(N,)`` the row each belongs to.
        groups: how many rows there are, ``K``.
        limit: the peaks.

    Returns:
        Each ``(K,)``; NaN where a figure is not known.
    """
    flops, kernel_ns, window_ns, idle_ns, modelled_ns = (
        total(group, values[counts], groups)
        for values in (sums.flops, sums.kernel_ns, sums.window_ns, sums.idle_ns, sums.modelled_ns)
    )
    lacking = np.bincount(group[sums.bytes[counts] == tables.MISSING], minlength=groups) > 0
    size = np.where(lacking, NAN, total(group, sums.bytes[counts], groups))
    intensity, rate = quotient(flops, size), quotient(flops, kernel_ns / 1e9)
    idle_share = quotient(idle_ns, window_ns)
    peak = limit.flops_per_s("")
    reachable = np.fmin(peak, intensity * limit.bytes_per_s)
    ideal_ns = np.round(np.bincount(group, sums.ideal_ns[counts], groups))
    ideal_ns = np.where(modelled_ns > 0, ideal_ns, NAN)
    of_spans, of_shapes = (
        np.bincount(group[sums.has_flops_of[counts] & bit > 0], minlength=groups) > 0
        for bit in (1, 2)
    )
    return {
        "kernel_ns": kernel_ns,
        "flops": flops,
        "bytes": size,
        "intensity": intensity,
        "flops_per_s": rate,
        "peak_share": rate / peak,
        "bound": bounds(intensity, idle_share, limit),
        "ideal_ns": ideal_ns,
        "lost_ns": modelled_ns - ideal_ns,
        "flops_source": [
            "+".join(["span"] * span + ["shapes"] * shapes)
            for span, shapes in zip(of_spans.tolist(), of_shapes.tolist(), strict=True)
        ],
        "roof_share": quotient(rate, reachable),
        "instances": np.bincount(group, minlength=groups).astype(np.int64),
        "idle_share": idle_share,
    }


def by_operator(chosen: Selected, limit: DevicePeaks, softmax_flops: int) -> Table | None:
    """Return the roofline of the operators that count, or None where no shapes are known."""
    found = operator_sums(chosen, limit, softmax_flops)
    if not len(found):
        return None
    work = chosen.attribution.work
    peak = np.array([limit.flops_per_s(name) for name in found.formats])
    intensity, rate = (
        quotient(found.flops, found.bytes),
        quotient(found.flops, found.kernel_ns / 1e9),
    )
    lost = found.kernel_ns - np.round(found.ideal_ns)
    what = "CPU operators' self time" if work.on_cpu else "kernel time"
    lines = [
        chosen.attribution.report.describe(),
        f"Roofline of operators by {what}",
        how_much_is_modelled(chosen, found),
    ]
    table = Table(
        name="roofline_by_operator",
        columns={
            "operator": found.names,
            "kernel_ns": found.kernel_ns,
            "flops": costs.whole_numbers(found.flops),
            "bytes": costs.whole_numbers(found.bytes),
            "intensity": intensity,
            "flops_per_s": rate,
            "peak_share": rate / peak,
            "bound": [
                COMMUNICATION if communicates else bound
                for communicates, bound in zip(
                    found.communicates.tolist(),
                    bounds(intensity, np.zeros(len(found)), limit, peak),
                    strict=True,
                )
            ],
            "ideal_ns": costs.whole_numbers(np.round(found.ideal_ns)),
            "lost_ns": costs.whole_numbers(lost),
            "flops_source": ["shapes"] * len(found),
            "shapes": found.shapes,
            "number_format": found.formats,
            "calls": found.calls,
            "source": [work.source] * len(found),
        },
        heading="\n".join([*lines, *([f"peak {limit.origin}"] if limit.origin else [])]),
        counted=chosen.heading_lines,
        notes=(
            *unknown_peaks(chosen.attribution, limit),
            *not_modelled(chosen, found),
            *filter(None, [operator_calls(chosen.attribution.report).unread]),
        ),
        hidden=("source", "flops_source"),
        droppable=("intensity", "bytes", "number_format", "bound"),
        spare=("flops", "ideal_ns", "peak_share"),
    )
    return table.take(np.lexsort((-found.kernel_ns, -np.nan_to_num(lost, nan=-1.0))))


def bounds(
    intensity: Float64, idle_share: Float64, limit: DevicePeaks, peak: Float64 | None = None
) -> list[str]:
    """Return what limits each row: ``compute``, ``memory``, ``launch`` or ``unknown``.

    Args:
        intensity: ``(K,)`` FLOPs a byte, NaN where not known.
        idle_share: ``(K,)`` of each row's time on the GPU, that in which the GPU did nothing.
        limit: the peaks.
        peak: ``(K,)`` the peak FLOP/s of each row's number format; None for the run's.
    """
    ridge = limit.ridge if peak is None else peak / limit.bytes_per_s
    by_ridge = np.where(intensity >= ridge, "compute", "memory")
    named = np.where(np.isnan(intensity) | np.isnan(ridge), "unknown", by_ridge)
    result: list[str] = np.where(idle_share > LAUNCH_BOUND, "launch", named).tolist()
    return result


def heading(
    chosen: Selected,
    limit: DevicePeaks,
    softmax_flops: int,
    labels: list[str],
    group: Int64,
) -> list[str]:
    """Return the lines above a roofline: the report, the peaks, how FLOPs are counted, the MFU."""
    attribution = chosen.attribution
    what = "CPU operators' self time" if attribution.work.on_cpu else "kernel time"
    lines = [attribution.report.describe(), f"Roofline by {what}"]
    if limit.origin:
        lines.append(f"peak {limit.origin}")
    if names.SOFTMAX in {labels[number] for number in np.unique(group).tolist()}:
        lines.append(costs.softmax_convention(softmax_flops))
    if utilization := mfu(chosen, limit):
        lines.append(utilization.describe())
    return lines


def notes(
    attribution: Attribution,
    sums: RangeSums,
    kept: Bools,
    place: Int64,
    group: Int64,
    limit: DevicePeaks,
) -> tuple[str, ...]:
    """Return notes on peaks that are not known, and on ranges without FLOPs."""
    lines = [*unknown_peaks(attribution, limit)]
    if sums.unscaled:
        lines.append(costs.unscaled_line(sums.unscaled))
    lacking = kept & (sums.flops == tables.MISSING) & np.isin(place, group)
    if lacking.any():
        time = duration(int(sums.kernel_ns[lacking].sum()))
        verb = "carries" if lacking.sum() == 1 else "carry"
        some = plural(int(lacking.sum()), "range")
        lines.append(f"{some} of these names, {time}, {verb} no FLOPs; left out")
    return tuple(lines)


def unknown_peaks(attribution: Attribution, limit: DevicePeaks) -> tuple[str, ...]:
    """Return a note on the peaks that are not known, and how to give them."""
    lacking_peaks = {
        "peak rate": ("--peak-tflops", limit.flops_per_s("")),
        "memory bandwidth": ("--peak-gbs", limit.bytes_per_s),
    }
    unknown = {what: how for what, (how, peak) in lacking_peaks.items() if math.isnan(peak)}
    if not unknown:
        return ()
    device = attribution.report.device or "the device (the report does not name it)"
    options = " and ".join(unknown.values())
    return (f"no {' and no '.join(unknown)} is known of {device}: give {options}",)


def too_fast(peak_share: Float64, limit: DevicePeaks) -> tuple[str, ...]:
    """Return a note on ranges that are faster than the peak, which cannot be.

    Args:
        peak_share: ``(K,)``, NaN where not known.
        limit: the peaks.
    """
    above = peak_share > 1
    if not above.any():
        return ()
    some = plural(int(above.sum()), "range is", "ranges are")
    peak = scaled(limit.flops_per_s(""), "FLOP/s")
    return (
        f"{some} faster than the peak of {peak} (up to {percent(float(peak_share[above].max()))} "
        "of it): that peak is too low, or not all of the FLOPs counted were computed",
    )


def how_much_is_modelled(chosen: Selected, found: OperatorSums) -> str:
    """Return in words how much of the time is communication, and how much is not modelled."""
    work = chosen.attribution.work
    communicates = work.in_category(COLLECTIVE)
    whole, talking, lacking = (
        int(work.duration_ns[chosen.work & some].sum())
        for some in (np.ones(len(work), np.bool_), communicates, ~communicates & ~found.modelled)
    )
    said = f"not modelled: {percent(lacking / max(whole - talking, 1))} of the time"
    if not talking:
        return said
    return f"{said} but for communication, which is {percent(talking / whole)} of all"


def not_modelled(chosen: Selected, found: OperatorSums) -> tuple[str, ...]:
    """Return a note on the work that no operator with known costs launched, by name.

    Collectives are communication: they have no part in it.
    """
    work = chosen.attribution.work
    computes = chosen.work & ~work.in_category(COLLECTIVE)
    lacking = computes & ~found.modelled
    if not lacking.any():
        return ()
    spent = total(work.kind[lacking], work.duration_ns[lacking], len(work.names))
    most = np.argsort(-spent, kind="stable")[: min(MOST_NAMED, int((spent > 0).sum()))]
    short = distinct_short_names(work.names)
    named = [f"{in_prose(short[place])} {duration(int(spent[place]))}" for place in most.tolist()]
    rest = int((spent > 0).sum()) - len(named)
    more = f" and {rest} more" if rest else ""
    return (f"not modelled, no costs are known of it: {', '.join(named)}{more}",)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `roofline`."""
    rate = number_type("a rate above 0", float, above=True)
    parser.add_argument(
        "--by",
        choices=("range", "operator"),
        default="range",
        help="a row a range, or an operator and its shapes (default range)",
    )
    parser.add_argument(
        "--peak-tflops", type=rate, metavar="T", help="peak TFLOP/s (default the device's)"
    )
    parser.add_argument(
        "--peak-gbs", type=rate, metavar="G", help="memory bandwidth in GB/s (default the device's)"
    )
    costs.add_softmax_option(parser)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the roofline; see the module's docstring."""
    return question.answer(roofline, __doc__, "analysis.roofline", argv, add_options)


if __name__ == "__main__":
    sys.exit(cli.run(main))
