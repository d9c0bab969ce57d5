"""Advice: where what was found has a known cure, a text that names both, with the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.advice.finding import Cure, Finding, more, wall_share, work_ns
from analysis.advice.on_copies import (
    exposed_collectives,
    exposed_copies,
    pageable_copies,
    synchronous_copies,
)
from analysis.advice.on_idle import (
    busy_host,
    garbage_collection,
    kernel_loading,
    launch_latency,
    synchronisation,
    waiting_host,
    waiting_stream,
)
from analysis.advice.on_model import products_without_tf32, unfused_attention, unfused_optimizer
from analysis.arithmetic.intervals import NONE
from analysis.attribution.launches import during_ranges
from analysis.costs.range_costs import WAITING
from analysis.measures.step_times import slowdown, step_times
from analysis.show.render import duration, percent

if TYPE_CHECKING:
    from analysis.measures.window import MeasuredWindow

OVERHEAD: Final = 0.1
"""Slowed by more than this, what was measured is also the profiler."""

ATTRIBUTED: Final = 0.5
"""With less than half of the time inside ranges, most answers are about the lesser half."""

MARK: Final = Cure(
    "{} of the model into spans (profiling.spans: span, annotate)",
    "ranges around {} of the program (nvtxRangePush and nvtxRangePop, or nvtx.annotate in Python)",
)

GRAPHS: Final = 0.1
"""A tenth of the time in graphs that are not looked into can hide the kernels that matter."""


def findings(measured: MeasuredWindow) -> list[Finding]:
    """Return what was found that has a known cure; nothing where there is nothing to say.

    Warm-up, and what lies outside the steps (or the phases), does not count. What takes most of the
    GPUs' wall time comes first, and last what is about the recording.
    """
    on_gpu = (
        *(exposed_copies, synchronous_copies, pageable_copies, exposed_collectives),
        *(synchronisation, kernel_loading, launch_latency, waiting_stream),
        *(garbage_collection, waiting_host, busy_host),
        *(opaque_graphs, products_without_tf32),
    )
    anywhere = (unfused_optimizer, unfused_attention, recording_overhead, missing_ranges)
    rules = anywhere if measured.attribution.work.on_cpu else (*on_gpu, *anywhere)
    result = [found for rule in rules if (found := rule(measured))]
    return sorted(result, key=lambda found: -(found.share or 0))


def opaque_graphs(measured: MeasuredWindow) -> Finding | None:
    """Return advice on CUDA graphs that were recorded as a whole."""
    work = measured.attribution.work
    is_graph = np.array([source == "graph" for source in work.sources], np.bool_)[work.kind]
    time = int(work.duration_ns[is_graph & measured.work].sum())
    if time / measured.kernel_ns < GRAPHS:
        return None
    running_ns = work_ns(measured, is_graph & measured.work)
    return Finding(
        "opaque-graphs",
        f"{percent(time / measured.kernel_ns)} of the time is in CUDA graphs that were "
        "recorded as a whole: record with --cuda-graph-trace=node to see their kernels",
        more(measured, "analysis.kernels"),
        time_ns=running_ns,
        share=wall_share(measured, running_ns),
    )


def recording_overhead(measured: MeasuredWindow) -> Finding | None:
    """Return advice on steps that recording slowed."""
    report = measured.report
    recorded, bare = step_times(report, "step_ns"), step_times(report, "unprofiled_step_ns")
    slower = slowdown(recorded, bare)
    if slower is None or slower < OVERHEAD:
        return None
    before, after = float(np.median(bare)), float(np.median(recorded))
    less = ""
    # Our own launcher asks nsys for no more than that already, unless it is told to.
    if report.run.get("stacks"):
        less = ", or record less (without --stacks)"
    elif report.recorder.startswith("nsys") and report.run.get("recorder") != "nsys":
        less = ", or record less (--sample=none --cpuctxsw=none)"
    return Finding(
        "recording-overhead",
        f"recording slowed a step by {percent(slower)}, from {duration(before)} to "
        f"{duration(after)}: compare shares rather than times{less}",
        more(measured, "analysis.answers"),
    )


def missing_ranges(measured: MeasuredWindow) -> Finding | None:
    """Return advice on work that no range is around."""
    attribution = measured.attribution
    if not len(attribution.ranges):
        return Finding(
            "no-ranges",
            "no NVTX ranges in this report, so no part of the program can be told from another: "
            f"put {MARK.of(measured).format('the parts')}",
            more(measured, "analysis.kernels"),
        )
    ranges, launches = attribution.ranges, attribution.launches
    # Those that wait for other threads have what is launched on these too.
    waiting = ranges.take(ranges.where(lambda name: name in WAITING) & ~ranges.elsewhere)
    inside = attribution.own != NONE
    inside |= during_ranges(launches.start_ns, launches.process, waiting)
    share = int(attribution.work.duration_ns[inside & measured.work].sum()) / measured.kernel_ns
    if share >= ATTRIBUTED:
        return None
    return Finding(
        "few-ranges",
        f"only {percent(share)} of the time was launched inside a range: "
        f"put {MARK.of(measured).format('the other parts')}",
        more(measured, "analysis.phases"),
    )
