"""The roofline: each range's FLOPs, bytes and rate, against what the GPU could do.

    python -m analysis.roofline report.sqlite
    python -m analysis.roofline report.sqlite --peak-tflops 156 --peak-gbs 2039

FLOPs are the payloads of the ranges; a range without one has those of the ranges inside it. Bytes
are the least that must move. `bound` says what keeps a range from being faster: `launch` where the
GPU was idle for most of its time, else `compute` or `memory`, by the FLOPs a byte; `unknown` where
a figure is lacking. `peak_share` is of the peak rate, `roof_share` of what the memory allows too.
Warm-up is left out; `--exclude none` includes it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Unpack

import numpy as np

from analysis.arithmetic.arrays import Bools, Float64, Int64, quotient
from analysis.arithmetic.statistics import sums as total
from analysis.attribution import costs, question
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection
from analysis.knowledge.peaks import GIGA, TERA, lookup
from analysis.measures.mfu import mfu, peak_in_use
from analysis.measures.range_sums import range_sums
from analysis.show import cli
from analysis.show.command import number_type
from analysis.show.errors import ReportError
from analysis.show.render import duration, percent, plural, scaled
from analysis.show.table import Column, Table
from analysis.source import tables
from analysis.source.report import Report
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.measures.range_sums import RangeSums

NAN: Final = float("nan")

LAUNCH_BOUND: Final = 0.5
"""Idle for more than this share of a range's time on the GPU, launching is what takes longest."""


@dataclass(frozen=True)
class PeakRates:
    """The peak rates that limit a run, NaN where not known, and their source."""

    flops_per_s: float
    bytes_per_s: float
    origin: str

    @property
    def ridge(self) -> float:
        """The FLOPs a byte from which on arithmetic is the limit."""
        return self.flops_per_s / self.bytes_per_s


def peak_rates(
    attribution: Attribution, peak_tflops: float | None = None, peak_gbs: float | None = None
) -> PeakRates:
    """Return the peaks of the run's GPU in its number format, or those given.

    Args:
        attribution: the run's work; on a CPU no peak is known.
        peak_tflops: in TFLOP/s, in place of the GPU's.
        peak_gbs: in GB/s, likewise.
    """
    card = lookup(attribution.report.device) if not attribution.work.on_cpu else None
    name, rate = peak_in_use(attribution.report, attribution.work) if card else ("", None)
    parts = []
    if peak_tflops is None and rate is not None and card:
        parts.append(f"{scaled(rate, 'FLOP/s')} in {name}")
    if peak_gbs is None and card:
        parts.append(scaled(card.bytes_per_s, "B/s"))
    origin = [f"{' and '.join(parts)} ({card.name}: {card.cited})"] if parts and card else []
    if peak_tflops is not None:
        origin.append(f"{scaled(peak_tflops * TERA, 'FLOP/s')}, as given")
    if peak_gbs is not None:
        origin.append(f"{scaled(peak_gbs * GIGA, 'B/s')}, as given")
    return PeakRates(
        peak_tflops * TERA if peak_tflops is not None else (rate or NAN),
        peak_gbs * GIGA if peak_gbs is not None else (card.bytes_per_s if card else NAN),
        "; ".join(origin),
    )


def bounds(intensity: Float64, idle_share: Float64, limit: PeakRates) -> list[str]:
    """Return what limits each range: ``compute``, ``memory``, ``launch`` or ``unknown``.

    Args:
        intensity: ``(K,)`` FLOPs a byte, NaN where not known.
        idle_share: ``(K,)`` of each range's time on the GPU, that in which the GPU did nothing.
        limit: the peaks.
    """
    by_ridge = np.where(intensity >= limit.ridge, "compute", "memory")
    known = ~np.isnan(intensity) & (not math.isnan(limit.ridge))
    named = np.where(known, by_ridge, "unknown")
    result: list[str] = np.where(idle_share > LAUNCH_BOUND, "launch", named).tolist()
    return result


def roofline(
    report: Report,
    *,
    peak_tflops: float | None = None,
    peak_gbs: float | None = None,
    softmax_flops: int = costs.SOFTMAX_FLOPS,
    **selected: Unpack[Options],
) -> Table:
    """Return one row per range name that has FLOPs, the one with the most kernel time first.

    Args:
        report: what was recorded.
        peak_tflops: the peak rate in TFLOP/s; None looks the GPU up in `analysis.knowledge.peaks`.
        peak_gbs: the memory bandwidth in GB/s; likewise.
        softmax_flops: how many FLOPs an element of a softmax counts, forward.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``range, kernel_ns, flops, bytes, intensity, flops_per_s, peak_share, bound, roof_share,
        instances, idle_share, source``; what is not known is NaN.

    Raises:
        ReportError: there is no work, or no range with FLOPs.
    """
    chosen = Selected.of(report, Selection(**selected))
    table = rooflines(
        chosen, peak_tflops=peak_tflops, peak_gbs=peak_gbs, softmax_flops=softmax_flops
    )
    if table is None:
        if rooflines(chosen.everything) is not None:
            raise chosen.without("range with FLOPs")
        raise ReportError(
            report.path,
            "no range in this report carries FLOPs",
            "record with profiling.spans: with span(name, flops=...)",
        )
    return table


