"""Rank kernels by the GPU time they took.

    python -m analysis.kernels report.sqlite
    python -m analysis.kernels report.sqlite --by category
    python -m analysis.kernels report.sqlite --format csv --output kernels.csv

Kernels are grouped by their full name over all devices and processes, as in NVIDIA's
cuda_gpu_kern_sum. The time of a CUDA graph that was recorded as a whole is added as a row of its
own. Copies and sets are no kernels. In a report of a CPU run operators take the kernels' place, by
self time; the heading and the column `source` say so. `share` is of everything listed before --top.
Where the report marks warm-up it is left out, and the heading says how much that was;
`--exclude none` includes it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Unpack

import numpy as np

from analysis.arithmetic.arrays import Int64, quotient
from analysis.arithmetic.statistics import summarize, sums
from analysis.attribution import question
from analysis.attribution.costs import whole_numbers
from analysis.attribution.selected import selected_rows, selected_work
from analysis.attribution.selection import Options, Selection
from analysis.costs.operator_sums import flops_of_single_kernels
from analysis.knowledge import categories
from analysis.recorded.operator_calls import may_have_shapes
from analysis.recorded.work import CPU_HEADING, Work
from analysis.show import cli
from analysis.show.render import duration
from analysis.show.table import Column, Table
from analysis.source import tables
from analysis.source.report import Report


def ranking(
    report: Report,
    *,
    by: str = "name",
    sort: str = "time",
    within: str | None = None,
    **selected: Unpack[Options],
) -> Table:
    """Return one row per kernel name, the one with the most time first.

    The statistics are those of NVIDIA's ``cuda_gpu_kern_sum``, and so is the order of names with
    the same time: fewer calls first, then by name.

    Args:
        report: what was recorded.
        by: ``name``, or ``category`` for one row per category.
        sort: ``time``, or ``calls`` for the most often called first.
        within: only what was launched inside this range, by name or glob.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``name, category, calls, total_ns, mean_ns, median_ns, min_ns, max_ns, std_ns, share,
        source``; ``std_ns`` is the sample's, 0.0 for one call. By name, where operators' shapes
        were recorded, ``flops, flops_per_s`` too: the rate of the calls that are the only work
        that their operator launched, the FLOPs where all calls of a name are; else NaN.

    Raises:
        ReportError: there are neither kernels nor operators, or no such range, step, device or
            process.
    """
    asked = Selection(**selected)
    if by == "name" and may_have_shapes(report):
        chosen, kept, counted = selected_rows(report, within, asked)
        attribution = chosen.attribution
        flops = flops_of_single_kernels(attribution)[kept]
        return rank(report, attribution.work.take(kept), sort=sort, counted=counted, flops=flops)
    work, counted = selected_work(report, within, asked)
    return rank(report, work, by=by, sort=sort, counted=counted)


def rank(
    report: Report,
    work: Work,
    *,
    by: str = "name",
    sort: str = "time",
    counted: tuple[str, ...] = (),
    flops: Int64 | None = None,
) -> Table:
    """Return the ranking of some work of a report, by name or by category.

    Args:
        report: what was recorded.
        work: what is ranked.
        by: ``name`` or ``category``.
        sort: ``time`` or ``calls``.
        counted: what the heading says of the part of the report that this is.
        flops: ``(N,)`` of each piece of work, or `tables.MISSING`; None where none are known.
    """
    labels = work.categories
    names, sources, kind = work.names, work.sources, work.kind
    if by == "category":
        names = [label for label in categories.CATEGORIES if label in set(labels)]
        places = np.array([names.index(label) for label in labels], np.int64)
        sources = [
            joined_sources(np.array(sources)[places == place]) for place in range(len(names))
        ]
        labels, kind = names, places[kind]
    found = summarize(kind, work.duration_ns, len(names))
    everything = int(found.total_ns.sum())
    table = Table(
        name="kernels",
        columns={
            "name": names,
            "category": labels,
            "calls": found.calls,
            "total_ns": found.total_ns,
            "mean_ns": found.mean_ns,
            "median_ns": found.median_ns,
            "min_ns": found.min_ns,
            "max_ns": found.max_ns,
            "std_ns": found.std_ns,
            "share": found.total_ns / max(everything, 1),
            "source": sources,
            **({} if flops is None else rates(kind, flops, work.duration_ns, len(names))),
        },
        heading=heading(report, work, everything),
        counted=counted,
        notes=work.notes,
        hidden=("source", "std_ns", "flops", *(("category",) if by == "category" else ())),
        droppable=("median_ns", "min_ns", "max_ns"),
        spare=("mean_ns", "category"),
    )
    alphabet = np.argsort(np.argsort(np.array(names, dtype=object), kind="stable"))
    keys = [alphabet, found.calls, -found.total_ns]
    if sort == "calls":
        keys = [alphabet, -found.total_ns, -found.calls]
    order = np.lexsort(keys)
    return table.take(order[found.calls[order] > 0])


def rates(kind: Int64, flops: Int64, duration_ns: Int64, kinds: int) -> dict[str, Column]:
    """Return the FLOPs of each kind of work, NaN if a call's are not known, and the known rate.

    Args:
        kind: ``(N,)`` of each piece of work.
        flops: ``(N,)``, or `tables.MISSING`.
        duration_ns: ``(N,)``.
        kinds: how many there are.
    """
    known = flops != tables.MISSING
    total, time = (sums(kind[known], of[known], kinds) for of in (flops, duration_ns))
    lacking = np.bincount(kind, ~known, kinds) > 0
    return {
        "flops": whole_numbers(np.where(lacking, np.nan, total)),
        "flops_per_s": quotient(total, time / 1e9),
    }


def joined_sources(sources: Iterable[str]) -> str:
    """Return the sources of a category's time, for example ``kernel+graph``."""
    return "+".join(sorted(set(sources), key=("kernel", "graph", "operator").index))


def heading(report: Report, work: Work, total_ns: int) -> str:
    """Return the lines above a ranking: which report, and what is listed."""
    what = "CPU operator calls" if work.on_cpu else "kernels"
    lines = [report.describe(), f"{len(work.kind):,} {what}, {duration(total_ns)} in all"]
    if work.on_cpu:
        lines.insert(1, CPU_HEADING)
    return "\n".join(lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ranking`."""
    parser.add_argument(
        "--by", choices=("name", "category"), default="name", help="one row for each (default name)"
    )
    parser.add_argument(
        "--sort", choices=("time", "calls"), default="time", help="first the most (default time)"
    )
    parser.add_argument(
        "--within", metavar="RANGE", help="only what this NVTX range launched: a name or a glob"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ranking; see the module's docstring."""
    return question.answer(ranking, __doc__, "analysis.kernels", argv, add_options)


if __name__ == "__main__":
    sys.exit(cli.run(main))