def rooflines(
    chosen: Selected,
    *,
    peak_tflops: float | None = None,
    peak_gbs: float | None = None,
    softmax_flops: int = costs.SOFTMAX_FLOPS,
) -> Table | None:
    """Return the roofline of what counts, or None where no range of it has FLOPs."""
    attribution, kept = chosen.attribution, chosen.ranges
    ranges = attribution.ranges
    sums = range_sums(chosen, softmax_flops)
    counts = kept & (sums.flops != tables.MISSING)
    if not counts.any():
        return None
    labels, place = costs.canonical_labels(ranges)
    group = place[counts]
    limit = peak_rates(attribution, peak_tflops, peak_gbs)
    columns = figures(sums, counts, group, len(labels), limit)
    table = Table(
        name="roofline",
        columns={
            "range": labels,
            **columns,
            "source": [attribution.work.source] * len(labels),
        },
        heading="\n".join(heading(attribution, limit, softmax_flops, labels, group)),
        counted=chosen.heading_lines,
        notes=(
            *notes(attribution, sums, kept, place, group, limit),
            *too_fast(np.asarray(columns["peak_share"], np.float64), limit),
        ),
        hidden=("source",),
        droppable=("instances", "roof_share", "idle_share", "bytes"),
        spare=("bound", "intensity", "flops"),
    )
    kernel_ns, flops = (
        total(group, of[counts], len(labels)) for of in (sums.kernel_ns, sums.flops)
    )
    order = np.lexsort((-flops, -kernel_ns))
    table = table.take(order[np.isin(order, group)])
    size = np.asarray(table.columns["bytes"], np.float64)
    return replace(table, columns={**table.columns, "bytes": costs.whole_numbers(size)})


def figures(
    sums: RangeSums, counts: Bools, group: Int64, groups: int, limit: PeakRates
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
    flops, kernel_ns, window_ns, idle_ns = (
        total(group, values[counts], groups)
        for values in (sums.flops, sums.kernel_ns, sums.window_ns, sums.idle_ns)
    )
    lacking = np.bincount(group[sums.bytes[counts] == tables.MISSING], minlength=groups) > 0
    size = np.where(lacking, NAN, total(group, sums.bytes[counts], groups))
    intensity, rate = quotient(flops, size), quotient(flops, kernel_ns / 1e9)
    idle_share = quotient(idle_ns, window_ns)
    reachable = np.fmin(limit.flops_per_s, intensity * limit.bytes_per_s)
    return {
        "kernel_ns": kernel_ns,
        "flops": flops,
        "bytes": size,
        "intensity": intensity,
        "flops_per_s": rate,
        "peak_share": rate / limit.flops_per_s,
        "bound": bounds(intensity, idle_share, limit),
        "roof_share": quotient(rate, reachable),
        "instances": np.bincount(group, minlength=groups).astype(np.int64),
        "idle_share": idle_share,
    }


def heading(
    attribution: Attribution, limit: PeakRates, softmax_flops: int, labels: list[str], group: Int64
) -> list[str]:
    """Return the lines above a roofline: the report, the peaks, how FLOPs are counted, the MFU."""
    what = "CPU operators' self time" if attribution.work.on_cpu else "kernel time"
    lines = [attribution.report.describe(), f"Roofline by {what}"]
    if limit.origin:
        lines.append(f"peak {limit.origin}")
    if names.SOFTMAX in {labels[number] for number in np.unique(group).tolist()}:
        lines.append(costs.softmax_convention(softmax_flops))
    peak = None if math.isnan(limit.flops_per_s) else limit.flops_per_s
    if utilization := mfu(attribution.report, peak):
        lines.append(utilization.describe())
    return lines


def notes(
    attribution: Attribution,
    sums: RangeSums,
    kept: Bools,
    place: Int64,
    group: Int64,
    limit: PeakRates,
) -> tuple[str, ...]:
    """Return notes on peaks that are not known, and on ranges without FLOPs."""
    lines = []
    lacking_peaks = {
        "peak rate": ("--peak-tflops", limit.flops_per_s),
        "memory bandwidth": ("--peak-gbs", limit.bytes_per_s),
    }
    unknown = {what: how for what, (how, peak) in lacking_peaks.items() if math.isnan(peak)}
    if unknown:
        device = attribution.report.device or "the device (the report does not name it)"
        lines.append(
            f"no {' and no '.join(unknown)} is known of {device}: "
            f"give {' and '.join(unknown.values())}"
        )
    if sums.unscaled:
        lines.append(costs.unscaled_line(sums.unscaled))
    lacking = kept & (sums.flops == tables.MISSING) & np.isin(place, group)
    if lacking.any():
        time = duration(int(sums.kernel_ns[lacking].sum()))
        some = plural(int(lacking.sum()), "range")
        verb = "carries" if lacking.sum() == 1 else "carry"
        lines.append(f"{some} of these names, {time}, {verb} no FLOPs; left out")
    return tuple(lines)


def too_fast(peak_share: Float64, limit: PeakRates) -> tuple[str, ...]:
    """Return a note on ranges that are faster than the peak, which cannot be.

    Args:
        peak_share: ``(K,)``, NaN where not known.
        limit: the peaks.
    """
    above = peak_share > 1
    if not above.any():
        return ()
    some = plural(int(above.sum()), "range is", "ranges are")
    return (
        f"{some} faster than the peak of {scaled(limit.flops_per_s, 'FLOP/s')} (up to "
        f"{percent(float(peak_share[above].max()))} of it): that peak is too low, or not all of "
        "the FLOPs counted were computed",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `roofline`."""
    rate = number_type("a rate above 0", float, above=True)
    parser.add_argument(
        "--peak-tflops", type=rate, metavar="T", help="peak TFLOP/s (default the GPU's)"
    )
    parser.add_argument(
        "--peak-gbs", type=rate, metavar="G", help="memory bandwidth in GB/s (default the GPU's)"
    )
    costs.add_softmax_option(parser)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the roofline; see the module's docstring."""
    return question.answer(roofline, __doc__, "analysis.roofline", argv, add_options)


if __name__ == "__main__":
    sys.exit(cli.run(main))
